//! Everything a run has: the Swarm, the system and the replicas. The clients are outside, and come in at a published port.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use integration_tests::command::run;
use integration_tests::lab::swarm::Task;
use integration_tests::lab::{Lab, PATIENCE};
use integration_tests::peer::Service;
use integration_tests::process::Process;
use integration_tests::{Result, client, eventually};
use tokio::time::timeout;

use crate::system::{System, evenkeel};
use crate::{OF_REQUESTS, Options};

/// The service that is balanced.
pub(crate) const GATEWAY: &str = "gateway";
/// One that nobody asks for, and that no system knows: the same is done to it, to tell what the machine does to the clients
/// from what a change does.
pub(crate) const BYSTANDER: &str = "bystander";
/// Of either.
pub(crate) const REPLICAS: usize = 6;
/// More than there are at any time. Tasks leave the name three seconds before they are told to stop: what HAProxy kept of
/// them would fail.
const SERVICE: Service = Service { name: "tasks.gateway", replicas: 24, obsolete: "0s" };
const NETWORK: &str = "gateways";
const LISTEN: u16 = 8080;
/// The node with the manager and the system, and the one that things happen to.
pub(crate) const MANAGER: usize = 1;
pub(crate) const STRUCK: usize = 3;

pub(crate) struct Site<'a> {
    pub(crate) lab: &'a mut Lab,
    pub(crate) system: System,
    /// The node that things happen to, as the Swarm calls it.
    pub(crate) struck: String,
    /// Where clients find it.
    pub(crate) addr: SocketAddr,
    /// A peer.
    process: Option<Process>,
    /// One file of each replica that ever was.
    pub(crate) logs: PathBuf,
    pub(crate) scratch: PathBuf,
}

impl<'a> Site<'a> {
    /// The Swarm with the replicas and the system.
    pub(crate) async fn begin(options: &Options, lab: &'a mut Lab, system: System) -> Result<Self> {
        let scratch = options.scratch.join(system.name());
        fs::create_dir_all(&scratch)?;
        let scratch = scratch.canonicalize()?;
        let logs = lab.directory().join("work-log");
        fs::create_dir(&logs)?;
        // The replicas are an arbitrary user.
        fs::set_permissions(&logs, fs::Permissions::from_mode(0o777))?;
        fs::set_permissions(lab.directory(), fs::Permissions::from_mode(0o755))?;
        lab.make_swarm(1, NETWORK);
        let process = match system.peer() {
            None => {
                let service = evenkeel(NETWORK, &lab.node(MANAGER).engine.socket_directory(), options);
                lab.create_service("evenkeel", &service.iter().map(String::as_str).collect::<Vec<_>>());
                let tasks = lab.until_settled("evenkeel", 1).await;
                if let (true, Some(task)) = (options.apart, tasks.first()) {
                    let engine = &lab.node(MANAGER).engine;
                    let pid = engine.docker(&["inspect", "--format={{.State.Pid}}", &task.container]);
                    let core = OF_REQUESTS.to_string();
                    run(engine.namespaces().command("taskset").args([
                        "--all-tasks",
                        "--cpu-list",
                        "--pid",
                        &core,
                        &pid,
                    ]));
                }
                None
            }
            Some(peer) => {
                let network = format!("--network={NETWORK}");
                let run = ["run", "--detach", "--no-healthcheck", &network, "--publish=8080:8080", "--name=balancer"];
                lab.node(MANAGER).engine.docker(&[run.as_slice(), &[&options.replica_image]].concat());
                let (program, arguments) = peer.program(&scratch, &SERVICE)?;
                let prepare = |program: &OsStr| lab.node(MANAGER).inside("balancer", program);
                let mut command = options.place(program.as_ref(), prepare);
                command.args(arguments);
                Some(Process::start(program, command, &scratch)?)
            }
        };
        let mount = format!("--mount=type=bind,source={},target=/work-log", logs.display());
        let (replicas, network) = (format!("--replicas={REPLICAS}"), format!("--network={NETWORK}"));
        let core = if options.apart { format!("--env=CORE={OF_REQUESTS}") } else { "--env=CORE=".to_owned() };
        // Without a HEALTHCHECK: an exec a second for each replica would be most of what two cores do.
        let both = [network.as_str(), &mount, &core, "--no-healthcheck"];
        let own = [&replicas, "--env=WORK_LOG=/work-log", "--label=evenkeel.health.path=/ready"];
        lab.create_service(GATEWAY, &[&both, own.as_slice(), &[&options.replica_image]].concat());
        // No label: evenkeel is not concerned with it, and asks for none of its tasks.
        lab.create_service(BYSTANDER, &[&both, ["--replicas=0"].as_slice(), &[&options.replica_image]].concat());
        lab.until_settled(GATEWAY, REPLICAS).await;
        let (struck, addr) = (lab.node_id(STRUCK), (lab.node(MANAGER).addr(), LISTEN).into());
        Ok(Self { lab, system, struck, addr, process, logs, scratch })
    }

