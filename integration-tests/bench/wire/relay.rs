//! The floor: a relay that reads no HTTP. It pairs each client connection with one to a replica, in turn, and copies
//! bytes. Nothing that a proxy does with a request can cost less than this.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use super::replicas::ignore_signals;
use super::slots::Slots;

const LISTENER: Token = Token(usize::MAX);
const BACKLOG: i32 = 4096;
/// Shared by all connections: small buffers cost three times as much for large bodies.
const SCRATCH: usize = 256 * 1024;

/// One way through a pair of sockets.
#[derive(Default)]
struct Way {
    /// Read but not yet taken by the other side.
    pending: Vec<u8>,
    ended: bool,
}

struct Pair {
    /// The client's and the replica's.
    sockets: [TcpStream; 2],
    /// From the client and from the replica.
    ways: [Way; 2],
}

/// Relays from `listen` to `replicas` with `threads` event loops until the process ends.
///
/// # Errors
///
/// It cannot listen, or an event loop failed; never what a client or a replica did.
pub(crate) fn serve(listen: SocketAddr, threads: usize, replicas: &[SocketAddr]) -> io::Result<()> {
    let sockets = (0..threads.max(1)).map(|_| bind(listen)).collect::<io::Result<Vec<_>>>()?;
    std::thread::scope(|scope| {
        let workers: Vec<_> = sockets.into_iter().map(|socket| scope.spawn(|| worker(socket, replicas))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err(ErrorKind::Other.into())))
    })
}

fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(listen), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

fn worker(mut listener: TcpListener, replicas: &[SocketAddr]) -> io::Result<()> {
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut turn = replicas.iter().cycle();
    let mut pairs: Slots<Pair> = Slots::default();
    let mut scratch = vec![0; SCRATCH];
    let mut events = Events::with_capacity(1024);
    loop {
        poll.poll(&mut events, None).or_else(ignore_signals)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((client, _)) = listener.accept() {
                    let Some(replica) = turn.next() else { return Err(ErrorKind::AddrNotAvailable.into()) };
                    let mut sockets = [client, TcpStream::connect(*replica)?];
                    for (side, socket) in sockets.iter_mut().enumerate() {
                        socket.set_nodelay(true)?;
                        let token = Token(pairs.next() * 2 + side);
                        poll.registry().register(socket, token, Interest::READABLE | Interest::WRITABLE)?;
                    }
                    pairs.insert(Pair { sockets, ways: Default::default() });
                }
            } else {
                let Token(token) = event.token();
                if let Some(pair) = pairs.get_mut(token / 2)
                    && !pair.advance(token % 2 == 0, event, &mut scratch).unwrap_or(false)
                {
                    pairs.remove(token / 2);
                }
            }
        }
    }
}

impl Pair {
    /// Does what an event of one side allows; false once both ways have ended.
    fn advance(&mut self, of_client: bool, event: &Event, scratch: &mut [u8]) -> io::Result<bool> {
        let [client, replica] = &mut self.sockets;
        let [from_client, from_replica] = &mut self.ways;
        let (own, other, out, back) = if of_client {
            (client, replica, from_client, from_replica)
        } else {
            (replica, client, from_replica, from_client)
        };
        if event.is_writable() && !back.pending.is_empty() {
            back.pump(other, own, true, scratch)?;
        }
        if event.is_readable() {
            out.pump(own, other, event.is_read_closed(), scratch)?;
        }
        Ok(!(self.ways.iter().all(|way| way.ended)))
    }
}

impl Way {
    /// Copies until there is nothing to read or no room to write. A read that did not fill the buffer took all there
    /// was, so that asking again is a system call for nothing, unless the end is `due` too.
    fn pump(&mut self, from: &mut TcpStream, to: &mut TcpStream, due: bool, scratch: &mut [u8]) -> io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        self.write(to, &pending)?;
        while self.pending.is_empty() && !self.ended {
            let count = match from.read(scratch) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            self.write(to, scratch.get(..count).unwrap_or_default())?;
            if count == 0 {
                self.ended = true;
                to.shutdown(Shutdown::Write)?;
            } else if count < scratch.len() && !due {
                break;
            }
        }
        Ok(())
    }

    fn write(&mut self, to: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match to.write(bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                // Not connected yet counts as no room, too: the event that it is brings us back.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    self.pending.extend_from_slice(bytes);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::thread;

    use super::super::replicas;
    use super::super::steady::Steady;
    use super::*;
    use crate::workload::{Kind, Workload};

    #[test]
    fn bytes_of_any_length_pass_both_ways_and_so_does_the_end() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(any).unwrap();
        let replica = listener.local_addr().unwrap();
        thread::spawn(move || replicas::answer(vec![listener]));
        let listener = bind(any).unwrap();
        let relay = listener.local_addr().unwrap();
        thread::spawn(move || worker(listener, &[replica]));

        // More than the scratch buffer and than any socket's buffer.
        for size in [0, 1024, SCRATCH * 40] {
            for kind in [Kind::Get, Kind::Post, Kind::Connect] {
                let workload = Workload { size, kind, ..Workload::W1 };
                Steady::connect(relay, 3, &workload).unwrap().requests(7).unwrap();
            }
        }
        let mut raw = std::net::TcpStream::connect(relay).unwrap();
        raw.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        raw.write_all(&super::super::message::request(3)).unwrap();
        raw.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        raw.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("\r\n\r\nxxx"), "{answer:?}");
    }
}
