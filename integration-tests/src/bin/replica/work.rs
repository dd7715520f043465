//! Requests that leave a trace: each has an id, whose start and end are in a file before anything is answered.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use tokio::time::sleep;

/// A log of one line for each start and end, `S ID METHOD MICROSECONDS`, and for what happens to the replica. What is
/// written is in the kernel, and stays when the process is killed.
#[derive(Debug)]
pub(crate) struct WorkLog {
    file: Option<File>,
}

impl WorkLog {
    /// A file of the container's own in `directory`; it goes on where the container was before a restart.
    pub(crate) fn open(directory: Option<&Path>, hostname: &str) -> io::Result<Self> {
        let open = |directory: &Path| OpenOptions::new().create(true).append(true).open(directory.join(hostname));
        Ok(Self { file: directory.map(open).transpose()? })
    }

    /// That it is ready, at that time.
    pub(crate) fn ready(&self, at: SystemTime) -> io::Result<()> {
        self.line('R', "ready", "-", at)
    }

    /// That it was told to stop, now.
    pub(crate) fn told_to_stop(&self) -> io::Result<()> {
        self.write('T', "stop", "-")
    }

    fn write(&self, mark: char, id: &str, method: &str) -> io::Result<()> {
        self.line(mark, id, method, SystemTime::now())
    }

    fn line(&self, mark: char, id: &str, method: &str, at: SystemTime) -> io::Result<()> {
        let Some(mut file) = self.file.as_ref() else { return Ok(()) };
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        // One write, so that lines of requests at the same time do not mix.
        file.write_all(format!("{mark} {id} {method} {at}\n").as_bytes())
    }
}

/// What a request with an id is answered.
pub(crate) struct Done {
    pub(crate) status: StatusCode,
    pub(crate) id: String,
    pub(crate) text: String,
}

/// Reads the body, takes its time, and says what it got: `ID METHOD LENGTH HASH`.
pub(crate) async fn work(log: &WorkLog, request: Request<Incoming>, id: &str, took: Duration) -> Done {
    let method = request.method().to_string();
    let refused = |text: String| Done { status: StatusCode::BAD_REQUEST, id: id.to_owned(), text };
    let header = request.headers().get("x-id").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    if header.as_deref() != Some(id) {
        return refused(format!("{id} in the query, {header:?} in the header\n"));
    }
    if let Err(error) = log.write('S', id, &method) {
        return refused(format!("the log: {error}\n"));
    }
    let body = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return refused(format!("the body: {error}\n")),
    };
    sleep(took).await;
    match log.write('E', id, &method) {
        Ok(()) => Done {
            status: StatusCode::OK,
            id: id.to_owned(),
            text: format!("{id} {method} {} {:016x}\n", body.len(), hash(&body)),
        },
        Err(error) => refused(format!("the log: {error}\n")),
    }
}

/// FNV-1a: tells one body from another, no more.
fn hash(body: &Bytes) -> u64 {
    body.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_on_where_the_last_run_ended() {
        let directory = tempfile::tempdir().unwrap();
        for (mark, id) in [('S', "1-1"), ('E', "1-1")] {
            let log = WorkLog::open(Some(directory.path()), "abc").unwrap();
            log.write(mark, id, "PUT").unwrap();
            log.told_to_stop().unwrap();
        }
        let text = std::fs::read_to_string(directory.path().join("abc")).unwrap();
        let lines: Vec<_> = text.lines().map(|line| line.rsplit_once(' ').unwrap().0).collect();
        assert_eq!(lines, ["S 1-1 PUT", "T stop -", "E 1-1 PUT", "T stop -"]);
    }

    #[test]
    fn bodies_are_told_apart() {
        assert_eq!(hash(&Bytes::new()), 0xcbf2_9ce4_8422_2325);
        assert_ne!(hash(&Bytes::from("ab")), hash(&Bytes::from("ba")));
    }
}
