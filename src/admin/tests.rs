//! Every page over a real socket, and the registry that the tests of this room look at.

use std::net::SocketAddr;
use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::change::{Change, Sighting};
use crate::discovery::verdict::{Considered, Verdict};
use crate::metrics::AttemptFailure;
use crate::provider::Provider;
use crate::registry::RegistryWriter;
use crate::replica::{Health, Lifecycle, ProbeSpec, Replica, ReplicaId, ReplicaSpec};

const DEADLINE: Duration = Duration::from_secs(10);

pub(super) struct Fixture {
    pub(super) state: Arc<AdminState>,
    pub(super) docker: Arc<DiscoveryStatus>,
    writer: Mutex<RegistryWriter>,
}

pub(super) fn id(digit: char) -> ReplicaId {
    digit.to_string().repeat(64).into()
}

impl Fixture {
    pub(super) fn empty() -> Self {
        let (registry, writer) = Registry::new();
        let docker = Arc::new(DiscoveryStatus::new(Provider::DOCKER));
        let state = AdminState {
            registry,
            discovery: vec![Arc::clone(&docker)],
            proxy: Arc::default(),
            readiness: Arc::default(),
            reloads: Arc::default(),
            service: "gateway".into(),
            token: None,
            herald: Herald::default(),
            version: "1.2.3",
            started: SystemTime::now(),
        };
        Self { state: Arc::new(state), docker, writer: Mutex::new(writer) }
    }

    /// Lets things be changed with this token.
    pub(super) fn with_token(mut self, token: &str) -> Self {
        Arc::get_mut(&mut self.state).unwrap().token = Some(token.into());
        self
    }

    pub(super) fn apply(&self, change: Change) {
        self.writer.lock().unwrap().apply(change);
    }

    /// Adds a running replica with 64 times `digit` as its id.
    pub(super) fn add(&self, digit: char, name: &str, ip: u8, edit: impl FnOnce(&mut ReplicaSpec)) -> Arc<Replica> {
        let mut spec = ReplicaSpec {
            id: id(digit),
            provider: Provider::DOCKER,
            service: "gateway".into(),
            name: name.to_owned(),
            project: Some("shop".to_owned()),
            number: name.rsplit('-').next().and_then(|number| number.parse().ok()),
            image: Some("gateway:1".to_owned()),
            network: Some("shop_default".to_owned()),
            addr: SocketAddr::from(([172, 18, 0, ip], 3001)),
            weight: 1,
            probe: ProbeSpec::default(),
            drain_timeout: None,
            max_concurrency: None,
        };
        edit(&mut spec);
        let (id, service) = (spec.id.clone(), spec.service.clone());
        let sighting = Box::new(Sighting { spec, lifecycle: Lifecycle::Running });
        self.apply(Change::Upsert { replica: sighting });
        let replicas = self.state.registry.replicas(service.as_str()).unwrap();
        Arc::clone(replicas.list().iter().find(|replica| *replica.id() == id).unwrap())
    }
}

/// One replica that is ready, one that fails its probes, and two of one name: draining, and its successor.
pub(super) fn fixture() -> Fixture {
    let fixture = Fixture::empty();
    let ready = fixture.add('a', "gateway-1", 3, |_| {});
    ready.set_health(Health::Healthy);
    ready.set_last_error("connect: refused");
    ready.in_flight_cell().store(2, std::sync::atomic::Ordering::Relaxed);
    for (code, millis) in [(200, 1), (200, 30), (503, 20_000)] {
        ready.metrics().record_answer(code, Duration::from_millis(millis));
    }
    ready.metrics().record_failure(AttemptFailure::Connect);
    let ailing = fixture.add('b', "gateway-2", 4, |_| {});
    ailing.set_health(Health::Unhealthy);
    ailing.set_last_error("probe: timed out");
    let old = fixture.add('c', "gateway-3", 5, |_| {});
    old.set_health(Health::Healthy);
    old.metrics().record_answer(200, Duration::from_millis(1));
    fixture.apply(Change::Drain { provider: Provider::DOCKER, id: id('c') });
    fixture.add('d', "gateway-3", 6, |_| {}).metrics().record_answer(200, Duration::from_millis(1));
    fixture
}

