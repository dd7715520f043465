//! A Swarm with evenkeel as a service on a manager, as its users have it, and the service it balances.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use integration_tests::lab::Lab;
use integration_tests::lab::swarm::Task;
use integration_tests::load::record::now;
use integration_tests::load::witness::{Life, lives};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Admin;

/// The service that is balanced.
pub(crate) const GATEWAY: &str = "gateway";
const NETWORK: &str = "gateways";
const IMAGE: &str = "evenkeel:local";

pub(crate) struct Swarm<'a> {
    pub(crate) lab: &'a mut Lab,
    pub(crate) admin: Admin,
    /// Where clients find evenkeel.
    pub(crate) proxy: SocketAddr,
    /// What the replicas log is in here.
    logs: PathBuf,
}

impl<'a> Swarm<'a> {
    /// Makes the Swarm with so many managers and replicas, and waits until evenkeel, on the first node, has them all. It
    /// asks the managers whose sockets are in these directories, in that order.
    pub(crate) async fn begin(lab: &'a mut Lab, managers: usize, sockets: &[&Path], replicas: usize) -> Self {
        lab.make_swarm(managers, NETWORK);
        let logs = lab.directory().join("work-log");
        fs::create_dir(&logs).unwrap();
        // The replicas are an arbitrary user.
        for (directory, mode) in [(logs.as_path(), 0o777), (lab.directory(), 0o755)] {
            fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
        }
        let network = format!("--network={NETWORK}");
        let mut options = vec![
            format!("--constraint=node.hostname=={}", lab.node(1).name()),
            network.clone(),
            "--publish=mode=host,target=8080,published=8080".to_owned(),
            "--publish=mode=host,target=9900,published=9900".to_owned(),
            "--user=0:0".to_owned(),
            "--no-healthcheck".to_owned(),
            "--env=EVENKEEL_SWARM=true".to_owned(),
            format!("--env=EVENKEEL_SERVICE={GATEWAY}"),
            // A manager knows images only by name.
            "--env=EVENKEEL_PORT=3001".to_owned(),
            "--env=EVENKEEL_LISTEN=0.0.0.0:8080".to_owned(),
            "--env=EVENKEEL_ADMIN_LISTEN=0.0.0.0:9900".to_owned(),
        ];
        let mut hosts = Vec::new();
        for (number, directory) in (1..).zip(sockets) {
            let target = format!("/managers/{number}");
            options.push(format!("--mount=type=bind,readonly,source={},target={target}", directory.display()));
            hosts.push(format!("unix://{target}/docker.sock"));
        }
        options.push(format!("--env=EVENKEEL_DOCKER_HOST={}", hosts.join(",")));
        options.push(IMAGE.to_owned());
        lab.create_service("evenkeel", &options.iter().map(String::as_str).collect::<Vec<_>>());
        let gateway = [
            format!("--replicas={replicas}"),
            network,
            format!("--mount=type=bind,source={},target=/work-log", logs.display()),
            "--env=WORK_LOG=/work-log".to_owned(),
            "--label=evenkeel.health.path=/ready".to_owned(),
            // What hangs moves on when a probe failed: at the latest after this and the probe's second.
            "--label=evenkeel.health.interval=500ms".to_owned(),
            "--no-healthcheck".to_owned(),
            "evenkeel-replica:local".to_owned(),
        ];
        lab.create_service(GATEWAY, &gateway.iter().map(String::as_str).collect::<Vec<_>>());
        let addr = lab.node(1).addr();
        let admin = Admin::new((addr, 9900).into());
        let swarm = Self { lab, admin, proxy: (addr, 8080).into(), logs };
        swarm.settled(replicas).await;
        swarm
    }

    /// `docker ARGS…` on the manager of the first node.
    pub(crate) fn docker(&self, args: &[&str]) -> String {
        self.lab.node(1).engine.docker(args)
    }

    /// Sets the number of replicas.
    pub(crate) fn scale(&self, replicas: usize) {
        self.docker(&["service", "scale", "--detach", &format!("{GATEWAY}={replicas}")]);
    }

    /// Waits until the Swarm has so many tasks that all run, and evenkeel exactly those.
    pub(crate) async fn settled(&self, replicas: usize) -> Vec<Task> {
        let tasks = self.lab.until_settled(GATEWAY, replicas).await;
        self.admin.until_ready(replicas).await;
        tasks
    }

    /// What became of every replica there was, by hostname.
    pub(crate) fn lives(&self) -> HashMap<String, Life> {
        lives(&self.logs).unwrap()
    }

    /// Looks again and again at which replicas drain, from now until dropped.
    pub(crate) fn watch_drains(&self) -> Drains {
        let (admin, seen) = (self.admin, Arc::new(Mutex::new(HashMap::new())));
        let recorded = Arc::clone(&seen);
        let watching = tokio::spawn(async move {
            loop {
                let draining = admin.replicas().await.into_iter().filter(|replica| replica.state == "draining");
                for replica in draining {
                    recorded.lock().unwrap().entry(replica.id[..12].to_owned()).or_insert_with(now);
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
        Drains { seen, watching }
    }
}

/// When replicas were first seen to drain.
pub(crate) struct Drains {
    seen: Arc<Mutex<HashMap<String, u64>>>,
    watching: JoinHandle<()>,
}

impl Drains {
    /// In microseconds since 1970, by hostname.
    pub(crate) fn seen(&self) -> HashMap<String, u64> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Drains {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Drop for Swarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let engine = &self.lab.node(1).engine;
            let list = ["ps", "--all", "--quiet", "--filter", "label=com.docker.swarm.service.name=evenkeel"];
            let containers = engine.docker_command(&list).output();
            let containers = containers.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            for container in containers.unwrap_or_default().lines() {
                let output = engine.docker_command(&["logs", "--tail=300", container]).output();
                let log = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
                eprintln!("--- evenkeel's log\n{}", String::from_utf8_lossy(&log));
            }
        }
    }
}
