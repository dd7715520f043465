//! A container of the fake engine, and how the engine's API shows it (the shapes are those of a 20.10 engine).

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde_json::{Map, Value, json};

/// The 64 hexadecimal digits by which the engine knows a container.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(pub(super) String);

impl ContainerId {
    pub(super) fn random() -> Self {
        Self(random_hex())
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn random_hex() -> String {
    format!("{:032x}{:032x}", fastrand::u128(..), fastrand::u128(..))
}

/// What a container is created from.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    pub(super) name: String,
    image: String,
    labels: BTreeMap<String, String>,
    pub(super) networks: BTreeMap<String, Addresses>,
    exposed: Vec<String>,
    stop_signal: Option<String>,
    has_healthcheck: bool,
}

/// A container's addresses on one network; a family it has no address of is `None`.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses {
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
    /// Another one each time that the container joins the network, so at each start too.
    endpoint_id: String,
}

impl Addresses {
    pub(super) fn set(&mut self, ip: IpAddr) {
        *(if ip.is_ipv4() { &mut self.v4 } else { &mut self.v6 }) = Some(ip);
    }

    pub(super) fn join(&mut self) {
        self.endpoint_id = random_hex();
    }
}

impl ContainerSpec {
    /// A container that Compose does not know: no labels, no network, no port.
    pub fn plain(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            image: "replica:1".to_owned(),
            labels: BTreeMap::new(),
            networks: BTreeMap::new(),
            exposed: Vec::new(),
            stop_signal: None,
            has_healthcheck: false,
        }
    }

    /// The `number`th container of a service, as `docker compose up` (Compose v2) creates it.
    pub fn compose(project: &str, service: &str, number: u32) -> Self {
        Self::plain(&format!("{project}-{service}-{number}"))
            .compose_labels(project, service, number, "False", "2.26.1")
            .label("com.docker.compose.image", "sha256:5e1b6dbd7c5dfd6a1d8e2b8d9a5a6c4c")
            .label("com.docker.compose.depends_on", "")
    }

    /// The same as [`compose`](Self::compose), as Compose v1 (`docker-compose`) creates it.
    pub fn compose_v1(project: &str, service: &str, number: u32) -> Self {
        Self::plain(&format!("{project}_{service}_{number}"))
            .compose_labels(project, service, number, "False", "1.29.2")
    }

    /// A container as `docker compose run` creates it.
    pub fn one_off(project: &str, service: &str) -> Self {
        Self::plain(&format!("{project}-{service}-run-{:012x}", fastrand::u64(..1 << 48)))
            .compose_labels(project, service, 1, "True", "2.26.1")
    }

    fn compose_labels(self, project: &str, service: &str, number: u32, one_off: &str, version: &str) -> Self {
        self.label("com.docker.compose.project", project)
            .label("com.docker.compose.service", service)
            .label("com.docker.compose.container-number", &number.to_string())
            .label("com.docker.compose.oneoff", one_off)
            .label("com.docker.compose.config-hash", "0b6f6a3d")
            .label("com.docker.compose.version", version)
    }

    /// Sets a label.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Puts it on a network with this address; a second call adds the address of the other family.
    pub fn network(mut self, name: &str, ip: impl Into<IpAddr>) -> Self {
        self.networks.entry(name.to_owned()).or_default().set(ip.into());
        self
    }

    /// Exposes a TCP port.
    pub fn expose(mut self, port: u16) -> Self {
        self.exposed.push(format!("{port}/tcp"));
        self
    }

    /// Exposes a UDP port.
    pub fn expose_udp(mut self, port: u16) -> Self {
        self.exposed.push(format!("{port}/udp"));
        self
    }

    /// Sets the signal that asks it to stop, by name: `SIGQUIT`. Without it: SIGTERM.
    pub fn stop_signal(mut self, name: &str) -> Self {
        self.stop_signal = Some(name.to_owned());
        self
    }

    /// Gives it a HEALTHCHECK, so that it is `starting` until its health is set.
    pub fn healthcheck(mut self) -> Self {
        self.has_healthcheck = true;
        self
    }

    /// Names the image it is created from.
    pub fn image(mut self, image: &str) -> Self {
        self.image = image.to_owned();
        self
    }

    pub(super) fn stop_signal_number(&self) -> u8 {
        match self.stop_signal.as_deref() {
            None | Some("SIGTERM") => 15,
            Some("SIGHUP") => 1,
            Some("SIGINT") => 2,
            Some("SIGQUIT") => 3,
            Some("SIGKILL") => 9,
            Some("SIGUSR1") => 10,
            Some("SIGUSR2") => 12,
            Some(other) => panic!("the fake engine does not know the signal {other}"),
        }
    }
}

