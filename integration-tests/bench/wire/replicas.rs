//! Replicas that cost as little as can be: one thread, keep-alive, `GET /1024` is answered with 1024 bytes.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::message::{self, Shape};
use super::slots::Slots;

/// Those that were asked for already.
type Answers = HashMap<(Shape, usize), Rc<[u8]>>;

struct Connection {
    socket: TcpStream,
    input: Vec<u8>,
    /// The answer that is being written, and how much of it was.
    output: Option<(Rc<[u8]>, usize)>,
}

/// Answers on all of `addrs` until the process ends.
///
/// # Errors
///
/// An address cannot be listened on, or the event loop failed; never what a client did.
pub(crate) fn serve(addrs: &[SocketAddr]) -> io::Result<()> {
    answer(addrs.iter().map(|addr| TcpListener::bind(*addr)).collect::<io::Result<Vec<_>>>()?)
}

/// The event loop of [`serve`].
pub(super) fn answer(mut listeners: Vec<TcpListener>) -> io::Result<()> {
    let mut poll = Poll::new()?;
    for (index, listener) in listeners.iter_mut().enumerate() {
        poll.registry().register(listener, Token(index), Interest::READABLE)?;
    }
    let first = listeners.len();
    let mut connections: Slots<Connection> = Slots::default();
    let mut answers = Answers::new();
    let mut scratch = vec![0; 64 * 1024];
    let mut events = Events::with_capacity(1024);
    loop {
        poll.poll(&mut events, None).or_else(ignore_signals)?;
        for event in &events {
            let Token(token) = event.token();
            if let Some(listener) = listeners.get(token) {
                while let Ok((mut socket, _)) = listener.accept() {
                    socket.set_nodelay(true)?;
                    let token = Token(first + connections.next());
                    poll.registry().register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
                    connections.insert(Connection { socket, input: Vec::new(), output: None });
                }
            } else if let Some(connection) = connections.get_mut(token - first)
                && connection.advance(&mut answers, &mut scratch).is_err()
            {
                connections.remove(token - first);
            }
        }
    }
}

/// A signal that woke the loop is not an error of it.
pub(super) fn ignore_signals(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}

impl Connection {
    /// Reads and answers all there is; an error (the client's end is one) means that the connection is over.
    fn advance(&mut self, answers: &mut Answers, scratch: &mut [u8]) -> io::Result<()> {
        loop {
            while let Some((bytes, written)) = &mut self.output {
                match self.socket.write(bytes.get(*written..).unwrap_or_default()) {
                    Ok(more) => *written += more,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error),
                }
                if *written == bytes.len() {
                    self.output = None;
                }
            }
            if let Some(length) = message::length(&self.input)? {
                let wanted = message::wanted(&self.input).unwrap_or((Shape::Plain, 0));
                let answer = answers.entry(wanted).or_insert_with(|| message::answer(wanted.0, wanted.1).into());
                self.output = Some((Rc::clone(answer), 0));
                self.input.drain(..length);
                continue;
            }
            match self.socket.read(scratch) {
                // What came before the end has been answered: the loop reads only when there is nothing else to do.
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.input.extend_from_slice(scratch.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}
