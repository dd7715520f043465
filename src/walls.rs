//! The walls between the rooms: reads the sources and checks who imports whom.
//!
//! The table below is the one of `docs/architecture.md`. A room that needs more says so here, in review.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Every room with the paths of this crate that it may import besides its own. Every room may import
/// [`SETTINGS`].
const ROOMS: &[(&str, &[&str])] = &[
    ("service", &[]),
    ("metrics", &[]),
    ("peers", &[]),
    ("provider", &[]),
    ("replica", &["metrics", "provider", "service"]),
    ("change", &["provider", "replica", "service"]),
    ("config", NOUNS),
    ("registry", NOUNS),
    ("balancer", &["registry", "change", "provider", "replica", "service"]),
    ("discovery", &["change", "metrics", "peers", "provider", "replica", "service"]),
    ("health", &["registry", "change", "metrics", "provider", "replica", "service"]),
    ("drain", &["registry", "change", "provider", "replica", "service"]),
    ("proxy", &["balancer", "registry", "change", "metrics", "peers", "provider", "replica", "service"]),
    (
        "admin",
        &[
            "registry",
            "metrics",
            "change",
            "peers",
            "provider",
            "replica",
            "service",
            "discovery::news",
            "discovery::status",
            "discovery::verdict",
        ],
    ),
    ("port", &["proxy"]),
    ("telemetry", NOUNS),
    ("app", ALL),
    ("cli", ALL),
    ("main", ALL),
    ("lib", &[]),
];

const NOUNS: &[&str] = &["change", "metrics", "provider", "replica", "service"];
const SETTINGS: &str = "config::settings";
const ALL: &[&str] = &[
    "admin",
    "app",
    "balancer",
    "change",
    "cli",
    "config",
    "discovery",
    "drain",
    "health",
    "metrics",
    "peers",
    "port",
    "provider",
    "proxy",
    "registry",
    "replica",
    "service",
    "telemetry",
];

/// What comes from outside, and the only places (files or rooms) that may use it.
const KEPT_IN: &[(&str, &[&str])] = &[
    ("bollard", &["discovery/docker/client.rs", "discovery/docker/client/"]),
    ("dashmap", &["registry.rs"]),
    ("hickory_resolver", &["discovery/dns/resolver.rs"]),
    ("listenfd", &["config/"]),
    ("std::env", &["config/", "cli.rs", "main.rs"]),
];

/// The pure nouns, and what would make them impure.
const PURE: &[&str] = &["service.rs", "peers.rs", "provider.rs", "replica.rs", "change.rs", "metrics.rs"];
const IMPURE: &[&str] = &["tokio", "hyper", "tokio_util", "std::fs", "std::thread"];

/// Lines of a file, its tests aside.
const LONGEST_FILE: usize = 400;

/// A source file without its comments and tests.
struct Source {
    /// Relative to `src/`.
    path: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let text = match text.find("#[cfg(test)]\nmod tests {") {
            Some(tests) => text.get(..tests).unwrap_or(text),
            None => text,
        };
        let code = text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
        Self { path: path.into(), code: code.collect::<Vec<_>>().join("\n") }
    }

    /// Every source of this crate; files of tests only are left out.
    fn all() -> Vec<Self> {
        let (root, mut sources) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), Vec::new());
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                if path.is_dir() {
                    folders.push(path);
                } else if name.ends_with(".rs") && !Self::is_test(&name) {
                    sources.push(Self::new(&name, &fs::read_to_string(&path).unwrap()));
                }
            }
        }
        sources
    }

    fn is_test(path: &str) -> bool {
        path == "walls.rs" || path.split(['/', '.']).any(|part| matches!(part, "tests" | "fixtures"))
    }

    fn room(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap()
    }

    /// The paths that this file names and that begin outside its room or with another crate, `a::{b, c}` as two.
    fn paths(&self) -> BTreeSet<String> {
        let mut paths = BTreeSet::new();
        for (start, _) in self.code.match_indices("::") {
            let head = self.code.get(..start).unwrap();
            let root = head.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            let begins = !head.trim_end_matches(root).ends_with("::");
            let tail = self.code.get(start..).unwrap();
            if begins && root == "super" {
                paths.extend(tree(tail).0.into_iter().filter_map(|path| self.climb(&path)));
            } else if begins {
                // The program sees the library as another crate.
                let root = if self.path == "main.rs" && root == "evenkeel" { "crate" } else { root };
                paths.extend(tree(tail).0.into_iter().map(|path| format!("{root}{path}")));
            }
        }
        paths
    }

    /// What `super` and the path after it come to, if that is outside the room.
    fn climb(&self, path: &str) -> Option<String> {
        let depth = self.path.trim_end_matches("/mod.rs").trim_end_matches(".rs").split('/').count();
        let climbed = 1 + path.split("::").skip(1).take_while(|part| *part == "super").count();
        (climbed >= depth).then(|| format!("crate{}", path.replace("::super", "")))
    }
}

