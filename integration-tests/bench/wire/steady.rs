//! A client that sends exactly as many requests as it is told to, always in the same order.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::message;
use crate::workload::{Kind, Workload};

/// An answer that takes longer is an error.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of a POST, as in `config/post.lua`.
const POSTED: usize = 4096;

/// Connections that are used in turn.
pub(crate) struct Steady {
    addr: SocketAddr,
    request: Vec<u8>,
    /// What every answer has to have.
    status: u16,
    /// Whether each connection is for one request.
    closes: bool,
    connections: Vec<TcpStream>,
    scratch: Vec<u8>,
}

impl Steady {
    /// Opens `count` connections, for requests of the workload.
    ///
    /// # Errors
    ///
    /// One could not be opened.
    pub(crate) fn connect(addr: SocketAddr, count: usize, workload: &Workload) -> io::Result<Self> {
        let &Workload { kind, size, .. } = workload;
        let request = match kind {
            Kind::Get | Kind::Paced(_) => message::request(size),
            Kind::Connect => message::request_with("GET", size, "Connection: close\r\n"),
            Kind::Post => {
                let head = message::request_with("POST", size, &format!("Content-Length: {POSTED}\r\n"));
                [head, vec![b'x'; POSTED]].concat()
            }
        };
        Self::with(addr, count, request, 200, kind == Kind::Connect)
    }

    /// Opens `count` connections, for a request that is sent as it is and answered with `status`; if it `closes`, each
    /// connection is for one.
    ///
    /// # Errors
    ///
    /// One could not be opened.
    pub(crate) fn with(
        addr: SocketAddr,
        count: usize,
        request: Vec<u8>,
        status: u16,
        closes: bool,
    ) -> io::Result<Self> {
        let connections = (0..count).map(|_| connect(addr)).collect::<io::Result<_>>()?;
        Ok(Self { addr, request, status, closes, connections, scratch: vec![0; 64 * 1024] })
    }

    /// Sends `count` requests: one on each connection, then reads their answers, and so on.
    ///
    /// # Errors
    ///
    /// An answer is missing, or its status is another one.
    pub(crate) fn requests(&mut self, count: usize) -> io::Result<()> {
        let mut left = count;
        while left > 0 {
            let now = left.min(self.connections.len());
            for connection in self.connections.iter_mut().take(now) {
                connection.write_all(&self.request)?;
            }
            for connection in self.connections.iter_mut().take(now) {
                match read_answer(connection, &mut self.scratch)? {
                    status if status == self.status => {}
                    status => return Err(io::Error::other(format!("an answer has status {status}"))),
                }
                if self.closes {
                    *connection = connect(self.addr)?;
                }
            }
            left -= now;
        }
        Ok(())
    }
}

fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let connection = TcpStream::connect(addr)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    Ok(connection)
}

/// One request on a connection of its own; the status of the answer.
///
/// # Errors
///
/// There was no answer.
pub(crate) fn ask(addr: SocketAddr, size: usize) -> io::Result<u16> {
    let mut connection = TcpStream::connect(addr)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.write_all(&message::request(size))?;
    read_answer(&mut connection, &mut [0; 4096])
}

fn read_answer(connection: &mut TcpStream, scratch: &mut [u8]) -> io::Result<u16> {
    let mut answer = Vec::new();
    while message::length(&answer)?.is_none() {
        let count = connection.read(scratch)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(scratch.get(..count).unwrap_or_default());
    }
    message::status(&answer).ok_or_else(|| io::Error::other("an answer without a status"))
}
