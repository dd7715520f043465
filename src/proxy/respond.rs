//! Answers of our own: the one place that turns a cause into a status code, a body and headers.

use bytes::Bytes;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use crate::metrics::Refusal;

/// Who served an answer: a replica's name, or ours.
pub(super) const X_SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");

/// The status code of a cause, and its sentence for the client. It never names an address of ours.
fn status_and_message(refusal: Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::BadRequest => (StatusCode::BAD_REQUEST, "the request is malformed"),
        Refusal::HeadTooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the request's head is too long"),
        Refusal::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the request's body is too long"),
        Refusal::MethodRefused => (StatusCode::METHOD_NOT_ALLOWED, "this method is not forwarded"),
        Refusal::ClientTimeout => (StatusCode::REQUEST_TIMEOUT, "the request did not arrive in time"),
        Refusal::NoSuchService => (StatusCode::SERVICE_UNAVAILABLE, "no replica of this service is known"),
        Refusal::NoReplicaReady => (StatusCode::SERVICE_UNAVAILABLE, "no replica is ready to take requests"),
        Refusal::ConnectFailed => (StatusCode::BAD_GATEWAY, "no replica could be connected to"),
        Refusal::ConnectTimeout => (StatusCode::GATEWAY_TIMEOUT, "no replica could be connected to in time"),
        Refusal::ResponseTimeout => (StatusCode::GATEWAY_TIMEOUT, "the replica did not answer in time"),
        Refusal::ReplicaReset => (StatusCode::BAD_GATEWAY, "the replica closed the connection before it answered"),
        Refusal::ReplicaProtocol => (StatusCode::BAD_GATEWAY, "the replica's answer is not valid HTTP"),
        Refusal::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "the balancer is shutting down"),
        Refusal::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "the balancer failed"),
    }
}

/// The answer to a request that gets none from a replica.
pub(super) fn refuse(refusal: Refusal) -> Response<Bytes> {
    let (status, message) = status_and_message(refusal);
    let body = format!(r#"{{"error":"{refusal}","status":{},"message":"{message}"}}"#, status.as_u16());
    let mut answer = Response::new(Bytes::from(body + "\n"));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_SERVED_BY, HeaderValue::from_static("evenkeel"));
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        // What else comes on a connection whose framing or pace is off cannot be trusted.
        StatusCode::BAD_REQUEST | StatusCode::REQUEST_TIMEOUT => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_its_status() {
        let statuses = Refusal::ALL.map(|refusal| (refusal.as_str(), refuse(refusal).status().as_u16()));
        assert_eq!(
            statuses,
            [
                ("bad-request", 400),
                ("head-too-large", 431),
                ("body-too-large", 413),
                ("method-refused", 405),
                ("client-timeout", 408),
                ("no-such-service", 503),
                ("no-replica-ready", 503),
                ("connect-failed", 502),
                ("connect-timeout", 504),
                ("response-timeout", 504),
                ("replica-reset", 502),
                ("replica-protocol", 502),
                ("shutting-down", 503),
                ("internal", 500),
            ]
        );
    }

    #[test]
    fn the_body_is_json_that_names_the_reason() {
        for refusal in Refusal::ALL {
            let answer = refuse(refusal);
            let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
            assert_eq!(body["error"], refusal.as_str());
            assert_eq!(body["status"], answer.status().as_u16());
            assert!(!body["message"].as_str().unwrap().is_empty());
            assert_eq!(answer.headers()[X_SERVED_BY], "evenkeel");
            assert_eq!(answer.headers().contains_key(RETRY_AFTER), answer.status() == 503);
            assert_eq!(answer.headers().contains_key(ALLOW), answer.status() == 405);
        }
    }
}
