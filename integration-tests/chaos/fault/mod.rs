//! The faults: what each does to the service or to the system, and what may be lost of it.

mod clients;
mod containers;
mod docker;
mod network;
mod story;

use std::time::Duration;

use clap::ValueEnum;
use integration_tests::Result;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::site::Site;
use crate::system::System;
pub(crate) use story::{Story, Struck};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// Nothing, for five seconds: what the machine itself does to latencies
    Calm,
    /// Two replicas become eight, and two again
    Scale,
    /// Each replica is restarted, one after the other
    Restart,
    /// Each replica is replaced, the new one first
    RollStartFirst,
    /// Each replica is replaced, the old one stopped first
    RollStopFirst,
    /// The only replica is stopped, removed and made anew, as `up -d` does with a changed image
    Recreate,
    /// A replica gets SIGTERM while it has requests that take two seconds
    TermSlow,
    /// A busy replica gets SIGKILL
    Kill,
    /// A replica is paused for five seconds
    Pause,
    /// A replica is cut off from the network and put back
    Disconnect,
    /// A replica accepts and never answers: SIGSTOP, of which Docker says nothing
    Hang,
    /// All packets to a replica are dropped, of which Docker says nothing
    Drop,
    /// All packets to a replica are answered with a reset
    Reset,
    /// One packet in ten to and from a replica is lost
    Loss,
    /// Docker's socket is away for four seconds
    DockerAway,
    /// Docker's socket carries nothing for six seconds, and a replica is stopped meanwhile
    DockerSilent,
    /// Other containers start, stop, pause and unpause as fast as the engine can
    Storm,
    /// A container is renamed, twice
    Rename,
    /// A new replica answers 503 for three seconds before it is ready
    SlowStart,
    /// A replica says in turn that it is ready and that it is not
    Flap,
    /// Replicas close connections that were idle for ten milliseconds, without a word
    KeepAlive,
    /// All replicas are stopped, and started again after two seconds
    AllDown,
    /// A replica dies and a container of another service gets its address
    IpReuse,
    /// The system has no file descriptor left for four seconds
    Descriptors,
    /// Clients break off, many a second
    Aborts,
    /// A hundred clients that send a byte at a time or read nothing
    SlowClients,
    /// Clients of another service, all of whose replicas hang
    Neighbour,
    /// Scale, restarts and rolls without a pause until all requests are sent: `--requests`
    Churn,
}

/// What may become of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Promise {
    pub(crate) excuse: Excuse,
    /// How long an idempotent request may take.
    pub(crate) worst: Worst,
    /// How long 999 of 1000 may take, in milliseconds.
    pub(crate) p999_ms: Option<u64>,
}

/// Which requests may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Excuse {
    Nothing,
    /// POSTs that were on the replica when it was struck.
    OnStruck,
    /// Those of them that no replica has begun: what closes idle connections breaks off no request.
    Unbegun,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Worst {
    Millis(u64),
    /// As long as the fault, and a second.
    Fault,
}

/// How the load differs from the usual one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bend {
    pub(crate) slow_ms: Option<u64>,
    pub(crate) post_ms: Option<u64>,
}

impl Fault {
    /// In the order in which they are staged; all but the one that needs a number of requests.
    pub(crate) fn all() -> Vec<Self> {
        Self::value_variants().iter().copied().filter(|fault| *fault != Self::Churn).collect()
    }

    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether it can be done to a system: some have no use for Docker's socket, some no process.
    pub(crate) fn concerns(self, system: System) -> bool {
        match self {
            Self::DockerAway | Self::DockerSilent | Self::Storm | Self::Neighbour => system == System::Evenkeel,
            Self::Descriptors | Self::Aborts | Self::SlowClients => system != System::DockerDns,
            _ => true,
        }
    }

    /// With how many replicas it begins.
    pub(crate) fn replicas(self) -> usize {
        match self {
            Self::Recreate => 1,
            Self::Scale | Self::Churn => 2,
            _ => 3,
        }
    }

