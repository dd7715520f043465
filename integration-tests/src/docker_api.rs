//! A Docker engine's API: a call costs the engine a few milliseconds less than the command does, and comes sooner.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::Result;

/// How long any call may take: stopping waits for ten seconds before it kills.
const PATIENCE: Duration = Duration::from_secs(40);

/// The engine behind a socket.
#[derive(Clone, Debug)]
pub struct Api {
    socket: PathBuf,
}

impl Api {
    /// That of the engine that listens there.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Creates something and returns what the engine says of it.
    pub async fn create(&self, path: &str, what: Value) -> Result<Value> {
        self.call(Method::POST, path, Some(what)).await
    }

    /// An action without a body, such as `/containers/ID/start`. One that has been done already is none, and no error.
    pub async fn act(&self, path: &str) -> Result<()> {
        self.call(Method::POST, path, None).await.map(drop)
    }

    /// Reads something.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// Removes something; what is not there is no error.
    pub async fn remove(&self, path: &str) -> Result<()> {
        match self.call(Method::DELETE, path, None).await {
            Err(error) if error.to_string().contains("404") => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let what = format!("{method} {path}");
        match timeout(PATIENCE, self.exchange(method, path, body)).await {
            Ok(Ok((status, answer))) if status.is_success() || status == StatusCode::NOT_MODIFIED => Ok(answer),
            Ok(Ok((status, answer))) => {
                let message = answer.get("message").and_then(Value::as_str).unwrap_or_default();
                Err(format!("{what}: {status}: {message}").into())
            }
            Ok(Err(error)) => Err(format!("{what}: {error}").into()),
            Err(_) => Err(format!("{what}: no answer within {PATIENCE:?}").into()),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<Value>) -> Result<(StatusCode, Value)> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driving = tokio::spawn(connection);
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "docker")
            .header("content-type", "application/json")
            .body(Full::new(bytes))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        driving.abort();
        // Some answers are empty, some are text.
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }
}

/// A value for a query, such as a filter in JSON.
pub fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_survive_a_query() {
        assert_eq!(encoded(r#"{"label":["a=1"]}"#), "%7B%22label%22%3A%5B%22a%3D1%22%5D%7D");
    }
}
