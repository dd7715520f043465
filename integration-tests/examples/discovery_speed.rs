//! How long it takes from a container's start to a replica that takes requests, and how long a first sync of many
//! containers takes. Times are of this machine and this moment: compare runs, not machines.
#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::error::Error;
use std::time::{Duration, Instant};

use evenkeel::app::App;
use evenkeel::config::settings::{DockerSettings, ProxySettings, Settings};
use evenkeel::replica::{Replica, State};
use integration_tests::{ContainerSpec, FakeEngine, TestReplica};

/// Starts that are timed, one after the other.
const STARTS: u32 = 1000;
/// Containers that are there before evenkeel is.
const CONTAINERS: u32 = 2000;
const PATIENCE: Duration = Duration::from_secs(30);

// The fake engine and the replica share this thread; evenkeel has threads of its own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let replica = TestReplica::start("gateway");
    let spec = |number| {
        let spec = ContainerSpec::compose("speed", "gateway", number);
        spec.network("speed_default", replica.ip()).expose(replica.addr().port())
    };

    let engine = FakeEngine::start();
    let app = App::start(settings(&engine))?;
    // The first one also waits for the first sync; it is not counted.
    let mut times = Vec::new();
    for number in 0..=STARTS {
        let start = Instant::now();
        let id = engine.run(spec(number));
        until(&app, |replicas| {
            replicas.iter().any(|replica| replica.id().as_str() == id.as_str() && replica.state() == State::Ready)
        })
        .await?;
        times.push(start.elapsed());
        engine.remove(&id);
        until(&app, |replicas| replicas.is_empty()).await?;
    }
    app.shutdown().await;
    let times = times.get_mut(1..).unwrap_or_default();
    times.sort();
    let at = |share: usize| times.get((times.len() * share / 100).min(times.len() - 1)).copied().unwrap_or_default();
    println!(
        "start to routed, first probe included, {STARTS} starts: p50 {:?}, p99 {:?}, max {:?}",
        at(50),
        at(99),
        at(100)
    );

    let engine = FakeEngine::start();
    for number in 1..=CONTAINERS {
        engine.run(spec(number));
    }
    let start = Instant::now();
    let app = App::start(settings(&engine))?;
    until(&app, |replicas| replicas.len() == CONTAINERS as usize).await?;
    let listed = start.elapsed();
    until(&app, |replicas| replicas.iter().all(|replica| replica.state() == State::Ready)).await?;
    println!("first sync of {CONTAINERS} containers: listed after {listed:?}, all probed after {:?}", start.elapsed());
    app.shutdown().await;
    Ok(())
}

async fn until(app: &App, holds: impl Fn(&[std::sync::Arc<Replica>]) -> bool) -> Result<(), Box<dyn Error>> {
    let deadline = Instant::now() + PATIENCE;
    while !app.registry().replicas("gateway").is_some_and(|replicas| holds(replicas.list())) {
        if Instant::now() > deadline {
            return Err("the replicas did not become what they should within half a minute".into());
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

fn settings(engine: &FakeEngine) -> Settings {
    Settings {
        proxy: ProxySettings { listen: ([127, 0, 0, 1], 0).into(), ..ProxySettings::default() },
        admin_listen: ([127, 0, 0, 1], 0).into(),
        docker: vec![DockerSettings {
            host: engine.host(),
            project: Some("speed".to_owned()),
            network: Some("speed_default".to_owned()),
            ..DockerSettings::default()
        }],
        ..Settings::default()
    }
}