    pub(crate) fn bend(self) -> Bend {
        match self {
            Self::TermSlow => Bend { slow_ms: Some(2_000), ..Bend::default() },
            Self::Churn => Bend { post_ms: Some(0), ..Bend::default() },
            _ => Bend::default(),
        }
    }

    pub(crate) fn promise(self) -> Promise {
        let promise = |excuse, worst, p999_ms| Promise { excuse, worst, p999_ms };
        let (quick, probed) = (Worst::Millis(200), Worst::Millis(2_000));
        match self {
            Self::Calm | Self::Scale | Self::Restart | Self::RollStartFirst | Self::RollStopFirst | Self::Pause => {
                promise(Excuse::Nothing, quick, Some(30))
            }
            Self::Kill => promise(Excuse::OnStruck, quick, Some(30)),
            Self::Recreate => promise(Excuse::Nothing, Worst::Fault, None),
            Self::Disconnect | Self::IpReuse | Self::Reset => promise(Excuse::OnStruck, quick, None),
            Self::Hang | Self::Drop => promise(Excuse::OnStruck, probed, None),
            Self::TermSlow
            | Self::Rename
            | Self::SlowStart
            | Self::Neighbour
            | Self::DockerAway
            | Self::Storm
            | Self::Flap
            | Self::Aborts
            | Self::SlowClients => promise(Excuse::Nothing, quick, None),
            Self::KeepAlive => promise(Excuse::Unbegun, quick, None),
            Self::DockerSilent => promise(Excuse::OnStruck, probed, None),
            // All are back long before those that wait give up.
            Self::AllDown | Self::Loss | Self::Descriptors => promise(Excuse::Nothing, Worst::Fault, None),
            Self::Churn => promise(Excuse::Nothing, Worst::Millis(1_000), Some(30)),
        }
    }

    /// Makes it happen, and undoes it.
    pub(crate) async fn stage(self, site: &mut Site, story: &mut Story) -> Result<()> {
        match self {
            Self::Calm => {
                hold(5_000).await;
                Ok(())
            }
            Self::Scale => containers::scale(site).await,
            Self::Restart => containers::restart(site).await,
            Self::RollStartFirst => containers::roll(site, true).await,
            Self::RollStopFirst => containers::roll(site, false).await,
            Self::Recreate => containers::recreate(site).await,
            Self::TermSlow => containers::terminate(site, story).await,
            Self::Kill => containers::kill(site, story).await,
            Self::Pause => containers::pause(site, story).await,
            Self::AllDown => containers::all_down(site).await,
            Self::Flap => containers::flap(site).await,
            Self::Rename => containers::rename(site).await,
            Self::SlowStart => containers::slow_start(site).await,
            Self::KeepAlive => containers::keep_alive(site, story).await,
            Self::IpReuse => containers::reuse_address(site, story).await,
            Self::Hang => containers::hang(site, story).await,
            Self::Disconnect => network::disconnect(site, story).await,
            Self::Drop => network::filter(site, story, &["-j", "DROP"]).await,
            Self::Loss => {
                let tenth = ["-m", "statistic", "--mode", "random", "--probability", "0.1", "-j", "DROP"];
                network::filter(site, story, &tenth).await
            }
            Self::Reset => {
                network::filter(site, story, &["-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"]).await
            }
            Self::DockerAway => docker::away(site).await,
            Self::DockerSilent => docker::silent(site, story).await,
            Self::Storm => docker::storm(site, story).await,
            Self::Neighbour => clients::neighbour(site, story).await,
            Self::Descriptors => clients::descriptors(site, story).await,
            Self::Aborts => clients::aborts(site, story).await,
            Self::SlowClients => clients::slow(site, story).await,
            // In turns, for as long as there are requests.
            Self::Churn => Ok(()),
        }
    }
}

/// What a churn does over and over.
pub(crate) const CHURN: [Fault; 4] = [Fault::Scale, Fault::Restart, Fault::RollStartFirst, Fault::RollStopFirst];

/// Lets something be as it is for a while.
async fn hold(millis: u64) {
    sleep(Duration::from_millis(millis)).await;
}
