//! Everything a run has: the network, the system, the clients' container and the replicas.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::try_join_all;
use integration_tests::Result;

use crate::Options;
use crate::container::{Container, PORT, Run, Spec, until};
use crate::relay::Relay;
use crate::system::{LISTEN, Running, System};

/// The service that is balanced, and how it stops: SIGTERM, and SIGKILL after so many seconds.
const GATEWAY: &str = "gateway";
const GRACE: u32 = 10;
/// Where the containers find the directory of the logs, and evenkeel that of the socket.
const LOGS: &str = "/work-log";
const SOCKETS: &str = "/var/run/docker";

pub(crate) struct Site {
    pub(crate) run: Run,
    pub(crate) relay: Relay,
    pub(crate) running: Running,
    /// In whose namespace the load runs.
    pub(crate) clients: Container,
    pub(crate) replicas: Vec<Container>,
    /// One file of each container that ever was.
    pub(crate) logs: PathBuf,
    pub(crate) scratch: PathBuf,
    replica_image: String,
    exit_delay: u64,
    /// Every replica of the service since the step began, by hostname.
    pub(crate) known: HashSet<String>,
}

impl Site {
    /// The network with a system and the clients on it, and no replica yet.
    pub(crate) async fn begin(options: &Options, system: System) -> Result<Self> {
        let scratch = options.scratch.join(system.name());
        fs::create_dir_all(&scratch)?;
        let scratch = scratch.canonicalize()?;
        let logs = scratch.join("work-log");
        let _ = fs::remove_dir_all(&logs);
        fs::create_dir_all(&logs)?;
        // The replicas are an arbitrary user.
        fs::set_permissions(&logs, fs::Permissions::from_mode(0o777))?;
        let run = Run::begin().await?;
        let relay = Relay::begin()?;
        let bystander = |service: &str| Spec {
            image: options.replica_image.clone(),
            service: service.to_owned(),
            number: 1,
            env: Vec::new(),
            binds: Vec::new(),
            labels: Vec::new(),
            aliases: Vec::new(),
            user: "",
        };
        let clients = run.start(&bystander("clients")).await?;
        let container = match system {
            System::DockerDns => None,
            System::Evenkeel => Some(run.start(&evenkeel(options, &relay)).await?),
            System::Nginx | System::Haproxy | System::Caddy => Some(run.start(&bystander("balancer")).await?),
        };
        let running = Running::start(system, container, &scratch)?;
        let (replica_image, exit_delay) = (options.replica_image.clone(), options.exit_delay);
        let (replicas, known) = (Vec::new(), HashSet::new());
        Ok(Self { run, relay, running, clients, replicas, logs, scratch, replica_image, exit_delay, known })
    }

    /// The service's next replica, with the lowest number that is free, as Compose does it.
    pub(crate) async fn add(&mut self, env: &[&str]) -> Result<Container> {
        let added = self.start(self.free_number(), env).await?;
        added.until_ready().await?;
        self.joined(&added);
        Ok(added)
    }

    /// So many at once.
    pub(crate) async fn add_all(&mut self, count: usize) -> Result<()> {
        let taken: HashSet<_> = self.replicas.iter().map(|replica| replica.number).collect();
        let numbers = (1..).filter(|number| !taken.contains(number)).take(count);
        let started = try_join_all(numbers.map(|number| self.start(number, &[]))).await?;
        for replica in &started {
            self.joined(replica);
        }
        try_join_all(started.iter().map(Container::until_ready)).await?;
        Ok(())
    }

    fn joined(&mut self, replica: &Container) {
        self.known.insert(replica.hostname().to_owned());
        self.replicas.push(replica.clone());
    }

    fn free_number(&self) -> u32 {
        let taken: HashSet<_> = self.replicas.iter().map(|replica| replica.number).collect();
        (1..).find(|number| !taken.contains(number)).unwrap_or_default()
    }

    async fn start(&self, number: u32, env: &[&str]) -> Result<Container> {
        self.run.start(&self.replica(GATEWAY, number, env)).await
    }

    /// A replica of any service; what answers to another name than `gateway` must never get a request of ours.
    pub(crate) fn replica(&self, service: &str, number: u32, env: &[&str]) -> Spec {
        let mut env: Vec<_> = env.iter().map(|variable| (*variable).to_owned()).collect();
        env.extend([format!("WORK_LOG={LOGS}"), format!("EXIT_DELAY_MS={}", self.exit_delay)]);
        Spec {
            image: self.replica_image.clone(),
            service: service.to_owned(),
            number,
            env,
            binds: vec![format!("{}:{LOGS}", self.logs.display())],
            labels: vec![("evenkeel.health.path", "/ready".to_owned())],
            aliases: vec![service.to_owned()],
            user: "",
        }
    }