/// Reads `::a::{b, c::d}` to its end: the paths it names, and what follows it.
fn tree(text: &str) -> (Vec<String>, &str) {
    let Some(rest) = text.strip_prefix("::") else { return (vec![String::new()], text) };
    let Some(mut rest) = rest.strip_prefix('{') else {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let (below, rest) = tree(rest);
        return (below.iter().map(|path| format!("::{name}{path}")).collect(), rest);
    };
    let mut paths = Vec::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if rest.is_empty() || rest.starts_with('}') {
            return (paths, rest.get(1..).unwrap_or_default());
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        let (below, after) = tree(tail);
        paths.extend(below.iter().map(|path| format!("::{name}{path}")));
        // What may follow the path, ` as other` or `*`, is of no interest.
        rest = after.get(after.find([',', '}']).unwrap_or(after.len())..).unwrap_or_default();
    }
}

fn within(path: &str, wall: &str) -> bool {
    path.strip_prefix(wall).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Everything that is wrong with the sources, one line each.
fn violations(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut imports: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for source in sources {
        let (path, room) = (source.path.as_str(), source.room());
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{path}: {room} is not in the table of rooms"));
            continue;
        };
        for named in source.paths() {
            if let Some(inner) = named.strip_prefix("crate::") {
                let other = inner.split("::").next().unwrap_or_default();
                if other == room {
                    continue;
                }
                if !within(inner, SETTINGS) {
                    imports.entry(room).or_default().insert(other.to_owned());
                }
                if !within(inner, SETTINGS) && !allowed.iter().any(|wall| within(inner, wall)) {
                    wrong.push(format!("{path}: {room} may not import {inner}"));
                }
            }
            for (outside, places) in KEPT_IN {
                if within(&named, outside) && !places.iter().any(|place| path.starts_with(place)) {
                    wrong.push(format!("{path}: {outside} belongs in {places:?}"));
                }
            }
            if PURE.contains(&path) && IMPURE.iter().any(|impure| within(&named, impure)) {
                wrong.push(format!("{path}: a noun may not use {named}"));
            }
        }
        let lines = source.code.lines().count();
        if lines > LONGEST_FILE {
            wrong.push(format!("{path}: {lines} lines, more than {LONGEST_FILE}"));
        }
    }
    wrong.extend(cycle(&imports));
    wrong
}

/// Takes away rooms that import nothing that is left; what cannot be taken away goes round in circles.
fn cycle(imports: &BTreeMap<&str, BTreeSet<String>>) -> Option<String> {
    let mut left = imports.clone();
    loop {
        let still: BTreeSet<_> = left.keys().map(|room| (*room).to_owned()).collect();
        let before = left.len();
        left.retain(|_, others| !others.is_disjoint(&still));
        if left.is_empty() {
            return None;
        }
        if left.len() == before {
            return Some(format!("rooms import each other: {left:?}"));
        }
    }
}