    /// `docker ARGS…` on the manager.
    pub(crate) fn docker(&self, args: &[&str]) -> String {
        self.lab.node(MANAGER).engine.docker(args)
    }

    /// Brings the service to its tasks, as many on each node, and the bystander to so many, and waits until the system
    /// uses each of the service's.
    pub(crate) async fn settle(&mut self, bystanders: usize) -> Result<()> {
        let (ours, others) = (format!("{GATEWAY}={REPLICAS}"), format!("{BYSTANDER}={bystanders}"));
        self.docker(&["service", "scale", "--detach", &ours, &others]);
        self.lab.until_settled(BYSTANDER, bystanders).await;
        let mut tasks = self.lab.until_settled(GATEWAY, REPLICAS).await;
        let share = REPLICAS / self.lab.nodes().len();
        let is_even = |tasks: &[Task]| {
            let on = |node: &str| tasks.iter().filter(|task| task.node == node).count();
            tasks.iter().all(|task| on(&task.node) == share)
        };
        if !is_even(&tasks) {
            // Swarm moves no task that runs, and counts the old ones while it places new ones.
            self.docker(&["service", "scale", "--detach", &format!("{GATEWAY}=0")]);
            self.lab.until_settled(GATEWAY, 0).await;
            self.docker(&["service", "scale", "--detach", &ours]);
            tasks = self.lab.until_settled(GATEWAY, REPLICAS).await;
            if !is_even(&tasks) {
                return Err(format!("the tasks are not spread evenly: {tasks:?}").into());
            }
        }
        self.until_all_answer(&tasks).await
    }

    /// Waits until every task, and nothing else, answers through the system.
    async fn until_all_answer(&mut self, tasks: &[Task]) -> Result<()> {
        if let Some(process) = &mut self.process
            && process.has_ended()?
        {
            return Err(process.failure("has ended"));
        }
        let due: HashSet<_> = tasks.iter().map(|task| hostname(&task.container).to_owned()).collect();
        let what = format!("{} uses all {} tasks", self.system.name(), due.len());
        let ask = async || {
            let answer = timeout(Duration::from_secs(1), client::get(self.addr, "/")).await.ok()?.ok()?;
            (answer.status == 200).then(|| answer.text().split_whitespace().next().map(str::to_owned)).flatten()
        };
        eventually(PATIENCE, &what, async || {
            let mut seen = HashSet::new();
            for _ in 0..due.len() * 6 {
                seen.extend(ask().await);
            }
            seen == due
        })
        .await;
        Ok(())
    }

    /// Forgets what the replicas logged.
    pub(crate) fn clear_logs(&self) -> Result<()> {
        for file in fs::read_dir(&self.logs)? {
            fs::File::options().write(true).truncate(true).open(file?.path())?;
        }
        Ok(())
    }

    /// What the system said.
    pub(crate) fn log(&self) -> Result<String> {
        if let Some(process) = &self.process {
            return process.output();
        }
        let filter = "label=com.docker.swarm.service.name=evenkeel";
        let container = self.docker(&["ps", "--all", "--quiet", "--latest", "--filter", filter]);
        let output = self.lab.node(MANAGER).engine.docker_command(&["logs", &container]).output()?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    pub(crate) fn save_logs(&self) -> Result<()> {
        Ok(fs::write(self.scratch.join(format!("{}.log", self.system.name())), self.log()?)?)
    }
}

/// What a container calls itself.
pub(crate) fn hostname(container: &str) -> &str {
    container.get(..12).unwrap_or(container)
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log().unwrap_or_else(|error| error.to_string());
            let lines: Vec<_> = log.lines().collect();
            eprintln!("--- {} said at last", self.system.name());
            eprintln!("{}", lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n"));
        }
    }
}
