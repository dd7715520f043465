//! What a manager's API takes and gives around the lists themselves.

use bytes::Bytes;
use hyper::StatusCode;

use crate::discovery::docker::client::DockerError;

/// What a manager that is none answers with, apart from its status 503.
const NO_MANAGER: &str = "not a swarm manager";

/// The body of an answer of the engine at `host`.
///
/// # Errors
/// For any status but 200.
pub(super) fn body_of(host: &str, (status, body): (StatusCode, Bytes)) -> Result<Bytes, DockerError> {
    if status == StatusCode::OK { Ok(body) } else { Err(refusal(host, status, &body)) }
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
}
