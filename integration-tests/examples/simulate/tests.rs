//! Each part in small, so that it is known to work before somebody waits for it.

use std::time::Duration;

use super::*;
use crate::measure::Times;

const CHURN: Churn = Churn { rate: 20, seconds: 1 };

/// Far more than a small fleet needs, on a machine that is busy.
const LATEST: Duration = Duration::from_secs(5);

fn is_seen(times: &Times, least: usize) {
    assert!(times.count() >= least, "{} changes", times.count());
    assert!(times.worst() < Some(LATEST), "{}", times.columns());
}

#[tokio::test]
async fn every_change_of_few_hosts_is_seen() {
    is_seen(&hosts::simulate(4, 5, CHURN, None).await.unwrap().times, 20);
}

#[tokio::test]
async fn every_change_of_a_small_swarm_is_seen() {
    is_seen(&swarm::simulate(30, CHURN).await.unwrap().times, 20);
}

#[tokio::test]
async fn every_change_of_one_host_is_seen_by_all_peers() {
    // Two others hear of each; who has its turn while the last one is on its way is passed over.
    is_seen(&peers::simulate(3, 2, CHURN).await.unwrap().times, 2);
}
