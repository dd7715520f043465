//! Configuration: flags > environment `EVENKEEL_*` > file > default. The only room that reads the environment.
//!
//! Two stages. What was typed: `flags`, `env` and `file` each turn their source into texts by key.
//! What it means: `resolve` takes the winning text of every key through the one table in `keys`, which knows
//! how to parse it and where it goes, and collects every error before anything is started.

mod docker_host;
mod draft;
pub mod env;
pub mod error;
mod file;
pub mod flags;
pub mod key;
pub mod keys;
mod parse;
pub mod reload;
pub mod resolve;
pub mod settings;
pub mod systemd;
#[cfg(test)]
mod tests;
mod token;
mod watched;

use std::collections::BTreeMap;

pub use error::{Error, Errors};
pub use file::{Content, content};
pub use flags::{AdminFlags, Flags, KeeperFlags};
pub use reload::{Reloaded, Running};
pub use resolve::{Resolved, Sources};

/// What one source says, by the name of the key.
type Layer = BTreeMap<&'static str, Given>;

/// What one source says about one key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Given {
    /// Where it stands, as people find it: `--listen`, `EVENKEEL_LISTEN`, `evenkeel.toml: listen`.
    place: String,
    /// The texts: one, or for a list any number.
    texts: Vec<String>,
}
