//! One `GET` at an engine's API, for what bollard has no words for: its task leaves out the networks, and one state that
//! it does not know costs it the whole list.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::discovery::docker::client::DockerError;

/// The longest answer that is read: some fifty thousand tasks.
const LONGEST: usize = 256 * 1024 * 1024;
/// What a manager that is none answers with, apart from its status 503.
const NO_MANAGER: &str = "not a swarm manager";

/// Asks `host` (`unix:///path` or `tcp://host:port`) for a path with its query, and reads the answer to its end.
///
/// # Errors
/// When nobody is there, when it takes longer than `limit`, and for any status but 200.
pub(super) async fn get(host: &str, target: &str, what: &'static str, limit: Duration) -> Result<Bytes, DockerError> {
    let answer = async {
        match host.split_once("://") {
            Some(("unix", path)) => {
                let stream = UnixStream::connect(path).await.map_err(|error| explain(host, &error))?;
                exchange(stream, "localhost", target).await
            }
            Some(("tcp" | "http", authority)) => {
                let stream = TcpStream::connect(authority).await.map_err(|error| explain(host, &error))?;
                exchange(stream, authority, target).await
            }
            _ => Err(DockerError::BadHost { host: host.to_owned() }),
        }
    };
    let answer = timeout(limit, answer).await;
    let (status, body) = answer.map_err(|_| DockerError::TimedOut { what, within: limit })??;
    if status == StatusCode::OK { Ok(body) } else { Err(refusal(host, status, &body)) }
}

async fn exchange<S>(stream: S, authority: &str, target: &str) -> Result<(StatusCode, Bytes), DockerError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| DockerError::Other(format!("the connection broke: {error}"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::get(target).header(header::HOST, authority).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| DockerError::Other(error.to_string()))?;
    let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
    let body = Limited::new(body, LONGEST).collect().await;
    let body = body.map_err(|error| DockerError::Other(format!("an answer that broke off: {error}")))?;
    Ok((head.status, body.to_bytes()))
}

fn explain(host: &str, error: &io::Error) -> DockerError {
    match (error.kind(), host.strip_prefix("unix://")) {
        (io::ErrorKind::NotFound, Some(path)) => DockerError::NoSocket { path: path.to_owned() },
        (io::ErrorKind::PermissionDenied, _) => DockerError::Forbidden { host: host.to_owned() },
        _ => DockerError::Unreachable { host: host.to_owned(), cause: error.to_string() },
    }
}

/// What an answer that is none says.
fn refusal(host: &str, status: StatusCode, body: &[u8]) -> DockerError {
    #[derive(serde::Deserialize)]
    struct Complaint {
        message: String,
    }
    let message = serde_json::from_slice(body).map(|Complaint { message }| message);
    let message = message.unwrap_or_else(|_| String::from_utf8_lossy(body.get(..200).unwrap_or(body)).into_owned());
    match status {
        StatusCode::SERVICE_UNAVAILABLE if message.contains(NO_MANAGER) => {
            DockerError::NoManager { host: host.to_owned() }
        }
        StatusCode::NOT_FOUND => DockerError::NotFound(message),
        _ => DockerError::Other(format!("{status}: {message}")),
    }
}

/// A text as a query string may carry it.
pub(super) fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len() * 2), |mut escaped, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(escaped, "%{byte:02X}")),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_refusal_says() {
        let table = [
            (
                503,
                r#"{"message":"This node is not a swarm manager. Use \"docker swarm init\""}"#,
                "is no manager of a Swarm",
            ),
            (404, r#"{"message":"service x not found"}"#, "there is no service x not found"),
            (500, r#"{"message":"rpc error: The swarm does not have a leader"}"#, "does not have a leader"),
            (403, "<html>forbidden", "403 Forbidden: <html>forbidden"),
        ];
        for (status, body, expected) in table {
            let error = refusal("tcp://m:1", StatusCode::from_u16(status).unwrap(), body.as_bytes()).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn only_what_means_something_else_in_a_query_is_escaped() {
        assert_eq!(escaped(r#"{"id":["a-1"]}"#), "%7B%22id%22%3A%5B%22a-1%22%5D%7D");
    }

    #[tokio::test]
    async fn nobody_there_is_said_as_for_any_engine() {
        let dir = tempfile::tempdir().unwrap();
        let host = format!("unix://{}/docker.sock", dir.path().display());
        let error = get(&host, "/tasks", "the tasks", Duration::from_secs(1)).await.unwrap_err();
        assert!(matches!(error, DockerError::NoSocket { .. }), "{error}");
    }
}
