//! evenkeel beside a fake engine, and traffic through it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evenkeel::app::App;
use evenkeel::config::settings::{DockerSettings, ProxySettings, Settings};
use integration_tests::client::{self, Client, Response};
use integration_tests::{ContainerId, ContainerSpec, FakeEngine, TestReplica, eventually, eventually_some};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const NETWORK: &str = "shop_default";
pub(crate) const NEVER: Duration = Duration::from_secs(3600);

/// A running evenkeel and the engine it watches.
pub(crate) struct Sidecar {
    pub(crate) engine: FakeEngine,
    app: App,
    settings: Settings,
}

impl Sidecar {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let engine = FakeEngine::start();
        let mut settings = settings(&engine);
        change(&mut settings);
        let app = App::start(settings.clone()).expect("evenkeel starts");
        Self { engine, app, settings }
    }

    /// One with as many ready replicas of the service `gateway`, named `gateway-1`, ….
    pub(crate) async fn with_replicas(count: u32, change: impl FnOnce(&mut Settings)) -> (Self, Vec<Gateway>) {
        let sidecar = Self::start_with(change);
        let names: Vec<_> = (1..=count).map(|number| format!("gateway-{number}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let replicas: Vec<_> = TestReplica::start_many(&names)
            .into_iter()
            .map(|replica| Gateway { id: sidecar.engine.run(spec_of(&replica)), replica })
            .collect();
        sidecar.until_ready(&names).await;
        (sidecar, replicas)
    }

    /// Lets other settings hold from now on.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        self.app.apply(self.settings.clone());
    }

    /// Starts one more replica by this name (`gateway-3`), and its container.
    pub(crate) fn run(&self, name: &str) -> Gateway {
        let replica = TestReplica::start(name);
        Gateway { id: self.engine.run(spec_of(&replica)), replica }
    }

    pub(crate) fn proxy(&self) -> SocketAddr {
        self.app.proxy_addr()
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.app.admin_addr()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        client::get(self.proxy(), path).await.expect("a whole answer")
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.proxy()).await.expect("the proxy accepts")
    }

    /// An array of the admin API: `replicas` or `containers`.
    pub(crate) async fn api(&self, what: &str) -> Vec<Value> {
        let response = client::get(self.admin(), &format!("/api/v1/{what}")).await.expect("a whole answer");
        let parsed: Value = serde_json::from_slice(&response.body).expect("JSON");
        let list = parsed.get(what).unwrap_or(&parsed);
        list.as_array().expect("an array").clone()
    }

    /// One replica of the admin API, by its name.
    pub(crate) async fn replica(&self, name: &str) -> Option<Value> {
        self.api("replicas").await.into_iter().find(|replica| replica["name"] == name)
    }

    /// Every replica's state by its name.
    pub(crate) async fn states(&self) -> BTreeMap<String, String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.api("replicas").await.iter().map(|one| (text(&one["name"]), text(&one["state"]))).collect()
    }

    /// Waits until exactly these are ready, whatever else is listed.
    pub(crate) async fn until_ready(&self, names: &[&str]) {
        self.until(&format!("exactly {names:?} are ready"), |states| {
            let ready = states.iter().filter(|(_, state)| *state == "ready");
            ready.map(|(name, _)| name.as_str()).eq(names.iter().copied())
        })
        .await;
    }

    /// Waits until a replica has this state.
    pub(crate) async fn until_state(&self, name: &str, state: &str) {
        self.until(&format!("{name} is {state}"), |states| states.get(name).is_some_and(|now| now == state)).await;
    }

    /// Waits until a replica is not listed any more.
    pub(crate) async fn until_gone(&self, name: &str) {
        self.until(&format!("{name} is gone"), |states| !states.contains_key(name)).await;
    }

    async fn until(&self, what: &str, holds: impl Fn(&BTreeMap<String, String>) -> bool) {
        let mut states = BTreeMap::new();
        let wait = eventually(NEVER, what, async || {
            states = self.states().await;
            holds(&states)
        });
        if timeout(PATIENCE, wait).await.is_err() {
            panic!("not within {PATIENCE:?}: {what}; the states are {states:?}");
        }
    }

    /// The sum of a metric over its series whose labels include all of `labels` (`code="200"`).
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let response = client::get(self.admin(), "/metrics").await.expect("a whole answer");
        let text = response.text();
        let series = text.lines().filter_map(|line| line.rsplit_once(' '));
        series
            .filter(|(series, _)| series.split('{').next() == Some(name))
            .filter(|(series, _)| labels.iter().all(|label| series.contains(label)))
            .filter_map(|(_, value)| value.parse::<f64>().ok())
            .sum()
    }

    /// Waits until the metric `evenkeel_discovery_connected` says so.
    pub(crate) async fn until_connected(&self, connected: bool) {
        let wanted = f64::from(u8::from(connected));
        eventually(PATIENCE, &format!("discovery_connected is {wanted}"), async || {
            (self.metric("evenkeel_discovery_connected", &[]).await - wanted).abs() < f64::EPSILON
        })
        .await;
    }

    /// Waits until evenkeel has an event stream open.
    pub(crate) async fn until_following(&self) {
        eventually(PATIENCE, "an event stream opens", async || self.engine.open_streams() == 1).await;
    }

    /// Returns when every event emitted so far has been worked off: a container started after them is ready.
    pub(crate) async fn barrier(&self) {
        let mark = self.run("gateway-99");
        self.until_state("gateway-99", "ready").await;
        self.engine.remove(&mark.id);
        self.until_gone("gateway-99").await;
    }

    /// Sends so many requests, one after the other, and counts the answers by the replica that gave them.
    ///
    /// # Panics
    /// On any answer but 200.
    pub(crate) async fn spread(&self, requests: usize) -> BTreeMap<String, usize> {
        let mut client = self.client().await;
        let mut spread = BTreeMap::new();
        for _ in 0..requests {
            let response = client.get("/").await.expect("a whole answer");
            assert_eq!(response.status, 200, "{}", response.text());
            *spread.entry(response.text()).or_default() += 1;
        }
        spread
    }

    pub(crate) async fn shutdown(self) {
        self.app.shutdown().await;
    }

    /// Splits into the engine, which must outlive the app, and the app.
    pub(crate) fn into_parts(self) -> (FakeEngine, App) {
        (self.engine, self.app)
    }
}

