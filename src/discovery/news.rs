//! The news: what one evenkeel tells others of its own replicas, as lines of JSON.
//!
//! The first line says everything. Each one after it says only what has changed, and is merged into what was said before;
//! one that says nothing is a heartbeat. What a reader does not know it ignores, so that newer ones can say more.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The path of the news in the admin room.
pub const PATH: &str = "/api/v1/watch";

/// The version of the format. A reader that knows this one can read every later one that says it, too.
pub const VERSION: u32 = 1;

/// The time from one line to the next at most: a heartbeat where there is no news.
pub const HEARTBEAT: std::time::Duration = std::time::Duration::from_millis(500);

/// What of one service takes requests on a host, replicas that peers run aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Share {
    /// Replicas that are ready.
    pub ready: u32,
    /// The sum of their weights.
    pub weight: u32,
    /// The sum of the weights of those that would take requests although none is ready; 0 while one is.
    pub last_resort: u32,
}

/// One line, or all lines so far merged into one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct News {
    /// The version of the format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// What tells this process from every other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What people call the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where to dial its traffic port; without it, where the news comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Its traffic port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whether it shuts down, and so takes no new requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draining: Option<bool>,
    /// Its services.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, Share>,
}

impl News {
    /// What this says that `told` did not: the next line.
    pub fn since(&self, told: &Self) -> Self {
        fn new<T: Clone + PartialEq>(now: &Option<T>, told: &Option<T>) -> Option<T> {
            if now == told { None } else { now.clone() }
        }
        let is_new = |(name, share): &(&String, &Share)| told.services.get(*name) != Some(*share);
        let gone = told.services.keys().filter(|name| !self.services.contains_key(*name));
        let gone = gone.filter(|name| told.services.get(*name) != Some(&Share::default()));
        Self {
            version: new(&self.version, &told.version),
            id: new(&self.id, &told.id),
            name: new(&self.name, &told.name),
            address: new(&self.address, &told.address),
            port: new(&self.port, &told.port),
            draining: new(&self.draining, &told.draining),
            services: self
                .services
                .iter()
                .filter(is_new)
                .map(|(name, share)| (name.clone(), *share))
                .chain(gone.map(|name| (name.clone(), Share::default())))
                .collect(),
        }
    }

    /// Takes in the next line; whether that changed anything.
    pub fn merge(&mut self, line: Self) -> bool {
        fn take<T: PartialEq>(place: &mut Option<T>, said: Option<T>) -> bool {
            let is_new = said.is_some() && *place != said;
            if is_new {
                *place = said;
            }
            is_new
        }
        let mut has_changed = take(&mut self.version, line.version);
        has_changed |= take(&mut self.id, line.id);
        has_changed |= take(&mut self.name, line.name);
        has_changed |= take(&mut self.address, line.address);
        has_changed |= take(&mut self.port, line.port);
        has_changed |= take(&mut self.draining, line.draining);
        for (name, share) in line.services {
            has_changed |= self.services.insert(name, share) != Some(share);
        }
        has_changed
    }

    /// The line, with its end.
    pub fn to_line(&self) -> String {
        // It cannot fail: there is nothing in it that JSON has no word for.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(ready: u32) -> Share {
        Share { ready, weight: ready, last_resort: 0 }
    }

    fn news(services: &[(&str, u32)]) -> News {
        News {
            version: Some(VERSION),
            id: Some("7".to_owned()),
            name: Some("vm-1".to_owned()),
            port: Some(8080),
            draining: Some(false),
            services: services.iter().map(|(name, ready)| ((*name).to_owned(), share(*ready))).collect(),
            ..News::default()
        }
    }

    #[test]
    fn the_lines_are_these_lines() {
        let first = news(&[("gateway", 2)]);
        let all = r#"{"version":1,"id":"7","name":"vm-1","port":8080,"draining":false,"services":{"gateway":{"ready":2,"weight":2,"last_resort":0}}}"#;
        assert_eq!(first.since(&News::default()).to_line(), format!("{all}\n"));
        assert_eq!(first.since(&first).to_line(), "{}\n", "a heartbeat");
        let more = News { draining: Some(true), ..news(&[("gateway", 3)]) };
        let changed = r#"{"draining":true,"services":{"gateway":{"ready":3,"weight":3,"last_resort":0}}}"#;
        assert_eq!(more.since(&first).to_line(), format!("{changed}\n"));
    }

    #[test]
    fn who_merges_every_line_knows_what_was_said() {
        let states = [
            news(&[]),
            news(&[("a", 1)]),
            news(&[("a", 2), ("b", 1)]),
            news(&[("b", 1)]),
            News { address: Some([10, 0, 0, 1].into()), port: Some(9), ..news(&[("b", 0)]) },
        ];
        let (mut told, mut heard) = (News::default(), News::default());
        for state in states {
            let line = serde_json::from_str(&state.since(&told).to_line()).unwrap();
            assert!(heard.merge(line));
            told.merge(state.since(&told));
            assert_eq!(heard, told);
            let live = |news: &News| news.services.clone().into_iter().filter(|(_, s)| s.ready > 0).collect::<Vec<_>>();
            assert_eq!((live(&heard), heard.port), (live(&state), state.port));
            assert_eq!(state.since(&told), News::default());
            assert!(!heard.merge(News::default()));
        }
    }

    #[test]
    fn what_is_not_known_is_ignored() {
        let line = r#"{"version":1,"mood":"fine","services":{"a":{"ready":1,"colour":"red"}}}"#;
        let news: News = serde_json::from_str(line).unwrap();
        assert_eq!(news.services.get("a"), Some(&Share { ready: 1, ..Share::default() }));
    }
}