#[test]
fn the_walls_stand() {
    let sources = Source::all();
    assert!(sources.len() > 10, "the sources were found");
    let wrong = violations(&sources);
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn a_breach_is_found() {
    let table = [
        ("registry.rs", "use crate::balancer::Balancer;", "registry may not import balancer::Balancer"),
        ("balancer/policy.rs", "use crate::{replica::Replica, health};", "balancer may not import health"),
        (
            "health/mod.rs",
            "use crate::{\n    registry::{\n        Registry,\n    },\n    proxy as p,\n};",
            "import proxy",
        ),
        ("health/mod.rs", "fn f() { crate::admin::show() }", "health may not import admin::show"),
        ("health/probe.rs", "use super::super::proxy::Pool;", "health may not import proxy::Pool"),
        ("registry.rs", "use super::{change::Change, app::run};", "registry may not import app::run"),
        ("admin/api.rs", "use crate::discovery::docker::Watcher;", "admin may not import discovery::docker::Watcher"),
        ("admin/api.rs", "use crate::discovery;", "admin may not import discovery"),
        ("proxy/mod.rs", "use crate::config::file::Parsed;", "proxy may not import config::file::Parsed"),
        ("kitchen.rs", "", "kitchen is not in the table"),
        ("discovery/docker/watcher.rs", "use bollard::Docker;", "bollard belongs in"),
        ("balancer.rs", "type Map = dashmap::DashMap<u8, u8>;", "dashmap belongs in"),
        ("app.rs", "use std::{env, fs};", "std::env belongs in"),
        ("telemetry.rs", "fn f() { std::env::var(\"HOME\").ok(); }", "std::env belongs in"),
        ("replica.rs", "use tokio::sync::watch;", "a noun may not use tokio::sync::watch"),
    ];
    for (path, text, message) in table {
        let wrong = violations(&[Source::new(path, text)]);
        assert!(wrong.iter().any(|line| line.contains(message)), "{path}: {text:?} gave {wrong:?}");
    }
    let long = Source::new("app.rs", &"fn f() {}\n".repeat(LONGEST_FILE + 1));
    assert_eq!(violations(&[long]), ["app.rs: 401 lines, more than 400"]);
}

#[test]
fn what_is_allowed_passes() {
    let table = [
        ("balancer/policy.rs", "use super::Tried;\nuse super::turn::{self, View};\nuse crate::registry::Replicas;"),
        ("proxy/mod.rs", "use crate::config::settings::ProxySettings;"),
        ("admin/api.rs", "use crate::discovery::status::DiscoveryStatus;\nuse crate::discovery::{verdict::Verdict};"),
        ("admin/api.rs", "//! Sees [`Balancer`](crate::balancer::Balancer).\n    // crate::app::run"),
        ("registry.rs", "use crate::change::Change;\n#[cfg(test)]\nmod tests {\n    use crate::app::run;\n}"),
        ("registry.rs", "use dashmap::DashMap;"),
        ("discovery/docker/client.rs", "use bollard::Docker;"),
        ("config/mod.rs", "fn f() { std::env::vars() }"),
        ("main.rs", "use evenkeel::{app, config};\nfn main() { std::env::args(); }"),
        ("app.rs", "const FILTER: &str = \"info,evenkeel::discovery=debug\";"),
    ];
    for (path, text) in table {
        assert_eq!(violations(&[Source::new(path, text)]), [""; 0], "{path}: {text:?}");
    }
}

#[test]
fn a_circle_is_found() {
    let imports = |edges: &[(&'static str, &str)]| {
        edges.iter().fold(BTreeMap::<_, BTreeSet<_>>::new(), |mut all, (from, to)| {
            all.entry(*from).or_default().insert((*to).to_owned());
            all
        })
    };
    assert_eq!(cycle(&imports(&[("app", "proxy"), ("proxy", "balancer"), ("app", "balancer")])), None);
    let message = cycle(&imports(&[("app", "a"), ("a", "b"), ("b", "c"), ("c", "a")])).unwrap();
    assert!(message.contains("\"a\": {\"b\"}"), "{message}");
}
