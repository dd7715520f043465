//! What is done to the service, as its operators do it or as it happens to them.

use std::time::Duration;

use clap::ValueEnum;
use integration_tests::Result;
use integration_tests::eventually;
use integration_tests::lab::PATIENCE;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::site::{REPLICAS, STRUCK, Site};

/// Between two changes, for what comes of the first.
const PAUSE: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Event {
    /// Six tasks become twelve, then three, then six
    Scale,
    /// Each task is replaced, the old one stopped first
    RollStopFirst,
    /// Each task is replaced, the new one started first
    RollStartFirst,
    /// A node gives up its tasks
    Drain,
    /// A node's link is cut until its tasks have been replaced, and put back
    Cut,
    /// All of a node's containers of the service get SIGKILL
    KillContainers,
    /// A node's dockerd gets SIGKILL, and is started when its tasks have been replaced
    KillDaemon,
}

impl Event {
    /// In the order in which they are staged.
    pub(crate) fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether it is a change that operators make: then requests may take no longer than without it.
    pub(crate) fn is_planned(self) -> bool {
        matches!(self, Self::Scale | Self::RollStopFirst | Self::RollStartFirst | Self::Drain)
    }

    /// Whether it is done to one service alone, so that it can be done to a bystander.
    pub(crate) fn is_of_one_service(self) -> bool {
        matches!(self, Self::Scale | Self::RollStopFirst | Self::RollStartFirst)
    }

    /// How long a request may take, in milliseconds.
    pub(crate) fn worst(self) -> Option<f64> {
        match self {
            Self::Cut => Some(2_000.0),
            Self::KillContainers | Self::KillDaemon => Some(200.0),
            _ => None,
        }
    }

    /// Makes it happen to the service, or to a node that has tasks of it, and undoes it.
    pub(crate) async fn stage(self, site: &mut Site<'_>, service: &str) -> Result<()> {
        match self {
            Self::Scale => {
                for count in [12, 3, REPLICAS] {
                    site.docker(&["service", "scale", "--detach", &format!("{service}={count}")]);
                    site.lab.until_settled(service, count).await;
                    sleep(PAUSE).await;
                }
            }
            Self::RollStopFirst => roll(site, service, "stop-first").await,
            Self::RollStartFirst => roll(site, service, "start-first").await,
            Self::Drain => {
                availability(site, "drain");
                site.lab.until_settled(service, REPLICAS).await;
                sleep(PAUSE).await;
                availability(site, "active");
            }
            Self::Cut => {
                site.lab.node(STRUCK).cut();
                until_elsewhere(site, service).await;
                site.lab.node(STRUCK).heal();
                site.lab.until_node_is(STRUCK, "ready").await;
                site.lab.until_settled(service, REPLICAS).await;
            }
            Self::KillContainers => {
                let engine = &site.lab.node(STRUCK).engine;
                let filter = format!("label=com.docker.swarm.service.name={service}");
                let containers = engine.docker(&["ps", "--quiet", "--filter", &filter]);
                let containers: Vec<_> = containers.lines().collect();
                engine.docker(&[&["kill"], containers.as_slice()].concat());
                sleep(PAUSE).await;
                site.lab.until_settled(service, REPLICAS).await;
            }
            Self::KillDaemon => {
                site.lab.node_mut(STRUCK).engine.kill();
                until_elsewhere(site, service).await;
                site.lab.node_mut(STRUCK).engine.start();
                site.lab.node_mut(STRUCK).engine.until_up().await;
                site.lab.until_node_is(STRUCK, "ready").await;
                site.lab.until_settled(service, REPLICAS).await;
            }
        }
        Ok(())
    }
}

fn availability(site: &Site<'_>, word: &str) {
    site.docker(&["node", "update", &format!("--availability={word}"), site.lab.node(STRUCK).name()]);
}

async fn roll(site: &Site<'_>, service: &str, order: &str) {
    let order = format!("--update-order={order}");
    site.lab.update_service(service, &["--update-parallelism=1", &order]).await;
    site.lab.until_settled(service, REPLICAS).await;
}

/// Waits until as many tasks as there should be run on the other nodes.
async fn until_elsewhere(site: &Site<'_>, service: &str) {
    eventually(PATIENCE * 2, "all tasks run elsewhere", async || {
        let tasks = site.lab.tasks(service).await;
        tasks.iter().filter(|task| task.runs() && task.node != site.struck).count() == REPLICAS
    })
    .await;
}
