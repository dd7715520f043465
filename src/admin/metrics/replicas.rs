//! The metrics of services and replicas.
//!
//! A series is named by service and replica name, and two replicas may have one name for a while: a draining one
//! and its successor. They share one series, since a page that shows a series twice is refused as a whole.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::super::AdminState;
use super::page::{Durations, Labels, Page};
use crate::metrics::{BUCKETS, ReplicaMetrics};
use crate::registry::Replicas;
use crate::replica::{Replica, State};

/// The replicas of one name.
struct Series<'a> {
    service: &'a str,
    name: &'a str,
    replicas: Vec<&'a Replica>,
}

impl<'a> Series<'a> {
    fn all(services: &'a [Arc<Replicas>]) -> Vec<Self> {
        let mut by_name: BTreeMap<(&str, &str), Vec<&Replica>> = BTreeMap::new();
        for replica in services.iter().flat_map(|service| service.list()) {
            let name = (replica.spec().service.as_str(), replica.spec().name.as_str());
            by_name.entry(name).or_default().push(replica);
        }
        by_name.into_iter().map(|((service, name), replicas)| Self { service, name, replicas }).collect()
    }

    fn labels(&self) -> Labels<'a> {
        vec![("service", self.service.into()), ("replica", self.name.into())]
    }

    fn labels_and(&self, key: &'static str, value: impl Into<Cow<'a, str>>) -> Labels<'a> {
        let mut labels = self.labels();
        labels.push((key, value.into()));
        labels
    }

    fn sum<K: Ord, I: Iterator<Item = (K, u64)>>(&self, counts: impl Fn(&'a Replica) -> I) -> BTreeMap<K, u64> {
        let mut sums = BTreeMap::new();
        for (key, count) in self.replicas.iter().flat_map(|replica| counts(replica)) {
            *sums.entry(key).or_default() += count;
        }
        sums
    }

    fn durations(&self) -> Durations {
        let (mut counts, mut seconds) = ([0; BUCKETS.len() + 1], 0.0);
        for replica in &self.replicas {
            let (more, sum) = replica.metrics().duration().read();
            counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
            seconds += sum;
        }
        (counts, seconds)
    }
}

/// Writes them all.
pub(super) fn write(page: &mut Page, state: &AdminState) -> fmt::Result {
    let services = state.registry.services();
    let series = Series::all(&services);
    write_traffic(page, &series)?;
    write_standing(page, &series)?;
    write_services(page, &services, state.service.as_str())
}

fn write_traffic(page: &mut Page, series: &[Series]) -> fmt::Result {
    let requests = series.iter().flat_map(|s| {
        let by_code = s.sum(|replica| replica.metrics().codes());
        by_code.into_iter().map(move |(code, count)| (s.labels_and("code", code.to_string()), count))
    });
    page.counter("evenkeel_replica_requests", "Answers that ended, by status code.", requests)?;

    let durations = series.iter().map(|s| (s.labels(), s.durations()));
    let help = "From a request's head to its answer's end.";
    page.histogram("evenkeel_replica_request_duration_seconds", help, durations)?;

    let in_flight = series.iter().map(|s| (s.labels(), s.replicas.iter().map(|r| r.in_flight()).sum::<u64>()));
    page.gauge("evenkeel_replica_requests_in_flight", "Requests whose answer has not ended.", in_flight)?;

    let tunnels = series.iter().map(|s| (s.labels(), s.replicas.iter().map(|r| r.metrics().tunnels()).sum::<u64>()));
    page.gauge("evenkeel_replica_tunnels", "Tunnels open, such as WebSockets.", tunnels)?;

    let cut = series.iter().map(|s| (s.labels(), s.replicas.iter().map(|r| r.metrics().cut()).sum::<u64>()));
    page.counter("evenkeel_replica_requests_cut", "Requests and tunnels that the drain timeout cut off.", cut)?;

    let errors = series.iter().flat_map(|s| {
        let by_reason = s.sum(|replica| replica.metrics().failures().map(|(failure, n)| (failure.as_str(), n)));
        by_reason.into_iter().map(move |(reason, count)| (s.labels_and("reason", reason), count))
    });
    page.counter("evenkeel_replica_errors", "Attempts that failed, by reason.", errors)?;

    let sum = |s: &Series, of: fn(&ReplicaMetrics) -> u64| s.replicas.iter().map(|r| of(r.metrics())).sum::<u64>();
    let ejections = series.iter().map(|s| (s.labels(), sum(s, ReplicaMetrics::ejections)));
    page.counter("evenkeel_replica_ejections", "Times that it was ejected, since too much failed.", ejections)?;
    let picks = series.iter().map(|s| (s.labels(), sum(s, ReplicaMetrics::panic_picks)));
    page.counter("evenkeel_replica_panic_picks", "Times that it was picked although no replica was ready.", picks)
}

fn write_standing(page: &mut Page, series: &[Series]) -> fmt::Result {
    let is_ready = |s: &Series| s.replicas.iter().any(|replica| replica.state() == State::Ready);
    let ready = series.iter().map(|s| (s.labels(), u64::from(is_ready(s))));
    page.gauge("evenkeel_replica_ready", "1 if it is ready for requests.", ready)?;

    let weight = |s: &Series| s.replicas.iter().map(|replica| replica.spec().weight).max().unwrap_or(0);
    let weights = series.iter().map(|s| (s.labels(), u64::from(weight(s))));
    page.gauge("evenkeel_replica_weight", "Its share relative to the others of its service.", weights)?;

    let replicas = series.iter().flat_map(|s| s.replicas.iter().map(move |replica| (s, replica.spec())));
    let info = replicas.map(|(s, spec)| {
        let mut labels = s.labels_and("container_id", spec.id.as_str());
        labels.push(("image", spec.image.as_deref().unwrap_or_default().into()));
        labels.push(("addr", spec.addr.to_string().into()));
        (labels, 1_u64)
    });
    page.gauge("evenkeel_replica_info", "1, with facts of the replica as labels.", info)
}

fn write_services(page: &mut Page, services: &[Arc<Replicas>], default: &str) -> fmt::Result {
    // A service whose last replica left is the one to be warned of, so the default one never goes away.
    let mut counts: BTreeMap<(&str, State), u64> = State::ALL.map(|state| ((default, state), 0)).into();
    for service in services {
        let name = service.service().as_str();
        State::ALL.iter().for_each(|state| *counts.entry((name, *state)).or_default() += 0);
        for replica in service.list() {
            *counts.entry((name, replica.state())).or_default() += 1;
        }
    }
    let samples = counts
        .into_iter()
        .map(|((service, state), count)| (vec![("service", service.into()), ("state", state.as_str().into())], count));
    page.gauge("evenkeel_service_replicas", "Replicas by state.", samples)
}
