//! A Swarm of a lab's nodes.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::{Lab, Node, PATIENCE};
use crate::docker_api::encoded;
use crate::{eventually, eventually_some};

/// A task, as a manager lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: String,
    /// Its number in a replicated service; 0 in a global one.
    pub slot: u64,
    /// `running`, `shutdown`, …: what is wanted of it.
    pub desired: String,
    /// `preparing`, `running`, `complete`, …: what it is.
    pub state: String,
    /// The id of its node; empty before it has one.
    pub node: String,
    /// The id of its container; empty before it has one.
    pub container: String,
    /// On the first network that is not the ingress.
    pub addr: Option<Ipv4Addr>,
}

impl Task {
    fn read(task: &Value) -> Self {
        let text = |pointer: &str| task.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let networks = task["NetworksAttachments"].as_array().into_iter().flatten();
        let ours = networks.filter(|network| network["Network"]["Spec"]["Ingress"] != json!(true));
        let addrs = ours.filter_map(|network| network["Addresses"][0].as_str()?.split('/').next()?.parse().ok());
        Self {
            id: text("/ID"),
            slot: task["Slot"].as_u64().unwrap_or_default(),
            desired: text("/DesiredState"),
            state: text("/Status/State"),
            node: text("/NodeID"),
            container: text("/Status/ContainerStatus/ContainerID"),
            addr: addrs.into_iter().next(),
        }
    }

    /// Whether it runs and is to go on.
    pub fn runs(&self) -> bool {
        self.desired == "running" && self.state == "running"
    }

    /// Whether it is what is wanted of it, or is gone.
    fn has_settled(&self) -> bool {
        match self.desired.as_str() {
            "running" => self.state == "running",
            _ => !matches!(
                self.state.as_str(),
                "new"
                    | "allocated"
                    | "pending"
                    | "assigned"
                    | "accepted"
                    | "preparing"
                    | "ready"
                    | "starting"
                    | "running"
            ),
        }
    }
}

impl Lab {
    /// Makes a Swarm of all nodes, as [`join_all`](Self::join_all) does, with an attachable overlay network of that name
    /// across them.
    ///
    /// # Panics
    /// If Docker refuses.
    pub fn make_swarm(&self, managers: usize, network: &str) {
        self.join_all(managers);
        let create = ["network", "create", "--driver=overlay", "--attachable", network];
        self.node(1).engine.docker(&create);
    }

    /// Makes a Swarm of all nodes, of which the first so many are managers.
    ///
    /// # Panics
    /// If Docker refuses.
    pub fn join_all(&self, managers: usize) {
        let (manager, others) = self.nodes().split_first().expect("a node");
        let join_at = format!("{}:2377", manager.addr());
        let advertise = |node: &Node| format!("--advertise-addr={}", node.addr());
        manager.engine.docker(&["swarm", "init", &advertise(manager)]);
        for (number, node) in (2..).zip(others) {
            let role = if number <= managers { "manager" } else { "worker" };
            let token = manager.engine.docker(&["swarm", "join-token", "--quiet", role]);
            node.engine.docker(&["swarm", "join", "--token", &token, &advertise(node), &join_at]);
        }
    }

    /// Creates a service of such options, image and arguments, and does not wait for it. Its tasks are known by name,
    /// each with its address: kernels without IPVS have no virtual one.
    ///
    /// # Panics
    /// If Docker refuses.
    pub fn create_service(&self, name: &str, args: &[&str]) {
        let fixed = ["service", "create", "--detach", "--no-resolve-image", "--endpoint-mode=dnsrr", "--name", name];
        self.node(1).engine.docker(&[fixed.as_slice(), args].concat());
    }

