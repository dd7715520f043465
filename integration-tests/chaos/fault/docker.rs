//! What happens to the engine, as far as evenkeel sees it; the engine itself stays up.

use std::time::{Duration, Instant};

use futures::future::{join_all, try_join_all};
use integration_tests::Result;

use super::containers::first;
use super::{Story, hold};
use crate::container::Container;
use crate::site::Site;

const STORM: Duration = Duration::from_secs(4);

pub(super) async fn away(site: &mut Site) -> Result<()> {
    site.relay.cut();
    hold(4_000).await;
    site.relay.heal();
    Ok(())
}

pub(super) async fn silent(site: &mut Site, story: &mut Story) -> Result<()> {
    site.relay.silence();
    let replica = first(site)?;
    story.strike(&replica);
    let stopped = replica.act("stop?t=10").await;
    story.struck();
    hold(5_000).await;
    site.relay.heal();
    stopped?;
    replica.act("start").await?;
    site.renew(&replica).await?.until_ready().await
}

/// Events of containers in the same project: half of the containers start and die, half pause and unpause.
pub(super) async fn storm(site: &mut Site, story: &mut Story) -> Result<()> {
    let numbers = 1..=4;
    let specs: Vec<_> = numbers.map(|number| site.replica("storm", number, &[])).collect();
    let containers = try_join_all(specs.iter().map(|spec| site.run.start(spec))).await?;
    let before = site.running.metric("evenkeel_discovery_events_total").await.unwrap_or_default();
    let began = Instant::now();
    let turns = join_all((0..).zip(&containers).map(|(index, container)| {
        let actions = if index < 2 { ["kill?signal=KILL", "start"] } else { ["pause", "unpause"] };
        turn(container, actions, began + STORM)
    }))
    .await;
    let seconds = began.elapsed().as_secs_f64();
    let after = site.running.metric("evenkeel_discovery_events_total").await.unwrap_or_default();
    for container in &containers {
        container.remove().await?;
    }
    let per_second = |of: &[u64]| of.iter().sum::<u64>() as f64 / seconds;
    let (starts, pauses) = turns.split_at(turns.len() / 2);
    story.note(format!(
        "a second: {:.0} starts and deaths, {:.0} pauses and unpauses; evenkeel got {:.0} events",
        per_second(starts),
        per_second(pauses),
        (after - before) / seconds
    ));
    Ok(())
}

/// Does one thing and then the other until the time is over; how many it did. At this pace the engine refuses some: it
/// says that a container is paused which it has just unpaused.
async fn turn(container: &Container, actions: [&str; 2], until: Instant) -> u64 {
    let mut done = 0;
    while Instant::now() < until {
        for action in actions {
            done += u64::from(container.act(action).await.is_ok());
        }
    }
    done
}
