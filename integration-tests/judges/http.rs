//! As much of a client as the judges need: a request on a connection of its own, from an address of one's choice.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use integration_tests::Result;
use socket2::{Domain, Socket, Type};

/// How long any one step may take. It is also what slowhttptest grants a service before it calls it unavailable.
const PATIENCE: Duration = Duration::from_secs(5);

/// An answer's status, and all that followed its head.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// `GET`s on a new connection from the address `from`.
pub(crate) fn get(addr: SocketAddr, from: Ipv4Addr, path: &str) -> Result<Answer> {
    let mut stream = connect(addr, from)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    parse(&text)
}

fn parse(text: &str) -> Result<Answer> {
    let (head, body) = text.split_once("\r\n\r\n").ok_or("an answer that is not whole")?;
    let status = head.split(' ').nth(1).ok_or("an answer without a status")?.parse()?;
    Ok(Answer { status, body: body.to_owned() })
}

fn connect(addr: SocketAddr, from: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&addr.into(), PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// Sends what comes on stdin, says that no more will come, and prints all that comes back.
pub(crate) fn half_close(addr: SocketAddr) -> Result<()> {
    let mut stream = connect(addr, Ipv4Addr::LOCALHOST)?;
    io::copy(&mut io::stdin().lock(), &mut stream)?;
    stream.shutdown(Shutdown::Write)?;
    io::copy(&mut stream, &mut io::stdout().lock())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_what_follows_its_head() {
        let answer = parse("HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nno\r\n\r\nreplica").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (503, "no\r\n\r\nreplica"));
        assert!(parse("HTTP/1.1 200 OK\r\nA: b\r\n").is_err());
    }
}
