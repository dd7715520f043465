//! What the admin listener says about the traffic it saw.

use integration_tests::client;

use crate::support::Sidecar;

#[tokio::test]
async fn replicas_are_listed_for_people_and_for_machines() {
    let (sidecar, gateways) = Sidecar::with_replicas(2, |_| {}).await;
    sidecar.spread(10).await;
    let page = client::get(sidecar.admin(), "/debug/replicas").await.expect("an answer").text();
    for gateway in &gateways {
        assert!(page.contains(gateway.replica.name()) && page.contains(&gateway.replica.addr().to_string()), "{page}");
    }
    let one = sidecar.replica("gateway-1").await.expect("listed");
    for (field, value) in [("service", "gateway"), ("project", "shop"), ("state", "ready"), ("health", "healthy")] {
        assert_eq!(one[field], value, "{one}");
    }
    assert_eq!(one["number"], 1);
    assert_eq!(one["addr"], gateways[0].replica.addr().to_string());
    assert_eq!(one["requests"], gateways[0].replica.requests());
    assert!(one["id"].as_str().is_some_and(|id| gateways[0].id.as_str().starts_with(id)), "{one}");
}

#[tokio::test]
async fn metrics_count_requests_by_replica_and_code_and_leave_with_the_replica() {
    let (sidecar, gateways) = Sidecar::with_replicas(2, |_| {}).await;
    sidecar.spread(10).await;
    sidecar.get("/status/404").await;
    let requests = async |labels: &[&str]| sidecar.metric("evenkeel_replica_requests_total", labels).await;
    assert!((requests(&[]).await - 11.0).abs() < f64::EPSILON);
    let of_first = requests(&["replica=\"gateway-1\""]).await;
    assert!((of_first - gateways[0].replica.requests() as f64).abs() < f64::EPSILON);

    sidecar.engine.remove(&gateways[0].id);
    sidecar.until_gone("gateway-1").await;
    assert!(requests(&["replica=\"gateway-1\""]).await.abs() < f64::EPSILON);
}
