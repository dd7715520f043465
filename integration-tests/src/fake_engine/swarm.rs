//! A fake Swarm: services, nodes and tasks as its managers tell of them. Any number of fake engines can be its managers.
//!
//! It does nothing by itself: a test says what the orchestrator decides and what the nodes come to.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hyper::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::container::random_hex;
use super::events::{Event, Filters};
use super::{ContainerId, Endpoint, Engine, FakeEngine};

/// A fake Swarm. Cheap to clone.
#[derive(Clone, Default)]
pub struct FakeSwarm {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// The version of what changed last.
    index: u64,
    services: Vec<Value>,
    nodes: Vec<Value>,
    tasks: Vec<Value>,
    managers: Vec<Weak<Engine>>,
}

/// A service to create.
#[derive(Clone, Debug)]
pub struct ServiceSpec {
    name: String,
    labels: Map<String, Value>,
    replicas: Option<u64>,
    ports: Vec<u16>,
}

impl ServiceSpec {
    /// A service of so many tasks as `docker stack deploy` makes it: `shop_gateway` for `gateway` in `shop`.
    pub fn stack(stack: &str, name: &str, replicas: u64) -> Self {
        let this =
            Self { name: format!("{stack}_{name}"), labels: Map::new(), replicas: Some(replicas), ports: Vec::new() };
        this.label("com.docker.stack.namespace", stack)
    }

    /// The same with a task on each node.
    pub fn global(mut self) -> Self {
        self.replicas = None;
        self
    }

    /// The same with a label under `deploy.labels`.
    pub fn label(mut self, label: &str, value: &str) -> Self {
        self.labels.insert(label.to_owned(), json!(value));
        self
    }

    /// The same with a published port.
    pub fn publish(mut self, port: u16) -> Self {
        self.ports.push(port);
        self
    }

    fn json(&self) -> Value {
        let mode = self.replicas.map_or(json!({"Global": {}}), |count| json!({"Replicated": {"Replicas": count}}));
        let port = |port: &u16| json!({"Protocol": "tcp", "TargetPort": port, "PublishMode": "host"});
        json!({
            "Name": self.name, "Labels": self.labels, "Mode": mode,
            "TaskTemplate": {"ContainerSpec": {"Image": "gateway:1", "Labels": {}, "Isolation": "default"}, "ForceUpdate": 0, "Runtime": "container"},
            "EndpointSpec": {"Mode": "dnsrr", "Ports": self.ports.iter().map(port).collect::<Vec<_>>()},
        })
    }
}

impl Shared {
    fn next_version(&mut self) -> Value {
        self.index += 1;
        json!({"Index": self.index})
    }

    fn find<'a>(list: &'a mut [Value], id: &str) -> &'a mut Value {
        list.iter_mut().find(|one| one["ID"] == id).expect("one of this Swarm")
    }
}

impl FakeSwarm {
    /// A Swarm without managers, nodes and services.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an engine one of its managers.
    pub fn add_manager(&self, engine: &FakeEngine) {
        engine.lock().swarm = Some(self.clone());
        self.lock().managers.push(Arc::downgrade(&engine.engine));
    }

    /// Tells every manager's streams.
    fn publish(&self, kind: &'static str, action: &str, id: &str, attributes: &[(&str, &str)]) {
        let event = Event::of_swarm(kind, action, id, attributes);
        let managers: Vec<_> = self.lock().managers.iter().filter_map(Weak::upgrade).collect();
        for manager in managers {
            manager.lock().hub.publish(event.clone());
        }
    }

    /// Adds a node that is well: `node` `create`. Returns its id.
    pub fn add_node(&self, hostname: &str) -> String {
        let id = random_hex()[..25].to_owned();
        let mut shared = self.lock();
        let version = shared.next_version();
        shared.nodes.push(json!({
            "ID": id, "Version": version, "Spec": {"Labels": {}, "Role": "worker", "Availability": "active"},
            "Description": {"Hostname": hostname, "Platform": {}},
            "Status": {"State": "ready", "Addr": "10.99.0.11"},
        }));
        drop(shared);
        self.publish("node", "create", &id, &[("name", hostname)]);
        id
    }

    /// The managers lose it or find it (`down`, `ready`): `node` `update`.
    pub fn set_node_state(&self, id: &str, state: &str) {
        let mut shared = self.lock();
        let version = shared.next_version();
        let node = Shared::find(&mut shared.nodes, id);
        (node["Status"]["State"], node["Version"]) = (json!(state), version);
        drop(shared);
        self.publish("node", "update", id, &[("state.new", state)]);
    }

    /// `docker node update --availability`: `node` `update`.
    pub fn set_node_availability(&self, id: &str, availability: &str) {
        let mut shared = self.lock();
        let version = shared.next_version();
        let node = Shared::find(&mut shared.nodes, id);
        (node["Spec"]["Availability"], node["Version"]) = (json!(availability), version);
        drop(shared);
        self.publish("node", "update", id, &[("availability.new", availability)]);
    }

