//! A parser of HTTP/1.1 messages that knows one spelling of everything and calls any other an error. It shares nothing
//! with the proxy, so what it finds in a stream is what the strictest reader would find.

use std::fmt;

/// The fields of a message: names in lower case, values as they came, without the whitespace around them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, Vec<u8>)>);

impl Fields {
    /// Every value of a field, in order. `name` is in lower case.
    pub fn all(&self, name: &str) -> Vec<String> {
        let lines = self.0.iter().filter(|(n, _)| n == name);
        lines.map(|(_, value)| value.iter().map(|b| char::from(*b)).collect()).collect()
    }

    /// The value of a field that is there once.
    pub fn one(&self, name: &str) -> Option<String> {
        let mut all = self.all(name);
        if all.len() == 1 { all.pop() } else { None }
    }
}

/// A request.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The method as it was spelled.
    pub method: String,
    /// The target as it was sent.
    pub target: String,
    /// The fields.
    pub fields: Fields,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// The fields after a chunked body.
    pub trailers: Fields,
    /// How far the body goes.
    pub framing: Framing,
}

impl Request {
    /// The method and the target.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

/// An answer.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    /// The status code.
    pub status: u16,
    /// The fields.
    pub fields: Fields,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// The fields after a chunked body.
    pub trailers: Fields,
    /// How far the body goes.
    pub framing: Framing,
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, value)| (name, short(value)))).finish()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?} {:?}", short(self.line().as_bytes()), self.fields, short(&self.body), self.trailers)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, status, fields, body, trailers, .. } = self;
        write!(f, "{version} {status} {fields:?} {:?} {trailers:?}", short(body))
    }
}

/// How far the body goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    #[default]
    None,
    /// So many bytes.
    Length(usize),
    /// Chunks.
    Chunked,
    /// All until the connection is closed.
    UntilClose,
}

/// A message at the start of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// The message and its length.
    Whole(T, usize),
    /// More is to come; the message as far as its body has come, if its head is whole.
    Partial(Option<T>),
}

/// What was found, or what is wrong.
pub type Strictly<T> = Result<T, String>;

/// Reads the request at the start of `bytes`.
///
/// # Errors
/// What is not spelled in the one way.
pub fn request(bytes: &[u8]) -> Strictly<Parsed<Request>> {
    let Some((line, fields, length)) = head(bytes)? else { return Ok(Parsed::Partial(None)) };
    let parts: Vec<_> = line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else { return Err(format!("request line {line:?}")) };
    if !is_token(method) || target.is_empty() || !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Err(format!("request line {line:?}"));
    }
    let framing = match framing(&fields)? {
        Framing::UntilClose => Framing::None,
        framing => framing,
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    let mut request = Request { method, target, fields, framing, ..Request::default() };
    let (body, trailers, end) = body(&bytes[length..], framing)?;
    (request.body, request.trailers) = (body, trailers);
    Ok(end.map_or(Parsed::Partial(Some(request.clone())), |end| Parsed::Whole(request, length + end)))
}

/// Reads the answer at the start of `bytes`; `is_head`: to a `HEAD`.
///
/// # Errors
/// As [`request`].
pub fn response(bytes: &[u8], is_head: bool) -> Strictly<Parsed<Response>> {
    let Some((line, fields, length)) = head(bytes)? else { return Ok(Parsed::Partial(None)) };
    let parts: Vec<_> = line.splitn(3, ' ').collect();
    let (version, status) = match parts[..] {
        [version @ ("HTTP/1.1" | "HTTP/1.0"), status, _] if status.len() == 3 => (version, status.parse::<u16>()),
        _ => return Err(format!("status line {line:?}")),
    };
    let status = status.map_err(|_| format!("status line {line:?}"))?;
    let framing = match framing(&fields)? {
        _ if is_head || matches!(status, 100..=199 | 204 | 304) => Framing::None,
        framing => framing,
    };
    let mut response = Response { version: version.to_owned(), status, fields, framing, ..Response::default() };
    let (body, trailers, end) = body(&bytes[length..], framing)?;
    (response.body, response.trailers) = (body, trailers);
    Ok(end.map_or(Parsed::Partial(Some(response.clone())), |end| Parsed::Whole(response, length + end)))
}

/// The first line, the fields, and the length of both with the empty line.
fn head(bytes: &[u8]) -> Strictly<Option<(String, Fields, usize)>> {
    let (lines, length) = lines(bytes)?;
    let Some(length) = length else { return Ok(None) };
    let [line, fields @ ..] = &lines[..] else { return Err("an empty line in place of a message".to_owned()) };
    let line: String = line.iter().map(|b| char::from(*b)).collect();
    Ok(Some((line, Fields(fields.iter().map(|line| field(line)).collect::<Strictly<_>>()?), length)))
}

/// The lines up to an empty one, and the length of all, if the empty one is there.
fn lines(bytes: &[u8]) -> Strictly<(Vec<&[u8]>, Option<usize>)> {
    let mut lines = Vec::new();
    let mut at = 0;
    while let Some(length) = line_length(&bytes[at..])? {
        let line = &bytes[at..at + length];
        at += length + 2;
        if line.is_empty() {
            return Ok((lines, Some(at)));
        }
        lines.push(line);
    }
    Ok((lines, None))
}