pub(super) fn considered(digit: char, name: &str) -> Considered {
    Considered {
        id: id(digit),
        name: name.to_owned(),
        service: Some("gateway".into()),
        project: Some("shop".to_owned()),
        verdict: Verdict::Routed,
        warnings: Vec::new(),
    }
}

pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(super) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }
}

pub(super) struct Running {
    addr: SocketAddr,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl Running {
    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) async fn new(fixture: &Fixture) -> Self {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, Arc::clone(&fixture.state), stop.clone()));
        Self { addr, stop, serving }
    }

    async fn send(&self, raw: &[u8]) -> Answer {
        let exchange = async {
            let mut stream = TcpStream::connect(self.addr).await.unwrap();
            stream.write_all(raw).await.unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.unwrap();
            String::from_utf8(bytes).unwrap()
        };
        let text = timeout(DEADLINE, exchange).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(super) async fn ask(&self, method: &str, path: &str, fields: &str) -> Answer {
        let raw = format!("{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n{fields}\r\n");
        self.send(raw.as_bytes()).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }
}

#[tokio::test]
async fn the_api_lists_replicas_with_every_field() {
    let fixture = fixture();
    fixture.add('e', "web-1", 9, |spec| spec.service = "web".into());
    let gateways = fixture.state.registry.replicas("gateway").unwrap();
    let _open = gateways.list()[0].metrics().open_tunnel();
    let admin = Running::new(&fixture).await;
    let answer = admin.get("/api/v1/replicas").await;
    assert_eq!(answer.status, 200);
    let list = answer.json();
    let mut first = list["replicas"][0].clone();
    let since = first["since"].take();
    let age = SystemTime::now().duration_since(humantime::parse_rfc3339(since.as_str().unwrap()).unwrap()).unwrap();
    assert!(age < Duration::from_secs(60), "{since}");
    let expected = json!({
        "id": "a".repeat(64), "name": "gateway-1", "service": "gateway", "provider": "docker", "project": "shop",
        "number": 1,
        "image": "gateway:1", "addr": "172.18.0.3:3001", "network": "shop_default", "state": "ready",
        "health": "healthy", "since": null, "weight": 1, "drained_by_hand": false, "in_flight": 2, "tunnels": 1,
        "requests": 3, "errors": 1, "consecutive_failures": 0, "ejections": 0,
        "last_error": "connect: refused", "verdict": "routed",
    });
    assert_eq!(first, expected);
    assert_eq!(list["replicas"].as_array().unwrap().len(), 5);

    let of_web = admin.get("/api/v1/replicas?service=web").await.json();
    assert_eq!(of_web["replicas"].as_array().unwrap().len(), 1);
    assert_eq!(of_web["replicas"][0]["name"], "web-1");
    assert_eq!(admin.get("/api/v1/replicas?service=nobody").await.json(), json!({ "replicas": [] }));
    assert_eq!(admin.get("/debug/replicas?format=json").await.json(), list);
    assert_eq!(admin.get("/debug/replicas?format=json&service=web").await.json(), of_web);
}

