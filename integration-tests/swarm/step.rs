//! One step: warm-up, event, recovery, and what came of it.

use std::time::Duration;

use integration_tests::Result;
use integration_tests::load::record::{Record, now};
use integration_tests::load::{Latency, Load, Plan, record, witness};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::Options;
use crate::event::Event;
use crate::order::Order;
use crate::site::Site;
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
}

/// What a step comes to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) event: Event,
    pub(crate) system: System,
    pub(crate) with: Got,
    /// In as long a time without any change.
    pub(crate) calm: Option<Got>,
    pub(crate) order: Order,
}

impl Got {
    /// Of the requests that ended after `began`; what was before is warm-up.
    fn of(records: &[Record], began: u64, ended: u64) -> Self {
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
        }
    }
}

/// Stages an event, and as long a time without one if it is to be compared.
pub(crate) async fn run(site: &mut Site<'_>, options: &Options, event: Event, step: u64) -> Result<Outcome> {
    site.settle().await?;
    site.clear_logs()?;
    let load = start(site, options, step)?;
    sleep(WARM_UP).await;
    let began = now();
    event.stage(site).await?;
    sleep(RECOVERY).await;
    let ended = now();
    let records = record::read(&load.stop().await?)?;
    let with = Got::of(&records, began, ended);
    let order = Order::new(&witness::lives(&site.logs)?, &records, &site.log()?, began, ended);
    site.save_logs()?;
    let calm = if event.is_planned() {
        Some(calm(site, options, step + 1, Duration::from_micros(ended - began)).await?)
    } else {
        None
    };
    Ok(Outcome { event, system: site.system, with, calm, order })
}

async fn calm(site: &mut Site<'_>, options: &Options, step: u64, time: Duration) -> Result<Got> {
    site.settle().await?;
    site.clear_logs()?;
    let load = start(site, options, step)?;
    sleep(WARM_UP).await;
    let began = now();
    sleep(time).await;
    let ended = now();
    Ok(Got::of(&record::read(&load.stop().await?)?, began, ended))
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
    Load::start(site.lab.command(std::env::current_exe()?), &plan, &site.scratch.join("load.log"))
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
        let got = Got::of(&records, 1_000_000, 2_000_000);
        assert_eq!((got.requests, got.failed, got.latency.worst, got.seconds), (2, 1, 30.0, 1.0));
        assert_eq!(got.failures, ["GET at +500 ms for 30 ms: 503"]);
    }
}
