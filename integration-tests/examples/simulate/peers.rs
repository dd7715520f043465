//! Evenkeels as peers of one another, each beside a host of its own.

use std::net::SocketAddr;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use evenkeel::app::App;
use evenkeel::config::settings::{PeerHost, Settings};
use integration_tests::procfs;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::fleet::Churn;
use crate::hosts::{self, Host};
use crate::local;
use crate::measure::{Control, Expected, Observer, Result, Times, until};

/// The columns of a [`Row`].
pub(crate) const COLUMNS: [&str; 9] = [
    "all see all",
    "CPU of each, quiet",
    "CPU of each, with changes",
    "p50 | p99 | worst",
    "memory of each",
    "news to each peer, quiet",
    "with changes",
    "each sends in all, quiet",
    "with changes",
];

/// What it came to.
pub(crate) struct Row {
    peers: usize,
    together: Duration,
    quiet: f64,
    busy: f64,
    pub(crate) times: Times,
    memory: f64,
    /// Bytes a second on one stream.
    quiet_news: f64,
    busy_news: f64,
}

impl Row {
    /// The columns.
    pub(crate) fn columns(&self) -> String {
        let others = self.peers.saturating_sub(1) as f64;
        format!(
            "{:.1} s | {:.1} % | {:.1} % | {} | {:.1} MiB | {:.0} B/s | {:.0} B/s | {:.2} kB/s | {:.2} kB/s",
            self.together.as_secs_f64(),
            self.quiet * 100.0,
            self.busy * 100.0,
            self.times.columns(),
            self.memory / 1024.0,
            self.quiet_news,
            self.busy_news,
            self.quiet_news * others / 1e3,
            self.busy_news * others / 1e3,
        )
    }
}

/// So many evenkeels with so many replicas each, all of which know of all; the replicas of one host after the other change.
pub(crate) async fn simulate(peers: u8, replicas: u32, churn: Churn) -> Result<Row> {
    let mut hosts = hosts::start(2, peers, replicas).await?;
    let empty = procfs::resident(process::id())?;
    let begun = Instant::now();
    let apps = start(&hosts).await?;
    let control = Control::find(apps.len()).await?;
    until("every evenkeel with the replicas of all", || {
        apps.iter().all(|app| sees(app, apps.len() - 1, replicas as u16))
    })
    .await?;
    let together = begun.elapsed();
    let news = Arc::<AtomicU64>::default();
    for app in &apps {
        tokio::spawn(count_news(app.admin_addr(), Arc::clone(&news)));
    }
    // The first line of each says everything.
    sleep(Duration::from_secs(2).min(churn.span())).await;
    let memory = procfs::resident(process::id())?.saturating_sub(empty) as f64 / apps.len() as f64;
    let rate = |bytes: u64| bytes as f64 / apps.len() as f64 / churn.span().as_secs_f64();

    let before = news.load(Ordering::Relaxed);
    let quiet = control.share(sleep(churn.span())).await?;
    let between = news.load(Ordering::Relaxed);
    let observer = Observer::start(apps.iter().map(|app| app.registry().clone()).collect());
    let busy = control.share(churn.run(|number| change(&mut hosts, number as usize, &observer))).await?;
    let after = news.load(Ordering::Relaxed);
    let times = observer.stop(false).await?;
    let peers = apps.len();
    let row = Row {
        peers,
        together,
        quiet,
        busy,
        times,
        memory,
        quiet_news: rate(between - before),
        busy_news: rate(after - between),
    };
    for app in apps {
        app.shutdown().await;
    }
    Ok(row)
}

async fn start(hosts: &[Host]) -> Result<Vec<App>> {
    // The ports are taken again in a moment.
    let mut admins = Vec::new();
    for host in hosts {
        admins.push(TcpListener::bind((host.addr.ip(), 0)).await?.local_addr()?);
    }
    let peers: Vec<_> = admins.iter().map(|at| PeerHost { host: at.ip().to_string(), port: at.port() }).collect();
    let mut apps = Vec::new();
    for (index, (host, admin)) in hosts.iter().zip(&admins).enumerate() {
        let mut settings = Settings { docker: vec![host.docker("here".to_owned())], admin_listen: *admin, ..local() };
        settings.proxy.listen = (admin.ip(), 0).into();
        settings.peers.name = Some(name(index));
        settings.peers.token = Some("sesame-open-wide".into());
        settings.peers.hosts.clone_from(&peers);
        apps.push(App::start(settings)?);
    }
    Ok(apps)
}

fn name(index: usize) -> String {
    format!("vm-{}", index + 1)
}

/// Whether so many peers are ready, each with that weight, and all of the own replicas.
fn sees(app: &App, peers: usize, weight: u16) -> bool {
    let replicas = app.registry().replicas("gateway");
    let ready = || replicas.iter().flat_map(|replicas| replicas.list()).filter(|replica| replica.is_pickable());
    let is_whole = |of: &&_| evenkeel::replica::Replica::spec(of).weight == weight;
    ready().filter(|replica| replica.is_peer()).map(|replica| &**replica).filter(is_whole).count() == peers
        && ready().filter(|replica| !replica.is_peer()).count() == usize::from(weight)
}

/// A replica of one host comes or goes; awaited is its host's weight on all others.
fn change(hosts: &mut [Host], number: usize, observer: &Observer) {
    let (index, count) = (number % hosts.len().max(1), hosts.len());
    let Some(host) = hosts.get_mut(index) else { return };
    let key = format!("peer:{}", name(index));
    if observer.is_awaited(&key) {
        return;
    }
    // By turns, as each host has its turn once in so many.
    let leaver = if (number / count).is_multiple_of(2) { None } else { host.choose(1) };
    let weight = if leaver.is_some() { host.count() } else { host.count() + 1 };
    let at = Instant::now();
    for other in (0..count).filter(|other| *other != index) {
        observer.expect(other, &key, at, Expected::Weighs(weight as u16));
    }
    match leaver {
        Some(id) => host.engine.remove(&id),
        None => drop(host.add()),
    }
}

/// Reads the news as every peer does, and counts the bytes.
async fn count_news(admin: SocketAddr, bytes: Arc<AtomicU64>) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(admin).await?;
    stream.write_all(b"GET /api/v1/watch HTTP/1.1\r\nHost: evenkeel\r\n\r\n").await?;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => bytes.fetch_add(read as u64, Ordering::Relaxed),
        };
    }
}
