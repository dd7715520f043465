//! The connection to one manager of a Swarm: what it is asked, and how.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::Stream;

use super::model::{Attachment, Node, Service, Task};
use super::{rest, wire};
use crate::config::settings::ManagerHost;
use crate::discovery::docker::client::{Client, DockerError};
use crate::discovery::docker::container::{Container, Endpoint};
use crate::discovery::docker::event::{Filters, Message};
use crate::discovery::docker::identity::{Identity, STACK};
use crate::replica::ReplicaId;

/// How long the manager may take for a list.
const ANSWER: Duration = Duration::from_secs(10);
/// The most services or tasks that are named in one question: some socket proxies refuse long lines.
const NAMED: usize = 100;
/// The label that a task's container has.
const TASK: &str = "com.docker.swarm.task.id";

/// What we ask the manager's engine to tell: what rings for all nodes, and what happens to its own node's containers.
const EVENTS: &Filters = &[
    ("type", &["service", "node", "container"]),
    ("event", &["create", "update", "remove", "start", "die", "kill", "pause", "unpause", "destroy", "health_status"]),
];

/// Which tasks to ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Question {
    /// Those of these services that are wanted, by the service's id.
    pub(super) services: Vec<String>,
    /// Those that are expected among them, by id. What becomes of one that is not there is asked as well.
    pub(super) expected: HashSet<String>,
    /// Those that are to end, by id.
    pub(super) leaving: Vec<String>,
}

/// What the manager says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// The tasks that are wanted.
    pub(super) wanted: Vec<Task>,
    /// Those tasks of whom it was asked what has become. Who is missing is gone.
    pub(super) others: Vec<Task>,
}

/// A connection to one manager, over whatever an engine can be reached by. Cheap to clone.
#[derive(Clone)]
pub(super) struct Manager {
    client: Client,
    host: String,
}

impl Manager {
    /// Connects to an engine of which it is not yet known whether it is a manager.
    pub(super) async fn connect(ManagerHost { host, cert_path }: &ManagerHost) -> Result<Self, DockerError> {
        Ok(Self { client: Client::connect(host, cert_path.as_deref()).await?, host: host.clone() })
    }

    /// Finds our own container: on the manager's own node, or among the tasks of all.
    pub(super) async fn find_ourselves(&self) -> Result<Identity, DockerError> {
        let me = Identity::find(&self.client).await?;
        let candidates = Identity::candidates();
        if me.id.is_some() || candidates.is_empty() {
            return Ok(me);
        }
        let wanted = [("desired-state", vec!["running".to_owned()])];
        let tasks = wire::tasks(&self.list("tasks", "the task list", &wanted).await?)?;
        Ok(find_among(tasks, &candidates).unwrap_or_default())
    }

    /// What happens from the given time on, until the stream ends in an error.
    pub(super) fn events(&self, since: SystemTime) -> impl Stream<Item = Result<Message, DockerError>> + use<> {
        self.client.messages(since, EVENTS)
    }

    /// Asks whether the engine is there.
    pub(super) async fn ping(&self) -> Result<(), DockerError> {
        self.client.ping().await
    }

    /// The running containers of tasks on the manager's own node.
    pub(super) async fn containers(&self) -> Result<Vec<Container>, DockerError> {
        self.client.list_labelled(TASK).await
    }

    /// Every service.
    pub(super) async fn services(&self) -> Result<Vec<Service>, DockerError> {
        wire::services(&self.list("services", "the service list", &[]).await?)
    }

    /// Every node.
    pub(super) async fn nodes(&self) -> Result<Vec<Node>, DockerError> {
        wire::nodes(&self.list("nodes", "the node list", &[]).await?)
    }

    /// The tasks that are asked for. Those that ended long ago, of which a Swarm keeps many, are not among them.
    pub(super) async fn tasks(&self, question: Question) -> Result<Answer, DockerError> {
        let Question { services, expected, leaving } = question;
        let mut answer = Answer::default();
        // All of them in one go if there are too many to be named.
        let parts = if services.len() > NAMED { vec![&[][..]] } else { services.chunks(NAMED).collect() };
        for part in parts {
            let asked = [("service", part.to_vec()), ("desired-state", vec!["running".to_owned()])];
            let rows = wire::tasks(&self.list("tasks", "the task list", &asked).await?)?;
            answer.wanted.extend(rows.into_iter().filter(|task| services.contains(&task.service)));
        }
        let is_there: HashSet<_> = answer.wanted.iter().map(|task| task.id.as_str()).collect();
        let missing = expected.into_iter().filter(|id| !is_there.contains(id.as_str()));
        let doubtful: Vec<_> = missing.chain(leaving).collect();
        for part in doubtful.chunks(NAMED) {
            let asked = [("id", part.to_vec())];
            let rows = wire::tasks(&self.list("tasks", "some tasks", &asked).await?)?;
            // Swarm takes an id for the beginning of one.
            answer.others.extend(rows.into_iter().filter(|task| part.contains(&task.id)));
        }
        Ok(answer)
    }

    async fn list(
        &self,
        path: &str,
        what: &'static str,
        filters: &[(&str, Vec<String>)],
    ) -> Result<Bytes, DockerError> {
        let filters: BTreeMap<_, _> = filters.iter().filter(|(_, values)| !values.is_empty()).cloned().collect();
        let version = self.client.api_version();
        let json = serde_json::to_string(&filters).map_err(|error| DockerError::Other(error.to_string()))?;
        let query = if filters.is_empty() { String::new() } else { format!("?filters={}", rest::escaped(&json)) };
        let answer = self.client.get(&format!("/v{version}/{path}{query}"), what, ANSWER).await?;
        rest::body_of(&self.host, answer)
    }
}

/// The task in whose container we are, if we are a task of the Swarm on another node than the manager's.
fn find_among(tasks: Vec<Task>, candidates: &[String]) -> Option<Identity> {
    let is_one = |id: &ReplicaId| candidates.iter().any(|candidate| id.as_str().starts_with(candidate.as_str()));
    let me = tasks.into_iter().find(|task| task.container.as_ref().is_some_and(is_one))?;
    let endpoint = |attachment: Attachment| {
        let endpoint = Endpoint { network_id: attachment.network_id, ..Endpoint::default() };
        (attachment.network, endpoint)
    };
    Some(Identity {
        stack: me.labels.get(STACK).cloned(),
        networks: Some(me.networks.into_iter().map(endpoint).collect()),
        id: me.container,
        ..Identity::default()
    })
}

#[cfg(test)]
mod tests;
