//! The names in the DNS, from their texts to what is looked up.

use super::Draft;
use crate::config::parse::{self, Parsed};
use crate::config::settings::{DnsSettings, DnsTarget};
use crate::provider::{Provider, ProviderKind};

impl Draft {
    /// Adds the names of one text, and returns what is wrong with the others of it.
    pub(in crate::config) fn add_dns(&mut self, text: &str) -> Vec<String> {
        add(&mut self.dns, parse::dns(text))
    }

    /// Adds the servers of one text, and returns what is wrong with the others of it.
    pub(in crate::config) fn add_dns_servers(&mut self, text: &str) -> Vec<String> {
        add(&mut self.dns_rules.servers, text.split(',').map(|piece| parse::dns_server(piece.trim())))
    }

    /// One lookup for each question, whoever needs its answer.
    pub(super) fn dns_settings(&self) -> Vec<DnsSettings> {
        let mut all: Vec<DnsSettings> = Vec::new();
        for (service, question, port) in &self.dns {
            let service = service.clone().unwrap_or_else(|| self.proxy.service.clone());
            let target = DnsTarget { service, port: *port };
            match all.iter_mut().find(|one| one.question == *question) {
                Some(one) if one.targets.contains(&target) => {}
                Some(one) => one.targets.push(target),
                None => all.push(DnsSettings {
                    provider: Provider::named(ProviderKind::Dns, question.to_string()),
                    question: question.clone(),
                    targets: vec![target],
                    rules: self.dns_rules.clone(),
                    defaults: self.defaults.clone(),
                }),
            }
        }
        all
    }
}

/// Adds what could be parsed, and returns what is wrong with the rest.
fn add<T>(list: &mut Vec<T>, parsed: impl Iterator<Item = Parsed<T>>) -> Vec<String> {
    let (good, bad): (Vec<_>, Vec<_>) = parsed.partition(Result::is_ok);
    list.extend(good.into_iter().flatten());
    bad.into_iter().filter_map(Result::err).collect()
}
