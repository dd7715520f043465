//! A replica is paused, or leaves the network, with requests in flight: those that are safe to send again move to
//! another one at that moment.

use std::time::{Duration, Instant};

use integration_tests::client::Client;
use integration_tests::eventually;
use tokio::task::JoinSet;

use crate::harness::docker::docker;
use crate::harness::{PATIENCE, Project, Tool};

/// How long a replica takes to answer.
const WORK: Duration = Duration::from_secs(2);
const CLIENTS: u64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_a_replica_that_is_paused_or_cut_off_move_on() {
    let project = Project::new("moved", Tool::V2);
    let admin = project.up(2).await;
    let (id, network) = (project.container("gateway", 2), format!("{}_gateways", project.name()));
    let disconnect = ["network", "disconnect", network.as_str(), id.as_str()];
    let connect = ["network", "connect", network.as_str(), id.as_str()];
    for (cut, mend) in [(&["pause", &id][..], &["unpause", &id][..]), (&disconnect, &connect)] {
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let proxy = project.proxy();
            clients.spawn(async move {
                let mut client = Client::connect(proxy).await.unwrap();
                let path = format!("/slow?ms={}", WORK.as_millis());
                let answer = client.get(&path).await.unwrap();
                (answer.status, answer.header("x-served-by").unwrap().to_owned())
            });
        }
        eventually(PATIENCE, "both have their share", async || {
            admin.replicas().await.iter().all(|replica| replica.in_flight == CLIENTS / 2)
        })
        .await;
        docker(cut);
        let since = Instant::now();
        while let Some(answer) = clients.join_next().await {
            assert_eq!(answer.unwrap(), (200, "gateway-1".to_owned()));
        }
        eprintln!("{cut:?}: all answered {:?} after it", since.elapsed());
        assert!(since.elapsed() < WORK * 2, "{cut:?}: {:?}", since.elapsed());
        docker(mend);
        admin.until_ready(2).await;
    }
}
