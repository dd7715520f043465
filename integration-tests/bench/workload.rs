//! What clients ask for.

use crate::contender::Contender;
use crate::process::Place;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// One way to load a contender.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Bytes in each answer.
    pub(crate) size: usize,
    pub(crate) clients: usize,
    pub(crate) kind: Kind,
    /// Of the contender. With one, it has a core to itself; with more, nothing is pinned.
    pub(crate) threads: usize,
    /// A turn that is shorter than this is spent on what only new connections have.
    pub(crate) least_seconds: u32,
}

/// How the clients behave.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// GET, again as soon as the answer is there.
    Get,
    /// POST of 4 KiB, likewise.
    Post,
    /// GET, each on a connection of its own.
    Connect,
    /// GET, so many per second, whatever the answers do.
    Paced(u32),
}

/// All of them.
pub(crate) const WORKLOADS: [Workload; 8] = [
    Workload::W1,
    closed("W2", "GET, 16 KiB, 64 keep-alive clients", 16 * KIB),
    // Clients offer little room at first. What a contender could not send then, the kernel sends as they make room, in their
    // time and not in the contender's: it takes some behind HAProxy two or three seconds to get over that.
    Workload { least_seconds: 4, ..closed("W3", "GET, 1 MiB, 64 keep-alive clients", MIB) },
    Workload { kind: Kind::Post, ..closed("W4", "POST of 4 KiB, 1 KiB back, 64 keep-alive clients", KIB) },
    Workload { kind: Kind::Connect, ..closed("W5", "GET, 1 KiB, a new connection for each request, 64 clients", KIB) },
    Workload {
        kind: Kind::Paced(12_000),
        ..closed("paced", "GET, 1 KiB, 12,000 a second in an open loop over 64 keep-alive connections", KIB)
    },
    Workload { threads: 2, ..closed("workers", "W1 with two workers, nothing pinned", KIB) },
    Workload { clients: 2000, least_seconds: 3, ..closed("clients", "W1 with 2,000 clients", KIB) },
];

const fn closed(name: &'static str, what: &'static str, size: usize) -> Workload {
    Workload { name, what, size, clients: 64, kind: Kind::Get, threads: 1, least_seconds: 1 }
}

impl Workload {
    /// W1, which memory and system calls are measured with too.
    pub(crate) const W1: Self = closed("W1", "GET, 1 KiB, 64 keep-alive clients", KIB);

    /// Whether a contender can show something of its own here.
    pub(crate) fn suits(&self, contender: Contender) -> bool {
        match contender {
            Contender::HaproxySplice => self.size == MIB,
            // It would pass the close on to the replica, which is another workload.
            Contender::Relay => self.kind != Kind::Connect,
            Contender::Evenkeel | Contender::Before | Contender::Haproxy | Contender::Nginx => true,
        }
    }

    /// Seconds of a contender's turn, of which so many were asked for.
    pub(crate) fn turn(&self, seconds: u32) -> u32 {
        seconds.max(self.least_seconds)
    }

    pub(crate) fn place(&self, pinned: Place) -> Place {
        if self.threads == 1 { pinned } else { Place::Anywhere }
    }
}
