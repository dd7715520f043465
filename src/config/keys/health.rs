//! The rows of probes, ejection and draining.

use super::{HEALTH, put};
use crate::config::key::{Fallback, Key, Kind};
use crate::config::parse;

pub(super) const PATH: Key = Key {
    name: "health-path",
    group: HEALTH,
    value: "PATH",
    fallback: Fallback::Unset { means: "a TCP connect is enough", example: "/healthz" },
    help: "The path that probes GET",
    kind: Kind::Text(|d, t| put(&mut d.defaults.probe.path, parse::path(t).map(Some))),
};

pub(super) const STATUS: Key = Key {
    name: "health-status",
    group: HEALTH,
    value: "STATUS,…",
    fallback: Fallback::Text("2xx,3xx"),
    help: "The statuses with which such a probe passes, like 200, 2xx or 200-299,304",
    kind: Kind::Text(|d, t| put(&mut d.defaults.probe.status, parse::statuses(t))),
};

pub(super) const INTERVAL: Key = Key {
    name: "health-interval",
    group: HEALTH,
    value: "DURATION",
    fallback: Fallback::Text("2s"),
    help: "The time between two probes of a replica",
    kind: Kind::Text(|d, t| put(&mut d.defaults.probe.interval, parse::positive(t))),
};

pub(super) const TIMEOUT: Key = Key {
    name: "health-timeout",
    group: HEALTH,
    value: "DURATION",
    fallback: Fallback::Text("1s"),
    help: "How long one probe may take",
    kind: Kind::Text(|d, t| put(&mut d.defaults.probe.timeout, parse::positive(t))),
};

pub(super) const HEALTHY_THRESHOLD: Key = Key {
    name: "healthy-threshold",
    group: HEALTH,
    value: "COUNT",
    fallback: Fallback::Text("2"),
    help: "Passes in a row that make an unhealthy replica healthy",
    kind: Kind::Number(|d, t| put(&mut d.defaults.probe.healthy_threshold, parse::number(t, 1..=1000, 2))),
};

pub(super) const UNHEALTHY_THRESHOLD: Key = Key {
    name: "unhealthy-threshold",
    group: HEALTH,
    value: "COUNT",
    fallback: Fallback::Text("3"),
    help: "Failures in a row that make a healthy replica unhealthy",
    kind: Kind::Number(|d, t| put(&mut d.defaults.probe.unhealthy_threshold, parse::number(t, 1..=1000, 3))),
};

pub(super) const EJECT_ON: Key = Key {
    name: "eject-on",
    group: HEALTH,
    value: "WORD,…",
    fallback: Fallback::Text("connect,reset,timeout,protocol,502,503,504"),
    help: "What counts as a failure: attempts that failed so, and answers with that status",
    kind: Kind::Text(|d, t| put(&mut d.proxy.eject.on, parse::faults(t))),
};

pub(super) const EJECT_FAILURES: Key = Key {
    name: "eject-failures",
    group: HEALTH,
    value: "COUNT",
    fallback: Fallback::Text("5"),
    help: "Failures in a row that eject a replica: it takes nothing for a while; 0: none do",
    kind: Kind::Number(|d, t| put(&mut d.proxy.eject.failures, parse::number(t, 0..=100_000, 5))),
};

pub(super) const EJECT_RATE: Key = Key {
    name: "eject-rate",
    group: HEALTH,
    value: "PERCENT",
    fallback: Fallback::Text("50"),
    help: "The part of its attempts of the last 10 s, 20 or more, whose failure ejects a replica; 0: none does",
    kind: Kind::Number(|d, t| put(&mut d.proxy.eject.rate, parse::number(t, 0..=100, 50))),
};

pub(super) const EJECT_TIME: Key = Key {
    name: "eject-time",
    group: HEALTH,
    value: "DURATION",
    fallback: Fallback::Text("5s"),
    help: "How long the first ejection lasts; each further one lasts twice as long, up to 5 minutes",
    kind: Kind::Text(|d, t| put(&mut d.proxy.eject.time, parse::positive(t))),
};

pub(super) const SLOW_START: Key = Key {
    name: "slow-start",
    group: HEALTH,
    value: "DURATION",
    fallback: Fallback::Text("0s"),
    help: "How long the share of a replica that becomes ready beside others grows from a tenth to the whole; 0s: it has it at once",
    kind: Kind::Text(|d, t| put(&mut d.proxy.slow_start, parse::duration(t))),
};

pub(super) const DRAIN_TIMEOUT: Key = Key {
    name: "drain-timeout",
    group: HEALTH,
    value: "DURATION",
    fallback: Fallback::Text("none"),
    help: "How long the requests of a replica that drains may go on; none: until they end",
    kind: Kind::Text(|d, t| put(&mut d.defaults.drain_timeout, parse::optional(t))),
};
