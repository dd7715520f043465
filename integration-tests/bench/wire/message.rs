//! As much of HTTP/1.1 as a harness needs that knows what it will be sent: where a message ends.

use std::io;

use integration_tests::samples::ANSWER;
use integration_tests::wire::chunked_length;

/// The bytes of the first message in `bytes`, head and body, or `None` while some are missing.
///
/// # Errors
///
/// The body's length is no number, or its chunks are none.
pub(crate) fn length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4) else {
        return Ok(None);
    };
    let (head_text, rest) = bytes.split_at(head);
    if field(head_text, "transfer-encoding").is_some() {
        let body = chunked_length(rest).map_err(|what| invalid(&what))?;
        return Ok(body.map(|body| head + body));
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

/// What an answer is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    /// As little head as can be; `/1024`.
    Plain,
    /// A framework's head; `/1024?rich`.
    Rich,
    /// The same, and the body in chunks of 4 KiB at most; `/1024?chunked`.
    Chunked,
    /// 304, whatever the number; `/1024?unchanged`.
    Unchanged,
}

/// What a request's target asks for: `GET /1024 HTTP/1.1`.
pub(crate) fn wanted(bytes: &[u8]) -> Option<(Shape, usize)> {
    let path = bytes.split(|byte| *byte == b' ').nth(1)?.strip_prefix(b"/")?;
    let path = std::str::from_utf8(path).ok()?;
    let (number, shape) = match path.split_once('?') {
        None => (path, Shape::Plain),
        Some((number, "rich")) => (number, Shape::Rich),
        Some((number, "chunked")) => (number, Shape::Chunked),
        Some((number, "unchanged")) => (number, Shape::Unchanged),
        Some(_) => return None,
    };
    Some((shape, number.parse().ok()?))
}

/// An answer whose body has `size` bytes.
pub(crate) fn answer(shape: Shape, size: usize) -> Vec<u8> {
    let mut bytes = match shape {
        Shape::Plain => {
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n").into_bytes()
        }
        Shape::Rich => ANSWER.replace("Content-Length: 1024", &format!("Content-Length: {size}")).into_bytes(),
        Shape::Chunked => ANSWER.replace("Content-Length: 1024", "Transfer-Encoding: chunked").into_bytes(),
        Shape::Unchanged => return b"HTTP/1.1 304 Not Modified\r\nETag: \"33a64df5\"\r\n\r\n".to_vec(),
    };
    let body = vec![b'x'; size];
    bytes.extend(if shape == Shape::Chunked { in_chunks(&body) } else { body });
    bytes
}

/// A body in chunks of 4 KiB at most.
pub(crate) fn in_chunks(body: &[u8]) -> Vec<u8> {
    let chunk = |data: &[u8]| [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
    body.chunks(4096).map(chunk).chain([b"0\r\n\r\n".to_vec()]).collect::<Vec<_>>().concat()
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
    io::Error::new(io::ErrorKind::InvalidData, format!("a message: {what}"))
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
        assert_eq!(wanted(message), Some((Shape::Plain, 7)));
    }

    #[test]
    fn a_message_in_chunks_is_complete_with_its_last_one() {
        let message = answer(Shape::Chunked, 5000);
        for end in 0..message.len() {
            assert_eq!(length(&message[..end]).unwrap(), None, "{end} bytes");
        }
        assert_eq!(length(&[&message[..], b"HTTP"].concat()).unwrap(), Some(message.len()));
    }

    #[test]
    fn what_is_asked_for_is_what_is_answered() {
        assert_eq!(wanted(&request(16_384)), Some((Shape::Plain, 16_384)));
        assert_eq!(wanted(b"GET /3?rich HTTP/1.1\r\n"), Some((Shape::Rich, 3)));
        assert_eq!(wanted(b"GET /3?poor HTTP/1.1\r\n"), None);
        for (shape, with_status) in
            [(Shape::Plain, 200), (Shape::Rich, 200), (Shape::Chunked, 200), (Shape::Unchanged, 304)]
        {
            let answer = answer(shape, 16_384);
            assert_eq!(length(&answer).unwrap(), Some(answer.len()), "{shape:?}");
            assert_eq!(status(&answer), Some(with_status));
        }
    }

    #[test]
    fn bodies_of_unknown_length_are_refused() {
        assert!(length(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\n").is_err());
        assert!(length(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n").is_err());
    }
}
