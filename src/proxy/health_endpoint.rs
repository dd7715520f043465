//! What we answer ourselves on the clients' port: whether a balancer in front of us should send us clients.

use super::exchange::Exchange;
use super::http1::Method;
use super::http1::target::Path;
use super::preface::may_begin;
use super::worker::Worker;

/// What a balancer in front of us is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Requests are taken.
    Serving,
    /// A shutdown has begun: requests are taken still, but should go elsewhere.
    ShuttingDown,
    /// No replica of the default service could take a request, not even one that merely runs.
    NoReplica,
}

impl Standing {
    /// The status code, and the words for people.
    pub(super) fn answer(self) -> (u16, &'static str) {
        match self {
            Self::Serving => (200, "serving\n"),
            Self::ShuttingDown => (503, "shutting down\n"),
            Self::NoReplica => (503, "no replica takes requests\n"),
        }
    }
}

/// How we stand now.
pub(super) fn standing(worker: &Worker) -> Standing {
    let context = &worker.context;
    if context.leaving.is_cancelled() || worker.is_stopping() {
        Standing::ShuttingDown
    } else if worker.balancer.serves(context.service.as_str()) {
        Standing::Serving
    } else {
        Standing::NoReplica
    }
}

impl Exchange<'_> {
    /// Whether the request is for the health endpoint: this path and no other, nor one with a query.
    #[inline]
    pub(super) fn asks_for_health(&self) -> bool {
        let Some(endpoint) = &self.client.settings.health_endpoint else { return false };
        let Path::Origin(path) = self.request.target.path else { return false };
        let is_read = matches!(self.request.head.method, Method::Get | Method::Head);
        is_read && path.of(self.client.buffered()) == endpoint.as_bytes()
    }
}

/// Whether `buffer` begins with a `GET` or a `HEAD` of `path`; `None` if more of it has to come.
pub(super) fn begins(buffer: &[u8], path: &str) -> Option<bool> {
    let lines = ["GET ", "HEAD "].map(|method| [method, path, " "].concat());
    let line = lines.iter().map(|line| line.as_bytes()).find(|line| may_begin(buffer, line));
    line.map_or(Some(false), |line| (buffer.len() >= line.len()).then_some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_the_path_is_known_as_soon_as_it_can_be() {
        for (bytes, known) in [
            ("G", None),
            ("GET /up", None),
            ("HEAD /up", None),
            ("GET /up ", Some(true)),
            ("GET /up HTTP/1.1\r\n", Some(true)),
            ("HEAD /up HTTP/1.0\r\n", Some(true)),
            ("GET /up?", Some(false)),
            ("GET /upper ", Some(false)),
            ("GET  /up ", Some(false)),
            ("get /up ", Some(false)),
            ("GET\t", Some(false)),
            ("POST /up ", Some(false)),
            ("PROXY ", Some(false)),
            ("\r\n", Some(false)),
        ] {
            assert_eq!(begins(bytes.as_bytes(), "/up"), known, "{bytes:?}");
        }
    }
}
