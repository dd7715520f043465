//! The balancers that evenkeel is compared with, configured as their manuals have it for replicas that are found by name
//! in Docker's DNS.

use std::fs;
use std::path::Path;

use crate::Result;

/// A balancer of Debian's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A resolver, and a variable in `proxy_pass`.
    Nginx,
    /// A `resolvers` section and a `server-template`.
    Haproxy,
    /// Dynamic A upstreams.
    Caddy,
}

/// How replicas are found.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// The name that has all their addresses.
    pub name: &'static str,
    /// As many as there are at most.
    pub replicas: usize,
    /// For how long HAProxy keeps an address that the name has no more.
    pub obsolete: &'static str,
}

impl Peer {
    /// The program and its arguments, which balances port 3001 of the service's replicas on port 8080. Its files are in
    /// `scratch`.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn program(self, scratch: &Path, service: &Service) -> Result<(&'static str, Vec<String>)> {
        let (program, template, file) = match self {
            Self::Nginx => ("nginx", include_str!("../chaos/config/nginx.conf"), "nginx.conf"),
            Self::Haproxy => ("haproxy", include_str!("../chaos/config/haproxy.cfg"), "haproxy.cfg"),
            Self::Caddy => ("caddy", include_str!("../chaos/config/Caddyfile"), "Caddyfile"),
        };
        let path = scratch.join(file);
        let text = template.replace("@SCRATCH@", &scratch.display().to_string());
        let text = text.replace("@NAME@", service.name).replace("@OBSOLETE@", service.obsolete);
        fs::write(&path, text.replace("@REPLICAS@", &service.replicas.to_string()))?;
        let path = path.display().to_string();
        let arguments: &[&str] = match self {
            Self::Nginx => &["-e", "stderr", "-c", &path],
            Self::Haproxy => &["-db", "-f", &path],
            Self::Caddy => &["run", "--adapter", "caddyfile", "--config", &path],
        };
        Ok((program, arguments.iter().map(|argument| (*argument).to_owned()).collect()))
    }
}
