//! Requests of all methods, each with an id, from a process of its own in the lab's hub; and what the replicas logged of
//! them, which says what became of those that failed.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use integration_tests::lab::Lab;
use integration_tests::load::record::{self, Record};
use integration_tests::load::witness::Witness;
use integration_tests::load::{Load, Plan};

use super::CONNECTIONS;

/// What a replica takes for a GET or a PUT, and for a POST: so many of those are under way that some are struck.
const MS: u64 = 5;
const POST_MS: u64 = 25;
const PATIENCE_MS: u64 = 60_000;

/// A new directory that replicas log to, whatever their user.
pub(crate) fn work_logs(lab: &Lab) -> PathBuf {
    let logs = lab.directory().join("work-log");
    fs::create_dir(&logs).unwrap();
    for (directory, mode) in [(logs.as_path(), 0o777), (lab.directory(), 0o755)] {
        fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
    }
    logs
}

/// Clients at work.
pub(crate) struct Work {
    load: Load,
    step: u64,
    logs: PathBuf,
}

/// What they did.
pub(crate) struct Done {
    pub(crate) records: Vec<Record>,
    pub(crate) witness: Witness,
}

impl Work {
    /// Begins to ask evenkeel at `to`, whose replicas log to this directory; `step` is in the ids and no other's.
    pub(crate) fn start(lab: &Lab, to: SocketAddr, step: u64, logs: &Path) -> Self {
        let file = |name: &str| lab.directory().join(format!("{name}-{step}"));
        let plan = Plan {
            to: to.to_string(),
            records: file("records"),
            step,
            seed: step,
            connections: CONNECTIONS,
            requests: None,
            per_connection: u64::MAX,
            ms: MS,
            post_ms: POST_MS,
            slow_ms: None,
            patience_ms: PATIENCE_MS,
            idempotent: false,
        };
        // The one program here that can be the load.
        let program = lab.command(env!("CARGO_BIN_EXE_swarm"));
        let load = Load::start(program, &plan, &file("load")).unwrap();
        Self { load, step, logs: logs.to_owned() }
    }

    /// Lets every open request end.
    pub(crate) async fn stop(self) -> Done {
        let records = record::read(&self.load.stop().await.unwrap()).unwrap();
        assert!(!records.is_empty(), "no request was made");
        Done { records, witness: Witness::read(&self.logs, self.step).unwrap() }
    }
}

impl Done {
    /// The requests that failed, of those that may be sent twice or of the others.
    pub(crate) fn failed(&self, is_idempotent: bool) -> Vec<&Record> {
        let failed = |record: &&Record| record.is_failed() && record.method.is_idempotent() == is_idempotent;
        self.records.iter().filter(failed).collect()
    }

    /// How many may be sent twice, or how many not.
    pub(crate) fn count(&self, is_idempotent: bool) -> usize {
        self.records.iter().filter(|record| record.method.is_idempotent() == is_idempotent).count()
    }

    /// The longest that an answer took which was not to be waited for, in milliseconds.
    pub(crate) fn slowest(&self, is_idempotent: bool) -> u64 {
        let of = self.records.iter().filter(|record| record.method.is_idempotent() == is_idempotent);
        of.map(|record| record.latency(MS) / 1_000).max().unwrap_or_default()
    }

    /// # Panics
    /// If a request that may be sent twice failed, an answer was another request's, or a POST was begun twice.
    pub(crate) fn assert_kept(&self) {
        let failed = self.failed(true);
        assert!(failed.is_empty(), "{} failed: {:#?}", failed.len(), failed.first());
        let wrong: Vec<_> = self.records.iter().filter(|record| record.is_wrong).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        let is_post = |record: &&Record| !record.method.is_idempotent();
        let mut twice = self.records.iter().filter(is_post);
        let twice = twice.find(|record| self.witness.starts(record.number).len() > 1);
        assert!(twice.is_none(), "{twice:?} was begun by {:?}", twice.map(|record| self.witness.starts(record.number)));
    }
}
