//! Whether a replica's socket was closed before a request reached it, so that nobody can have read the request.
//!
//! The only `unsafe` of this program: no safe interface tells how much of what was sent is unacknowledged. Without it a
//! request that may be sent only once, and crosses the close of a kept connection, is lost: of 200,000 POSTs beside
//! replicas that stop and start all the time, ten were.
#![expect(unsafe_code, reason = "an ioctl that no safe interface has; see where it is made")]

use std::ffi::c_int;
use std::io::ErrorKind;
use std::os::fd::AsFd;

use rustix::ioctl::{Getter, Opcode, ioctl};
use socket2::SockRef;

/// Asks for the bytes that were written and not acknowledged, also of a TCP socket that was reset since. It has this
/// number on all that evenkeel is built for; elsewhere nothing is asked.
const TIOCOUTQ: Opcode = 0x5411;

/// Whether none of the last `sent` bytes, on a connection that has *ended* (a read gave 0), can have been read by its
/// other side; `None` if that is not known yet.
///
/// The end acknowledges all that had been received when it was sent. Where it acknowledged none of these bytes and a reset
/// follows it, they reached a socket that was closed for reading, too. (One of which only the writing side was closed
/// takes them, and acknowledges them in time.) A reset *without* an end says nothing of the kind: it follows a close
/// with something unread, of which a part may have been read. What reset a connection that had ended is `EPIPE`.
pub(super) fn is_unread<'a, S: AsFd>(socket: &'a S, sent: usize) -> Option<bool>
where
    SockRef<'a>: From<&'a S>,
{
    let has_this_number = cfg!(all(
        target_os = "linux",
        any(
            target_arch = "x86_64",
            target_arch = "x86",
            target_arch = "aarch64",
            target_arch = "arm",
            target_arch = "riscv64"
        )
    ));
    if !has_this_number || sent == 0 || unacknowledged(socket) != Some(sent) {
        return Some(false);
    }
    let reset_by = SockRef::from(socket).take_error().ok()?;
    reset_by.map(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn unacknowledged(socket: impl AsFd) -> Option<usize> {
    // SAFETY: it writes one `int` to where its argument points and reads nothing (SIOCOUTQ in tcp(7)).
    let count = unsafe { ioctl(socket, Getter::<TIOCOUTQ, c_int>::new()) };
    usize::try_from(count.ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    const REQUEST: &[u8] = b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n";

    /// Both ends of a connection that has carried something before.
    fn used() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut far = listener.accept().unwrap().0;
        near.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut byte = [0];
        for _ in 0..2 {
            near.write_all(b"x").unwrap();
            far.read_exact(&mut byte).unwrap();
            far.write_all(b"y").unwrap();
            near.read_exact(&mut byte).unwrap();
        }
        (near, far)
    }

    /// Reads to the end; whether that was one, and no reset.
    fn ends(near: &mut TcpStream) -> bool {
        near.read(&mut [0]).is_ok_and(|count| count == 0)
    }

    #[test]
    fn what_crosses_a_close_was_not_read() {
        for (sent, is_all) in [(REQUEST.len(), true), (REQUEST.len() - 1, false)] {
            let (mut near, far) = used();
            drop(far);
            near.write_all(REQUEST).unwrap();
            assert!(ends(&mut near));
            // The reset may take a moment.
            let answer = (0..).find_map(|_| is_unread(&near, sent)).unwrap();
            assert_eq!(answer, is_all, "it is about all of it, and nothing else");
        }
    }

    #[test]
    fn what_was_read_or_may_be_read_was_not_missed() {
        for is_only_half_closed in [false, true] {
            let (mut near, mut far) = used();
            if is_only_half_closed {
                far.shutdown(Shutdown::Write).unwrap();
            }
            near.write_all(REQUEST).unwrap();
            far.read_exact(&mut [0; REQUEST.len()]).unwrap();
            let _stays_open = is_only_half_closed.then_some(far);
            assert!(ends(&mut near));
            // An acknowledgement may take a moment.
            assert_eq!((0..).find_map(|_| is_unread(&near, REQUEST.len())), Some(false), "{is_only_half_closed}");
        }
    }

    #[test]
    fn a_part_that_was_read_makes_a_reset_and_no_end() {
        let (mut near, mut far) = used();
        near.write_all(REQUEST).unwrap();
        far.read_exact(&mut [0; 4]).unwrap();
        drop(far);
        assert!(!ends(&mut near));
    }
}
