//! The docker command, and the engine's events as a witness of when things happened.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) use integration_tests::command::{docker, run};
use serde_json::Value;

/// `docker inspect` of one container.
pub(crate) fn inspect(container: &str) -> Value {
    let mut all: Vec<Value> = serde_json::from_str(&docker(&["inspect", container])).unwrap();
    all.swap_remove(0)
}

/// One event of a container, as far as scenarios care.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// `pause`, `health_status: healthy`, …
    pub(crate) action: String,
    /// `gateway-3`
    pub(crate) replica: String,
    /// When the engine emitted it.
    pub(crate) at: SystemTime,
}

/// Follows some events of a Compose project's containers, from now until dropped. The engine remembers too few to be
/// asked afterwards: each HEALTHCHECK makes three.
pub(crate) struct Events {
    follower: Child,
    seen: Arc<Mutex<Vec<Event>>>,
}

impl Events {
    pub(crate) fn follow(project: &str, action: &str) -> Self {
        let mut follower = Command::new("docker")
            .args(["events", "--format", "{{json .}}", "--filter", "type=container"])
            .args(["--since", &timestamp(SystemTime::now())])
            .args(["--filter", &format!("label=com.docker.compose.project={project}")])
            .args(["--filter", &format!("event={action}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(follower.stdout.take().unwrap()).lines();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&seen);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                recorded.lock().unwrap().push(parse(&line));
            }
        });
        Self { follower, seen }
    }

    /// All so far.
    pub(crate) fn seen(&self) -> Vec<Event> {
        self.seen.lock().unwrap().clone()
    }

    /// The first event of that action for that replica.
    pub(crate) fn first(&self, action: &str, replica: &str) -> Option<Event> {
        self.seen().into_iter().find(|event| event.action == action && event.replica == replica)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone now.
        let _ = self.follower.kill();
        let _ = self.follower.wait();
    }
}

fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

fn parse(line: &str) -> Event {
    let event: Value = serde_json::from_str(line).unwrap();
    let label = |name: &str| event["Actor"]["Attributes"][format!("com.docker.compose.{name}")].as_str().unwrap_or("?");
    Event {
        action: event["Action"].as_str().unwrap().to_owned(),
        replica: format!("{}-{}", label("service"), label("container-number")),
        at: UNIX_EPOCH + Duration::from_nanos(event["timeNano"].as_u64().unwrap()),
    }
}