#[tokio::test]
async fn one_replica_is_found_by_id_beginning_or_name() {
    let admin = Running::new(&fixture()).await;
    for key in ["a".repeat(64).as_str(), "aaa", "a", "gateway-1", "gateway%2D1"] {
        let answer = admin.get(&format!("/api/v1/replicas/{key}")).await;
        assert_eq!((answer.status, &answer.json()["name"]), (200, &json!("gateway-1")), "{key}");
    }
    let answer = admin.get("/api/v1/replicas/gateway-3").await;
    assert_eq!(answer.status, 409);
    assert_eq!(answer.json()["ids"], json!(["c".repeat(64), "d".repeat(64)]));
    for key in ["gateway", "%20", "abc", "%C3%A4"] {
        let answer = admin.get(&format!("/api/v1/replicas/{key}")).await;
        assert_eq!(answer.status, 404, "{key}");
        assert!(answer.json()["error"].as_str().unwrap().starts_with("no such replica: "), "{}", answer.body);
    }
    assert_eq!(admin.get("/api/v1/replicas/%FF").await.status, 400);
}

#[tokio::test]
async fn the_debug_page_is_text_unless_asked_otherwise() {
    let admin = Running::new(&fixture()).await;
    let answer = admin.get("/debug/replicas?service=gateway&format=text").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    assert!(answer.body.contains("\ngateway-1  gateway  ready "), "{}", answer.body);
    assert_eq!(admin.get("/debug/replicas").await.body, answer.body);
    let answer = admin.get("/debug/replicas?format=xml").await;
    assert_eq!((answer.status, answer.json()), (400, json!({ "error": "no such format: xml (text or json)" })));
    assert_eq!(admin.get("/debug/replicas?service=a&service=b").await.status, 400);
}

#[tokio::test]
async fn every_container_has_its_verdict() {
    let fixture = fixture();
    let mut odd = considered('a', "shop-gateway-1");
    odd.warnings.push("odd".to_owned());
    fixture.docker.consider(odd);
    let admin = Running::new(&fixture).await;
    let expected = json!({ "containers": [{
        "id": "a".repeat(64), "name": "shop-gateway-1", "service": "gateway", "project": "shop",
        "verdict": "routed", "message": "routed", "warnings": ["odd"],
    }]});
    assert_eq!(admin.get("/api/v1/containers").await.json(), expected);
}

#[tokio::test]
async fn health_and_readiness_follow_the_life_of_the_process() {
    let fixture = Fixture::empty();
    let admin = Running::new(&fixture).await;
    let answer = admin.get("/readyz").await;
    let expected =
        json!({ "ready": false, "reasons": ["the proxy does not listen yet", "first sync with docker is not done"] });
    assert_eq!((answer.status, answer.json()), (503, expected));
    let answer = admin.get("/healthz").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));

    fixture.state.readiness.set_listening();
    fixture.docker.set_synced();
    let answer = admin.get("/readyz").await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "ready": true, "reasons": [] })), "without any replica");

    fixture.state.readiness.set_terminating();
    assert_eq!(admin.get("/healthz").await.status, 503);
    let answer = admin.get("/readyz").await;
    assert_eq!((answer.status, answer.json()), (503, json!({ "ready": false, "reasons": ["shutting down"] })));
}

#[tokio::test]
async fn metrics_come_in_the_format_that_was_asked_for() {
    let admin = Running::new(&fixture()).await;
    let answer = admin.ask("GET", "/metrics", "Accept: application/openmetrics-text;q=0.5\r\n").await;
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(answer.body.ends_with("\n# EOF\n"));
    let answer = admin.get("/metrics").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(answer.body.contains("\nevenkeel_replica_ready{service=\"gateway\",replica=\"gateway-1\"} 1\n"));
}

#[tokio::test]
async fn without_docker_there_are_no_containers_and_no_discovery_metrics() {
    let mut fixture = fixture();
    Arc::get_mut(&mut fixture.state).unwrap().discovery.clear();
    fixture.state.readiness.set_listening();
    let admin = Running::new(&fixture).await;
    assert_eq!(admin.get("/api/v1/containers").await.json(), json!({ "containers": [] }));
    assert_eq!(admin.get("/readyz").await.status, 200);
    assert!(admin.get("/debug/replicas").await.body.contains("\nstatic replicas only (--no-docker)\n"));
    assert!(!admin.get("/metrics").await.body.contains("evenkeel_discovery"));
}

