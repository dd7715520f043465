//! Asks Docker's own DNS for the addresses of a name, as an application does that connects to its service by name.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Where Docker answers in every container's namespace.
const SERVER: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 0, 0, 11), 53);
const PATIENCE: Duration = Duration::from_secs(2);

/// The first address, which Docker chooses at random each time.
pub(super) async fn resolve(name: &str, port: u16) -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(SERVER).await?;
    socket.send(&question(name)).await?;
    let mut answer = [0; 1500];
    let length = timeout(PATIENCE, socket.recv(&mut answer)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let addr = first_address(answer.get(..length).unwrap_or_default());
    addr.map(|addr| (addr, port).into()).ok_or_else(|| io::Error::other(format!("{name} has no address")))
}

/// One question of type A.
fn question(name: &str) -> Vec<u8> {
    // An id, recursion desired, one question.
    let mut bytes = vec![0x65, 0x6b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap_or(63));
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

fn first_address(answer: &[u8]) -> Option<Ipv4Addr> {
    let answers = u16::from_be_bytes([*answer.get(6)?, *answer.get(7)?]);
    let mut rest = after_name(answer.get(12..)?)?.get(4..)?;
    for _ in 0..answers {
        rest = after_name(rest)?;
        let (head, data) = rest.split_at_checked(10)?;
        let length = usize::from(u16::from_be_bytes([*head.get(8)?, *head.get(9)?]));
        if let (Some([0, 1]), Some(&[a, b, c, d])) = (head.get(..2), data.get(..length)) {
            return Some(Ipv4Addr::new(a, b, c, d));
        }
        rest = data.get(length..)?;
    }
    None
}

/// What follows a name: labels up to an empty one, or up to a pointer to labels elsewhere.
fn after_name(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        match *bytes.first()? {
            0 => return bytes.get(1..),
            pointer if pointer >= 0xc0 => return bytes.get(2..),
            length => bytes = bytes.get(usize::from(length) + 1..)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_is_found_behind_another_record() {
        let mut answer = question("gateway");
        answer[7] = 2;
        let name = [0xc0, 12];
        answer.extend([&name[..], &[0, 5, 0, 1, 0, 0, 0, 1, 0, 2], &name].concat());
        answer.extend([&name[..], &[0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 172, 18, 0, 3]].concat());
        assert_eq!(first_address(&answer), Some(Ipv4Addr::new(172, 18, 0, 3)));
        assert_eq!(first_address(&question("gateway")), None);
        for length in 0..answer.len() {
            assert_eq!(first_address(&answer[..length]), None, "{length}");
        }
    }
}
