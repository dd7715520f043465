//! evenkeel as its admin listener shows it.

use std::net::SocketAddr;

use integration_tests::client::get;
use integration_tests::eventually_some;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::PATIENCE;

/// One replica of `/api/v1/replicas`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Replica {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) addr: SocketAddr,
    pub(crate) network: Option<String>,
    pub(crate) state: String,
    pub(crate) in_flight: u64,
    pub(crate) requests: u64,
    pub(crate) weight: u64,
}

/// One container of `/api/v1/containers`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) verdict: String,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Admin {
    addr: SocketAddr,
}

impl Admin {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        Self { addr }
    }

    /// `None` while evenkeel does not answer, as before its start.
    async fn page(&self, path: &str) -> Option<String> {
        let answer = get(self.addr, path).await.ok()?;
        (answer.status == 200).then(|| answer.text())
    }

    async fn list<T: DeserializeOwned>(&self, what: &str) -> Vec<T> {
        let Some(page) = self.page(&format!("/api/v1/{what}")).await else { return Vec::new() };
        let mut page: serde_json::Value = serde_json::from_str(&page).unwrap_or_else(|error| panic!("{page}: {error}"));
        serde_json::from_value(page[what].take()).unwrap_or_else(|error| panic!("{page}: {error}"))
    }

    pub(crate) async fn replicas(&self) -> Vec<Replica> {
        self.list("replicas").await
    }

    pub(crate) async fn replica(&self, name: &str) -> Option<Replica> {
        self.replicas().await.into_iter().find(|replica| replica.name == name)
    }

    /// The state of a replica, or `gone`.
    pub(crate) async fn state(&self, name: &str) -> String {
        self.replica(name).await.map_or_else(|| "gone".into(), |replica| replica.state)
    }

    /// The code of the verdict on a container that is or is not a replica.
    pub(crate) async fn verdict(&self, id: &str) -> Option<String> {
        self.list::<Container>("containers").await.into_iter().find(|c| c.id == id).map(|c| c.verdict)
    }

    pub(crate) async fn is_alive(&self) -> bool {
        self.page("/healthz").await.is_some()
    }

    pub(crate) async fn is_ready(&self) -> bool {
        self.page("/readyz").await.is_some()
    }

    /// The sum of a metric's samples.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let page = self.page("/metrics").await?;
        let samples = page.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            (series.split('{').next() == Some(name)).then(|| value.parse::<f64>().ok()).flatten()
        });
        samples.fold(None, |sum, sample| Some(sum.unwrap_or_default() + sample))
    }

    /// Waits until exactly so many replicas are listed and all are ready, and returns them.
    pub(crate) async fn until_ready(&self, count: usize) -> Vec<Replica> {
        eventually_some(PATIENCE, &format!("{count} replicas are ready"), async || {
            let replicas = self.replicas().await;
            (replicas.len() == count && replicas.iter().all(|replica| replica.state == "ready")).then_some(replicas)
        })
        .await
    }

    /// Waits until so many of what it follows are connected.
    pub(crate) async fn until_connected(&self, count: u32) {
        let connected = async || self.metric("evenkeel_discovery_connected").await == Some(count.into());
        integration_tests::eventually(PATIENCE, &format!("{count} providers are connected"), connected).await;
    }

    /// Waits until a replica is in that state; `gone` if it is to leave the list.
    pub(crate) async fn until_state(&self, name: &str, state: &str) {
        let what = format!("{name} is {state}");
        integration_tests::eventually(PATIENCE, &what, async || self.state(name).await == state).await;
    }
}
