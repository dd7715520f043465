//! What happens to the fake engine's containers: each function changes the state first and then emits the events
//! that a real engine was seen to emit, in its order.

use std::net::{IpAddr, SocketAddr};

use super::container::{Container, ContainerId, Status, random_hex};
use super::events::Event;
use super::spec::ContainerSpec;
use super::{FakeEngine, State};

impl FakeEngine {
    /// Creates and starts a container: `create`, `network connect` per network, `start`.
    pub fn run(&self, spec: ContainerSpec) -> ContainerId {
        let id = self.create(spec);
        self.start_container(&id);
        id
    }

    /// Creates a container that does not run yet: `create`.
    pub fn create(&self, spec: ContainerSpec) -> ContainerId {
        let mut state = self.lock();
        for network in spec.networks.keys() {
            state.networks.entry(network.clone()).or_insert_with(random_hex);
        }
        let container = Container::new(spec);
        let id = container.id.clone();
        state.containers.push(container);
        state.emit(&id, "create", &[]);
        id
    }

    /// Starts a container that was created or has stopped: `network connect` per network, `start`.
    pub fn start_container(&self, id: &ContainerId) {
        let mut state = self.lock();
        state.start(id);
    }

    /// Asks it to stop, and it does: `kill` with its stop signal, `die`, `network disconnect`…, `stop`.
    pub fn stop(&self, id: &ContainerId) {
        let mut state = self.lock();
        state.stop(id);
    }

    /// Sends a signal: `kill`. The container keeps running and lists as such; see [`die`](Self::die).
    pub fn kill(&self, id: &ContainerId, signal: u8) {
        self.lock().emit(id, "kill", &[("signal", &signal.to_string())]);
    }

    /// Its process ends by itself: `die`, `network disconnect`….
    pub fn die(&self, id: &ContainerId) {
        self.lock().die(id, 0);
    }

    /// `docker kill`: `kill` with SIGKILL, `die`, `network disconnect`….
    pub fn kill_at_once(&self, id: &ContainerId) {
        let mut state = self.lock();
        state.emit(id, "kill", &[("signal", "9")]);
        state.die(id, 137);
    }

    /// `docker stop` and `docker start` in one: the same id, the same addresses.
    pub fn restart(&self, id: &ContainerId) {
        self.restart_with(id, |_| {});
    }

    /// A restart after which it has another address on a network.
    pub fn restart_at(&self, id: &ContainerId, network: &str, ip: impl Into<IpAddr>) {
        let ip = ip.into();
        self.restart_with(id, |container| container.spec.networks.entry(network.to_owned()).or_default().set(ip));
    }

    /// A restart after which its published TCP port is another one of the host: the engine takes any that is free.
    pub fn restart_published(&self, id: &ContainerId, at: SocketAddr, port: u16) {
        self.restart_with(id, |container| {
            container.spec.published.retain(|(_, published)| *published != port);
            container.spec.published.push((at, port));
        });
    }

    fn restart_with(&self, id: &ContainerId, change: impl FnOnce(&mut Container)) {
        let mut state = self.lock();
        state.stop(id);
        change(state.container(id));
        state.start(id);
        state.emit(id, "restart", &[]);
    }

    /// Freezes it: `pause`.
    pub fn pause(&self, id: &ContainerId) {
        let mut state = self.lock();
        state.container(id).pause();
        state.emit(id, "pause", &[]);
    }

    /// Ends [`pause`](Self::pause): `unpause`.
    pub fn unpause(&self, id: &ContainerId) {
        let mut state = self.lock();
        state.container(id).status = Status::Running;
        state.emit(id, "unpause", &[]);
    }

    /// Removes a container that has stopped: `destroy`.
    pub fn destroy(&self, id: &ContainerId) {
        let mut state = self.lock();
        let event = Event::of_container(state.container(id), "destroy", &[]);
        state.containers.retain(|container| container.id != *id);
        state.hub.publish(event);
    }

