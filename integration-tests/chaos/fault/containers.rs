//! What Compose, Docker and the kernel do to containers.

use futures::future::try_join_all;
use integration_tests::Result;

use super::{Story, hold};
use crate::container::Container;
use crate::site::Site;

/// Between the steps of a restart or a roll: so long a deployment waits for a replica to prove itself.
const PROOF: u64 = 1_000;

pub(super) async fn scale(site: &mut Site) -> Result<()> {
    let before = site.replicas.len();
    site.add_all(8_usize.saturating_sub(before)).await?;
    hold(2_000).await;
    site.take_away_all(8_usize.saturating_sub(before)).await
}

pub(super) async fn restart(site: &mut Site) -> Result<()> {
    for replica in site.replicas.clone() {
        replica.act("restart?t=10").await?;
        site.renew(&replica).await?.until_ready().await?;
        hold(PROOF).await;
    }
    Ok(())
}

pub(super) async fn roll(site: &mut Site, start_first: bool) -> Result<()> {
    for old in site.replicas.clone() {
        if start_first {
            site.add(&[]).await?;
            hold(PROOF).await;
            site.take_away(&old).await?;
        } else {
            site.take_away(&old).await?;
            site.add(&[]).await?;
            hold(PROOF).await;
        }
    }
    Ok(())
}

pub(super) async fn recreate(site: &mut Site) -> Result<()> {
    let old = first(site)?;
    site.take_away(&old).await?;
    site.add(&[]).await.map(drop)
}

pub(super) async fn terminate(site: &mut Site, story: &mut Story) -> Result<()> {
    let replica = first(site)?;
    story.strike(&replica);
    replica.act("stop?t=10").await?;
    story.struck();
    start_again(site, &replica).await
}

pub(super) async fn kill(site: &mut Site, story: &mut Story) -> Result<()> {
    let replica = first(site)?;
    story.strike(&replica);
    replica.act("kill?signal=KILL").await?;
    story.struck();
    hold(2_000).await;
    start_again(site, &replica).await
}

pub(super) async fn pause(site: &mut Site, story: &mut Story) -> Result<()> {
    let replica = first(site)?;
    story.strike(&replica);
    replica.act("pause").await?;
    hold(5_000).await;
    replica.act("unpause").await?;
    story.struck();
    Ok(())
}

pub(super) async fn hang(site: &mut Site, story: &mut Story) -> Result<()> {
    let replica = first(site)?;
    story.strike(&replica);
    replica.act("kill?signal=STOP").await?;
    hold(6_000).await;
    replica.act("kill?signal=CONT").await?;
    story.struck();
    Ok(())
}

pub(super) async fn all_down(site: &mut Site) -> Result<()> {
    let all = site.replicas.clone();
    try_join_all(all.iter().map(|replica| replica.act("stop?t=10"))).await?;
    hold(2_000).await;
    try_join_all(all.iter().map(|replica| replica.act("start"))).await?;
    for replica in &all {
        site.renew(replica).await?.until_ready().await?;
    }
    Ok(())
}

pub(super) async fn rename(site: &mut Site) -> Result<()> {
    let replica = first(site)?;
    let name = format!("{}-{}", site.run.name, replica.name);
    for name in [format!("{name}-renamed"), name] {
        replica.act(&format!("rename?name={name}")).await?;
        hold(1_500).await;
    }
    Ok(())
}

pub(super) async fn slow_start(site: &mut Site) -> Result<()> {
    let slow = site.add(&["READY_DELAY_MS=3000"]).await?;
    hold(PROOF).await;
    site.take_away(&slow).await
}

/// Of all replicas; a connection that a request finds idle may be about to be closed.
pub(super) async fn keep_alive(site: &mut Site, story: &mut Story) -> Result<()> {
    let before = site.replicas.clone();
    for _ in &before {
        let replica = site.add(&["KEEP_ALIVE_MS=10"]).await?;
        story.strike(&replica);
    }
    for replica in &before {
        site.take_away(replica).await?;
    }
    hold(4_000).await;
    site.add_all(before.len()).await?;
    site.take_away_some(|replica| story.struck.iter().any(|struck| struck.replica == replica.hostname())).await?;
    story.struck();
    Ok(())
}

/// The replica's own `/work` goes on as before: only what it says of itself flaps.
pub(super) async fn flap(site: &mut Site) -> Result<()> {
    let flapping = site.add(&["READY_FLAP_MS=1500"]).await?;
    hold(9_000).await;
    site.take_away(&flapping).await
}

/// The engine gives a free address to whoever asks next.
pub(super) async fn reuse_address(site: &mut Site, story: &mut Story) -> Result<()> {
    let dead = first(site)?;
    story.strike(&dead);
    dead.act("kill?signal=KILL").await?;
    story.struck();
    let other = site.run.start(&site.replica("other", 1, &[])).await?;
    let same = if other.addr == dead.addr { "has" } else { "has NOT" };
    story.note(format!("other-1 {same} the address {} of {}", dead.addr, dead.name));
    hold(3_000).await;
    other.remove().await?;
    start_again(site, &dead).await
}

async fn start_again(site: &mut Site, replica: &Container) -> Result<()> {
    replica.act("start").await?;
    site.renew(replica).await?.until_ready().await
}

pub(super) fn first(site: &Site) -> Result<Container> {
    Ok(site.replicas.first().ok_or("no replica to do it to")?.clone())
}
