//! Names in the DNS.

use std::net::{IpAddr, SocketAddr};

use super::{Parsed, name};
use crate::config::settings::DnsQuestion;
use crate::service::ServiceName;

const EXAMPLES: &str = "like gateway=gateway.internal:3001 or gateway=srv:_http._tcp.gateway";
/// What a name may have at most, and each part of it.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// What to ask, for which service (`None`: the one of `--service`), and the port where the answer has none.
pub(in crate::config) type DnsEntry = (Option<ServiceName>, DnsQuestion, Option<u16>);

/// `gateway=gateway.internal:3001,srv:_http._tcp.gateway`: a piece with `=` names the service of itself and of those
/// that follow.
pub(in crate::config) fn dns(text: &str) -> impl Iterator<Item = Parsed<DnsEntry>> {
    let mut service: Option<Parsed<ServiceName>> = None;
    text.split(',').map(str::trim).map(move |piece| {
        let question = match piece.split_once('=') {
            Some((typed, question)) => {
                service = Some(name(typed.trim()).map(ServiceName::from));
                question.trim()
            }
            None => piece,
        };
        let service = service.clone().transpose()?;
        let (question, port) = question_of(question)?;
        Ok((service, question, port))
    })
}

fn question_of(text: &str) -> Parsed<(DnsQuestion, Option<u16>)> {
    let port_of = |port: &str| port.parse::<u16>().ok().filter(|port| *port > 0);
    if let Some(srv) = text.strip_prefix("srv:") {
        // A host may well be called srv, but no service is called 3001.
        if port_of(srv).is_none() {
            let Some(srv) = host(srv) else { return Err(complaint(text)) };
            return Ok((DnsQuestion::Srv(srv), None));
        }
    }
    if text.parse::<SocketAddr>().is_ok() || text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Err(format!("{text:?} is an address and no name; say --static, like gateway=10.1.1.1:3001"));
    }
    match text.rsplit_once(':') {
        Some((typed, port)) => match (host(typed), port_of(port)) {
            (Some(host), Some(port)) => Ok((DnsQuestion::Host(host), Some(port))),
            _ => Err(complaint(text)),
        },
        None if text.starts_with('_') => Err(format!("{text:?} has no port; if it is a service, say srv:{text}")),
        None if host(text).is_some() => Err(format!("{text:?} has no port, {EXAMPLES}")),
        None => Err(complaint(text)),
    }
}

fn complaint(text: &str) -> String {
    format!("{text:?} is not a name to look up, {EXAMPLES}")
}

/// A name in small letters, if it is one; a dot at its end stays.
fn host(text: &str) -> Option<String> {
    let whole = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    (whole.len() <= LONGEST_NAME && whole.split('.').all(is_label)).then(|| text.to_ascii_lowercase())
}

/// A server to ask; without a port, at 53.
pub(in crate::config) fn dns_server(text: &str) -> Parsed<SocketAddr> {
    let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    let addr = text.parse::<SocketAddr>().or(bare).ok().filter(|addr| addr.port() > 0);
    addr.ok_or_else(|| format!("{text:?} is not the address of a DNS server, like 10.0.0.2 or 10.0.0.2:53"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<String> {
        let shown = |entry: Parsed<DnsEntry>| {
            let (service, question, port) = entry?;
            let service = service.map_or_else(|| "-".to_owned(), |service| service.to_string());
            Parsed::Ok(format!("{service} {question} {}", port.unwrap_or_default()))
        };
        dns(text).map(|entry| shown(entry).unwrap_or_else(|complaint| format!("! {complaint}"))).collect()
    }

    #[test]
    fn both_kinds_may_name_a_service_and_need_not() {
        let table = [
            ("gateway=gateway.internal:3001", "gateway gateway.internal 3001"),
            ("gateway.internal:3001", "- gateway.internal 3001"),
            ("gateway=srv:_http._tcp.gateway", "gateway srv:_http._tcp.gateway 0"),
            ("srv:_http._tcp.Gateway.", "- srv:_http._tcp.gateway. 0"),
            ("tasks.gateway:3001", "- tasks.gateway 3001"),
            ("srv:3001", "- srv 3001"),
            ("srv=srv.internal.:80", "srv srv.internal. 80"),
        ];
        for (text, expected) in table {
            assert_eq!(entries(text), [expected], "{text}");
        }
        let several = entries("a:1, api=b:2,srv:c");
        assert_eq!(several, ["- a 1", "api b 2", "api srv:c 0"]);
    }

    #[test]
    fn what_is_no_name_is_refused_with_what_would_be_right() {
        let table = [
            (
                "gateway=10.1.1.1:3001",
                "! \"10.1.1.1:3001\" is an address and no name; say --static, like gateway=10.1.1.1:3001",
            ),
            ("[::1]:3001", "! \"[::1]:3001\" is an address and no name; say --static, like gateway=10.1.1.1:3001"),
            (
                "gateway.internal",
                "! \"gateway.internal\" has no port, like gateway=gateway.internal:3001 or gateway=srv:_http._tcp.gateway",
            ),
            (
                "_http._tcp.gateway",
                "! \"_http._tcp.gateway\" has no port; if it is a service, say srv:_http._tcp.gateway",
            ),
            ("a b=x:1", "! \"a b\" is not a name: letters, digits, `.`, `_` and `-`, like gateway"),
        ];
        for (text, expected) in table {
            assert_eq!(entries(text), [expected], "{text}");
        }
        let long_label = format!("{}.internal:1", "a".repeat(64));
        let long_name = format!("{}:1", ["a".repeat(60).as_str(); 5].join("."));
        for text in [
            "",
            "x:0",
            "x:65536",
            "x:",
            ":1",
            "a..b:1",
            ".:1",
            "ü.de:1",
            "srv:",
            "srv:a b",
            "x:1:2",
            &long_label,
            &long_name,
        ] {
            let [entry] = &entries(text)[..] else { panic!("{text}") };
            assert!(entry.contains("is not a name to look up, like"), "{text}: {entry}");
        }
    }

    #[test]
    fn a_server_is_an_address_and_53_goes_without_saying() {
        for (text, addr) in [("10.0.0.2", "10.0.0.2:53"), ("10.0.0.2:5353", "10.0.0.2:5353"), ("::1", "[::1]:53")] {
            assert_eq!(dns_server(text), Ok(addr.parse().unwrap()));
        }
        for text in ["", "dns.internal", "10.0.0.2:0", "10.0.0.2:x", "10.0.0"] {
            let expected = format!("{text:?} is not the address of a DNS server, like 10.0.0.2 or 10.0.0.2:53");
            assert_eq!(dns_server(text), Err(expected));
        }
    }
}
