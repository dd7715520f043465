//! What a pick costs among how many replicas.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::process;

use evenkeel::app::App;
use evenkeel::balancer::{Balancer, Tried};
use evenkeel::config::settings::Settings;
use evenkeel::provider::Provider;
use evenkeel::replica::{ProbeSpec, ReplicaSpec};
use evenkeel::service::Policy;
use integration_tests::procfs;

use crate::hosts::accept_all;
use crate::local;
use crate::measure::{PATIENCE, Result, are_ready, known, ran, until};

/// Seconds on a core that are measured with little error.
const ENOUGH: f64 = 0.5;

/// What it costs to have so many static replicas.
pub(crate) struct Cost {
    /// Nanoseconds on a core for a pick and its release by each policy.
    pub(crate) picks: Vec<f64>,
    /// KiB for each, so far as this process has not had them before.
    pub(crate) memory: f64,
}

/// What so many static replicas cost.
pub(crate) async fn cost(count: usize) -> Result<Cost> {
    let mut addrs = Vec::new();
    for host in 1..=10 {
        addrs.push(accept_all(Ipv4Addr::new(127, 3, host, 1)).await?);
    }
    let spec = |(number, addr): (usize, _)| ReplicaSpec {
        name: format!("gateway-{number}"),
        probe: ProbeSpec { interval: PATIENCE, ..ProbeSpec::default() },
        ..ReplicaSpec::at(addr, format!("gateway-{number}").into(), Provider::STATIC, "gateway".into())
    };
    let statics = addrs.into_iter().cycle().take(count).enumerate().map(spec).collect();
    let before = procfs::resident(process::id())?;
    let app = App::start(Settings { statics, ..local() })?;
    until("all replicas ready", || known(app.registry()) == count && are_ready(app.registry())).await?;
    let memory = procfs::resident(process::id())?.saturating_sub(before) as f64 / count as f64;
    let mut picks = Vec::new();
    for policy in Policy::ALL {
        let (balancer, tried) = (Balancer::new(app.registry().clone(), policy, 1), Tried::default());
        let (before, mut times) = (ran("thread-self")?, 0);
        // The kernel counts in ticks, and some policies look at each replica.
        while ran("thread-self")? - before < ENOUGH {
            for _ in 0..1000 {
                drop(black_box(balancer.pick("gateway", &tried)?));
            }
            times += 1000;
        }
        picks.push((ran("thread-self")? - before) * 1e9 / f64::from(times));
    }
    app.shutdown().await;
    Ok(Cost { picks, memory })
}
