//! A plain HTTP/1.1 client that hides nothing: what a test sends is what goes out, what it gets is what came in.
//!
//! Every wait ends after [`PATIENCE`] with [`io::ErrorKind::TimedOut`], so that a hanging proxy fails its test.

use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// How long any one step may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, step).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// An answer as it came off the wire, its body without the chunk framing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names and values in the order they came in.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a field, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One connection, kept alive between requests.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Those of the connect, and `TimedOut`.
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = in_time(TcpStream::connect(addr)).await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        Ok(Self { reader: BufReader::new(reader), writer })
    }

    /// Sends a `GET` with a Host and nothing else, and reads the answer.
    ///
    /// # Errors
    /// Those of the connection, `TimedOut`, and `UnexpectedEof` or `InvalidData` for an answer that is not whole.
    pub async fn get(&mut self, path: &str) -> io::Result<Response> {
        self.request("GET", path, &[], b"").await
    }

    /// Sends a request and reads the answer. `Host` is added unless given, `Content-Length` if there is a body.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str("Host: gateway\r\n");
        }
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !body.is_empty() {
            let _ = write!(head, "Content-Length: {}\r\n", body.len());
        }
        head.push_str("\r\n");
        let request = [head.as_bytes(), body].concat();
        let Self { reader, writer } = self;
        // Both at once: an answer may come, and must be read, before the request has been sent whole.
        let (sent, answer) = tokio::join!(in_time(writer.write_all(&request)), read_answer(reader, method == "HEAD"));
        answer.map_err(|error| sent.err().unwrap_or(error))
    }

    /// Sends any bytes.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        in_time(self.writer.write_all(bytes)).await
    }

    /// Says that no more will be sent.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn finish_sending(&mut self) -> io::Result<()> {
        in_time(self.writer.shutdown()).await
    }

    /// Whether the other side has closed, as far as this one has been told: what a careful client looks at before it
    /// sends another request.
    pub fn has_ended(&mut self) -> bool {
        match self.reader.fill_buf().now_or_never() {
            Some(Ok(bytes)) => bytes.is_empty(),
            Some(Err(_)) => true,
            None => false,
        }
    }

    /// Reads an answer, body and all.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn read_response(&mut self) -> io::Result<Response> {
        read_answer(&mut self.reader, false).await
    }

    /// Reads an answer's head and leaves the body on the connection.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn read_head(&mut self) -> io::Result<Response> {
        read_head(&mut self.reader).await
    }

    /// Reads one chunk of a chunked body; `None` after the last.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn read_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        read_chunk(&mut self.reader).await
    }

    /// Reads so many bytes.
    ///
    /// # Errors
    /// Those of the connection, `TimedOut`, `UnexpectedEof`.
    pub async fn read_exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        read_exactly(&mut self.reader, length).await
    }

    /// Reads until the other side closes.
    ///
    /// # Errors
    /// Those of the connection, a reset among them, and `TimedOut`.
    pub async fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        read_to_end(&mut self.reader).await
    }
}

type Reader = BufReader<OwnedReadHalf>;

async fn read_answer(reader: &mut Reader, is_head: bool) -> io::Result<Response> {
    let mut response = read_head(reader).await?;
    if is_head || matches!(response.status, 100..=199 | 204 | 304) {
        return Ok(response);
    }
    if response.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        while let Some(chunk) = read_chunk(reader).await? {
            response.body.extend(chunk);
        }
    } else if let Some(length) = response.header("content-length") {
        let length = length.parse().map_err(|_| invalid(format!("content-length {length:?}")))?;
        response.body = read_exactly(reader, length).await?;
    } else {
        response.body = read_to_end(reader).await?;
    }
    Ok(response)
}

async fn read_head(reader: &mut Reader) -> io::Result<Response> {
    let status_line = read_line(reader).await?;
    let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| invalid(format!("status line {status_line:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader).await?;
        if line.is_empty() {
            return Ok(Response { status, headers, body: Vec::new() });
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid(format!("header line {line:?}")))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

async fn read_chunk(reader: &mut Reader) -> io::Result<Option<Vec<u8>>> {
    let line = read_line(reader).await?;
    let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
    let size = size.map_err(|_| invalid(format!("chunk size {line:?}")))?;
    if size == 0 {
        while !read_line(reader).await?.is_empty() {}
        return Ok(None);
    }
    let chunk = read_exactly(reader, size).await?;
    match read_line(reader).await?.as_str() {
        "" => Ok(Some(chunk)),
        more => Err(invalid(format!("{more:?} after a chunk"))),
    }
}

async fn read_exactly(reader: &mut Reader, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    in_time(reader.read_exact(&mut bytes)).await?;
    Ok(bytes)
}

async fn read_to_end(reader: &mut Reader) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    in_time(reader.read_to_end(&mut bytes)).await?;
    Ok(bytes)
}

async fn read_line(reader: &mut Reader) -> io::Result<String> {
    let mut line = String::new();
    in_time(reader.read_line(&mut line)).await?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("closed after {line:?}"))),
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// One `GET` on a connection of its own.
///
/// # Errors
/// Those of [`Client::connect`] and [`Client::get`].
pub async fn get(addr: SocketAddr, path: &str) -> io::Result<Response> {
    Client::connect(addr).await?.request("GET", path, &[("Connection", "close")], b"").await
}

/// Sends any bytes on a connection of its own and reads until the other side closes.
///
/// # Errors
/// Those of the connection, and `TimedOut`.
pub async fn exchange(addr: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut client = Client::connect(addr).await?;
    client.send(bytes).await?;
    client.read_to_end().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// A server that reads a head and writes these bytes.
    async fn answering(bytes: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].ends_with(b"\r\n\r\n"));
            stream.write_all(bytes).await.unwrap();
        });
        addr
    }

    #[tokio::test]
    async fn reads_bodies_of_every_framing() {
        let cases: [(&[u8], &str); 4] = [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nT: x\r\n\r\n",
                "hello",
            ),
            (b"HTTP/1.1 200 OK\r\n\r\nhello", "hello"),
            (b"HTTP/1.1 204 No Content\r\n\r\n", ""),
        ];
        for (bytes, body) in cases {
            let response = get(answering(bytes).await, "/").await.unwrap();
            assert_eq!(response.text(), body);
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_not_whole_is_an_error() {
        let cases: [&[u8]; 4] = [
            b"",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n",
        ];
        for bytes in cases {
            let error = get(answering(bytes).await, "/").await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{bytes:?}");
        }
    }
}
