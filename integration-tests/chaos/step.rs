//! One step: warm-up, fault, recovery, and what came of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use fastrand::Rng;
use integration_tests::Result;
use tokio::time::sleep;

use crate::Options;
use crate::fault::{CHURN, Fault, Story};
use crate::judge::{Outcome, Seen, USUAL_MS};
use crate::load::record;
use crate::site::Site;
use crate::system::{System, inside};
use crate::witness::Witness;

const WARM_UP: Duration = Duration::from_millis(1_500);
/// Probes need two passes, a second apart, before they let a replica back in.
const RECOVERY: Duration = Duration::from_secs(5);
/// How long what is open may take to end after the last request.
const QUIET: Duration = Duration::from_secs(3);
/// A million requests, at what two cores can carry while containers start.
const LONGEST: Duration = Duration::from_secs(3_600);

/// The process that sends, while it does.
struct Load {
    child: Child,
    records: PathBuf,
    patience: Duration,
}

impl Load {
    fn start(site: &Site, options: &Options, fault: Fault, step: u64) -> Result<Self> {
        let records = site.scratch.join("records.json");
        let bend = fault.bend();
        let mut command = inside(&site.clients, std::env::current_exe()?);
        command.arg("load").arg("--records").arg(&records);
        let mut pass = |name: &str, value: String| _ = command.args([format!("--{name}"), value]);
        pass("to", site.running.target());
        pass("step", step.to_string());
        pass("seed", options.seed.wrapping_add(step).to_string());
        pass("connections", options.connections.to_string());
        pass("per-connection", options.per_connection.to_string());
        pass("ms", USUAL_MS.to_string());
        pass("post-ms", bend.post_ms.unwrap_or(USUAL_MS).to_string());
        pass("patience-ms", options.patience.as_millis().to_string());
        if let Some(ms) = bend.slow_ms {
            pass("slow-ms", ms.to_string());
        }
        if let (Fault::Churn, Some(requests)) = (fault, options.requests) {
            pass("requests", requests.to_string());
        }
        let log = fs::File::create(site.scratch.join("load.log"))?;
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn()?;
        Ok(Self { child, records, patience: options.patience + Duration::from_secs(10) })
    }

    fn has_ended(&mut self) -> Result<bool> {
        match self.child.try_wait()? {
            Some(status) if !status.success() => Err(format!("the load: {status}").into()),
            status => Ok(status.is_some()),
        }
    }

    /// Lets every client end what it has begun.
    async fn stop(mut self) -> Result<PathBuf> {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + self.patience;
        while !self.has_ended()? {
            if Instant::now() > deadline {
                return Err(format!("the load goes on after {:?}", self.patience).into());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(std::mem::take(&mut self.records))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Stages a fault and judges it.
pub(crate) async fn run(site: &mut Site, options: &Options, fault: Fault, step: u64) -> Result<Outcome> {
    site.settle(fault.replicas()).await?;
    site.clear_logs()?;
    let before = site.running.vitals()?;
    let mut load = Load::start(site, options, fault, step)?;
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
