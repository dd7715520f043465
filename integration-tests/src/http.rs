//! A mini HTTP client: one GET, one connection, one bounded wait.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a whole exchange may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// Who answered, by evenkeel's `X-Served-By`.
    pub served_by: Option<String>,
    /// The body, as text.
    pub body: String,
}

impl Answer {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        self.status.is_success()
    }
}

/// Gets an `http://` URL; fails when there is no whole answer within 10 s.
pub async fn get(url: &str) -> io::Result<Answer> {
    timeout(PATIENCE, exchange(url)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// The replica that evenkeel says has answered.
pub fn served_by<B>(response: &Response<B>) -> Option<String> {
    Some(response.headers().get("x-served-by")?.to_str().ok()?.to_owned())
}

async fn exchange(url: &str) -> io::Result<Answer> {
    let uri: Uri = url.parse().map_err(io::Error::other)?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"));
    let authority = authority.ok_or_else(|| io::Error::other("an http:// URL is needed"))?;
    let stream = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(HOST, authority.as_str()).body(Empty::<Bytes>::new());
    let request = request.map_err(io::Error::other)?;
    let talk = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let (status, served_by) = (response.status(), served_by(&response));
        let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        // Lets the connection end, which the join below waits for.
        drop(sender);
        Ok(Answer { status, served_by, body: String::from_utf8_lossy(&body).into_owned() })
    };
    let (answer, _) = tokio::join!(talk, connection);
    answer
}
