//! What routing makes of a Swarm: tasks that come and go on several nodes, as its manager tells of them.

use std::time::{Duration, Instant};

use evenkeel::config::settings::SwarmSettings;
use integration_tests::fake_engine::Endpoint;
use integration_tests::{ContainerId, ContainerSpec, FakeSwarm, ServiceSpec, TestReplica, eventually};

use crate::support::{NETWORK, NEVER, PATIENCE, Sidecar, Traffic};

/// evenkeel beside a manager of a Swarm of two nodes.
pub(crate) struct Fleet {
    pub(crate) sidecar: Sidecar,
    pub(crate) swarm: FakeSwarm,
    pub(crate) nodes: [String; 2],
    /// `shop_gateway`.
    pub(crate) service: String,
    pub(crate) spec: ServiceSpec,
}

/// A task and what runs in its container.
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) container: ContainerId,
    pub(crate) replica: TestReplica,
}

impl Fleet {
    /// One whose service has a ready task for each of these names, like `gateway.1@node-1`. The replicas of those that
    /// the test starts itself come second.
    pub(crate) async fn with(
        running: &[&str],
        later: &[&str],
        change: impl FnOnce(&mut SwarmSettings),
    ) -> (Self, Vec<Task>, Vec<TestReplica>) {
        let swarm = FakeSwarm::new();
        let nodes = ["node-1", "node-2"].map(|hostname| swarm.add_node(hostname));
        let mut replicas = TestReplica::start_many(&[running, later].concat());
        let port = replicas[0].addr().port();
        let spec = ServiceSpec::stack("shop", "gateway", running.len() as u64).publish(port);
        let service = swarm.create_service(&spec);
        let sidecar = Sidecar::start_with(|settings| {
            let docker = settings.docker.remove(0);
            let mut swarm = SwarmSettings::new(vec![(&docker).into()], &docker);
            change(&mut swarm);
            settings.swarm = Some(swarm);
        });
        swarm.add_manager(&sidecar.engine);
        let fleet = Self { sidecar, swarm, nodes, service, spec };
        let later = replicas.split_off(running.len());
        let tasks = replicas.into_iter().map(|replica| fleet.run(replica)).collect();
        let mut names = running.to_vec();
        names.sort_unstable();
        fleet.sidecar.until_ready(&names).await;
        (fleet, tasks, later)
    }

    /// A task of the service whose container runs on the node in the replica's name.
    pub(crate) fn run(&self, replica: TestReplica) -> Task {
        let task = self.create(replica);
        self.swarm.run_task(&task.id, &task.container);
        task
    }

    /// A task of the service that is to run.
    pub(crate) fn create(&self, replica: TestReplica) -> Task {
        let (name, node) = replica.name().split_once("@node-").expect("a name like gateway.1@node-1");
        let slot = name.split_once('.').map(|(_, slot)| slot.parse().expect("a slot"));
        let node: usize = node.parse().expect("a node's number");
        let id = self.swarm.create_task(&self.service, slot, &self.nodes[node - 1], (NETWORK, replica.ip()));
        let spec = ContainerSpec::plain(&format!("{name}.{id}"))
            .label("com.docker.swarm.task.id", &id)
            .label("com.docker.swarm.service.id", &self.service);
        // Only the manager's own node, the first, tells of its containers.
        let container = match node {
            1 => self.sidecar.engine.run(spec),
            _ => self.sidecar.engine.create(spec),
        };
        Task { id, container, replica }
    }

    /// Waits until the manager was asked about tasks twice more.
    pub(crate) async fn until_polled(&self) {
        let before = self.sidecar.engine.requests(Endpoint::Tasks);
        eventually(PATIENCE, "two polls", async || self.sidecar.engine.requests(Endpoint::Tasks) >= before + 2).await;
    }

    /// The orchestrator does with a task what it does in an update: it is wanted no more, and ends.
    pub(crate) async fn end(&self, task: &Task) {
        let name = task.replica.name();
        self.swarm.want_task(&task.id, "shutdown");
        self.sidecar.until_state(name, "draining").await;
        self.swarm.set_task_state(&task.id, "shutdown");
        self.sidecar.until_gone(name).await;
    }
}

#[tokio::test]
async fn a_task_drains_before_its_signal() {
    let (fleet, tasks, _) = Fleet::with(&["gateway.1@node-1", "gateway.2@node-2"], &[], |_| {}).await;
    let traffic = Traffic::start(fleet.sidecar.proxy(), 4);
    let leaving = &tasks[1];
    let decided = Instant::now();
    fleet.swarm.update_service(&fleet.service, &fleet.spec);
    fleet.swarm.want_task(&leaving.id, "remove");
    fleet.sidecar.until_state("gateway.2@node-2", "draining").await;
    assert!(decided.elapsed() < Duration::from_secs(3), "the signal would have come before: {:?}", decided.elapsed());
    let requests = leaving.replica.requests();
    assert_eq!(fleet.sidecar.spread(40).await.into_keys().collect::<Vec<_>>(), ["gateway.1@node-1"]);
    assert_eq!(leaving.replica.requests(), requests);

    leaving.replica.crash().await;
    fleet.swarm.set_task_state(&leaving.id, "shutdown");
    fleet.sidecar.until_gone("gateway.2@node-2").await;
    assert_eq!(traffic.stop().await.failures, Vec::<String>::new());
}

