//! A Swarm with very many tasks, of which one fake manager tells.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use evenkeel::config::settings::{DockerSettings, Settings, SwarmSettings};
use integration_tests::{ContainerId, ContainerSpec, FakeEngine, FakeSwarm, ServiceSpec};

use crate::fleet::{self, Churn, Row};
use crate::hosts::accept_all;
use crate::local;
use crate::measure::{Expected, Observer, Result};

const NODES: u32 = 50;
const NETWORK: &str = "sim_default";

/// How long a task takes from being told to end to its end: the managers tell the node three seconds before the signal.
const END: Duration = Duration::from_secs(3);

struct Swarm {
    swarm: FakeSwarm,
    manager: FakeEngine,
    nodes: Vec<String>,
    service: String,
    port: u16,
    /// Tasks that there were.
    started: u32,
    running: Vec<(String, ContainerId)>,
    leaving: VecDeque<(Instant, String)>,
}

impl Swarm {
    async fn start(tasks: u32) -> Result<Self> {
        // Every address of the loopback network is there, so one listener is all tasks'.
        let port = accept_all(Ipv4Addr::UNSPECIFIED).await?.port();
        let (swarm, manager) = (FakeSwarm::new(), FakeEngine::start());
        swarm.add_manager(&manager);
        let nodes = (1..=NODES).map(|number| swarm.add_node(&format!("node-{number}"))).collect();
        let service = swarm.create_service(&spec(tasks as usize, port));
        let (running, leaving) = Default::default();
        let mut this = Self { swarm, manager, nodes, service, port, started: 0, running, leaving };
        (0..tasks).for_each(|_| drop(this.add()));
        Ok(this)
    }

    /// A task that runs at once. Only the manager's own node would tell of its container.
    fn add(&mut self) -> ContainerId {
        self.started += 1;
        let [_, high, middle, low] = self.started.to_be_bytes();
        let ip = IpAddr::from([127, 64 + high, middle, low]);
        let node = self.nodes.get(self.started as usize % self.nodes.len()).map_or("", String::as_str);
        let task = self.swarm.create_task(&self.service, Some(self.started), node, (NETWORK, ip));
        let container = self.manager.create(ContainerSpec::plain(&format!("gateway.{}", self.started)));
        self.swarm.run_task(&task, &container);
        self.running.push((task, container.clone()));
        container
    }

    /// What the orchestrator decides, and what has come of decisions by now.
    fn change(&mut self, number: u32, observer: &Observer) {
        while self.leaving.front().is_some_and(|(at, _)| at.elapsed() > END) {
            let task = self.leaving.pop_front();
            task.iter().for_each(|(_, task)| self.swarm.set_task_state(task, "shutdown"));
        }
        let at = Instant::now();
        let leaves = !number.is_multiple_of(2);
        // Of a task that is to end before anybody has looked there would be nothing to see.
        let is_known = |(_, container): &(String, ContainerId)| !observer.is_awaited(container.as_str());
        let known = self.running.iter().enumerate().filter(|(_, task)| leaves && is_known(task));
        let known: Vec<_> = known.map(|(index, _)| index).collect();
        if let Some(index) = fastrand::choice(known) {
            let (task, container) = self.running.swap_remove(index);
            observer.expect(0, container.as_str(), at, Expected::Gone);
            self.swarm.want_task(&task, "shutdown");
            self.leaving.push_back((at, task));
        } else {
            let container = self.add();
            observer.expect(0, container.as_str(), at, Expected::Ready);
        }
        self.swarm.update_service(&self.service, &spec(self.running.len(), self.port));
    }
}

fn spec(tasks: usize, port: u16) -> ServiceSpec {
    ServiceSpec::stack("sim", "gateway", tasks as u64).publish(port)
}

/// One evenkeel that follows so many tasks of one service, while it is scaled up and down by turns.
pub(crate) async fn simulate(tasks: u32, churn: Churn) -> Result<Row> {
    let mut swarm = Swarm::start(tasks).await?;
    let docker = DockerSettings {
        host: swarm.manager.host(),
        project: Some("sim".to_owned()),
        network: Some(NETWORK.to_owned()),
        ..DockerSettings::default()
    };
    let followed = SwarmSettings::new(vec![(&docker).into()], &docker);
    let settings = Settings { swarm: Some(followed), ..local() };
    fleet::watch(settings, tasks as usize, churn, |number, observer| swarm.change(number, observer)).await
}
