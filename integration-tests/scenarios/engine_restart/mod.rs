//! dockerd itself restarts, and takes all replicas with it or, with live-restore, none.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, SystemTime};

use integration_tests::eventually;
use tokio::time::Instant;

use crate::harness::{CONNECTIONS, Engine, Evenkeel, Failure, Load, PATIENCE, Tally, program, run_gateway};

const REPLICAS: usize = 3;
/// At least so long is dockerd away.
const AWAY: Duration = Duration::from_secs(5);
/// How long a request waits for a replica.
const HOLD: Duration = Duration::from_secs(2);
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// The replicas, and evenkeel beside the engine, once it has them.
async fn start(engine: &Engine) -> Evenkeel {
    engine.load("evenkeel-replica:local");
    engine.docker(&["network", "create", "gateways"]);
    let interval = format!("--label=evenkeel.health.interval={}s", PROBE_INTERVAL.as_secs());
    for number in 1..=REPLICAS {
        run_gateway(engine, number, &["--restart=always", "--network=gateways", &interval]);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]).arg(program(engine.directory()));
    let options = ["--docker-host", &engine.host(), "--service=gateway", &format!("--hold={}s", HOLD.as_secs())];
    let options = options.map(str::to_owned);
    let evenkeel = Evenkeel::start("evenkeel", command, Ipv4Addr::LOCALHOST, &options, engine.directory()).await;
    evenkeel.admin.until_ready(REPLICAS).await;
    evenkeel.admin.until_connected(1).await;
    evenkeel
}

async fn requests(load: &Load, more: u64) {
    let until = load.tally().total() + more;
    eventually(PATIENCE, "requests come through", async || load.tally().total() >= until).await;
}

#[test]
fn with_its_containers_requests_wait_or_fail_after_that_until_they_are_back() {
    Engine::with(&[], async |engine| {
        let mut evenkeel = start(engine).await;
        let admin = evenkeel.admin;
        let load = Load::start(evenkeel.proxy, "/slow?ms=5");
        requests(&load, 1_000).await;

        let since = Instant::now();
        engine.stop();
        let gone = SystemTime::now();
        admin.until_connected(0).await;
        eventually(PATIENCE, "dockerd has been away for long", async || since.elapsed() > AWAY).await;
        evenkeel.assert_runs();
        let away = load.tally();
        engine.start();
        let first_answer = async {
            eventually(PATIENCE, "requests are answered", async || load.tally().total() > away.total()).await;
            SystemTime::now()
        };
        let (up, answered) = tokio::join!(engine.until_up(), first_answer);
        let away_for = since.elapsed();
        admin.until_ready(REPLICAS).await;
        admin.until_connected(1).await;
        requests(&load, 1_000).await;
        let tally = load.stop().await;
        evenkeel.assert_runs();

        let started = engine.first_start();
        let after = |what: SystemTime| answered.duration_since(what).unwrap_or_default();
        eprintln!("away for {away_for:.2?}: {}", told(&tally));
        eprintln!("answers came {:.2?} after a replica ran, {:.2?} after dockerd answered", after(started), after(up));
        assert_failed_after_their_wait(&tally, gone, answered);
        let known = after(started.max(up));
        assert!(known < Duration::from_secs(1) + PROBE_INTERVAL, "{known:?}");
    });
}

/// Everything that failed had waited for as long as it may, and then got a 503; or, if it had been sent to one of the
/// replicas that went, a 502 that says so.
fn assert_failed_after_their_wait(tally: &Tally, gone: SystemTime, answered: SystemTime) {
    let held = HOLD - Duration::from_millis(50)..=HOLD + Duration::from_millis(500);
    let is_of = |failure: &&Failure, status| failure.status == Some(status);
    assert!(tally.failures.iter().any(|failure| is_of(&failure, 503)), "away for longer than requests wait");
    let tried: Vec<_> = tally.failures.iter().filter(|failure| is_of(failure, 502)).collect();
    // A client has one request at a time.
    assert!(tried.len() as u64 <= CONNECTIONS && tried.iter().all(|failure| failure.began() < gone), "{tried:?}");
    for failure in &tally.failures {
        assert!(matches!(failure.status, Some(502 | 503)) && held.contains(&failure.took), "{failure:?}");
        assert!(failure.at <= answered, "{failure:?}, but others were answered before");
    }
    assert!(tally.slowest <= *held.end(), "{:?}", tally.slowest);
}

fn told(tally: &Tally) -> String {
    let mut failures: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for failure in &tally.failures {
        failures.entry(failure.status).or_default().push(failure.took);
    }
    let mut told = format!("{} answers, the slowest after {:.2?}", tally.total(), tally.slowest);
    for (status, took) in failures {
        let (least, most) = (took.iter().min().unwrap(), took.iter().max().unwrap());
        let status = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        let _ = write!(told, "; {} times {status}, after {least:.2?} to {most:.2?}", took.len());
    }
    told
}

#[test]
fn with_live_restore_nobody_notices() {
    Engine::with(&["--live-restore"], async |engine| {
        let mut evenkeel = start(engine).await;
        let admin = evenkeel.admin;
        let load = Load::start(evenkeel.proxy, "/slow?ms=5");
        requests(&load, 1_000).await;
        let (before, counted) = (processes(engine), admin.replicas().await);

        let since = Instant::now();
        engine.stop();
        admin.until_connected(0).await;
        let noticed = since.elapsed();
        requests(&load, 1_000).await;
        eventually(PATIENCE, "dockerd has been away for long", async || since.elapsed() > AWAY).await;
        engine.start();
        let up = engine.until_up().await;
        admin.until_connected(1).await;
        let connected = up.elapsed().unwrap();
        requests(&load, 1_000).await;

        let tally = load.stop().await;
        evenkeel.assert_runs();
        let replicas = admin.until_ready(REPLICAS).await;
        eprintln!("{}; noticed after {noticed:.2?}, connected {connected:.2?} after dockerd answered", told(&tally));
        tally.assert_clean();
        assert_eq!(processes(engine), before, "the replicas are the same processes");
        for earlier in &counted {
            let now = replicas.iter().find(|replica| replica.id == earlier.id).unwrap();
            assert!(now.requests > earlier.requests && now.addr == earlier.addr, "{earlier:?} {now:?}");
        }
        assert_eq!(replicas.iter().map(|replica| replica.requests).sum::<u64>(), tally.total(), "each was counted");
    });
}

/// Which process each replica is.
fn processes(engine: &Engine) -> String {
    let format = "{{.Name}} {{.State.Pid}} {{.State.StartedAt}}";
    let names: Vec<_> = (1..=REPLICAS).map(|number| format!("gateway-{number}")).collect();
    let names = names.iter().map(String::as_str);
    engine.docker(&["inspect", "--format", format].into_iter().chain(names).collect::<Vec<_>>())
}