/// Where a container is in its life, in the engine's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Created,
    Running,
    Paused,
    Exited { code: u8 },
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Exited { .. } => "exited",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) id: ContainerId,
    pub(super) spec: ContainerSpec,
    pub(super) status: Status,
    /// How often it was started.
    runs: u32,
    /// `None` without a HEALTHCHECK.
    health: Option<Health>,
}

#[derive(Clone, Debug)]
struct Health {
    /// `starting`, `healthy` or `unhealthy`.
    status: String,
    failing_streak: u32,
    /// How the newest run of the HEALTHCHECK ended; `None` before the first.
    exit_code: Option<u8>,
}

impl Container {
    pub(super) fn new(spec: ContainerSpec) -> Self {
        Self { id: ContainerId::random(), spec, status: Status::Created, runs: 0, health: None }
    }

    pub(super) fn start(&mut self) {
        self.status = Status::Running;
        self.runs += 1;
        self.spec.networks.values_mut().for_each(Addresses::join);
        let health = || Health { status: "starting".to_owned(), failing_streak: 0, exit_code: None };
        self.health = self.spec.has_healthcheck.then(health);
    }

    pub(super) fn set_health(&mut self, status: &str) {
        assert!(self.health.is_some(), "{} has no HEALTHCHECK, or does not run", self.spec.name);
        let (failing_streak, exit_code) = if status == "unhealthy" { (3, Some(1)) } else { (0, Some(0)) };
        self.health = Some(Health { status: status.to_owned(), failing_streak, exit_code });
    }

    /// Engines call a paused container unhealthy, without an event and without a failure, and go on doing so after
    /// `unpause` until its HEALTHCHECK has run again.
    pub(super) fn pause(&mut self) {
        self.status = Status::Paused;
        if let Some(health) = &mut self.health {
            health.status = "unhealthy".to_owned();
            health.failing_streak = 0;
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.status, Status::Running | Status::Paused)
    }

    pub(super) fn answers_to(&self, name: &str) -> bool {
        self.spec.name == name.trim_start_matches('/') || (name.len() >= 12 && self.id.0.starts_with(name))
    }

    pub(super) fn has_label(&self, wanted: &str) -> bool {
        match wanted.split_once('=') {
            Some((key, value)) => self.spec.labels.get(key).is_some_and(|v| v == value),
            None => self.spec.labels.contains_key(wanted),
        }
    }

    /// The attributes of its events: its labels, image and name.
    pub(super) fn attributes(&self) -> Map<String, Value> {
        let labels = self.spec.labels.iter().map(|(k, v)| (k.clone(), json!(v)));
        let own = [("image".to_owned(), json!(self.spec.image)), ("name".to_owned(), json!(self.spec.name))];
        labels.chain(own).collect()
    }

    pub(super) fn image(&self) -> &str {
        &self.spec.image
    }

    /// The element of `GET /containers/json`.
    pub(super) fn summary(&self, networks: &Networks) -> Value {
        json!({
            "Id": self.id.0,
            "Names": [format!("/{}", self.spec.name)],
            "Image": self.spec.image,
            "ImageID": "sha256:389e837dfb575d30bd3aeb368925ae3f4a728e60e50d88eb12c0bd5a764dbfdb",
            "Command": "/replica",
            "Created": 1_795_458_953,
            "Ports": self.summary_ports(),
            "Labels": self.spec.labels,
            "State": self.status.as_str(),
            "Status": self.status_text(),
            "HostConfig": { "NetworkMode": self.network_mode() },
            "NetworkSettings": { "Networks": self.endpoints(networks) },
            "Mounts": [],
        })
    }

