//! What is recorded of a request, one line of JSON for each.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::Result;

/// Microseconds since 1970: the clock that the load, the driver and the replicas share.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// One request and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The number after the step's in the id.
    #[serde(rename = "n")]
    pub number: u64,
    /// How it was asked.
    #[serde(rename = "m")]
    pub method: Method,
    /// When it was begun, with the connect if it needed one.
    #[serde(rename = "s")]
    pub start: u64,
    /// When its answer was whole, or it had failed.
    #[serde(rename = "e")]
    pub end: u64,
    /// How long the replica was asked to take, in milliseconds.
    #[serde(rename = "t")]
    pub asked_ms: u64,
    /// 0 if there was no answer.
    #[serde(rename = "c")]
    pub status: u16,
    /// The replica's own word: its hostname.
    #[serde(rename = "r", default, skip_serializing_if = "String::is_empty")]
    pub replica: String,
    /// The system's word: what `X-Served-By` says.
    #[serde(rename = "b", default, skip_serializing_if = "String::is_empty")]
    pub served_by: String,
    /// The connection had carried another request before.
    #[serde(rename = "u")]
    pub reused: bool,
    /// Why it counts as failed.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The answer was that to another request, or of another's making.
    #[serde(rename = "w", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_wrong: bool,
}

/// The methods that are mixed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Without a body.
    #[default]
    Get,
    /// With one, and may be sent twice.
    Put,
    /// With one, and may not.
    Post,
}

impl Method {
    /// As it is sent.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
        }
    }

    /// Whether the request may be sent again when nobody knows what became of it.
    pub fn is_idempotent(self) -> bool {
        self != Self::Post
    }
}

impl Record {
    /// In microseconds, without what the replica was asked to take beyond `usual_ms`.
    pub fn latency(&self, usual_ms: u64) -> u64 {
        let beyond = self.asked_ms.saturating_sub(usual_ms) * 1_000;
        self.end.saturating_sub(self.start).saturating_sub(beyond)
    }

    /// Whether it got no answer, or another than it should.
    pub fn is_failed(&self) -> bool {
        self.failure.is_some()
    }
}

/// All that the load wrote.
///
/// # Errors
/// If the file cannot be read, or is not whole.
pub fn read(file: &Path) -> Result<Vec<Record>> {
    BufReader::new(File::open(file)?).lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let good = Record { number: 7, method: Method::Put, start: 5, end: 9, status: 200, ..Record::default() };
        let bad = Record { failure: Some("reset".into()), is_wrong: true, ..good.clone() };
        let lines = [&good, &bad].map(|record| serde_json::to_string(record).unwrap() + "\n");
        std::fs::write(file.path(), lines.concat()).unwrap();
        assert_eq!(read(file.path()).unwrap(), [good, bad]);
    }

    #[test]
    fn what_a_slow_request_was_asked_to_take_is_not_its_latency() {
        let record = Record { start: 1_000, end: 2_013_000, asked_ms: 2_000, ..Record::default() };
        assert_eq!(record.latency(5), 17_000);
        assert_eq!(Record { asked_ms: 5, end: 8_000, ..record }.latency(5), 7_000);
    }
}
