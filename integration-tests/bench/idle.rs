//! What a connection costs that does nothing.

use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use crate::contender::{self, Contender, Site};
use crate::process::Place;
use crate::wire::steady::Steady;
use crate::workload::Workload;
use crate::{Result, procfs};

/// Connections that are open at once.
pub(crate) const CLIENTS: usize = 10_000;
/// Requests under way at once while they open; more would fill pools that no later request needs.
const AT_ONCE: usize = 50;

/// Memory of one contender.
#[derive(Serialize)]
pub(crate) struct Idle {
    pub(crate) contender: Contender,
    pub(crate) before_kib: u64,
    pub(crate) with_clients_kib: u64,
}

/// Open files that this program has beside the connections, and some to spare.
const OTHER_FILES: u64 = 100;

/// Measures all but the relay, which would hold a second connection for each client.
pub(crate) fn measure(site: &Site, contenders: &[Contender]) -> Result<Vec<Idle>> {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if files < CLIENTS as u64 + OTHER_FILES {
        println!("\nidle: left out: {CLIENTS} clients need more than the {files} open files that are allowed");
        return Ok(Vec::new());
    }
    let _replicas = contender::start_replicas(site, Place::Others)?;
    let proxies = contenders.iter().filter(|contender| **contender != Contender::Relay);
    proxies.filter(|contender| Workload::W1.suits(**contender)).map(|contender| memory(site, *contender)).collect()
}

fn memory(site: &Site, contender: Contender) -> Result<Idle> {
    let running = contender.start(site, &Workload::W1)?;
    let before_kib = procfs::resident(running.process.pid())?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS / AT_ONCE {
        let mut some = Steady::connect(running.addr, AT_ONCE, &Workload::W1)?;
        some.requests(AT_ONCE)?;
        clients.push(some);
    }
    let with_clients_kib = procfs::resident(running.process.pid())?;
    Ok(Idle { contender, before_kib, with_clients_kib })
}
