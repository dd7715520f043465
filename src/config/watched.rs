//! What each provider would watch, in a line for people: `evenkeel check` ends with these.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use super::settings::{DnsSettings, DockerSettings, PeerSettings, Settings, SwarmSettings};

/// Where an engine is: `tcp://10.1.1.2:2376 with the certificates in /etc/vm-2`
fn engine(host: &str, cert_path: Option<&Path>) -> String {
    let certificates = cert_path.map(|path| format!(" with the certificates in {}", path.display()));
    format!("{host}{}", certificates.unwrap_or_default())
}

impl DockerSettings {
    /// `docker:vm-2 at tcp://10.1.1.2:2375: …`
    fn watched(&self) -> String {
        let project =
            self.project.as_deref().map_or("evenkeel's own project".to_owned(), |name| format!("project {name}"));
        let dialled = match &self.published_at {
            Some(host) => format!("dialled at the ports published on {host}, unless evenkeel runs there"),
            None => "dialled at their own addresses".to_owned(),
        };
        format!(
            "{} at {}: container events; service {} of {project} and what is labelled evenkeel.enable=true, {dialled}",
            self.provider,
            engine(&self.host, self.cert_path.as_deref()),
            self.service
        )
    }
}

impl SwarmSettings {
    /// `swarm at unix:///var/run/docker.sock: …`
    fn watched(&self) -> String {
        let stack = self.project.as_deref().map_or("evenkeel's own stack".to_owned(), |name| format!("stack {name}"));
        let managers: Vec<_> = self.hosts.iter().map(|one| engine(&one.host, one.cert_path.as_deref())).collect();
        format!(
            "{} at {}: tasks on all nodes; service {} of {stack} and what is labelled evenkeel.enable=true, dialled at their own addresses",
            self.provider,
            managers.join(", or "),
            self.service
        )
    }
}

impl DnsSettings {
    /// `dns:gateway.internal: …`
    fn watched(&self) -> String {
        let services: Vec<_> = self.targets.iter().map(|target| target.service.as_str()).collect();
        format!("{}: looked up whenever its answer expires; addresses of {}", self.provider, services.join(", "))
    }
}

impl PeerSettings {
    /// `peer:10.0.0.5:9900: …`
    fn watched(&self) -> impl Iterator<Item = String> {
        let shown = if self.token.is_some() { "with our token" } else { "without a token" };
        self.hosts.iter().map(move |host| {
            let who = if host.host.parse::<IpAddr>().is_ok() { "it" } else { "each address of that name, looked up every 5 s," };
            format!("peer:{host}: {who} is asked for GET /api/v1/watch, {shown}; what it has ready of each service, dialled where it says")
        })
    }
}

/// A line for each provider.
pub(super) fn lines(settings: &Settings) -> Vec<String> {
    let mut of_service = BTreeMap::<_, usize>::new();
    for replica in &settings.statics {
        *of_service.entry(&replica.service).or_default() += 1;
    }
    let statics =
        of_service.iter().map(|(service, count)| format!("{count} of {service}")).collect::<Vec<_>>().join(", ");
    let statics = (!statics.is_empty()).then(|| format!("static: {statics}"));
    let docker = settings.docker.iter().map(DockerSettings::watched);
    let docker = docker.chain(settings.swarm.iter().map(SwarmSettings::watched));
    let dns = settings.dns.iter().map(DnsSettings::watched);
    docker.chain(dns).chain(settings.peers.watched()).chain(statics).collect()
}
