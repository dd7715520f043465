//! What a client meant: its bytes read as generously as evenkeel does, by means of its own.
//!
//! The spellings that evenkeel takes and writes anew are put right first; then the strict parser has to understand the
//! rest. Where it does not, nothing that follows may be taken for a request.

use integration_tests::wire::{self, Fields, Framing, Parsed, Request};

/// A request as it was meant.
#[derive(Clone, Debug)]
pub(crate) struct Meant {
    /// With the body as far as it came, and the target as it goes to a replica.
    pub(crate) request: Request,
    /// The authority that it is for, if it names one.
    pub(crate) host: Option<String>,
    /// Whether it is not of HTTP/1.0.
    pub(crate) is_http11: bool,
    /// Whether all of it is there.
    pub(crate) is_whole: bool,
    /// Whether another request may follow on the connection.
    pub(crate) persists: bool,
}

/// A head as it was meant.
pub(crate) struct Head {
    pub(crate) meant: Meant,
    /// Bytes of it, blank lines before it included.
    pub(crate) length: usize,
}

/// All that may be read as requests in what a client sent, the last maybe not whole.
pub(crate) fn requests(mut sent: &[u8]) -> Vec<Meant> {
    let mut requests = Vec::new();
    while let Some(Head { mut meant, length }) = head(sent) {
        sent = &sent[length..];
        let (body, end) = body(sent, meant.request.framing);
        meant.request.body = body;
        meant.is_whole = end.is_some();
        let goes_on = meant.persists;
        requests.push(meant);
        match end {
            Some(end) if goes_on => sent = &sent[end..],
            _ => break,
        }
    }
    requests
}

/// The head at the start of `sent`, if it is there and can be understood.
pub(crate) fn head(sent: &[u8]) -> Option<Head> {
    let mut start = 0;
    while sent[start..].starts_with(b"\r\n") {
        start += 2;
    }
    let end = position(&sent[start..], b"\r\n\r\n")? + start + 4;
    let (text, is_http11) = put_right(&sent[start..end]);
    let mut request = match wire::request(&text).ok()? {
        Parsed::Whole(request, length) if length == text.len() => request,
        Parsed::Partial(Some(request)) => request,
        _ => return None,
    };
    let (host, target) = aim(&request)?;
    request.target = target;
    let options = elements(&request.fields, "connection");
    let says = |option: &str| options.iter().any(|one| one == option);
    let persists = !says("close") && (is_http11 || says("keep-alive"));
    Some(Head { meant: Meant { request, host, is_http11, is_whole: false, persists }, length: end })
}

/// The elements of all lines of a list, in lower case and without empty ones.
pub(crate) fn elements(fields: &Fields, name: &str) -> Vec<String> {
    let lines = fields.all(name).join(",").to_ascii_lowercase();
    let elements = lines.split(',').map(|one| one.trim_matches([' ', '\t']).to_owned());
    elements.filter(|one| !one.is_empty()).collect()
}

/// A head as the strict parser spells it, and whether it was not of HTTP/1.0.
fn put_right(head: &[u8]) -> (Vec<u8>, bool) {
    let mut lines = wire::text(head).split("\r\n").map(str::to_owned).collect::<Vec<_>>();
    let mut is_http11 = true;
    if let Some((rest, minor)) = lines[0].rsplit_once(" HTTP/1.")
        && minor.len() == 1
        && minor.bytes().all(|b| b.is_ascii_digit())
    {
        is_http11 = minor != "0";
        lines[0] = format!("{rest} HTTP/1.1");
    }
    for line in lines.iter_mut().skip(1) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim_matches([' ', '\t']);
        let plain = if name.eq_ignore_ascii_case("content-length") && value.bytes().all(|b| b.is_ascii_digit()) {
            let digits = value.trim_start_matches('0');
            if digits.is_empty() && !value.is_empty() { "0".to_owned() } else { digits.to_owned() }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            // Of HTTP/1.0 it means nothing good.
            if is_http11 { value.to_ascii_lowercase() } else { "doubtful".to_owned() }
        } else {
            continue;
        };
        *line = format!("{name}: {plain}");
    }
    (lines.join("\r\n").chars().map(|c| c as u8).collect(), is_http11)
}

/// The authority, and the target as it goes to a replica.
fn aim(request: &Request) -> Option<(Option<String>, String)> {
    let target = &request.target;
    if target.starts_with('/') || target == "*" {
        return Some((request.fields.one("host"), target.clone()));
    }
    let (scheme, rest) = target.split_once("://")?;
    if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
        return None;
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = match path {
        "" if request.method == "OPTIONS" => "*".to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    };
    Some((Some(authority.to_owned()), path))
}

/// The body's data as far as it can be understood, and its length on the wire if it is whole.
fn body(sent: &[u8], framing: Framing) -> (Vec<u8>, Option<usize>) {
    match framing {
        Framing::Length(length) => match sent.get(..length) {
            Some(body) => (body.to_owned(), Some(length)),
            None => (sent.to_owned(), None),
        },
        Framing::Chunked => {
            let Chunks { data, trailers: _, length } = chunks(sent);
            (data, length)
        }
        Framing::None | Framing::UntilClose => (Vec::new(), Some(0)),
    }
}

/// A chunked body as it was meant.
#[derive(Debug)]
pub(crate) struct Chunks {
    /// The data as far as it can be understood.
    pub(crate) data: Vec<u8>,
    /// The trailers, if all is there.
    pub(crate) trailers: Fields,
    /// Its length on the wire if it is whole.
    pub(crate) length: Option<usize>,
}

/// Reads chunks; their extensions and the whitespace after a size count for nothing.
pub(crate) fn chunks(sent: &[u8]) -> Chunks {
    let mut chunks = Chunks { data: Vec::new(), trailers: Fields::default(), length: None };
    let mut at = 0;
    loop {
        let Some(length) = position(&sent[at..], b"\r\n") else { return chunks };
        let Some(size) = size(&sent[at..at + length]) else { return chunks };
        at += length + 2;
        if size == 0 {
            // The strict parser reads trailers as it reads them anywhere.
            let last = [b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", &sent[at..]].concat();
            if let Ok(Parsed::Whole(request, end)) = wire::request(&last) {
                chunks.length = Some(at + end - (last.len() - (sent.len() - at)));
                chunks.trailers = request.trailers;
            }
            return chunks;
        }
        let data = &sent[at..sent.len().min(at.saturating_add(size))];
        chunks.data.extend_from_slice(data);
        at += data.len();
        if data.len() < size || !sent[at..].starts_with(b"\r\n") {
            return chunks;
        }
        at += 2;
    }
}

fn size(line: &[u8]) -> Option<usize> {
    let digits = line.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, rest) = line.split_at(digits);
    if rest.iter().any(|b| b.is_ascii_control() && *b != b'\t') || !matches!(rest.trim_ascii_start(), [] | [b';', ..]) {
        return None;
    }
    usize::from_str_radix(&wire::text(digits), 16).ok()
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}
