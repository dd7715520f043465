//! What happens to packets, in the container's own network namespace: the rest of the machine does not notice.

use std::process::Command;

use integration_tests::Result;
use serde_json::json;

use super::containers::first;
use super::{Story, hold};
use crate::container::Container;
use crate::engine;
use crate::site::Site;
use crate::system::inside;

pub(super) async fn disconnect(site: &mut Site, story: &mut Story) -> Result<()> {
    let replica = first(site)?;
    let network = site.run.name.clone();
    let change = |what: &str| format!("/networks/{network}/{what}");
    let container = json!({ "Container": replica.id });
    story.strike(&replica);
    engine::create(&change("disconnect"), container).await?;
    story.struck();
    hold(3_000).await;
    let back = json!({ "Container": replica.id, "EndpointConfig": { "Aliases": ["gateway"] } });
    engine::create(&change("connect"), back).await?;
    site.renew(&replica).await?.until_ready().await
}

/// Filters what comes in and what goes out for five seconds.
pub(super) async fn filter(site: &mut Site, story: &mut Story, target: &[&str]) -> Result<()> {
    let replica = first(site)?;
    story.strike(&replica);
    for chain in ["INPUT", "OUTPUT"] {
        // A reset goes out itself.
        if chain == "OUTPUT" && target.contains(&"REJECT") {
            continue;
        }
        iptables(&replica, &[&["-I", chain], target].concat())?;
    }
    hold(5_000).await;
    for chain in ["INPUT", "OUTPUT"] {
        iptables(&replica, &["-F", chain])?;
    }
    story.struck();
    Ok(())
}

fn iptables(container: &Container, args: &[&str]) -> Result<()> {
    let output = Command::output(inside(container, "iptables").args(["-w", "5"]).args(args))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("iptables {args:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}
