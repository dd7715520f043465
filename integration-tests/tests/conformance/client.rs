//! A client that sends any bytes and reads what comes strictly.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use crate::{PATIENCE, paced};
use integration_tests::wire::{self, Framing, Parsed, Response};

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Closed,
    Reset,
    /// It did not, for as long as anybody would wait.
    Open,
}

/// What was heard where an answer was due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Answer(Response),
    /// The connection ended in the middle of this, or at once.
    Cut(Option<Response>, Ended),
    Malformed(String),
}

impl Heard {
    /// The answer, if it is whole.
    pub(crate) fn whole(self) -> Result<Response, String> {
        match self {
            Self::Answer(answer) => Ok(answer),
            other => Err(format!("no whole answer: {other:?}")),
        }
    }
}

/// One connection to the proxy; its two directions can be used at the same time.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) sender: Sender,
    pub(crate) answers: Answers,
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self::try_connect(addr).await.expect("the proxy accepts")
    }

    /// A connection that may be reset at once.
    pub(crate) async fn try_connect(addr: SocketAddr) -> io::Result<Self> {
        TcpStream::connect(addr).await.map(Self::over)
    }

    /// One that takes as little as the system lets it while it does not read.
    pub(crate) fn connect_narrow(addr: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        socket.connect(&SockAddr::from(addr)).expect("the proxy accepts");
        socket.set_nonblocking(true).expect("non-blocking");
        Self::over(TcpStream::from_std(socket.into()).expect("a stream"))
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("nodelay");
        let (reader, writer) = stream.into_split();
        Self { sender: Sender(writer), answers: Answers { reader, unread: Vec::new(), ended: None } }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.sender.send(bytes.as_ref(), false).await;
    }

    /// Reads the answer to anything but a `HEAD`.
    pub(crate) async fn hear(&mut self) -> Heard {
        self.answers.next(false).await
    }

    /// Sends and reads the answer.
    pub(crate) async fn ask(&mut self, request: impl AsRef<[u8]>) -> Result<Response, String> {
        self.send(request).await;
        self.hear().await.whole()
    }
}

#[derive(Debug)]
pub(crate) struct Sender(OwnedWriteHalf);

impl Sender {
    /// Sends, byte by byte if `piecewise`. That the other side no longer listens is no error: it may have answered.
    pub(crate) async fn send(&mut self, bytes: &[u8], piecewise: bool) {
        let sending = async { if piecewise { paced(&mut self.0, bytes).await } else { self.0.write_all(bytes).await } };
        let _ = timeout(PATIENCE, sending).await;
    }

    /// Half-closes.
    pub(crate) async fn finish(&mut self) {
        let _ = self.0.shutdown().await;
    }
}

#[derive(Debug)]
pub(crate) struct Answers {
    reader: OwnedReadHalf,
    unread: Vec<u8>,
    ended: Option<Ended>,
}

impl Answers {
    /// Reads more; how the connection ended, if it did.
    async fn fill(&mut self) -> Option<Ended> {
        if self.ended.is_none() {
            let read = timeout(PATIENCE, self.reader.read_buf(&mut self.unread)).await;
            self.ended = match read {
                Ok(Ok(0)) => Some(Ended::Closed),
                Ok(Ok(_)) => None,
                Ok(Err(_)) => Some(Ended::Reset),
                Err(_) => return Some(Ended::Open),
            };
        }
        self.ended
    }

    /// Reads the next message, a 1xx included; `to_head`: it answers a `HEAD`.
    pub(crate) async fn next(&mut self, to_head: bool) -> Heard {
        loop {
            let partial = match wire::response(&self.unread, to_head) {
                Ok(Parsed::Whole(answer, length)) => {
                    self.unread.drain(..length);
                    return Heard::Answer(answer);
                }
                Ok(Parsed::Partial(partial)) => partial,
                Err(wrong) => return Heard::Malformed(format!("{wrong}, in {:?}", wire::short(&self.unread))),
            };
            match (self.fill().await, partial) {
                (None, _) => {}
                (Some(Ended::Closed), Some(answer)) if answer.framing == Framing::UntilClose => {
                    self.unread.clear();
                    return Heard::Answer(answer);
                }
                (Some(ended), partial) => return Heard::Cut(partial, ended),
            }
        }
    }

    /// Reads so many bytes that are no message: what comes through a tunnel.
    pub(crate) async fn raw(&mut self, count: usize) -> Result<Vec<u8>, String> {
        while self.unread.len() < count {
            if let Some(ended) = self.fill().await {
                return Err(format!("{ended:?} after {:?}", wire::short(&self.unread)));
            }
        }
        Ok(self.unread.drain(..count).collect())
    }

    /// Waits for the end, and says what came before it.
    pub(crate) async fn end(&mut self) -> (Vec<u8>, Ended) {
        loop {
            if let Some(ended) = self.fill().await {
                return (std::mem::take(&mut self.unread), ended);
            }
        }
    }

    /// Whether the end came, while more was read.
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.ended
    }
}
