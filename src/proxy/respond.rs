//! Answers of our own: the one place that turns a cause into a status code, a body and headers.

use super::failure::Unanswered;
use super::health_endpoint::Standing;
use super::http1::{RejectReason, Version};
use crate::metrics::Refusal;
use crate::peers::FIELD;

/// Why a client gets an answer of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its request cannot be served.
    Refused(Refusal),
    /// Its request is not one that we take.
    Rejected(RejectReason),
    /// It asked for the options of whoever the last hop is: an `OPTIONS` with `Max-Forwards: 0`.
    Asked,
    /// It asked for our health.
    Health(Standing),
}

/// How an answer of ours is framed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<'a> {
    /// The client's version.
    pub(super) version: Version,
    /// Whether it asked for a head only.
    pub(super) is_head: bool,
    /// Whether its connection is kept.
    pub(super) keeps_alive: bool,
    /// The time now as an HTTP date.
    pub(super) date: &'a [u8],
    /// Whether a peer asked, which may try elsewhere.
    pub(super) is_for_peer: bool,
}

impl Cause {
    /// The status code.
    pub(super) fn status(self) -> u16 {
        match self {
            Self::Rejected(reason) => reason.status(),
            Self::Asked => 204,
            Self::Health(standing) => standing.answer().0,
            Self::Refused(refusal) => match refusal {
                Refusal::BadRequest => 400,
                Refusal::HeadTooLarge => 431,
                Refusal::BodyTooLarge => 413,
                Refusal::MethodRefused => 405,
                Refusal::ClientTimeout => 408,
                Refusal::NoSuchService | Refusal::NoReplicaReady | Refusal::ReplicasBusy | Refusal::Overloaded => 503,
                Refusal::ConnectFailed | Refusal::ReplicaReset | Refusal::ReplicaProtocol => 502,
                Refusal::ConnectTimeout | Refusal::ResponseTimeout => 504,
                Refusal::Internal => 500,
            },
        }
    }

    /// What it is counted as.
    pub(super) fn counted_as(self) -> Option<Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Rejected(RejectReason::MethodRefused) => Some(Refusal::MethodRefused),
            Self::Rejected(RejectReason::BodyTooLong) => Some(Refusal::BodyTooLarge),
            Self::Rejected(RejectReason::HeadTooLong | RejectReason::TooManyFields | RejectReason::TargetTooLong) => {
                Some(Refusal::HeadTooLarge)
            }
            Self::Rejected(_) => Some(Refusal::BadRequest),
            Self::Asked | Self::Health(_) => None,
        }
    }

    /// What it is for a peer where a replica that was tried before may have done what was asked.
    pub(super) fn after_a_loss(self) -> Self {
        match self {
            Self::Refused(refusal) if Unanswered::of(refusal) == Some(Unanswered::Unsent) => {
                Self::Refused(Refusal::ReplicaReset)
            }
            cause => cause,
        }
    }

    /// Whether nothing else that comes on the connection can be trusted: its framing or its pace is off.
    pub(super) fn ends_connection(self) -> bool {
        matches!(self, Self::Rejected(_) | Self::Refused(Refusal::BadRequest | Refusal::ClientTimeout))
    }

    /// The sentence for the client. It never names an address of ours.
    fn message(self) -> String {
        let refusal = match self {
            Self::Rejected(reason) => return reason.to_string(),
            Self::Asked | Self::Health(_) => return String::new(),
            Self::Refused(refusal) => refusal,
        };
        let message = match refusal {
            Refusal::BadRequest => "the request is malformed",
            Refusal::HeadTooLarge => "the request's head is too long",
            Refusal::BodyTooLarge => "the request's body is too long",
            Refusal::MethodRefused => "this method is not forwarded",
            Refusal::ClientTimeout => "the request did not arrive in time",
            Refusal::NoSuchService => "no replica of this service is known",
            Refusal::NoReplicaReady => "no replica is ready to take requests",
            Refusal::ReplicasBusy => "every replica has as many requests as it may have",
            Refusal::Overloaded => "the balancer has no file descriptor left for a connection to a replica",
            Refusal::ConnectFailed => "no replica could be connected to",
            Refusal::ConnectTimeout => "no replica could be connected to in time",
            Refusal::ResponseTimeout => "the replica did not answer in time",
            Refusal::ReplicaReset => "the replica closed the connection before it answered",
            Refusal::ReplicaProtocol => "the replica's answer is not valid HTTP",
            Refusal::Internal => "the balancer failed",
        };
        message.to_owned()
    }

    /// The body and its type.
    fn body(self) -> Option<(String, &'static str)> {
        if let Self::Health(standing) = self {
            return Some((standing.answer().1.to_owned(), "text/plain"));
        }
        let word = self.counted_as()?;
        let (status, message) = (self.status(), self.message());
        let cause = match self {
            Self::Rejected(reason) => format!(r#","cause":"{}""#, reason.as_str()),
            _ => String::new(),
        };
        let json = format!("{{\"error\":\"{word}\",\"status\":{status},\"message\":\"{message}\"{cause}}}\n");
        Some((json, "application/json"))
    }
}