    /// Stops and removes it, as scaling down does.
    pub fn remove(&self, id: &ContainerId) {
        self.stop(id);
        self.destroy(id);
    }

    /// Gives it another name: `rename`.
    pub fn rename(&self, id: &ContainerId, name: &str) {
        let mut state = self.lock();
        let old = std::mem::replace(&mut state.container(id).spec.name, name.to_owned());
        state.emit(id, "rename", &[("oldName", &format!("/{old}"))]);
    }

    /// Its HEALTHCHECK comes to `healthy` or `unhealthy`: `health_status: …`.
    pub fn set_health(&self, id: &ContainerId, health: &str) {
        let mut state = self.lock();
        state.container(id).set_health(health);
        state.emit(id, &format!("health_status: {health}"), &[]);
    }

    /// A process in it was killed for want of memory: `oom`.
    pub fn oom(&self, id: &ContainerId) {
        self.lock().emit(id, "oom", &[]);
    }

    /// Puts a running container on one more network: `network connect`.
    pub fn connect(&self, id: &ContainerId, network: &str, ip: impl Into<IpAddr>) {
        let mut state = self.lock();
        state.networks.entry(network.to_owned()).or_insert_with(random_hex);
        let addresses = state.container(id).spec.networks.entry(network.to_owned()).or_default();
        addresses.set(ip.into());
        addresses.join();
        state.emit_network(id, "connect", network);
    }

    /// Takes a running container off a network: `network disconnect`, twice, as real engines often do.
    pub fn disconnect(&self, id: &ContainerId, network: &str) {
        let mut state = self.lock();
        state.container(id).spec.networks.remove(network);
        state.emit_network(id, "disconnect", network);
        state.emit_network(id, "disconnect", network);
    }

    /// One run of its HEALTHCHECK, which changes nothing: `exec_create`, `exec_start`, `exec_die`.
    pub fn exec_noise(&self, id: &ContainerId) {
        let mut state = self.lock();
        for action in ["exec_create: /replica health", "exec_start: /replica health", "exec_die"] {
            state.emit(id, action, &[("execID", "b54d03394c88e843")]);
        }
    }

    /// The containers that exist, whatever they do, the oldest first: id and name.
    pub fn containers(&self) -> Vec<(ContainerId, String)> {
        self.lock().containers.iter().map(|c| (c.id.clone(), c.spec.name.clone())).collect()
    }
}

impl State {
    fn container(&mut self, id: &ContainerId) -> &mut Container {
        self.containers.iter_mut().find(|container| container.id == *id).expect("a container of this engine")
    }

    fn start(&mut self, id: &ContainerId) {
        self.container(id).start();
        self.emit_networks(id, "connect");
        self.emit(id, "start", &[]);
    }

    fn stop(&mut self, id: &ContainerId) {
        let signal = self.container(id).spec.stop_signal_number();
        self.emit(id, "kill", &[("signal", &signal.to_string())]);
        self.die(id, 0);
        self.emit(id, "stop", &[]);
    }

    fn die(&mut self, id: &ContainerId, code: u8) {
        self.container(id).status = Status::Exited { code };
        self.emit(id, "die", &[("exitCode", &code.to_string())]);
        self.emit_networks(id, "disconnect");
    }

    fn emit(&mut self, id: &ContainerId, action: &str, extra: &[(&str, &str)]) {
        let event = Event::of_container(self.container(id), action, extra);
        self.hub.publish(event);
    }

    fn emit_networks(&mut self, id: &ContainerId, action: &str) {
        let networks: Vec<_> = self.container(id).spec.networks.keys().cloned().collect();
        for network in networks {
            self.emit_network(id, action, &network);
        }
    }

    fn emit_network(&mut self, id: &ContainerId, action: &str, network: &str) {
        let network_id = self.networks.get(network).cloned().unwrap_or_default();
        let event = Event::of_network(self.container(id), action, network, &network_id);
        self.hub.publish(event);
    }
}
