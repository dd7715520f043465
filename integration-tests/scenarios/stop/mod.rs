//! `docker stop` of evenkeel itself: what is open is answered, and the exit is clean.

use integration_tests::client::get;
use integration_tests::eventually;

use crate::harness::docker::{docker, inspect};
use crate::harness::{PATIENCE, Project, Tool};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_requests_finish_before_the_exit() {
    let project = Project::new("stop", Tool::V2);
    let admin = project.up(1).await;
    let id = project.container("evenkeel", 1);
    let open = tokio::spawn(get(project.proxy(), "/slow?ms=2000"));
    let in_flight = async || admin.replica("gateway-1").await.is_some_and(|replica| replica.in_flight == 1);
    eventually(PATIENCE, "the request is with the replica", in_flight).await;

    docker(&["stop", &id]);
    let answer = open.await.unwrap().unwrap();
    assert_eq!((answer.status, answer.header("x-served-by")), (200, Some("gateway-1")));
    let state = &inspect(&id)["State"];
    assert_eq!((&state["ExitCode"], &state["Running"]), (&0.into(), &false.into()), "{state}");
}