    /// The tasks of a service, those that are over as well, as the manager on node `at` lists them.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn tasks_at(&self, at: usize, service: &str) -> Vec<Task> {
        let filter = encoded(&json!({ "service": [service] }).to_string());
        let listed = self.node(at).engine.api().get(&format!("/tasks?filters={filter}")).await;
        let listed = listed.unwrap_or_else(|error| panic!("{error}"));
        listed.as_array().into_iter().flatten().map(Task::read).collect()
    }

    /// The same, of the first node.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn tasks(&self, service: &str) -> Vec<Task> {
        self.tasks_at(1, service).await
    }

    /// Waits until a service has exactly so many tasks that run and are to, and all others are over; returns them.
    ///
    /// # Panics
    /// If it does not come to that.
    pub async fn until_settled(&self, service: &str, count: usize) -> Vec<Task> {
        let what = format!("{service} has settled on {count} tasks");
        eventually_some(PATIENCE * 2, &what, async || {
            let tasks = self.tasks(service).await;
            let running: Vec<_> = tasks.iter().filter(|task| task.runs()).cloned().collect();
            (running.len() == count && tasks.iter().all(Task::has_settled)).then_some(running)
        })
        .await
    }

    /// Updates a service with such options and waits until that is over.
    ///
    /// # Panics
    /// If it pauses or does not end.
    pub async fn update_service(&self, service: &str, args: &[&str]) {
        let status = async || {
            let found = self.node(1).engine.api().get(&format!("/services/{service}")).await;
            found.unwrap_or_else(|error| panic!("{error}"))["UpdateStatus"].take()
        };
        // The last update is over until this one has begun.
        let before = status().await["StartedAt"].take();
        let update = ["service", "update", "--detach", "--force"];
        self.node(1).engine.docker(&[update.as_slice(), args, &[service]].concat());
        eventually(PATIENCE * 3, &format!("{service} is updated"), async || {
            let now = status().await;
            let state = now["State"].as_str().unwrap_or_default();
            assert!(!state.contains("paused"), "{now}");
            state == "completed" && now["StartedAt"] != before
        })
        .await;
    }

    /// The id of a node in the Swarm.
    ///
    /// # Panics
    /// If it is in none.
    pub fn node_id(&self, node: usize) -> String {
        self.node(node).engine.docker(&["info", "--format={{.Swarm.NodeID}}"])
    }

    /// Waits until the manager says that a node is in that state: `ready`, `down`.
    ///
    /// # Panics
    /// If it does not come to that.
    pub async fn until_node_is(&self, node: usize, state: &str) {
        let path = format!("/nodes/{}", self.node(node).name());
        let api = self.node(1).engine.api();
        eventually(PATIENCE, &format!("node {node} is {state}"), async || {
            let found = api.get(&path).await.unwrap_or_else(|error| panic!("{error}"));
            found["Status"]["State"] == state
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(desired: &str, state: &str) -> Task {
        let ingress = json!({ "Network": { "Spec": { "Ingress": true } }, "Addresses": ["10.0.0.9/24"] });
        let ours = json!({ "Network": { "Spec": {} }, "Addresses": ["10.0.1.7/24"] });
        Task::read(&json!({
            "ID": "t", "Slot": 3, "DesiredState": desired, "NodeID": "n",
            "Status": { "State": state, "ContainerStatus": { "ContainerID": "c" } },
            "NetworksAttachments": [ingress, ours],
        }))
    }

    #[test]
    fn a_task_is_read_as_the_manager_tells_it() {
        let read = task("running", "running");
        assert_eq!((read.slot, read.addr, read.container.as_str()), (3, Some(Ipv4Addr::new(10, 0, 1, 7)), "c"));
        assert!(read.runs());
    }

    #[test]
    fn a_task_has_settled_when_it_is_what_is_wanted() {
        for (desired, state, settled) in [
            ("running", "running", true),
            ("running", "starting", false),
            ("shutdown", "running", false),
            ("shutdown", "shutdown", true),
            ("shutdown", "failed", true),
            ("remove", "running", false),
        ] {
            assert_eq!(task(desired, state).has_settled(), settled, "{desired} {state}");
        }
    }
}