#[tokio::test]
async fn a_new_task_gets_requests_as_soon_as_it_runs() {
    let (fleet, _tasks, mut later) = Fleet::with(&["gateway.1@node-1"], &["gateway.2@node-2"], |_| {}).await;
    let traffic = Traffic::start(fleet.sidecar.proxy(), 2);
    fleet
        .swarm
        .update_service(&fleet.service, &ServiceSpec::stack("shop", "gateway", 2).publish(later[0].addr().port()));
    let task = fleet.create(later.remove(0));
    for state in ["pending", "assigned", "preparing"] {
        fleet.swarm.set_task_state(&task.id, state);
    }
    fleet.until_polled().await;
    assert_eq!(fleet.sidecar.states().await.len(), 1, "nothing runs yet");
    let ready = Instant::now();
    fleet.swarm.run_task(&task.id, &task.container);
    eventually(PATIENCE, "the first request comes", async || task.replica.requests() > 0).await;
    assert!(ready.elapsed() < Duration::from_millis(1500), "took {:?}", ready.elapsed());
    let answer = fleet.sidecar.get("/").await;
    assert!(answer.header("x-served-by").is_some_and(|name| name.starts_with("gateway.")));
    assert_eq!(traffic.stop().await.failures, Vec::<String>::new());
}

#[tokio::test]
async fn a_rolling_update_that_makes_one_event_is_followed_to_its_end() {
    let names = ["gateway.1@node-1", "gateway.2@node-2", "gateway.3@node-2"];
    let successors = ["gateway.1@node-2", "gateway.2@node-1", "gateway.3@node-1"];
    for start_first in [false, true] {
        let (fleet, tasks, later) = Fleet::with(&names, &successors, |_| {}).await;
        let traffic = Traffic::start(fleet.sidecar.proxy(), 4);
        fleet.swarm.set_updating(&fleet.service, "updating");
        let heard = fleet.sidecar.metric("evenkeel_discovery_events_total", &[]).await;
        let mut news = Vec::new();
        for (old, replica) in tasks.iter().zip(later) {
            let name = replica.name().to_owned();
            if !start_first {
                fleet.end(old).await;
            }
            news.push(fleet.run(replica));
            fleet.sidecar.until_state(&name, "ready").await;
            if start_first {
                fleet.end(old).await;
            }
        }
        assert!(fleet.sidecar.metric("evenkeel_discovery_events_total", &[]).await - heard < 10.0);
        fleet.swarm.set_updating(&fleet.service, "completed");
        fleet.sidecar.until_ready(&successors).await;
        assert_eq!(traffic.stop().await.failures, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_container_that_ends_on_the_managers_own_node_is_out_before_any_poll() {
    let names = ["gateway.1@node-1", "gateway.2@node-1", "gateway.3@node-2"];
    let (fleet, tasks, _) = Fleet::with(&names, &[], |settings| settings.idle_poll = NEVER).await;
    let traffic = Traffic::start(fleet.sidecar.proxy(), 4);
    let engine = &fleet.sidecar.engine;
    engine.pause(&tasks[0].container);
    fleet.sidecar.until_state("gateway.1@node-1", "paused").await;
    engine.unpause(&tasks[0].container);
    fleet.sidecar.until_state("gateway.1@node-1", "ready").await;
    tasks[1].replica.crash().await;
    engine.kill_at_once(&tasks[1].container);
    // The manager still says that it runs.
    fleet.sidecar.until_gone("gateway.2@node-1").await;
    fleet.until_polled().await;
    assert_eq!(fleet.sidecar.states().await.len(), 2);
    assert_eq!(traffic.stop().await.failures, Vec::<String>::new());
}

#[tokio::test]
async fn a_global_service_has_a_replica_on_each_node() {
    let (fleet, _tasks, _) = Fleet::with(&["gateway@node-1", "gateway@node-2"], &[], |_| {}).await;
    assert_eq!(fleet.sidecar.spread(20).await.len(), 2);
    let replica = fleet.sidecar.replica("gateway@node-2").await.expect("it is listed");
    assert_eq!((replica["project"].as_str(), replica["provider"].as_str()), (Some("shop"), Some("swarm")));
}

#[tokio::test]
async fn other_stacks_are_left_alone_and_it_is_said_why() {
    let (fleet, _tasks, _) = Fleet::with(&["gateway.1@node-1"], &[], |_| {}).await;
    let other = ServiceSpec::stack("other", "gateway", 1).label("evenkeel.enable", "true").publish(1);
    let service = fleet.swarm.create_service(&other);
    let task = fleet.swarm.create_task(&service, Some(1), &fleet.nodes[0], (NETWORK, [127, 0, 0, 9].into()));
    let container = fleet.sidecar.engine.create(ContainerSpec::plain("other"));
    fleet.swarm.run_task(&task, &container);
    let is_left_out = async || {
        let all = fleet.sidecar.api("containers").await;
        all.iter().any(|one| one["id"] == container.as_str() && one["verdict"] == "other-project")
    };
    eventually(PATIENCE, "a verdict", is_left_out).await;
    fleet.sidecar.until_ready(&["gateway.1@node-1"]).await;
}
