//! One step: an event, the same done to a bystander, and as long a time in which nothing is done; what came of each.

use std::time::Duration;

use integration_tests::Result;
use integration_tests::load::record::{Record, now};
use integration_tests::load::witness::{self, Witness};
use integration_tests::load::{Latency, Load, Plan, record};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::Options;
use crate::event::Event;
use crate::order::Order;
use crate::site::{BYSTANDER, GATEWAY, REPLICAS, Site};
use crate::slowest::slowest;
use crate::system::System;

const WARM_UP: Duration = Duration::from_secs(2);
const RECOVERY: Duration = Duration::from_secs(3);
/// What a replica takes, and how long a client waits.
const REPLICA_MS: u64 = 5;
const PATIENCE_MS: u64 = 60_000;

/// What the clients got.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Got {
    pub(crate) seconds: f64,
    pub(crate) requests: usize,
    pub(crate) failed: usize,
    pub(crate) latency: Latency,
    /// Of the failures, the first few.
    pub(crate) failures: Vec<String>,
    /// Where the time of the slowest few went.
    pub(crate) slowest: Vec<String>,
}

/// What a step comes to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) event: Event,
    pub(crate) system: System,
    pub(crate) with: Got,
    /// While the same was done to a service that nobody asks for.
    pub(crate) bystander: Option<Got>,
    /// In as long a time without any change.
    pub(crate) calm: Option<Got>,
    pub(crate) order: Order,
}

impl Got {
    /// Of the requests that ended after `began`; what was before is warm-up.
    fn of(records: &[Record], witness: &Witness, began: u64, ended: u64) -> Self {
        let counted: Vec<_> = records.iter().filter(|record| record.end > began).collect();
        let failed: Vec<_> = counted.iter().filter(|record| record.is_failed()).collect();
        let tell = |record: &&&Record| {
            let at = (record.start.cast_signed() - began.cast_signed()) / 1_000;
            let took = (record.end - record.start) / 1_000;
            let failure = record.failure.as_deref().unwrap_or_default();
            format!("{} at {at:+} ms for {took} ms: {failure}", record.method.name())
        };
        Self {
            seconds: ended.saturating_sub(began) as f64 / 1e6,
            requests: counted.len(),
            failed: failed.len(),
            latency: Latency::of(counted.iter().map(|record| record.latency(REPLICA_MS))),
            failures: failed.iter().take(5).map(tell).collect(),
            slowest: slowest(&counted, witness, began),
        }
    }
}

/// What the clients met in one phase of a step, and the time of it that counts.
struct Phase {
    records: Vec<Record>,
    got: Got,
    began: u64,
    ended: u64,
}

/// Stages an event; and the same with a bystander, and as long a time without either, if it is to be compared. In every
/// other round the bystander comes first: what is done again may cost less, or more, than what was done before.
pub(crate) async fn run(
    site: &mut Site<'_>,
    options: &Options,
    event: Event,
    round: u64,
    step: u64,
) -> Result<Outcome> {
    let has_control = event.is_of_one_service() && !options.no_control;
    // They are there in each phase, so that only what is done differs; but not where they would share what is done.
    let bystanders = if has_control { REPLICAS } else { 0 };
    let beside = async |site: &mut Site<'_>, as_long| -> Result<Phase> {
        site.settle(bystanders).await?;
        phase(site, options, step + 1, as_long, async |site| event.stage(site, BYSTANDER).await).await
    };
    let (mut bystander, mut calm, mut as_long) = (None, None, Duration::ZERO);
    if has_control && round % 2 == 1 {
        let Phase { got, began, ended, .. } = beside(site, as_long).await?;
        as_long = Duration::from_micros(ended - began);
        bystander = Some(got);
    }
    site.settle(bystanders).await?;
    let Phase { records, got: with, began, ended } =
        phase(site, options, step, as_long, async |site| event.stage(site, GATEWAY).await).await?;
    as_long = Duration::from_micros(ended - began);
    let order = Order::new(&witness::lives(&site.logs)?, &records, &site.log()?, began, ended);
    site.save_logs()?;
    if has_control && bystander.is_none() {
        bystander = Some(beside(site, as_long).await?.got);
    }
    if event.is_planned() {
        site.settle(bystanders).await?;
        calm = Some(phase(site, options, step + 2, as_long, async |_| Ok(())).await?.got);
    }
    Ok(Outcome { event, system: site.system, with, bystander, calm, order })
}

/// Warm-up, what is done, recovery; no shorter than `as_long`.
async fn phase(
    site: &mut Site<'_>,
    options: &Options,
    step: u64,
    as_long: Duration,
    stage: impl AsyncFnOnce(&mut Site<'_>) -> Result<()>,
) -> Result<Phase> {
    site.clear_logs()?;
    let load = start(site, options, step)?;
    sleep(WARM_UP).await;
    let began = now();
    stage(site).await?;
    let took = Duration::from_micros(now().saturating_sub(began));
    sleep(as_long.saturating_sub(took).max(RECOVERY)).await;
    let ended = now();
    let records = record::read(&load.stop().await?)?;
    let got = Got::of(&records, &Witness::read(&site.logs, step)?, began, ended);
    Ok(Phase { records, got, began, ended })
}

fn start(site: &Site<'_>, options: &Options, step: u64) -> Result<Load> {
    let plan = Plan {
        to: site.addr.to_string(),
        records: site.scratch.join("records.json"),
        step,
        seed: options.seed.wrapping_add(step),
        connections: options.connections,
        requests: None,
        per_connection: u64::MAX,
        ms: REPLICA_MS,
        post_ms: REPLICA_MS,
        slow_ms: None,
        patience_ms: PATIENCE_MS,
        idempotent: true,
    };
    let command = options.place(std::env::current_exe()?.as_os_str(), |program| site.lab.command(program));
    Load::start(command, &plan, &site.scratch.join("load.log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_before_the_event_is_warm_up() {
        let record = |start: u64, end: u64, failure: Option<&str>| Record {
            start,
            end,
            asked_ms: REPLICA_MS,
            failure: failure.map(str::to_owned),
            ..Record::default()
        };
        let records = [
            record(0, 900_000, Some("no")),
            record(990_000, 1_010_000, None),
            record(1_500_000, 1_530_000, Some("503")),
        ];
        let got = Got::of(&records, &Witness::default(), 1_000_000, 2_000_000);
        assert_eq!((got.requests, got.failed, got.latency.worst, got.seconds), (2, 1, 30.0, 1.0));
        assert_eq!(got.failures, ["GET at +500 ms for 30 ms: 503"]);
    }
}