#[tokio::test]
async fn an_unknown_page_lists_the_known_ones() {
    let admin = Running::new(&Fixture::empty()).await;
    for path in ["/nope", "/api/v1/replicas/", "/api/v1/replicas/a/b", "/debug", "//", "/%FF"] {
        let answer = admin.get(path).await;
        assert_eq!((answer.status, &answer.json()["error"]), (404, &json!(format!("no such page: {path}"))));
        assert!(answer.json()["pages"].as_array().unwrap().contains(&json!("/metrics")));
    }
    let index = admin.get("/").await;
    assert_eq!(index.status, 200);
    for page in ["/debug/replicas  ", "/api/v1/containers  ", "/metrics  ", "/readyz  "] {
        assert!(index.body.contains(page), "{page}");
    }
}

#[tokio::test]
async fn only_get_and_head_are_allowed() {
    let admin = Running::new(&fixture()).await;
    for path in ["/", "/debug/replicas", "/api/v1/replicas", "/api/v1/containers", "/metrics", "/healthz", "/readyz"] {
        let answer = admin.ask("POST", path, "Content-Length: 0\r\n").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET,HEAD")), "{path}");
        assert_eq!(answer.json(), json!({ "error": "POST is not for this page: use GET" }));
        let (head, get) = (admin.ask("HEAD", path, "").await, admin.get(path).await);
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
    assert_eq!(admin.ask("DELETE", "/nope", "").await.status, 404);
}

#[tokio::test]
async fn nothing_that_a_client_sends_takes_the_pages_away() {
    let admin = Running::new(&fixture()).await;
    for raw in [&b"\x16\x03\x01\x02\x00\r\n\r\n"[..], b"GET / HTTP/9.9\r\n\r\n", b"GET /\x00 HTTP/1.1\r\n\r\n"] {
        assert_eq!(admin.send(raw).await.status, 400, "{raw:?}");
    }
    for path in ["/debug/replicas?", "/debug/replicas?&&=&%", "/debug/replicas?service=%FF%00"] {
        assert_eq!(admin.get(path).await.status, 200, "{path}");
    }
    let answer =
        admin.ask("GET", "/metrics", "Accept: \u{e4}\r\nAccept: ;;;q=,application/openmetrics-text;q\r\n").await;
    assert_eq!((answer.status, answer.body.ends_with("# EOF\n")), (200, true));
    assert_eq!(admin.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn serving_ends_with_stop_even_if_a_client_never_finishes_its_request() {
    let admin = Running::new(&fixture()).await;
    let mut slow = TcpStream::connect(admin.addr).await.unwrap();
    slow.write_all(b"GET / HT").await.unwrap();
    assert_eq!(admin.get("/healthz").await.status, 200, "the slow one was accepted before");
    admin.stop.cancel();
    timeout(DEADLINE, admin.serving).await.unwrap().unwrap();
    assert!(TcpStream::connect(admin.addr).await.is_err());
}

#[tokio::test]
async fn the_page_says_what_is_to_be_done_about_the_settings() {
    let fixture = Fixture::empty();
    let admin = Running::new(&fixture).await;
    let lines = async || -> Vec<String> {
        let page = admin.get("/debug/replicas").await.body;
        page.lines().filter(|line| line.starts_with("configuration: ")).map(str::to_owned).collect()
    };
    assert_eq!(lines().await, [""; 0]);
    fixture.state.reloads.record_applied(vec!["listen", "threads"]);
    fixture.state.reloads.record_refused(1);
    let refused = "configuration: REFUSED, 1 thing is wrong with the file; what was read 0s ago holds";
    assert_eq!(lines().await, [refused, "configuration: a restart is needed for listen, threads"]);
    fixture.state.reloads.record_applied(Vec::new());
    assert_eq!(lines().await, [""; 0]);
}