    /// Creates a service, so far without tasks: `service` `create`. Returns its id.
    pub fn create_service(&self, spec: &ServiceSpec) -> String {
        let id = random_hex()[..25].to_owned();
        let mut shared = self.lock();
        let version = shared.next_version();
        shared.services.push(json!({"ID": id, "Version": version, "Spec": spec.json(), "Endpoint": {"Spec": {}}}));
        drop(shared);
        self.publish("service", "create", &id, &[("name", &spec.name)]);
        id
    }

    /// `docker service update` or `scale`, of which nothing comes yet: `service` `update`.
    pub fn update_service(&self, id: &str, spec: &ServiceSpec) {
        self.change_service(id, |service| service["Spec"] = spec.json());
    }

    /// A rolling update begins or ends (`updating`, `completed`): `service` `update`.
    pub fn set_updating(&self, id: &str, state: &str) {
        self.change_service(id, |service| service["UpdateStatus"] = json!({"State": state, "Message": "update"}));
    }

    fn change_service(&self, id: &str, change: impl FnOnce(&mut Value)) {
        let mut shared = self.lock();
        let version = shared.next_version();
        let service = Shared::find(&mut shared.services, id);
        service["Version"] = version;
        change(service);
        drop(shared);
        self.publish("service", "update", id, &[]);
    }

    /// Removes a service; its tasks are still there, and wanted as before: `service` `remove`.
    pub fn remove_service(&self, id: &str) {
        self.lock().services.retain(|service| service["ID"] != id);
        self.publish("service", "remove", id, &[]);
    }

    /// A task that is to run: `new`, with its address already. No event. Returns its id.
    pub fn create_task(&self, service: &str, slot: Option<u32>, node: &str, network: (&str, IpAddr)) -> String {
        let id = random_hex()[..25].to_owned();
        let (name, address) = network;
        let mut shared = self.lock();
        let version = shared.next_version();
        let mut task = json!({
            "ID": id, "Version": version, "ServiceID": service, "NodeID": node,
            "Spec": {"ContainerSpec": {"Image": "gateway:1", "Labels": {}}, "ForceUpdate": 0},
            "Status": {"State": "new", "Message": "created", "PortStatus": {}}, "DesiredState": "running",
            "NetworksAttachments": [{
                "Network": {"ID": format!("{name}-id"), "Spec": {"Name": name, "Scope": "swarm"}},
                "Addresses": [format!("{address}/24")],
            }],
        });
        if let Some(slot) = slot {
            task["Slot"] = json!(slot);
        }
        shared.tasks.push(task);
        id
    }

    /// Its container exists and runs: `running`. No event.
    pub fn run_task(&self, id: &str, container: &ContainerId) {
        self.change_task(id, |task| {
            task["Status"]["State"] = json!("running");
            task["Status"]["ContainerStatus"] = json!({"ContainerID": container.as_str(), "PID": 1, "ExitCode": 0});
        });
    }

    /// It comes to a state: `starting`, `failed`, `shutdown`, …. No event.
    pub fn set_task_state(&self, id: &str, state: &str) {
        self.change_task(id, |task| task["Status"]["State"] = json!(state));
    }

    /// The managers want it to be in this state: `shutdown`, `remove`. No event.
    pub fn want_task(&self, id: &str, desired: &str) {
        self.change_task(id, |task| task["DesiredState"] = json!(desired));
    }

    fn change_task(&self, id: &str, change: impl FnOnce(&mut Value)) {
        let mut shared = self.lock();
        let version = shared.next_version();
        let task = Shared::find(&mut shared.tasks, id);
        task["Version"] = version;
        change(task);
    }

    /// It is not even history any more. No event.
    pub fn forget_task(&self, id: &str) {
        self.lock().tasks.retain(|task| task["ID"] != id);
    }

    /// The answer of a manager.
    pub(super) fn answer(&self, endpoint: Endpoint, filters: &Filters) -> Result<String, (StatusCode, String)> {
        let shared = self.lock();
        Ok(match endpoint {
            Endpoint::Services => text(&shared.services),
            Endpoint::Nodes => text(&shared.nodes),
            _ => {
                for service in filters.values("service") {
                    if !shared.services.iter().any(|known| known["ID"] == service) {
                        return Err((StatusCode::NOT_FOUND, format!("service {service} not found")));
                    }
                }
                let [services, states, ids] = ["service", "desired-state", "id"].map(|key| filters.values(key));
                let fits = |task: &Value, key: &str, asked: &[&str], fits: fn(&str, &str) -> bool| {
                    let value = task[key].as_str().unwrap_or_default();
                    asked.is_empty() || asked.iter().any(|asked| fits(value, asked))
                };
                let is_asked = |task: &&Value| {
                    fits(task, "ServiceID", &services, |id, asked| id == asked)
                        && fits(task, "DesiredState", &states, |state, asked| state == asked)
                        && fits(task, "ID", &ids, |id, asked| id.starts_with(asked))
                };
                text(&shared.tasks.iter().filter(is_asked).collect::<Vec<_>>())
            }
        })
    }
}

/// A list, without a copy of it: there may be thousands of tasks.
fn text(list: &[impl Serialize]) -> String {
    serde_json::to_string(list).expect("values are JSON")
}
