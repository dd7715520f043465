//! Settings that are read again while it runs: what of the new ones holds at once, and what waits for a restart.

use super::error::Errors;
use super::file::Content;
use super::resolve::{Line, Resolved, Sources, parse};
use super::settings::Settings;

/// The keys that hold at once when they change. Any other waits for a restart: what is bound, connected or started once
/// would be lost with what depends on it.
pub const LIVE: &[&str] = &[
    "policy",
    "retries",
    "hold",
    "hold-interval",
    "static",
    "trusted-proxies",
    "proxy-protocol",
    "health-endpoint",
    "request-header",
    "response-header",
    "dns-server",
    "dns-timeout",
    "dns-min-ttl",
    "dns-max-ttl",
    "dns-linger",
    "dns-on-empty",
    "health-path",
    "health-status",
    "health-interval",
    "health-timeout",
    "healthy-threshold",
    "unhealthy-threshold",
    "eject-on",
    "eject-failures",
    "eject-rate",
    "eject-time",
    "slow-start",
    "drain-timeout",
    "connect-timeout",
    "response-timeout",
    "first-byte-timeout",
    "head-timeout",
    "keep-alive-timeout",
    "idle-timeout",
    "tunnel-timeout",
    "max-head-bytes",
    "max-headers",
    "max-target-bytes",
    "max-body-bytes",
    "max-connections",
    "max-connections-per-client",
    "max-concurrency",
    "max-held-requests",
    "max-held-bytes",
    "lame-duck",
    "shutdown-timeout",
];

/// The settings of a running evenkeel, with what they came from, so that the file can be read again.
#[derive(Clone, Debug)]
pub struct Running {
    sources: Sources,
    resolved: Resolved,
}

/// What the file came to when it was read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// What holds from now on.
    pub settings: Settings,
    /// The keys that have another value now, in the order of the table.
    pub changed: Vec<&'static str>,
    /// The keys that will have another value after a restart.
    pub waiting: Vec<&'static str>,
}

impl Running {
    /// The settings that these sources come to.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn new(sources: Sources) -> Result<Self, Errors> {
        let resolved = sources.resolve()?;
        Ok(Self { sources, resolved })
    }

    /// What holds now.
    pub fn settings(&self) -> &Settings {
        &self.resolved.settings
    }

    /// The file that can be read again, if one is named.
    pub fn path(&self) -> Option<&str> {
        self.sources.path()
    }

    /// What was in it when it was read for the settings that hold now.
    pub fn content(&self) -> Option<&Content> {
        self.sources.content()
    }

    /// Takes on what holds at once of a file with this in it. Flags and variables go before it as they did.
    ///
    /// # Errors
    /// All that is wrong with the whole; then nothing changes.
    pub fn reload(&mut self, content: &Content) -> Result<Reloaded, Errors> {
        let mut sources = self.sources.clone();
        sources.set_content(content);
        let new = sources.resolve_without_tokens()?;
        let resolved = self.merge(&sources)?;
        let differ = |one: &Resolved, other: &Resolved| -> Vec<_> {
            let pairs = one.lines.iter().zip(&other.lines);
            pairs.filter(|(one, other)| one.texts() != other.texts()).map(|(one, _)| one.key.name).collect()
        };
        let (changed, waiting) = (differ(&self.resolved, &resolved), differ(&resolved, &new));
        *self = Self { sources, resolved };
        Ok(Reloaded { settings: self.settings().clone(), changed, waiting })
    }

    /// What holds at once as these sources say, and the rest as it is.
    fn merge(&self, sources: &Sources) -> Result<Resolved, Errors> {
        let running = |name| self.resolved.lines.iter().find(|line| line.key.name == name);
        let mut errors = Vec::new();
        let (mut draft, lines) = parse(
            |key| match LIVE.contains(&key.name) {
                true => sources.find(key.name),
                false => running(key.name).and_then(|line: &Line| line.given.as_ref()),
            },
            &mut errors,
        );
        errors.extend(sources.contradictions(&draft));
        // Files of tokens were read at the start.
        draft.admin_token = self.settings().admin_token.clone();
        draft.peers.token = self.settings().peers.token.clone();
        if errors.is_empty() { Ok(Resolved { settings: draft.finish(), lines }) } else { Err(Errors(errors)) }
    }
}

#[cfg(test)]
mod tests;
