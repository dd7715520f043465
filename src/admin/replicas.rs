//! What people and programs are told about replicas and containers: the JSON of the API.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

use crate::discovery::verdict::Considered;
use crate::metrics::Fault;
use crate::registry::Registry;
use crate::replica::{Health, Lifecycle, Replica, State};

/// The verdict on a replica that takes requests.
pub(super) const ROUTED: &str = "routed";

/// One replica at one moment.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ReplicaView {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) service: String,
    pub(super) provider: String,
    pub(super) project: Option<String>,
    pub(super) number: Option<u32>,
    pub(super) image: Option<String>,
    pub(super) addr: SocketAddr,
    pub(super) network: Option<String>,
    pub(super) state: &'static str,
    pub(super) health: &'static str,
    /// When its state last changed.
    #[serde(serialize_with = "rfc3339")]
    pub(super) since: SystemTime,
    pub(super) weight: u16,
    pub(super) drained_by_hand: bool,
    pub(super) in_flight: u64,
    pub(super) tunnels: u64,
    pub(super) requests: u64,
    pub(super) errors: u64,
    /// Attempts and answers in a row that failed by its fault.
    pub(super) consecutive_failures: u32,
    pub(super) ejections: u64,
    pub(super) last_error: Option<String>,
    pub(super) verdict: String,
    /// Whether it gets requests when no replica is ready.
    #[serde(skip)]
    pub(super) is_last_resort: bool,
}

impl From<&Replica> for ReplicaView {
    fn from(replica: &Replica) -> Self {
        let spec = replica.spec();
        Self {
            id: spec.id.as_str().to_owned(),
            name: spec.name.clone(),
            service: spec.service.to_string(),
            provider: spec.provider.to_string(),
            project: spec.project.clone(),
            number: spec.number,
            image: spec.image.clone(),
            addr: spec.addr,
            network: spec.network.clone(),
            state: replica.state().as_str(),
            health: replica.health().as_str(),
            since: replica.since(),
            weight: spec.weight,
            drained_by_hand: replica.is_drained_by_hand(),
            in_flight: replica.in_flight(),
            tunnels: replica.metrics().tunnels(),
            requests: replica.metrics().requests(),
            errors: replica.metrics().errors(),
            consecutive_failures: replica.consecutive_failures(),
            ejections: replica.metrics().ejections(),
            last_error: replica.last_error(),
            verdict: verdict(replica),
            is_last_resort: replica.is_pickable_in_panic(),
        }
    }
}

/// One sentence: does it take requests, and if not, why not.
fn verdict(replica: &Replica) -> String {
    let because = |otherwise: &str| replica.last_error().unwrap_or_else(|| otherwise.to_owned());
    match (replica.state(), replica.lifecycle(), replica.health()) {
        (State::Ready, _, _) if replica.is_set_aside() => {
            format!("not routed: outside of the subset by now, {}", left(replica))
        }
        (State::Ready, _, _) if replica.spec().weight == 0 => "not routed: its weight is 0".to_owned(),
        (State::Ready, _, _) => ROUTED.to_owned(),
        (State::Starting, Lifecycle::Starting, _) => "starting: its HEALTHCHECK has not passed yet".to_owned(),
        (State::Starting, _, _) => format!("starting: {}", because("no probe has passed yet")),
        (State::Ejected, _, _) => {
            let fault = replica.ejected_by().map_or("none now", Fault::as_str);
            format!("ejected for a while: too many of its requests failed, most by {fault}")
        }
        (State::Suspect, _, _) => format!("suspect: {}", because("its newest probe failed")),
        (State::Unhealthy, Lifecycle::Running, Health::Unhealthy) => {
            format!("unhealthy: {}", because("its probes fail"))
        }
        (State::Unhealthy, _, _) => "unhealthy: its HEALTHCHECK fails".to_owned(),
        (State::Paused, _, _) => "paused: unpause it to route to it again".to_owned(),
        (State::Draining, Lifecycle::Draining, _) => format!("draining: {}", left(replica)),
        (State::Draining, _, _) => format!("drained by hand: {}; undrain it to route to it again", left(replica)),
    }
}

/// How many requests are left.
fn left(replica: &Replica) -> String {
    match replica.in_flight() {
        0 => "no request left".to_owned(),
        1 => "1 request left".to_owned(),
        n => format!("{n} requests left"),
    }
}

/// A time on the wire: `2026-11-24T08:00:00Z`.
fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = String::new();
    // humantime panics before 1970 and errs after 9999; a broken clock must not take the page away.
    let _ = write!(text, "{}", humantime::format_rfc3339_seconds(*time.max(&UNIX_EPOCH)));
    serializer.serialize_str(&text)
}

/// Every replica as of now, or those of one service, ordered by service, then number, name and id.
pub(super) fn list(registry: &Registry, service: Option<&str>) -> Vec<ReplicaView> {
    let services = match service {
        Some(service) => registry.replicas(service).into_iter().collect(),
        None => registry.services(),
    };
    services.iter().flat_map(|service| service.list()).map(|replica| ReplicaView::from(&**replica)).collect()
}

/// How many replicas are known, in all or of one service, those outside of the subset among them.
pub(super) fn known(registry: &Registry, service: Option<&str>) -> usize {
    let services = match service {
        Some(service) => registry.replicas(service).into_iter().collect(),
        None => registry.services(),
    };
    services.iter().map(|service| service.known()).sum()
}

/// The replicas that `key` may mean: the one with that id, else all of that name, else all whose id begins so, if these
/// are as many characters as `shortest`.
pub(super) fn find(registry: &Registry, key: &str, shortest: usize) -> Vec<Arc<Replica>> {
    let is_long = key.chars().count() >= shortest;
    let matches: [&dyn Fn(&Replica) -> bool; 3] =
        [&|replica| replica.id().as_str() == key, &|replica| replica.spec().name == key, &|replica| {
            is_long && replica.id().as_str().starts_with(key)
        }];
    let services = registry.services();
    let found = |is_meant: &dyn Fn(&Replica) -> bool| -> Vec<_> {
        services.iter().flat_map(|service| service.list()).filter(|replica| is_meant(replica)).cloned().collect()
    };
    matches.into_iter().map(found).find(|found| !found.is_empty()).unwrap_or_default()
}

/// One container that discovery looked at.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ContainerView {
    id: String,
    name: String,
    service: Option<String>,
    project: Option<String>,
    verdict: &'static str,
    message: String,
    warnings: Vec<String>,
}

impl From<Considered> for ContainerView {
    fn from(considered: Considered) -> Self {
        Self {
            id: considered.id.as_str().to_owned(),
            name: considered.name,
            service: considered.service.map(|service| service.to_string()),
            project: considered.project,
            verdict: considered.verdict.code(),
            message: considered.verdict.to_string(),
            warnings: considered.warnings,
        }
    }
}
