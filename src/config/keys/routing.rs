//! Rows of where requests go, and with which fields.

use super::{ROUTING, put};
use crate::config::draft::Draft;
use crate::config::key::{Fallback, Key, Kind};
use crate::config::parse;
use crate::config::settings::headers::Direction;

pub(super) const HOLD_INTERVAL: Key = Key {
    name: "hold-interval",
    group: ROUTING,
    value: "DURATION",
    fallback: Fallback::Text("250ms"),
    help: "The longest pause before a request that waits tries replicas again which have all failed it; the first is a tenth of it",
    kind: Kind::Text(|d, t| put(&mut d.proxy.hold.interval, parse::positive(t))),
};

pub(super) const STATIC: Key = Key {
    name: "static",
    group: ROUTING,
    value: "SERVICE=[NAME@]ADDR:PORT[*WEIGHT],…",
    fallback: Fallback::Unset { means: "none", example: "gateway=10.1.1.1:3001,web-2@10.1.1.2:3001*3" },
    help: "Replicas at fixed addresses, named after these and of weight 1 unless it says otherwise; repeatable",
    kind: Kind::List(Draft::add_replicas),
};

pub(super) const REQUEST_HEADER: Key = Key {
    name: "request-header",
    group: ROUTING,
    value: "RULE",
    fallback: Fallback::Unset { means: "none", example: "X-Request-Id: {request_id}" },
    help: "A rule for fields of requests: \"Name: value\" sets, \"+Name: value\" adds, \"-Name\" removes; {client}, {host}, {scheme} and {request_id} stand for what they say; repeatable, in a variable with a line for each",
    kind: Kind::List(|d, t| Draft::add_rules(&mut d.proxy.headers.request, t, Direction::Request)),
};

pub(super) const RESPONSE_HEADER: Key = Key {
    name: "response-header",
    group: ROUTING,
    value: "RULE",
    fallback: Fallback::Unset { means: "none", example: "Strict-Transport-Security: max-age=31536000" },
    help: "Such a rule for fields of answers that replicas give; repeatable",
    kind: Kind::List(|d, t| Draft::add_rules(&mut d.proxy.headers.response, t, Direction::Response)),
};
