//! Containers of the run: started as Compose would, found by the run's label, and gone with it.
#![expect(clippy::indexing_slicing, reason = "what is not in a JSON value is null")]

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use integration_tests::Result;
use integration_tests::client;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::engine::{self, encoded};

/// All that a run makes has it; its value is the run's process id.
const LABEL: &str = "evenkeel.chaos.run";
/// Where a replica listens.
pub(crate) const PORT: u16 = 3001;
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

/// What to start.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) image: String,
    /// Compose's service and container number.
    pub(crate) service: String,
    pub(crate) number: u32,
    pub(crate) env: Vec<String>,
    /// `/on/the/host:/in/the/container`
    pub(crate) binds: Vec<String>,
    pub(crate) labels: Vec<(&'static str, String)>,
    /// Names on the network; Docker's DNS has the addresses of all that share one.
    pub(crate) aliases: Vec<String>,
    pub(crate) user: &'static str,
}

/// A container that runs, as far as it was when it was looked at.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) id: String,
    /// `gateway-3`, as evenkeel calls it.
    pub(crate) name: String,
    pub(crate) number: u32,
    pub(crate) addr: Ipv4Addr,
    pub(crate) pid: u32,
}

/// The network and the name of a run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) name: String,
}

impl Run {
    /// Makes the network, after what runs left behind that were killed before they could clean up.
    pub(crate) async fn begin() -> Result<Self> {
        for leftover in leftovers().await? {
            // Engines lose count of a network's endpoints after enough churn, and keep it until they are restarted.
            if let Err(error) = remove_run(&leftover).await {
                eprintln!("what run {leftover} left behind stays: {error}");
            }
        }
        let pid = std::process::id().to_string();
        let name = format!("evenkeel-chaos-{pid}");
        engine::create("/networks/create", json!({ "Name": name, "Labels": { LABEL: pid } })).await?;
        Ok(Self { name })
    }

    /// Removes everything. It takes the engine a moment to let go of a network.
    pub(crate) async fn end() -> Result<()> {
        let run = std::process::id().to_string();
        let mut outcome = remove_run(&run).await;
        for _ in 0..5 {
            if outcome.is_ok() {
                break;
            }
            sleep(Duration::from_millis(500)).await;
            outcome = remove_run(&run).await;
        }
        outcome
    }

    /// Creates and starts a container.
    pub(crate) async fn start(&self, spec: &Spec) -> Result<Container> {
        let name = format!("{}-{}-{}", self.name, spec.service, spec.number);
        let mut labels = json!({
            LABEL: std::process::id().to_string(),
            "com.docker.compose.project": self.name,
            "com.docker.compose.service": spec.service,
            "com.docker.compose.container-number": spec.number.to_string(),
            "com.docker.compose.oneoff": "False",
        });
        for (label, value) in &spec.labels {
            labels[*label] = json!(value);
        }
        let network = &self.name;
        let created = engine::create(
            &format!("/containers/create?name={name}"),
            json!({
                "Image": spec.image,
                "Env": spec.env,
                "Labels": labels,
                "User": spec.user,
                // An exec a second for each replica would be most of what two cores do.
                "Healthcheck": { "Test": ["NONE"] },
                "HostConfig": {
                    "Binds": spec.binds,
                    "NetworkMode": network,
                    "ReadonlyRootfs": true,
                    "CapDrop": ["ALL"],
                    "SecurityOpt": ["no-new-privileges:true"],
                },
                "NetworkingConfig": { "EndpointsConfig": { network.as_str(): { "Aliases": spec.aliases } } },
            }),
        )
        .await?;
        let id = created["Id"].as_str().ok_or("a container without an id")?.to_owned();
        engine::act(&format!("/containers/{id}/start")).await?;
        self.look(&id).await
    }

    /// A container as it is now; it may have another address after a restart.
    pub(crate) async fn look(&self, id: &str) -> Result<Container> {
        let found = engine::get(&format!("/containers/{id}/json")).await?;
        let label = |name: &str| found["Config"]["Labels"][format!("com.docker.compose.{name}")].as_str();
        let (service, number) = (label("service").unwrap_or("?"), label("container-number").unwrap_or("0"));
        let addr = found["NetworkSettings"]["Networks"][self.name.as_str()]["IPAddress"].as_str();
        Ok(Container {
            id: id.to_owned(),
            name: format!("{service}-{number}"),
            number: number.parse()?,
            addr: addr.and_then(|addr| addr.parse().ok()).unwrap_or(Ipv4Addr::UNSPECIFIED),
            pid: found["State"]["Pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default(),
        })
    }
}

impl Container {
    /// What the container calls itself.
    pub(crate) fn hostname(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    /// An action of the engine's: `start`, `pause`, `kill?signal=STOP`.
    pub(crate) async fn act(&self, action: &str) -> Result<()> {
        engine::act(&format!("/containers/{}/{action}", self.id)).await
    }

    pub(crate) async fn remove(&self) -> Result<()> {
        engine::remove(&format!("/containers/{}?force=true&v=true", self.id)).await
    }

    /// All that it printed.
    pub(crate) fn log(&self) -> Result<String> {
        let output = std::process::Command::new("docker").args(["logs", &self.id]).output()?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() { Ok(text) } else { Err(format!("docker logs: {text}").into()) }
    }

    /// Waits until a replica says that it is ready.
    pub(crate) async fn until_ready(&self) -> Result<()> {
        let addr = (self.addr, PORT).into();
        until(&format!("{} is ready", self.name), async || {
            let asked = timeout(Duration::from_millis(500), client::get(addr, "/ready")).await;
            asked.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status == 200))
        })
        .await
    }
}

/// Polls until it holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        if Instant::now() > deadline {
            return Err(format!("not within {PATIENCE:?}: {what}").into());
        }
        sleep(POLL).await;
    }
    Ok(())
}

/// Runs whose process is no more.
async fn leftovers() -> Result<Vec<String>> {
    let filter = encoded(&json!({ "label": [LABEL] }).to_string());
    let containers = engine::get(&format!("/containers/json?all=true&filters={filter}")).await?;
    let networks = engine::get(&format!("/networks?filters={filter}")).await?;
    let listed = [containers, networks].into_iter().filter_map(|list| list.as_array().cloned()).flatten();
    let mut runs: Vec<_> = listed.filter_map(|item| item["Labels"][LABEL].as_str().map(str::to_owned)).collect();
    runs.sort();
    runs.dedup();
    runs.retain(|pid| !Path::new("/proc").join(pid).exists());
    Ok(runs)
}

async fn remove_run(pid: &str) -> Result<()> {
    let filter = encoded(&json!({ "label": [format!("{LABEL}={pid}")] }).to_string());
    let ids = |list: Value| -> Vec<String> {
        let items = list.as_array().cloned().unwrap_or_default();
        items.iter().filter_map(|item| item["Id"].as_str().map(str::to_owned)).collect()
    };
    for id in ids(engine::get(&format!("/containers/json?all=true&filters={filter}")).await?) {
        engine::remove(&format!("/containers/{id}?force=true&v=true")).await?;
    }
    for id in ids(engine::get(&format!("/networks?filters={filter}")).await?) {
        engine::remove(&format!("/networks/{id}")).await?;
    }
    Ok(())
}
