//! The rows of the evenkeels on other hosts.

use super::put;
use crate::config::draft::Draft;
use crate::config::key::{Fallback, Key, Kind};
use crate::config::{parse, token};

const PEERS: &str = "Peers";

/// The keys of the token.
pub(in crate::config) const TOKEN_NAME: &str = "peer-token";
pub(in crate::config) const TOKEN_FILE_NAME: &str = "peer-token-file";

pub(super) const PEER: Key = Key {
    name: "peer",
    group: PEERS,
    value: "HOST:PORT,…",
    fallback: Fallback::Unset { means: "none", example: "10.0.0.5:9900,10.0.0.6:9900" },
    help: "The admin listeners of the evenkeels on other hosts, each of which counts as one replica with what it has; a name in the DNS stands for all its addresses; repeatable",
    kind: Kind::List(Draft::add_peers),
};

pub(super) const ADVERTISE: Key = Key {
    name: "advertise",
    group: PEERS,
    value: "[ADDR:]PORT",
    fallback: Fallback::Unset {
        means: "the port of --listen, where peers find the admin listener",
        example: "10.0.0.4:80",
    },
    help: "Where peers dial our traffic port, if it is published under another one",
    kind: Kind::Text(|d, t| put(&mut d.peers.advertise, parse::advertised(t))),
};

pub(super) const NAME: Key = Key {
    name: "peer-name",
    group: PEERS,
    value: "NAME",
    fallback: Fallback::Unset { means: "the machine's host name", example: "vm-1" },
    help: "What peers call this host, and X-Served-By behind the replica's name",
    kind: Kind::Text(|d, t| put(&mut d.peers.name, parse::name(t).map(|name| Some(name.to_owned())))),
};

pub(super) const TOKEN: Key = Key {
    name: TOKEN_NAME,
    group: PEERS,
    value: "TOKEN",
    fallback: Fallback::Unset { means: "peers are known by their addresses", example: "choose-a-long-random-one" },
    help: "What all peers show one another; a flag is seen by every user of the machine, so better a variable, or best a file",
    kind: Kind::Secret(|d, t| put(&mut d.peers.token, token::parse(t).map(Some))),
};

pub(super) const TOKEN_FILE: Key = Key {
    name: TOKEN_FILE_NAME,
    group: PEERS,
    value: "FILE",
    fallback: Fallback::Unset { means: "none", example: "/run/secrets/evenkeel-peer-token" },
    help: "A file with that token alone, read at the start",
    kind: Kind::Text(|d, t| put(&mut d.peer_token_file, Ok(Some(t.to_owned())))),
};

pub(super) const PREFER_LOCAL: Key = Key {
    name: "prefer-local",
    group: PEERS,
    value: "FACTOR",
    fallback: Fallback::Text("off"),
    help: "How much more a replica of this host gets than one behind a peer, from 2 to 64; off: as much",
    kind: Kind::Number(|d, t| put(&mut d.peers.prefer_local, parse::factor(t))),
};
