//! The settings of Docker Swarm.

use super::super::key::{Fallback, Key, Kind};
use super::super::parse;
use super::{DOCKER, put};

pub(super) const SWARM: Key = Key {
    name: "swarm",
    group: DOCKER,
    value: "BOOL",
    fallback: Fallback::Text("false"),
    help: "Follow the tasks of a Docker Swarm, on all its nodes, through one manager of --docker-host at a time, the next when it is lost, instead of those engines' containers",
    kind: Kind::Switch(|d, t| put(&mut d.is_swarm, parse::switch(t))),
};

pub(super) const POLL: Key = Key {
    name: "swarm-poll",
    group: DOCKER,
    value: "DURATION",
    fallback: Fallback::Text("200ms"),
    help: "The time between two looks at the tasks of a Swarm service while it changes",
    kind: Kind::Text(|d, t| put(&mut d.swarm_poll, parse::positive(t))),
};

pub(super) const IDLE_POLL: Key = Key {
    name: "swarm-idle-poll",
    group: DOCKER,
    value: "DURATION",
    fallback: Fallback::Text("5s"),
    help: "The time between two looks at all tasks of the Swarm when nothing changes",
    kind: Kind::Text(|d, t| put(&mut d.swarm_idle_poll, parse::positive(t))),
};
