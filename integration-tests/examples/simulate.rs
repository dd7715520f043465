//! One evenkeel before very many replicas that come and go: how long a change takes from the source to the balancer's list,
//! and what the control thread and the memory have to bear. The engines are fakes in this process; the replicas of a host
//! are one listener, which is enough for probes.
//!
//! Times are of this machine and this moment: compare runs, not machines.
#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use evenkeel::app::App;
use evenkeel::balancer::{Balancer, Tried};
use evenkeel::config::settings::{DockerSettings, ProxySettings, Settings, SubsetSettings};
use evenkeel::provider::{Provider, ProviderKind};
use evenkeel::registry::Registry;
use evenkeel::replica::{ProbeSpec, ReplicaSpec};
use evenkeel::service::Policy;
use integration_tests::{ContainerId, ContainerSpec, FakeEngine, procfs};
use tokio::net::TcpListener;
use tokio::time::{interval, sleep};

/// Replicas among which picks are timed.
const COUNTS: [usize; 3] = [10, 1000, 10_000];

/// How long the first sync, or the last change, may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Simulates large fleets, and prints a table in Markdown.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// Docker hosts that one evenkeel follows.
    #[arg(long, default_value_t = 200)]
    hosts: u8,
    /// Replicas on each.
    #[arg(long, default_value_t = 50)]
    replicas: u32,
    /// Changes a second: by turns a container that starts and one that stops.
    #[arg(long, default_value_t = 20)]
    churn: u32,
    /// Seconds of quiet, and then of churn, for each row.
    #[arg(long, default_value_t = 15)]
    seconds: u32,
    /// Replicas that evenkeel keeps to in the second row, being the first of as many evenkeels as are needed for all.
    #[arg(long, default_value_t = 500)]
    subset: usize,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

// The fakes share this thread; evenkeel has threads of its own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = Options::parse();
    let total = usize::from(options.hosts) * options.replicas as usize;
    println!(
        "| {} hosts × {} replicas, {} changes/s | published | first sync | quiet | with changes | per change \
         | p50 | p99 | worst | memory per replica |",
        options.hosts, options.replicas, options.churn
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    simulate("all", &options, None).await?;
    if total > options.subset {
        let slots = total.div_ceil(options.subset);
        let subset = SubsetSettings { size: options.subset, slot: 1, slots };
        simulate(&format!("`--subset {} --subset-slot 1/{slots}`", options.subset), &options, Some(subset)).await?;
    }
    println!(
        "\n| CPU of a pick and its release among so many ready replicas | {} |",
        COUNTS.map(|n| n.to_string()).join(" | ")
    );
    println!("|---|---|---|---|");
    let mut columns = Vec::new();
    for count in COUNTS {
        columns.push(picks(count).await?);
    }
    for (index, policy) in Policy::ALL.into_iter().enumerate() {
        let row: Vec<_> = columns.iter().filter_map(|column| column.get(index)).map(|t| format!("{t:.0} ns")).collect();
        println!("| `{policy}` | {} |", row.join(" | "));
    }
    Ok(())
}

/// Nanoseconds on a core for a pick by each policy among so many static replicas.
async fn picks(count: usize) -> Result<Vec<f64>> {
    let hosts = Hosts::start(&Options { hosts: 10, replicas: 0, churn: 0, seconds: 0, subset: 0 }).await?;
    let addrs: Vec<_> = hosts.0.iter().map(|(_, addr, _)| *addr).collect();
    let spec = |(number, addr): (usize, &SocketAddr)| ReplicaSpec {
        id: format!("gateway-{number}").into(),
        provider: Provider::STATIC,
        service: "gateway".into(),
        name: format!("gateway-{number}"),
        project: None,
        number: None,
        image: None,
        network: None,
        addr: *addr,
        weight: 1,
        probe: ProbeSpec { interval: PATIENCE, ..ProbeSpec::default() },
        drain_timeout: None,
        max_concurrency: None,
    };
    let statics = addrs.iter().cycle().take(count).enumerate().map(spec).collect();
    let app = App::start(Settings { docker: Vec::new(), statics, ..hosts.settings(None) })?;
    until(|| known(app.registry()) == count && are_ready(app.registry())).await?;
    let mut costs = Vec::new();
    for policy in Policy::ALL {
        let (balancer, tried) = (Balancer::new(app.registry().clone(), policy, 1), Tried::default());
        // Some of them look at each replica.
        let times = 10_000_000 / (count + 1000);
        let before = ran("thread-self")?;
        for _ in 0..times {
            drop(black_box(balancer.pick("gateway", &tried)?));
        }
        costs.push((ran("thread-self")? - before) * 1e9 / times as f64);
    }
    app.shutdown().await;
    Ok(costs)
}

