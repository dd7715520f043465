//! How many client connections the file descriptors of this process have room for.

use std::num::NonZeroUsize;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

use super::pipes::MAX_PIPES;
use crate::config::settings::ProxySettings;

/// Descriptors for what is no client: the admin room, Docker, probes, the log.
const RESERVED: u64 = 64;
/// What a worker needs for itself: its listener, its runtime, its pipes.
const RESERVED_PER_WORKER: u64 = 8 + 2 * MAX_PIPES as u64;
/// The most connections that are taken unless more are asked for: with a request on each of them, 64 MiB of buffers if
/// all are short, and 1 GiB if they fill the buffer they are read into.
const MOST: usize = 65_536;

/// The limit of client connections: as set, or as many as there are descriptors for. Raises the limit of descriptors as
/// far as this process may, and says so.
pub fn connection_limit(settings: &ProxySettings) -> NonZeroUsize {
    let descriptors = raise_limit();
    let threads = settings.threads.get() as u64;
    let Some(limit) = settings.limits.connections else { return connections_within(descriptors, threads) };
    let needed = needed_for(limit.get() as u64, threads);
    if needed > descriptors {
        warn!(
            cause = %format_args!("{limit} connections may need {needed} file descriptors, and there are {descriptors}"),
            "Max-connections is more than there are file descriptors for: lower it, or raise the limit (ulimit -Hn)"
        );
    }
    limit
}

/// Raises the soft limit of descriptors to the hard one; what it is then.
fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // No number means no limit.
    let (soft, hard) = (current.unwrap_or(u64::MAX), maximum.unwrap_or(u64::MAX));
    if soft >= hard {
        return soft;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => {
            info!(cause = %format_args!("from {soft} to {hard}"), "File descriptor limit raised");
            hard
        }
        Err(error) => {
            warn!(%error, "File descriptor limit not raised");
            soft
        }
    }
}

/// How many client connections fit: each may need a second descriptor for its replica, and replicas' idle connections
/// need some besides, so two fifths of what is not reserved.
fn connections_within(descriptors: u64, threads: u64) -> NonZeroUsize {
    let free = descriptors.saturating_sub(RESERVED + RESERVED_PER_WORKER * threads);
    let fitting = usize::try_from(free / 5 * 2).unwrap_or(usize::MAX);
    NonZeroUsize::new(fitting.min(MOST)).unwrap_or(NonZeroUsize::MIN)
}

fn needed_for(connections: u64, threads: u64) -> u64 {
    connections.saturating_mul(5).div_ceil(2).saturating_add(RESERVED + RESERVED_PER_WORKER * threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_and_their_replicas_fit_into_the_descriptors() {
        for (descriptors, threads, connections) in [
            (0, 1, 1),
            (72, 1, 1),
            (256, 1, 60),
            (1024, 2, 352),
            (1024, 1024, 1),
            (1 << 20, 2, MOST),
            (u64::MAX, 1024, MOST),
        ] {
            let fitting = connections_within(descriptors, threads);
            assert_eq!(fitting.get(), connections, "{descriptors} descriptors, {threads} threads");
            assert!(connections == 1 || needed_for(connections as u64, threads) <= descriptors);
        }
    }

    #[test]
    fn what_is_set_holds_whatever_there_are() {
        let mut settings = ProxySettings::default();
        settings.limits.connections = NonZeroUsize::new(9_000_000);
        assert_eq!(Some(connection_limit(&settings)), settings.limits.connections);
        assert!(connection_limit(&ProxySettings::default()).get() <= MOST);
    }
}
