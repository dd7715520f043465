//! One Compose project: up for a scenario, gone after it, whatever happened.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use integration_tests::eventually;

use super::docker::{Events, docker, run};
use super::{Admin, PATIENCE};

/// Which Compose.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tool {
    /// `docker-compose`, in Python.
    V1,
    /// `docker compose`, the plugin.
    V2,
}

pub(crate) struct Project {
    name: String,
    tool: Tool,
    files: Vec<PathBuf>,
    /// The service that publishes evenkeel's ports.
    front: &'static str,
    env: Vec<(&'static str, String)>,
}

impl Project {
    /// A project for the scenario, with the scenario's own Compose file on top if there is one. Nothing runs yet.
    pub(crate) fn new(scenario: &str, tool: Tool) -> Self {
        remove_leftovers();
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let own = tests.join("scenarios").join(scenario).join("compose.yml");
        let mut files = vec![tests.parent().unwrap().join("compose.yml")];
        files.extend(own.exists().then_some(own));
        let name = format!("evenkeel-{scenario}-{tool:?}-{}", std::process::id()).to_lowercase();
        // Any free port: scenarios must not mind what else runs here.
        let env = ["EVENKEEL_PORT", "EVENKEEL_ADMIN_PORT"].map(|port| (port, "0".to_owned()));
        Self { name, tool, files, front: "evenkeel", env: env.into() }
    }

    /// A project of one of the examples, whose ports the service `front` publishes. Nothing runs yet.
    pub(crate) fn of_example(example: &str, front: &'static str, tool: Tool) -> Self {
        let mut project = Self::new(example, tool);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        project.files = vec![root.join("deploy/examples").join(example).join("compose.yml")];
        project.front = front;
        project
    }

    /// The same with a variable of the Compose file set.
    pub(crate) fn with(mut self, variable: &'static str, value: impl Into<String>) -> Self {
        self.env.push((variable, value.into()));
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Starts evenkeel and so many gateways, and waits until evenkeel has them all.
    pub(crate) async fn up(&self, replicas: usize) -> Admin {
        self.scale(replicas);
        let admin = Admin::new(self.published(self.front, 9900));
        admin.until_ready(replicas).await;
        eventually(PATIENCE, "evenkeel says it is ready", async || admin.is_ready().await).await;
        admin
    }

    /// Sets the number of gateways; returns when Compose does.
    pub(crate) fn scale(&self, replicas: usize) {
        self.compose(&["up", "-d", "--scale", &format!("gateway={replicas}")]);
    }

    /// Compose, on this project.
    pub(crate) fn compose(&self, args: &[&str]) -> String {
        run(self.command().args(args))
    }

    fn command(&self) -> Command {
        let mut command = match self.tool {
            Tool::V1 => Command::new("docker-compose"),
            Tool::V2 => Command::new("docker"),
        };
        if matches!(self.tool, Tool::V2) {
            command.arg("compose");
        }
        command.args(["-p", &self.name]);
        for file in &self.files {
            command.arg("-f").arg(file);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Where clients find evenkeel.
    pub(crate) fn proxy(&self) -> SocketAddr {
        self.published(self.front, 3001)
    }

    /// Where a port of a service's first container is published on this machine.
    fn published(&self, service: &str, port: u16) -> SocketAddr {
        let published = docker(&["port", &self.container(service, 1), &format!("{port}/tcp")]);
        let port = published.lines().next().and_then(|line| line.rsplit_once(':')?.1.parse::<u16>().ok());
        (std::net::Ipv4Addr::LOCALHOST, port.unwrap_or_else(|| panic!("not published: {published:?}"))).into()
    }

    /// The id of a service's container.
    pub(crate) fn container(&self, service: &str, number: u32) -> String {
        let label = |name: &str, value: &str| format!("label=com.docker.compose.{name}={value}");
        let (project, service) = (label("project", &self.name), label("service", service));
        let (number, one_off) = (label("container-number", &number.to_string()), label("oneoff", "False"));
        let filters = ["--filter", &project, "--filter", &service, "--filter", &number, "--filter", &one_off];
        let id = docker(&[&["ps", "--all", "--quiet", "--no-trunc"], filters.as_slice()].concat());
        assert!(!id.is_empty() && !id.contains('\n'), "containers of {service} {number}: {id:?}");
        id
    }

    /// Follows the events of its containers, from now on.
    pub(crate) fn events(&self, action: &str) -> Events {
        Events::follow(&self.name, action)
    }
}

/// Removes the projects of scenarios that were killed before they could: their process is no more.
fn remove_leftovers() {
    let label = "com.docker.compose.project";
    for (list, remove) in
        [(["ps", "--all"].as_slice(), ["rm", "--force", "-v"].as_slice()), (&["network", "ls"], &["network", "rm"])]
    {
        let format = format!("{{{{.ID}}}} {{{{.Label \"{label}\"}}}}");
        let filter = format!("label={label}");
        for line in docker(&[list, &["--filter", &filter, "--format", &format]].concat()).lines() {
            let Some((id, project)) = line.split_once(' ') else { continue };
            let pid = project.strip_prefix("evenkeel-").and_then(|rest| rest.rsplit_once('-')?.1.parse::<u32>().ok());
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
                docker(&[remove, &[id]].concat());
            }
        }
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if thread::panicking() {
            let logs = self.command().args(["logs", "--no-color", "--tail=300", "evenkeel"]).output();
            let logs = logs.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            eprintln!("--- evenkeel's log\n{}", logs.unwrap_or_else(|error| error.to_string()));
        }
        let down = self.command().args(["down", "-v", "--remove-orphans", "-t", "1"]).output();
        // A panic here, during another one, would hide the first.
        if !down.as_ref().is_ok_and(|output| output.status.success()) {
            eprintln!("{} is left behind: {down:?}", self.name);
        }
    }
}