/// Seconds that a thread has been on a core.
fn ran(thread: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{thread}/schedstat"))?;
    Ok(text.split(' ').next().unwrap_or_default().parse::<f64>()? / 1e9)
}

/// One row: a quiet time and one with changes.
async fn simulate(name: &str, options: &Options, subset: Option<SubsetSettings>) -> Result<()> {
    let hosts = Hosts::start(options).await?;
    let empty = procfs::resident(process::id())?;
    let begun = Instant::now();
    let app = App::start(hosts.settings(subset))?;
    // A thread gives itself its name once it runs.
    until(|| control_thread().is_ok()).await?;
    let control = control_thread()?;
    let total = usize::from(options.hosts) * options.replicas as usize;
    until(|| known(app.registry()) == total).await?;
    let synced = begun.elapsed();
    // The first probes are over then, and what the engines were asked with is gone.
    until(|| are_ready(app.registry())).await?;
    sleep(Duration::from_secs(2)).await;
    let memory = procfs::resident(process::id())?.saturating_sub(empty);
    let published = app.registry().replicas("gateway").map_or(0, |replicas| replicas.list().len());

    let span = Duration::from_secs(options.seconds.into());
    let quiet = share(control, async { sleep(span).await }).await?;
    let observer = Observer::start(app.registry().clone());
    let mut changes = 0;
    let busy = share(control, async { changes = hosts.churn(options, &observer).await }).await?;
    let times = observer.stop(subset.is_some()).await?;
    app.shutdown().await;

    let at = |hundredths: usize| times.get((times.len() * hundredths / 100).min(times.len().saturating_sub(1)));
    let milliseconds =
        |time: Option<&Duration>| time.map_or("-".to_owned(), |t| format!("{:.1} ms", t.as_secs_f64() * 1e3));
    let per_change = (busy - quiet).max(0.0) * span.as_secs_f64() * 1e3 / f64::from(changes.max(1));
    println!(
        "| {name} | {published} | {:.1} s | {:.1} % | {:.1} % | {per_change:.2} ms | {} | {} | {} | {:.1} KiB |",
        synced.as_secs_f64(),
        quiet * 100.0,
        busy * 100.0,
        milliseconds(at(50)),
        milliseconds(at(99)),
        milliseconds(times.last()),
        memory as f64 / total as f64,
    );
    Ok(())
}

/// The part of a core that a thread of ours takes meanwhile.
async fn share(thread: u32, meanwhile: impl Future<Output = ()>) -> Result<f64> {
    let thread = format!("self/task/{thread}");
    let (before, begun) = (ran(&thread)?, Instant::now());
    meanwhile.await;
    Ok((ran(&thread)? - before) / begun.elapsed().as_secs_f64())
}

/// The control thread of the evenkeel that runs in this process.
fn control_thread() -> Result<u32> {
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.starts_with("evenkeel-contro") {
            return Ok(task.file_name().and_then(|name| name.to_str()).unwrap_or_default().parse()?);
        }
    }
    Err("there is no control thread".into())
}

fn known(registry: &Registry) -> usize {
    registry.replicas("gateway").map_or(0, |replicas| replicas.known())
}

fn are_ready(registry: &Registry) -> bool {
    registry.replicas("gateway").is_some_and(|replicas| replicas.list().iter().all(|replica| replica.is_pickable()))
}

