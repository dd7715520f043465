//! The environment: `EVENKEEL_LISTEN` is `--listen`, and so on. An empty variable counts as unset, because
//! Compose's `${NAME:-}` makes such ones.

use super::error::{Error, closest};
use super::keys::{CONFIG, KEYS};
use super::{Given, Layer};

/// What every variable of ours begins with.
pub const PREFIX: &str = "EVENKEEL_";
/// The Docker CLI's own variable.
pub(super) const DOCKER_HOST: &str = "DOCKER_HOST";
/// Its variables for TLS: whether to use it, and the directory of the certificates.
const DOCKER_TLS_VERIFY: &str = "DOCKER_TLS_VERIFY";
const DOCKER_CERT_PATH: &str = "DOCKER_CERT_PATH";
/// All of them.
pub(super) const AMBIENT: [&str; 3] = [DOCKER_HOST, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH];

/// What the environment says.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    /// The variables of ours.
    pub(super) own: Layer,
    /// `DOCKER_HOST` and what goes with it, which counts only where nothing of ours speaks, the file included.
    pub(super) ambient: Layer,
    /// Variables that begin like ours, but are none.
    pub(super) errors: Vec<Error>,
}

/// The variables of this process; bytes that are not UTF-8 become `�`.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn process() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value)))
}

fn lossy(text: std::ffi::OsString) -> String {
    text.to_string_lossy().into_owned()
}

/// Sorts the variables into keys.
pub(super) fn read(variables: impl IntoIterator<Item = (String, String)>) -> Environment {
    let known: Vec<_> = KEYS.iter().chain([&CONFIG]).map(|key| (key.variable(), key.name)).collect();
    let mut environment = Environment::default();
    let (mut tls, mut certificates, mut home) = (false, None, None);
    for (variable, text) in variables {
        let given = Given { place: variable.clone(), texts: vec![text.clone()] };
        if variable == DOCKER_HOST && !text.is_empty() {
            environment.ambient.insert("docker-host", given);
        } else if variable == DOCKER_TLS_VERIFY {
            tls = !text.is_empty();
        } else if variable == DOCKER_CERT_PATH && !text.is_empty() {
            certificates = Some(given);
        } else if variable == "HOME" {
            home = Some(Given { place: DOCKER_TLS_VERIFY.to_owned(), texts: vec![format!("{text}/.docker")] });
        } else if let Some((_, name)) = known.iter().find(|(own, _)| *own == variable) {
            if !text.is_empty() {
                environment.own.insert(name, given);
            }
        } else if let Some(rest) = variable.strip_prefix(PREFIX) {
            let rest = rest.to_lowercase().replace('_', "-");
            let meant = closest(&rest, known.iter().map(|(_, name)| *name));
            let suggestion = known.iter().find(|(_, name)| Some(*name) == meant).map(|(own, _)| own.clone());
            environment.errors.push(Error::Unknown { place: variable, suggestion });
        }
    }
    if let Some(given) = certificates.or(home).filter(|_| tls && environment.ambient.contains_key("docker-host")) {
        environment.ambient.insert("docker-cert-path", given);
    }
    // The system gives the variables in no order; people get theirs in one.
    environment.errors.sort_by_key(ToString::to_string);
    environment
}
