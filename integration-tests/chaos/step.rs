//! One step: warm-up, fault, recovery, and what came of it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;
use integration_tests::Result;
use integration_tests::load::witness::Witness;
use integration_tests::load::{Load, Plan, record};
use tokio::time::sleep;

use crate::Options;
use crate::fault::{CHURN, Fault, Story};
use crate::judge::{Outcome, Seen, USUAL_MS};
use crate::site::Site;
use crate::system::{System, inside};

const WARM_UP: Duration = Duration::from_millis(1_500);
/// Probes need two passes, a second apart, before they let a replica back in.
const RECOVERY: Duration = Duration::from_secs(5);
/// How long what is open may take to end after the last request.
const QUIET: Duration = Duration::from_secs(3);
/// A million requests, at what two cores can carry while containers start.
const LONGEST: Duration = Duration::from_secs(3_600);

fn load(site: &Site, options: &Options, fault: Fault, step: u64) -> Result<Load> {
    let bend = fault.bend();
    let plan = Plan {
        to: site.running.target(),
        records: site.scratch.join("records.json"),
        step,
        seed: options.seed.wrapping_add(step),
        connections: options.connections,
        requests: options.requests.filter(|_| fault == Fault::Churn),
        per_connection: options.per_connection,
        ms: USUAL_MS,
        post_ms: bend.post_ms.unwrap_or(USUAL_MS),
        slow_ms: bend.slow_ms,
        patience_ms: u64::try_from(options.patience.as_millis())?,
        idempotent: false,
    };
    Load::start(inside(&site.clients, std::env::current_exe()?), &plan, &site.scratch.join("load.log"))
}

/// Stages a fault and judges it.
pub(crate) async fn run(site: &mut Site, options: &Options, fault: Fault, step: u64) -> Result<Outcome> {
    site.settle(fault.replicas()).await?;
    site.clear_logs()?;
    let before = site.running.vitals()?;
    let mut load = load(site, options, fault, step)?;
    sleep(WARM_UP).await;
    if load.has_ended()? && options.requests.is_none() {
        return Err("the load has ended by itself".into());
    }
    let mut story = Story::begin();
    if fault == Fault::Churn {
        churn(site, &mut load, &mut story, options.seed).await?;
    } else {
        fault.stage(site, &mut story).await.map_err(|error| format!("{}: {error}", fault.name()))?;
    }
    story.end();
    sleep(RECOVERY).await;
    let records = load.stop().await?;
    let in_flight = quiet(site).await;
    judge(site, fault, step, &story, &records, before, in_flight)
}

fn judge(
    site: &Site,
    fault: Fault,
    step: u64,
    story: &Story,
    records: &Path,
    before: Option<crate::system::Vitals>,
    in_flight: Option<f64>,
) -> Result<Outcome> {
    let records = record::read(records)?;
    let witness = Witness::read(&site.logs, step)?;
    let log = site.running.log()?;
    fs::write(site.scratch.join(format!("{}.log", site.running.system.name())), &log)?;
    let seen = Seen {
        fault,
        system: site.running.system,
        story,
        records: &records,
        witness: &witness,
        known: &site.known,
        now: site.replicas.iter().map(|replica| replica.hostname().to_owned()).collect(),
        before,
        after: site.running.vitals()?,
        in_flight,
        panics: log.lines().filter(|line| line.contains("panicked at")).count(),
    };
    Ok(seen.outcome())
}

/// Does everything that a deployment does, over and over, until all requests have been sent.
async fn churn(site: &mut Site, load: &mut Load, story: &mut Story, seed: u64) -> Result<()> {
    let deadline = Instant::now() + LONGEST;
    let mut rng = Rng::with_seed(seed);
    let mut done = 0;
    while !load.has_ended()? {
        if Instant::now() > deadline {
            return Err(format!("requests are left after {LONGEST:?}").into());
        }
        if let Some(fault) = rng.choice(CHURN) {
            fault.stage(site, story).await?;
            done += 1;
        }
    }
    story.note(format!("{done} times scaled, restarted or rolled"));
    Ok(())
}

/// Waits for what is in flight to end; what does not.
async fn quiet(site: &Site) -> Option<f64> {
    if site.running.system != System::Evenkeel {
        return None;
    }
    let deadline = Instant::now() + QUIET;
    loop {
        let left = site.running.metric("evenkeel_replica_requests_in_flight").await;
        if left == Some(0.0) || Instant::now() > deadline {
            return left;
        }
        sleep(Duration::from_millis(20)).await;
    }
}
