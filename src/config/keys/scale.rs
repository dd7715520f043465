//! The rows of services that are large.

use super::{ROUTING, put};
use crate::config::key::{Fallback, Key, Kind};
use crate::config::parse;

pub(super) const SUBSET: Key = Key {
    name: "subset",
    group: ROUTING,
    value: "COUNT",
    fallback: Fallback::Text("off"),
    help: "Of a service with more replicas than this, keep to a part of about so many, so that connections, probes and \
           lists stay few; takes --subset-slot. off: all",
    kind: Kind::Number(|d, t| put(&mut d.subset, parse::subset(t))),
};

pub(super) const SUBSET_SLOT: Key = Key {
    name: "subset-slot",
    group: ROUTING,
    value: "NUMBER/COUNT",
    fallback: Fallback::Unset { means: "none", example: "3/20" },
    help: "Which of how many evenkeels this one is, from 1/20 to 20/20: each keeps to another part, and every replica is in \
           as many parts as any other",
    kind: Kind::Text(|d, t| put(&mut d.subset_slot, parse::slot(t).map(Some))),
};