/// A replica of the service `gateway` and its container.
pub(crate) struct Gateway {
    pub(crate) id: ContainerId,
    pub(crate) replica: TestReplica,
}

/// The container of a test replica: `gateway-3` is number 3 of the service `gateway`.
pub(crate) fn spec_of(replica: &TestReplica) -> ContainerSpec {
    let (service, number) = replica.name().rsplit_once('-').expect("a name like gateway-1");
    ContainerSpec::compose("shop", service, number.parse().expect("a number"))
        .network(NETWORK, replica.ip())
        .expose(replica.addr().port())
}

fn settings(engine: &FakeEngine) -> Settings {
    Settings {
        proxy: ProxySettings {
            listen: ([127, 0, 0, 1], 0).into(),
            threads: NonZero::new(2).expect("two"),
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(5),
            ..ProxySettings::default()
        },
        admin_listen: ([127, 0, 0, 1], 0).into(),
        docker: vec![DockerSettings {
            host: engine.host(),
            project: Some("shop".to_owned()),
            network: Some(NETWORK.to_owned()),
            // A test that wants a relist on a clock says so; the others must do without.
            resync_interval: NEVER,
            ..DockerSettings::default()
        }],
        ..Settings::default()
    }
}

/// `docker` of settings that have it.
pub(crate) fn docker(settings: &mut Settings) -> &mut DockerSettings {
    settings.docker.first_mut().expect("a Docker provider")
}

/// Requests that go on in the background, over kept-alive connections, until stopped.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Report>,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Answers of status 200 by the replica that gave them.
    pub(crate) answers: BTreeMap<String, usize>,
    /// Every other outcome.
    pub(crate) failures: Vec<String>,
}

impl Traffic {
    pub(crate) fn start(proxy: SocketAddr, connections: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            tasks.spawn(send_until(proxy, Arc::clone(&stop)));
        }
        Self { stop, tasks }
    }

    pub(crate) async fn stop(self) -> Report {
        self.stop.store(true, Ordering::SeqCst);
        let mut sum = Report::default();
        for report in self.tasks.join_all().await {
            sum.failures.extend(report.failures);
            for (name, count) in report.answers {
                *sum.answers.entry(name).or_default() += count;
            }
        }
        sum
    }
}

async fn send_until(proxy: SocketAddr, stop: Arc<AtomicBool>) -> Report {
    let mut report = Report::default();
    let mut client: io::Result<Client> = Client::connect(proxy).await;
    while !stop.load(Ordering::SeqCst) {
        let answer = match &mut client {
            Ok(client) => client.get("/").await,
            Err(error) => Err(io::Error::other(error.to_string())),
        };
        let keep = answer.as_ref().is_ok_and(|response| response.header("connection") != Some("close"));
        match answer {
            Ok(response) if response.status == 200 => *report.answers.entry(response.text()).or_default() += 1,
            Ok(response) => report.failures.push(format!("{}: {}", response.status, response.text())),
            Err(error) => report.failures.push(error.to_string()),
        }
        if !keep {
            client = Client::connect(proxy).await;
        }
    }
    report
}

/// Waits for the answer of a request that was sent in the background.
pub(crate) async fn until_some<T>(what: &str, find: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_some(PATIENCE, what, find).await
}
