//! As much of HTTP/1.1 as a harness needs that knows what it will be sent: where a message ends.

use std::io;

/// The bytes of the first message in `bytes`, head and body, or `None` while some are missing.
///
/// # Errors
///
/// The body has no Content-Length where it needs one, or one that is no number.
pub(crate) fn length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4) else {
        return Ok(None);
    };
    let head_text = bytes.get(..head).unwrap_or_default();
    if field(head_text, "transfer-encoding").is_some() {
        return Err(invalid("chunked, which nobody here asked for"));
    }
    let body = match field(head_text, "content-length") {
        None => 0,
        Some(value) => value.parse::<usize>().map_err(|_| invalid("a Content-Length that is no number"))?,
    };
    Ok((bytes.len() >= head + body).then_some(head + body))
}

/// The status of an answer.
pub(crate) fn status(bytes: &[u8]) -> Option<u16> {
    std::str::from_utf8(bytes.get(9..12)?).ok()?.parse().ok()
}

/// The number that is a request's whole path: `GET /1024 HTTP/1.1`.
pub(crate) fn path_number(bytes: &[u8]) -> Option<usize> {
    let path = bytes.split(|byte| *byte == b' ').nth(1)?.strip_prefix(b"/")?;
    std::str::from_utf8(path).ok()?.parse().ok()
}

/// An answer of `size` bytes.
pub(crate) fn answer(size: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n");
    let mut bytes = head.into_bytes();
    bytes.resize(bytes.len() + size, b'x');
    bytes
}

/// A request for an answer of `size` bytes.
pub(crate) fn request(size: usize) -> Vec<u8> {
    request_with("GET", size, "")
}

/// The same with another method and more fields, each with its line's end.
pub(crate) fn request_with(method: &str, size: usize, fields: &str) -> Vec<u8> {
    format!("{method} /{size} HTTP/1.1\r\nHost: gateway\r\nUser-Agent: bench\r\nAccept: */*\r\n{fields}\r\n")
        .into_bytes()
}

fn field<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (found, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a message {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_complete_with_its_last_body_byte() {
        let message = b"POST /7 HTTP/1.1\r\ncontent-LENGTH: 3\r\n\r\nabcGET";
        for end in 0..message.len() - 3 - 1 {
            assert_eq!(length(&message[..end]).unwrap(), None, "{end} bytes");
        }
        assert_eq!(length(message).unwrap(), Some(message.len() - 3));
        assert_eq!(path_number(message), Some(7));
    }

    #[test]
    fn what_is_asked_for_is_what_is_answered() {
        assert_eq!(path_number(&request(16_384)), Some(16_384));
        let answer = answer(16_384);
        assert_eq!(length(&answer).unwrap(), Some(answer.len()));
        assert_eq!(status(&answer), Some(200));
    }

    #[test]
    fn bodies_of_unknown_length_are_refused() {
        assert!(length(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(length(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n").is_err());
    }
}
