//! A Swarm with evenkeel as a service on a manager, as its users have it, and the service it balances.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use integration_tests::lab::swarm::Task;
use integration_tests::lab::{Engine, Lab};
use integration_tests::load::record::now;
use integration_tests::load::witness::{Life, lives};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{Admin, work_logs};

/// The service that is balanced.
pub(crate) const GATEWAY: &str = "gateway";
/// The network that it and evenkeel are on.
pub(crate) const NETWORK: &str = "gateways";
const IMAGE: &str = "evenkeel:local";

pub(crate) struct Swarm<'a> {
    pub(crate) lab: &'a mut Lab,
    pub(crate) admin: Admin,
    /// Where clients find evenkeel.
    pub(crate) proxy: SocketAddr,
    /// What the replicas log is in here.
    logs: PathBuf,
}

/// How evenkeel reaches the managers that it asks, in that order.
pub(crate) enum Managers<'p> {
    /// By their sockets, in these directories.
    Sockets(&'p [&'p Path]),
    /// By TLS, those of these nodes.
    Tls(&'p [usize]),
}

impl Managers<'_> {
    /// What evenkeel's service is created with for it.
    fn options(&self, lab: &Lab) -> Vec<String> {
        let mount = |source: &Path, target: &str| {
            format!("--mount=type=bind,readonly,source={},target={target}", source.display())
        };
        let (mut options, hosts): (Vec<String>, Vec<String>) = match self {
            Self::Sockets(directories) => {
                let targets = (1..).map(|number| format!("/managers/{number}"));
                let mounted = directories.iter().zip(targets);
                let option = |(source, target): (&&Path, String)| {
                    (mount(source, &target), format!("unix://{target}/docker.sock"))
                };
                mounted.map(option).unzip()
            }
            Self::Tls(nodes) => {
                let certificates = mount(lab.certificates(), "/certificates");
                let options = vec![certificates, "--env=EVENKEEL_DOCKER_CERT_PATH=/certificates".to_owned()];
                (options, nodes.iter().map(|node| lab.node(*node).tcp_host()).collect())
            }
        };
        options.push(format!("--env=EVENKEEL_DOCKER_HOST={}", hosts.join(",")));
        options
    }
}

impl<'a> Swarm<'a> {
    /// Makes the Swarm with so many managers and replicas, and waits until evenkeel, on the first node, has them all.
    pub(crate) async fn begin(lab: &'a mut Lab, managers: usize, asked: &Managers<'_>, replicas: usize) -> Self {
        lab.make_swarm(managers, NETWORK);
        let logs = work_logs(lab);
        let mut options = asked.options(lab);
        options.push("--env=EVENKEEL_SWARM=true".to_owned());
        // A manager knows images only by name.
        options.push("--env=EVENKEEL_PORT=3001".to_owned());
        create_evenkeel(lab, "evenkeel", 1, &options, &[]);
        create_gateway(lab, &logs, replicas);
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
        scale(self.lab, replicas);
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

/// Creates an evenkeel on a node, at whose ports 8080 and 9900 it is found, with such options of the service more and
/// with these arguments.
pub(crate) fn create_evenkeel(lab: &Lab, name: &str, node: usize, options: &[String], arguments: &[&str]) {
    let place = format!("--constraint=node.hostname=={}", lab.node(node).name());
    let (network, service) = (format!("--network={NETWORK}"), format!("--env=EVENKEEL_SERVICE={GATEWAY}"));
    let mut all = vec![
        place.as_str(),
        &network,
        "--publish=mode=host,target=8080,published=8080",
        "--publish=mode=host,target=9900,published=9900",
        "--user=0:0",
        "--no-healthcheck",
        &service,
        "--env=EVENKEEL_LISTEN=0.0.0.0:8080",
        "--env=EVENKEEL_ADMIN_LISTEN=0.0.0.0:9900",
    ];
    all.extend(options.iter().map(String::as_str));
    all.push(IMAGE);
    all.extend(arguments);
    lab.create_service(name, &all);
}

/// Creates the service that is balanced, with so many replicas, which log to that directory.
pub(crate) fn create_gateway(lab: &Lab, logs: &Path, replicas: usize) {
    let options: [&str; 8] = [
        &format!("--replicas={replicas}"),
        &format!("--network={NETWORK}"),
        &format!("--mount=type=bind,source={},target=/work-log", logs.display()),
        "--env=WORK_LOG=/work-log",
        "--label=evenkeel.health.path=/ready",
        // What hangs moves on when a probe failed: at the latest after this and the probe's second.
        "--label=evenkeel.health.interval=500ms",
        "--no-healthcheck",
        "evenkeel-replica:local",
    ];
    lab.create_service(GATEWAY, &options);
}

/// Sets the number of replicas of the service that is balanced.
pub(crate) fn scale(lab: &Lab, replicas: usize) {
    lab.node(1).engine.docker(&["service", "scale", "--detach", &format!("{GATEWAY}={replicas}")]);
}

impl Drop for Swarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            tell_log(&self.lab.node(1).engine, "evenkeel");
        }
    }
}

/// What the containers that a service has on this node said at last, for whoever reads why a scenario failed.
pub(crate) fn tell_log(engine: &Engine, service: &str) {
    let filter = format!("label=com.docker.swarm.service.name={service}");
    let containers = engine.docker_command(&["ps", "--all", "--quiet", "--filter", &filter]).output();
    let containers = containers.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    for container in containers.unwrap_or_default().lines() {
        let output = engine.docker_command(&["logs", "--tail=300", container]).output();
        let log = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        eprintln!("--- {service}'s log\n{}", String::from_utf8_lossy(&log));
    }
}
