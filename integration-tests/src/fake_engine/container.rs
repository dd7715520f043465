//! A container of the fake engine, and how the engine's API shows it (the shapes are those of a 20.10 engine).

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde_json::{Map, Value, json};

use super::spec::{Addresses, ContainerSpec};

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
            "NetworkSettings": { "Ports": self.port_map(), "Networks": self.endpoints(networks) },
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

    fn network_mode(&self) -> String {
        match &self.spec.placed_in {
            Some(other) => format!("container:{}", other.0),
            None => self.spec.networks.keys().next().map_or("default", String::as_str).to_owned(),
        }
    }

    fn summary_ports(&self) -> Vec<Value> {
        let published = |(at, port): &(SocketAddr, u16)| json!({ "IP": at.ip(), "PrivatePort": port, "PublicPort": at.port(), "Type": "tcp" });
        let is_published =
            |port: &&String| self.spec.published.iter().any(|(_, private)| **port == format!("{private}/tcp"));
        let ports = self.spec.exposed.iter().filter(|port| !is_published(port));
        let exposed = ports
            .filter_map(|port| port.split_once('/'))
            .map(|(number, kind)| json!({ "PrivatePort": number.parse::<u16>().unwrap_or(0), "Type": kind }));
        exposed.chain(self.spec.published.iter().map(published)).filter(|_| self.is_up()).collect()
    }

    fn port_map(&self) -> Map<String, Value> {
        let mut map: Map<_, _> = self.spec.exposed.iter().map(|port| (port.clone(), Value::Null)).collect();
        for (at, port) in &self.spec.published {
            let bindings = map.entry(format!("{port}/tcp")).or_insert(Value::Null);
            let binding = json!({ "HostIp": at.ip(), "HostPort": at.port().to_string() });
            match bindings.as_array_mut() {
                Some(bindings) => bindings.push(binding),
                None => *bindings = json!([binding]),
            }
        }
        map.into_iter().filter(|_| self.is_up()).collect()
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