    /// Stops a replica as Compose does and removes it.
    pub(crate) async fn take_away(&mut self, replica: &Container) -> Result<()> {
        replica.act(&format!("stop?t={GRACE}")).await?;
        replica.remove().await?;
        self.replicas.retain(|kept| kept.id != replica.id);
        Ok(())
    }

    /// Stops so many at once, those with the highest numbers, and removes them.
    pub(crate) async fn take_away_all(&mut self, count: usize) -> Result<()> {
        self.replicas.sort_by_key(|replica| replica.number);
        let staying = self.replicas.len().saturating_sub(count);
        let leaving: Vec<_> = self.replicas.iter().skip(staying).map(|replica| replica.id.clone()).collect();
        self.take_away_some(|replica| leaving.contains(&replica.id)).await
    }

    /// Stops those at once that are to leave, and removes them.
    pub(crate) async fn take_away_some(&mut self, is_leaving: impl Fn(&Container) -> bool) -> Result<()> {
        let (leaving, staying): (Vec<_>, Vec<_>) = self.replicas.drain(..).partition(is_leaving);
        self.replicas = staying;
        try_join_all(leaving.iter().map(async |replica| {
            replica.act(&format!("stop?t={GRACE}")).await?;
            replica.remove().await
        }))
        .await?;
        Ok(())
    }

    /// Looks again at a replica that was started anew: it may have another address and has another process.
    pub(crate) async fn renew(&mut self, replica: &Container) -> Result<Container> {
        let now = self.run.look(&replica.id).await?;
        for kept in self.replicas.iter_mut().filter(|kept| kept.id == now.id) {
            *kept = now.clone();
        }
        Ok(now)
    }

    /// Brings the service to so many replicas that are all as new, and waits until the system uses each.
    pub(crate) async fn settle(&mut self, count: usize) -> Result<()> {
        let all = std::mem::take(&mut self.replicas);
        let mut kept = Vec::new();
        for replica in all {
            let fine = replica.until_answers().await && kept.len() < count;
            if fine { kept.push(replica) } else { replica.remove().await? }
        }
        self.replicas = kept;
        self.add_all(count - self.replicas.len()).await?;
        self.known = self.replicas.iter().map(|replica| replica.hostname().to_owned()).collect();
        self.until_all_answer().await
    }

    /// Waits until every replica, and nothing else, answers through the system.
    pub(crate) async fn until_all_answer(&mut self) -> Result<()> {
        self.running.check()?;
        if self.running.addr().is_none() {
            return Ok(());
        }
        let due: HashSet<_> = self.replicas.iter().map(|replica| replica.hostname().to_owned()).collect();
        let running = &self.running;
        let what = format!("{} uses all {} replicas", running.system.name(), due.len());
        until(&what, async || {
            let mut seen = HashSet::new();
            for _ in 0..due.len() * 8 {
                seen.extend(running.who_answers().await);
            }
            seen == due
        })
        .await
        .map_err(|error| {
            let log = running.log().unwrap_or_else(|error| error.to_string());
            format!("{error}\n{}", tail(&log)).into()
        })
    }

    /// Forgets what the replicas logged.
    pub(crate) fn clear_logs(&self) -> Result<()> {
        for file in fs::read_dir(&self.logs)? {
            fs::File::options().write(true).truncate(true).open(file?.path())?;
        }
        Ok(())
    }
}

impl Container {
    /// Whether it is there and answers at once.
    async fn until_answers(&self) -> bool {
        tokio::time::timeout(Duration::from_secs(1), self.until_ready()).await.is_ok_and(|ready| ready.is_ok())
    }
}

/// The end of a log.
pub(crate) fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n")
}

fn evenkeel(options: &Options, relay: &Relay) -> Spec {
    let mut env: Vec<_> = [
        format!("EVENKEEL_LISTEN=0.0.0.0:{LISTEN}"),
        format!("EVENKEEL_DOCKER_HOST=unix://{SOCKETS}/docker.sock"),
        format!("EVENKEEL_PORT={PORT}"),
        "EVENKEEL_HEALTH_PATH=/ready".to_owned(),
        "EVENKEEL_HEALTH_INTERVAL=1s".to_owned(),
    ]
    .into();
    env.extend(options.evenkeel_env.iter().cloned());
    let directory: &Path = relay.directory();
    Spec {
        image: options.image.clone(),
        service: "evenkeel".to_owned(),
        number: 1,
        env,
        binds: vec![format!("{}:{SOCKETS}:ro", directory.display())],
        labels: Vec::new(),
        aliases: Vec::new(),
        // The socket is root's.
        user: "0:0",
    }
}