async fn until(holds: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > deadline {
            return Err("evenkeel did not come to what it should within a minute".into());
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// The engines, each with the address of all its replicas.
struct Hosts(Vec<(FakeEngine, SocketAddr, Mutex<Vec<ContainerId>>)>);

impl Hosts {
    async fn start(options: &Options) -> Result<Self> {
        let mut hosts = Vec::new();
        for host in 1..=options.hosts {
            // An address for each host: the ports that closed connections keep for a minute are then its own.
            let listener = TcpListener::bind((Ipv4Addr::new(127, 1, host, 1), 0)).await?;
            let addr = listener.local_addr()?;
            tokio::spawn(async move {
                loop {
                    drop(listener.accept().await);
                }
            });
            let engine = FakeEngine::start();
            let ids = (1..=options.replicas).map(|number| engine.run(container(addr, number))).collect();
            hosts.push((engine, addr, Mutex::new(ids)));
        }
        Ok(Self(hosts))
    }

    fn settings(&self, subset: Option<SubsetSettings>) -> Settings {
        let docker = self.0.iter().enumerate().map(|(index, (engine, ..))| DockerSettings {
            provider: Provider::named(ProviderKind::Docker, format!("vm-{index}")),
            host: engine.host(),
            project: Some("sim".to_owned()),
            network: Some("sim_default".to_owned()),
            ..DockerSettings::default()
        });
        Settings {
            proxy: ProxySettings { listen: ([127, 0, 0, 1], 0).into(), ..ProxySettings::default() },
            admin_listen: ([127, 0, 0, 1], 0).into(),
            docker: docker.collect(),
            subset,
            ..Settings::default()
        }
    }

    /// Lets containers start and stop by turns, and says how many did.
    async fn churn(&self, options: &Options, observer: &Observer) -> u32 {
        let mut ticks = interval(Duration::from_secs(1) / options.churn.max(1));
        let count = options.churn * options.seconds;
        for number in 0..count {
            ticks.tick().await;
            let Some((engine, addr, ids)) = self.0.get(fastrand::usize(..self.0.len())) else { continue };
            let mut ids = ids.lock().unwrap_or_else(PoisonError::into_inner);
            let at = Instant::now();
            if number % 2 == 0 || ids.is_empty() {
                let id = engine.run(container(*addr, options.replicas + number));
                observer.expect(&id, at, true);
                ids.push(id);
            } else {
                let index = fastrand::usize(..ids.len());
                let id = ids.swap_remove(index);
                observer.expect(&id, at, false);
                engine.remove(&id);
            }
        }
        count
    }
}

fn container(addr: SocketAddr, number: u32) -> ContainerSpec {
    ContainerSpec::compose("sim", "gateway", number).network("sim_default", addr.ip()).expose(addr.port())
}

/// What has to show in the balancer's list, and since when; whether it comes or goes.
type Pending = Mutex<HashMap<String, (Instant, bool)>>;

/// Looks at the list whenever it changes, on a thread of its own.
struct Observer {
    registry: Registry,
    pending: Arc<Pending>,
    is_over: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<Duration>>,
}

impl Observer {
    fn start(registry: Registry) -> Self {
        let (pending, is_over) = (Arc::<Pending>::default(), Arc::<AtomicBool>::default());
        let (own, awaited, ends) = (registry.clone(), Arc::clone(&pending), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            let (mut version, mut times) = (registry.watch(), Vec::new());
            while !ends.load(Ordering::Relaxed) {
                if version.has_changed().unwrap_or(false) {
                    version.mark_unchanged();
                    look(&registry, &awaited, &mut times);
                }
                thread::sleep(Duration::from_micros(200));
            }
            times
        });
        Self { registry: own, pending, is_over, thread }
    }

    /// Who leaves and is in nobody's list has nothing to leave.
    fn expect(&self, id: &ContainerId, at: Instant, comes: bool) {
        let replicas = self.registry.replicas("gateway");
        let mut list = replicas.iter().flat_map(|replicas| replicas.list());
        if !comes && list.all(|replica| replica.id().as_str() != id.as_str()) {
            return;
        }
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.insert(id.as_str().to_owned(), (at, comes));
    }

    /// How long the changes took, the shortest first; of a subset, those that concern it.
    async fn stop(self, is_part: bool) -> Result<Vec<Duration>> {
        let is_over = || self.pending.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if is_part {
            sleep(Duration::from_secs(2)).await;
        } else {
            until(is_over).await?;
        }
        self.is_over.store(true, Ordering::Relaxed);
        let mut times = tokio::task::spawn_blocking(|| self.thread.join()).await?.map_err(|_| "the observer failed")?;
        times.sort();
        Ok(times)
    }
}

/// Notes the changes that show in the list by now: a replica is there, or is not or takes nothing more.
fn look(registry: &Registry, pending: &Pending, times: &mut Vec<Duration>) {
    let now = Instant::now();
    let Some(replicas) = registry.replicas("gateway") else { return };
    let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
    if pending.is_empty() {
        return;
    }
    let listed: HashMap<_, _> =
        replicas.list().iter().map(|replica| (replica.id().as_str(), !replica.is_draining())).collect();
    pending.retain(|id, (at, comes)| {
        let is_there = listed.get(id.as_str()).copied().unwrap_or(false);
        if is_there == *comes {
            times.push(now.saturating_duration_since(*at));
        }
        is_there != *comes
    });
}