/// The length of the line at the start without its CRLF; no control character may be in it, but for tabs.
fn line_length(bytes: &[u8]) -> Strictly<Option<usize>> {
    let Some(length) = bytes.iter().position(|b| b.is_ascii_control() && *b != b'\t') else { return Ok(None) };
    match bytes[length..] {
        [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => Ok(Some(length)),
        _ => Err(format!("control character {:?} after {:?}", bytes[length], text(&bytes[..length]))),
    }
}

fn field(line: &[u8]) -> Strictly<(String, Vec<u8>)> {
    let colon = line.iter().position(|b| *b == b':').ok_or_else(|| format!("no colon in {:?}", text(line)))?;
    let name = text(&line[..colon]);
    if !is_token(&name) {
        return Err(format!("field name {name:?}"));
    }
    Ok((name.to_ascii_lowercase(), line[colon + 1..].trim_ascii().to_owned()))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn framing(fields: &Fields) -> Strictly<Framing> {
    match (&fields.all("transfer-encoding")[..], &fields.all("content-length")[..]) {
        ([], []) => Ok(Framing::UntilClose),
        ([coding], []) if coding == "chunked" => Ok(Framing::Chunked),
        ([], [length]) => match length.parse::<usize>() {
            Ok(value) if value.to_string() == *length => Ok(Framing::Length(value)),
            _ => Err(format!("Content-Length {length:?}")),
        },
        (codings, lengths) => Err(format!("Transfer-Encoding {codings:?} and Content-Length {lengths:?}")),
    }
}

/// The body as far as it is there, its trailers, and its length on the wire if it is whole.
fn body(bytes: &[u8], framing: Framing) -> Strictly<(Vec<u8>, Fields, Option<usize>)> {
    Ok(match framing {
        Framing::None => (Vec::new(), Fields::default(), Some(0)),
        Framing::UntilClose => (bytes.to_owned(), Fields::default(), None),
        Framing::Length(length) => match bytes.get(..length) {
            Some(body) => (body.to_owned(), Fields::default(), Some(length)),
            None => (bytes.to_owned(), Fields::default(), None),
        },
        Framing::Chunked => return chunked(bytes),
    })
}

/// The length on the wire of the chunked body at the start of `bytes`, its trailers included, if it is whole.
///
/// # Errors
/// What is not spelled in the one way.
pub fn chunked_length(bytes: &[u8]) -> Strictly<Option<usize>> {
    chunked(bytes).map(|(_, _, length)| length)
}

fn chunked(bytes: &[u8]) -> Strictly<(Vec<u8>, Fields, Option<usize>)> {
    let mut body = Vec::new();
    let mut at = 0;
    let unfinished = |body| Ok((body, Fields::default(), None));
    loop {
        let Some(length) = line_length(&bytes[at..])? else { return unfinished(body) };
        let line = text(&bytes[at..at + length]);
        let is_hex = !line.is_empty() && line.len() <= 15 && line.bytes().all(|b| b.is_ascii_hexdigit());
        let size = usize::from_str_radix(&line, 16).ok().filter(|_| is_hex);
        let size = size.ok_or_else(|| format!("chunk size {line:?}"))?;
        at += length + 2;
        if size == 0 {
            let (lines, length) = lines(&bytes[at..])?;
            let trailers = Fields(lines.into_iter().map(field).collect::<Strictly<_>>()?);
            return Ok((body, trailers, length.map(|length| at + length)));
        }
        let chunk = &bytes[at..bytes.len().min(at + size)];
        body.extend_from_slice(chunk);
        at += chunk.len();
        match bytes[at..] {
            _ if chunk.len() < size => return unfinished(body),
            [] | [b'\r'] => return unfinished(body),
            [b'\r', b'\n', ..] => at += 2,
            _ => return Err("a chunk longer than its size".to_owned()),
        }
    }
}

/// Bytes as characters, one each.
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

/// The beginning of it, for people to read.
pub fn short(bytes: &[u8]) -> String {
    const ENOUGH: usize = 120;
    let rest = bytes.len().saturating_sub(ENOUGH);
    let more = if rest == 0 { String::new() } else { format!("… {rest} more") };
    text(&bytes[..bytes.len() - rest]) + &more
}

#[test]
fn the_parser_takes_one_spelling_only() {
    let whole = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n";
    let Ok(Parsed::Whole(parsed, length)) = request(whole) else { panic!("not parsed") };
    assert_eq!((parsed.line().as_str(), &parsed.body[..], length), ("POST /a", &b"abc"[..], whole.len()));
    assert_eq!(parsed.trailers.one("t").as_deref(), Some("1"));
    for end in 0..whole.len() {
        assert!(matches!(request(&whole[..end]), Ok(Parsed::Partial(_))), "{end}");
    }
    for bad in [
        "GET  / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 05\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
    ] {
        assert!(request(bad.as_bytes()).is_err(), "{bad:?}");
    }
    for bad in ["HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.1 1000 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nA\r\n\r\n", "hello\r\n\r\n"]
    {
        assert!(response(bad.as_bytes(), false).is_err(), "{bad:?}");
    }
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    assert!(matches!(response(answer, true), Ok(Parsed::Whole(_, length)) if length == answer.len() - 2));
}