    /// The answer of `GET /containers/{id}/json`.
    pub(super) fn inspect(&self, networks: &Networks) -> Value {
        let exposed: Map<_, _> = self.spec.exposed.iter().map(|port| (port.clone(), json!({}))).collect();
        let mut config = json!({
            "Hostname": &self.id.0[..12],
            "Domainname": "",
            "User": "",
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": null,
            "Image": self.spec.image,
            "WorkingDir": "/",
            "Entrypoint": ["/replica"],
            "Labels": self.spec.labels,
        });
        if !exposed.is_empty() {
            config["ExposedPorts"] = Value::Object(exposed);
        }
        if let Some(signal) = &self.spec.stop_signal {
            config["StopSignal"] = json!(signal);
        }
        if self.spec.has_healthcheck {
            config["Healthcheck"] = json!({ "Test": ["CMD", "/replica", "health"], "Interval": 1_000_000_000 });
        }
        json!({
            "Id": self.id.0,
            "Created": "2026-11-23T18:35:53.190628501Z",
            "Path": "/replica",
            "Args": [],
            "State": self.inspect_state(),
            "Image": "sha256:389e837dfb575d30bd3aeb368925ae3f4a728e60e50d88eb12c0bd5a764dbfdb",
            "Name": format!("/{}", self.spec.name),
            "RestartCount": 0,
            "Platform": "linux",
            "HostConfig": {
                "NetworkMode": self.network_mode(),
                "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 },
            },
            "Mounts": [],
            "Config": config,
            "NetworkSettings": { "Networks": self.endpoints(networks) },
        })
    }

    fn inspect_state(&self) -> Value {
        let code = if let Status::Exited { code } = self.status { code } else { 0 };
        let mut state = json!({
            "Status": self.status.as_str(),
            // A paused container counts as running here too.
            "Running": self.is_up(),
            "Paused": self.status == Status::Paused,
            "Restarting": false,
            "OOMKilled": false,
            "Dead": false,
            "Pid": if self.is_up() { 12243 } else { 0 },
            "ExitCode": code,
            "Error": "",
            "StartedAt": format!("2026-11-23T18:35:53.{:09}Z", self.runs),
            "FinishedAt": "0001-01-01T00:00:00Z",
        });
        if let Some(health) = &self.health {
            let run = |code: u8| {
                json!({
                    "Start": "2026-11-23T18:35:54.589441208Z", "End": "2026-11-23T18:35:54.64126969Z",
                    "ExitCode": code, "Output": "",
                })
            };
            let log: Vec<_> = health.exit_code.into_iter().map(run).collect();
            state["Health"] = json!({ "Status": health.status, "FailingStreak": health.failing_streak, "Log": log });
        }
        state
    }

    fn status_text(&self) -> String {
        let health = self.health.as_ref().map(|health| health.status.as_str());
        match (self.status, health) {
            (Status::Created, _) => "Created".to_owned(),
            (Status::Exited { code }, _) => format!("Exited ({code}) Less than a second ago"),
            (Status::Paused, _) => "Up 2 seconds (Paused)".to_owned(),
            (Status::Running, None) => "Up 2 seconds".to_owned(),
            (Status::Running, Some("starting")) => "Up 2 seconds (health: starting)".to_owned(),
            (Status::Running, Some(health)) => format!("Up 2 seconds ({health})"),
        }
    }

    fn network_mode(&self) -> &str {
        self.spec.networks.keys().next().map_or("default", String::as_str)
    }

    fn summary_ports(&self) -> Vec<Value> {
        let ports = self.spec.exposed.iter().filter(|_| self.is_up());
        ports
            .filter_map(|port| port.split_once('/'))
            .map(|(number, kind)| json!({ "PrivatePort": number.parse::<u16>().unwrap_or(0), "Type": kind }))
            .collect()
    }

    /// A container that does not run keeps its networks and has no address on them.
    fn endpoints(&self, networks: &Networks) -> Map<String, Value> {
        let text = |ip: Option<IpAddr>| ip.filter(|_| self.is_up()).map_or(String::new(), |ip| ip.to_string());
        let endpoint = |(name, ip): (&String, &Addresses)| {
            let endpoint = json!({
                "IPAMConfig": null,
                "Links": null,
                "Aliases": null,
                "NetworkID": networks.get(name),
                "EndpointID": if self.is_up() { ip.endpoint_id.as_str() } else { "" },
                "Gateway": "",
                "IPAddress": text(ip.v4),
                "IPPrefixLen": if self.is_up() && ip.v4.is_some() { 16 } else { 0 },
                "IPv6Gateway": "",
                "GlobalIPv6Address": text(ip.v6),
                "GlobalIPv6PrefixLen": if self.is_up() && ip.v6.is_some() { 64 } else { 0 },
                "MacAddress": if self.is_up() { "02:42:ac:12:00:02" } else { "" },
                "DriverOpts": null,
            });
            (name.clone(), endpoint)
        };
        self.spec.networks.iter().map(endpoint).collect()
    }
}

/// Every network's id by its name.
pub(super) type Networks = BTreeMap<String, String>;