/// The answer as the client gets it.
pub(super) fn answer(cause: Cause, manner: &Manner<'_>) -> Vec<u8> {
    let status = cause.status();
    let mut lines = vec![
        format!("HTTP/1.1 {status} {}", reason(status)),
        "X-Served-By: evenkeel".to_owned(),
        format!("Date: {}", String::from_utf8_lossy(manner.date)),
    ];
    match status {
        503 => lines.push("Retry-After: 1".to_owned()),
        204 | 405 => lines.push("Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS".to_owned()),
        _ => {}
    }
    if let Cause::Refused(refusal) = cause
        && let Some(unanswered) = Unanswered::of(refusal).filter(|_| manner.is_for_peer)
    {
        lines.push(format!("{FIELD}: {}", unanswered.as_str()));
    }
    let body = cause.body();
    if let Some((body, kind)) = &body {
        lines.push(format!("Content-Type: {kind}"));
        lines.push(format!("Content-Length: {}", body.len()));
    }
    match (manner.version, manner.keeps_alive) {
        (Version::Http11, true) => {}
        (Version::Http10, true) => lines.push("Connection: keep-alive".to_owned()),
        (_, false) => lines.push("Connection: close".to_owned()),
    }
    let body = body.filter(|_| !manner.is_head).map(|(body, _)| body).unwrap_or_default();
    format!("{}\r\n\r\n{body}", lines.join("\r\n")).into_bytes()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANNER: Manner<'_> = Manner {
        version: Version::Http11,
        is_head: false,
        keeps_alive: true,
        date: b"Sun, 06 Nov 1994 08:49:37 GMT",
        is_for_peer: false,
    };

    fn all() -> impl Iterator<Item = Cause> {
        let refused = Refusal::ALL.into_iter().map(Cause::Refused);
        refused.chain(RejectReason::ALL.iter().copied().map(Cause::Rejected))
    }

    fn split(cause: Cause, manner: &Manner<'_>) -> (Vec<String>, String) {
        let text = String::from_utf8(answer(cause, manner)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split("\r\n").map(str::to_owned).collect(), body.to_owned())
    }

    #[test]
    fn every_refusal_has_its_status() {
        let statuses = Refusal::ALL.map(|refusal| (refusal.as_str(), Cause::Refused(refusal).status()));
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
                ("replicas-busy", 503),
                ("overloaded", 503),
                ("connect-failed", 502),
                ("connect-timeout", 504),
                ("response-timeout", 504),
                ("replica-reset", 502),
                ("replica-protocol", 502),
                ("internal", 500),
            ]
        );
    }

    #[test]
    fn the_body_is_json_that_names_the_reason() {
        for cause in all() {
            let (head, body) = split(cause, &MANNER);
            let json: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(json["error"], cause.counted_as().unwrap().as_str());
            assert_eq!(json["status"], cause.status());
            assert!(!json["message"].as_str().unwrap().is_empty());
            assert_eq!(head[0], format!("HTTP/1.1 {} {}", cause.status(), reason(cause.status())));
            assert!(!reason(cause.status()).is_empty(), "{cause:?}");
            assert!(head.contains(&format!("Content-Length: {}", body.len())));
            assert!(head.contains(&"X-Served-By: evenkeel".to_owned()));
            assert!(head.contains(&"Date: Sun, 06 Nov 1994 08:49:37 GMT".to_owned()));
            let has = |name: &str| head.iter().any(|line| line.starts_with(name));
            assert_eq!((has("Retry-After"), has("Allow")), (cause.status() == 503, cause.status() == 405));
        }
    }

    #[test]
    fn a_head_has_no_body_but_its_length_and_options_have_neither() {
        let cause = Cause::Refused(Refusal::NoReplicaReady);
        let (whole, body) = split(cause, &MANNER);
        assert_eq!(split(cause, &Manner { is_head: true, ..MANNER }), (whole, String::new()));
        assert!(!body.is_empty());
        let (head, body) = split(Cause::Asked, &MANNER);
        assert_eq!((head[0].as_str(), body.as_str()), ("HTTP/1.1 204 No Content", ""));
        assert!(head.iter().any(|line| line.starts_with("Allow: GET")));
        assert!(!head.iter().any(|line| line.starts_with("Content-Length")));
    }

    #[test]
    fn the_connection_is_said_to_stay_or_to_close() {
        for (version, keeps_alive, line) in [
            (Version::Http11, true, None),
            (Version::Http11, false, Some("Connection: close")),
            (Version::Http10, true, Some("Connection: keep-alive")),
            (Version::Http10, false, Some("Connection: close")),
        ] {
            let manner = Manner { version, keeps_alive, ..MANNER };
            let (head, _) = split(Cause::Refused(Refusal::ReplicaReset), &manner);
            assert_eq!(head.iter().find(|l| l.starts_with("Connection")).map(String::as_str), line);
        }
    }

    #[test]
    fn only_a_peer_is_told_whether_it_may_try_elsewhere() {
        for (refusal, word) in [
            (Refusal::NoReplicaReady, Some("unsent")),
            (Refusal::ReplicaReset, Some("lost")),
            (Refusal::ResponseTimeout, None),
        ] {
            let said = |is_for_peer| {
                let (head, _) = split(Cause::Refused(refusal), &Manner { is_for_peer, ..MANNER });
                head.iter().find_map(|line| line.strip_prefix("Evenkeel-Peer: ").map(str::to_owned))
            };
            assert_eq!((said(true).as_deref(), said(false)), (word, None), "{refusal:?}");
        }
    }
}
