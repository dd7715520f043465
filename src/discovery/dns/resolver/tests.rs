//! Questions to a server of the test's own, which changes its answers and lies.

use std::collections::BTreeMap;

use hickory_resolver::system_conf::parse_resolv_conf;
use integration_tests::dns_server::{DnsServer, Fault, Record};

use super::*;
use crate::config::settings::{DnsRules, DnsTarget, ReplicaDefaults};
use crate::provider::{Provider, ProviderKind};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(5);

fn settings(question: DnsQuestion, servers: &[SocketAddr], timeout: Duration) -> DnsSettings {
    DnsSettings {
        provider: Provider::only(ProviderKind::Dns),
        question,
        targets: vec![DnsTarget { service: "gateway".into(), port: None }],
        rules: DnsRules { servers: servers.to_vec(), timeout, ..DnsRules::default() },
        defaults: ReplicaDefaults::default(),
    }
}

async fn ask_within(timeout: Duration, server: &DnsServer, question: DnsQuestion) -> Result<Found, Miss> {
    Resolver::new(&settings(question, &[server.addr()], timeout)).unwrap().ask().await
}

async fn host(server: &DnsServer, name: &str) -> Result<Found, Miss> {
    ask_within(LONG, server, DnsQuestion::Host(name.to_owned())).await
}

async fn srv(server: &DnsServer, name: &str) -> Result<Found, Miss> {
    ask_within(LONG, server, DnsQuestion::Srv(name.to_owned())).await
}

fn addrs(found: &Found) -> Vec<String> {
    found.weights.keys().map(SocketAddr::to_string).collect()
}

fn weights(found: &Found) -> BTreeMap<String, u16> {
    found.weights.iter().map(|(addr, weight)| (addr.to_string(), *weight)).collect()
}

fn ip(text: &str) -> Record {
    text.parse::<IpAddr>().unwrap().into()
}

#[tokio::test]
async fn addresses_of_both_families_come_with_the_least_ttl_every_time_anew() {
    let server = DnsServer::start().await;
    server.set("box", [ip("10.0.0.1").ttl(30), ip("10.0.0.2").ttl(20), ip("::1").ttl(600)]);
    let found = host(&server, "box").await.unwrap();
    assert_eq!(addrs(&found), ["10.0.0.1:0", "10.0.0.2:0", "[::1]:0"]);
    assert_eq!((found.ttl, found.in_doubt), (Duration::from_secs(20), Families::default()));

    // The same resolver, with a TTL of 30 s: an answer is never kept.
    let resolver = Resolver::new(&settings(DnsQuestion::Host("BOX".to_owned()), &[server.addr()], LONG)).unwrap();
    for last in 1..4 {
        server.set("box", [ip(&format!("10.0.1.{last}")).ttl(30)]);
        assert_eq!(addrs(&resolver.ask().await.unwrap()), [format!("10.0.1.{last}:0")]);
    }
    for ttl in [0, u32::MAX >> 1] {
        server.set("box", [ip("10.0.0.1").ttl(ttl)]);
        let found = host(&server, "box").await.unwrap();
        assert!(found.ttl == Duration::from_secs(ttl.min(86400).into()), "{found:?}");
    }
}

#[tokio::test]
async fn aliases_are_followed_and_circles_end() {
    let server = DnsServer::start().await;
    server.set("a", [Record::cname("b").ttl(7)]);
    server.set("b", [Record::cname("c")]);
    server.set("c", [ip("10.0.0.1")]);
    let found = host(&server, "a").await.unwrap();
    assert_eq!((addrs(&found), found.ttl), (vec!["10.0.0.1:0".to_owned()], Duration::from_secs(7)));
    server.set("c", [Record::cname("a")]);
    assert!(host(&server, "a").await.unwrap_err().is_nothing());
}

#[tokio::test]
async fn an_answer_that_does_not_fit_in_a_datagram_is_had_by_tcp() {
    let server = DnsServer::start().await;
    server.set("box", (0..=255).map(|last| ip(&format!("10.0.0.{last}"))));
    assert_eq!(host(&server, "box").await.unwrap().weights.len(), 256);
    assert!(server.tcp_queries() >= 1);
}

#[tokio::test]
async fn that_there_is_nothing_is_told_from_not_being_told() {
    let server = DnsServer::start().await;
    assert_eq!(host(&server, "box").await, Err(Miss::Nothing("box. does not exist".to_owned())));
    server.set("box", [Record::srv(1, 1, 1, "x")]);
    assert!(host(&server, "box").await.unwrap_err().is_nothing(), "it is there, but has no address");
    server.set("box", [ip("10.0.0.1"), ip("::1")]);
    for fault in [Fault::Empty, Fault::WrongName] {
        server.set_fault(fault);
        assert!(host(&server, "box").await.unwrap_err().is_nothing(), "{fault:?}");
    }

    for fault in [Fault::ServFail, Fault::Refused, Fault::OnlyTruncated, Fault::BrokenOff] {
        server.set_fault(fault);
        let miss = host(&server, "box").await.unwrap_err();
        assert!(!miss.is_nothing(), "{fault:?}: {miss}");
    }
    for fault in [Fault::Silent, Fault::WrongId, Fault::WrongQuestion, Fault::Garbage] {
        server.set_fault(fault);
        let question = DnsQuestion::Host("box".to_owned());
        let miss = ask_within(SHORT, &server, question).await.unwrap_err();
        assert!(!miss.is_nothing(), "{fault:?}: {miss}");
    }
    server.set_fault(None);
    server.set("box", [ip("0.0.0.0"), ip("224.0.0.1"), ip("::")]);
    assert!(matches!(host(&server, "box").await, Err(Miss::Undecodable(_))));
    server.set("box", [ip("10.0.0.1"), ip("0.0.0.0"), ip("::1")]);
    server.set_fault(Fault::SilentOnV6);
    let found = ask_within(SHORT * 2, &server, DnsQuestion::Host("box".to_owned())).await.unwrap();
    assert_eq!((addrs(&found), found.in_doubt), (vec!["10.0.0.1:0".to_owned()], Families::V6));
}

#[tokio::test]
async fn the_next_server_is_asked_where_one_does_not_say_and_only_there() {
    let (first, second) = (DnsServer::start().await, DnsServer::start().await);
    second.set("box", [ip("10.0.0.2")]);
    let settings = settings(DnsQuestion::Host("box".to_owned()), &[first.addr(), second.addr()], LONG);
    let resolver = Resolver::new(&settings).unwrap();
    assert!(resolver.ask().await.unwrap_err().is_nothing(), "who says that there is nothing is believed");
    assert_eq!(second.queries(), 0);
    first.set_fault(Fault::ServFail);
    assert_eq!(addrs(&resolver.ask().await.unwrap()), ["10.0.0.2:0"]);
    first.set_fault(None);
    first.set("box", [ip("10.0.0.1")]);
    assert_eq!(addrs(&resolver.ask().await.unwrap()), ["10.0.0.1:0"], "the first is the first again");
}

#[tokio::test]
async fn a_service_is_the_hosts_of_its_lowest_priority_by_their_weights() {
    let server = DnsServer::start().await;
    for (host, ip_) in [("one", "10.0.0.1"), ("two", "10.0.0.2"), ("three", "10.0.0.3")] {
        server.set(host, [ip(ip_).ttl(9)]);
    }
    let records = [
        Record::srv(20, 5, 3001, "three"),
        Record::srv(10, 0, 3001, "one"),
        Record::srv(10, 30, 3002, "two"),
        Record::srv(10, 30, 0, "three"),
        Record::srv(10, 30, 3001, "nowhere"),
    ];
    server.set("_http._tcp.box", records.clone());
    let expected = BTreeMap::from([("10.0.0.1:3001".to_owned(), 1), ("10.0.0.2:3002".to_owned(), 30)]);
    for apart in [false, true] {
        server.keep_hosts_to_itself(apart);
        let found = srv(&server, "_http._tcp.box").await.unwrap();
        assert_eq!((weights(&found), found.ttl), (expected.clone(), Duration::from_secs(9)), "{apart}");
    }
    server.set("_http._tcp.box", records.into_iter().take(1));
    assert_eq!(addrs(&srv(&server, "_http._tcp.box").await.unwrap()), ["10.0.0.3:3001"]);
    server.set("_http._tcp.box", [Record::srv(0, 0, 80, "")]);
    assert!(srv(&server, "_http._tcp.box").await.unwrap_err().is_nothing(), "a dot means that there is none");
}

#[tokio::test]
async fn hosts_of_which_nothing_is_said_hide_no_others() {
    for fault in [Fault::ServFail, Fault::Silent] {
        let server = DnsServer::start().await;
        server.keep_hosts_to_itself(true);
        // The first and the last of more than are asked for at once.
        let hosts: Vec<_> = (0..20).map(|number| format!("h{number}")).collect();
        for (number, host) in hosts.iter().enumerate() {
            server.set(host, [ip(&format!("10.0.0.{number}"))]);
        }
        server.set_fault_of("h0", fault);
        server.set_fault_of("h19", fault);
        server.set("_http._tcp.box", hosts.iter().map(|host| Record::srv(1, 1, 3001, host)));
        let question = DnsQuestion::Srv("_http._tcp.box".to_owned());
        let found = ask_within(SHORT * 4, &server, question).await.unwrap();
        let expected: Vec<_> = (1..19).map(|number| format!("10.0.0.{number}:3001")).collect();
        assert_eq!(found.weights.len(), 18, "{fault:?}: {found:?}");
        assert!(expected.iter().all(|addr| addrs(&found).contains(addr)), "{fault:?}: {found:?}");
        assert_eq!(found.in_doubt, Families::BOTH);
    }
}

#[tokio::test]
async fn a_server_that_keeps_silent_is_waited_for_once_in_a_lookup() {
    let (silent, second) = (DnsServer::start().await, DnsServer::start().await);
    silent.set_fault_of("_http._tcp.box", Fault::Silent);
    second.keep_hosts_to_itself(true);
    second.set("_http._tcp.box", [Record::srv(1, 1, 3001, "one")]);
    for (server, addr) in [(&silent, "10.6.6.6"), (&second, "10.0.0.1")] {
        server.set("one", [ip(addr)]);
    }
    let question = DnsQuestion::Srv("_http._tcp.box".to_owned());
    let resolver = Resolver::new(&settings(question, &[silent.addr(), second.addr()], SHORT * 4)).unwrap();
    assert_eq!(addrs(&resolver.ask().await.unwrap()), ["10.0.0.1:3001"], "the other is not asked for the host");
    silent.set("_http._tcp.box", [Record::srv(1, 1, 3001, "one")]);
    silent.set_fault_of("_http._tcp.box", None);
    assert_eq!(addrs(&resolver.ask().await.unwrap()), ["10.6.6.6:3001"], "the first is the first again");
}

#[test]
fn names_are_tried_as_the_search_list_and_the_dots_say() {
    let conf = "search shop.svc.cluster.local svc.cluster.local\nnameserver 10.0.0.2\noptions ndots:5";
    let (config, options) = parse_resolv_conf(conf).unwrap();
    let names = |name: &str, ndots: usize| -> Vec<_> {
        let names = candidates(&Name::from_ascii(name).unwrap(), config.search(), ndots);
        names.iter().map(Name::to_string).collect()
    };
    assert_eq!(options.ndots, 5);
    assert_eq!(names("gateway", 5), ["gateway.shop.svc.cluster.local.", "gateway.svc.cluster.local.", "gateway."]);
    assert_eq!(
        names("tasks.gateway", 1),
        ["tasks.gateway.", "tasks.gateway.shop.svc.cluster.local.", "tasks.gateway.svc.cluster.local."]
    );
    assert_eq!(names("gateway.shop.", 5), ["gateway.shop."]);
    let resolver =
        Resolver::with(&settings(DnsQuestion::Host("gateway".to_owned()), &[], LONG), config.clone(), options);
    assert_eq!((resolver.unwrap().names.len(), config.name_servers().len()), (3, 1));
}

#[tokio::test]
async fn a_name_of_which_nothing_is_known_is_no_reason_to_believe_the_next() {
    let server = DnsServer::start().await;
    server.set("box.elsewhere", [ip("10.6.6.6")]);
    let mut config = ResolverConfig::from_name_servers(vec![super::server(server.addr())]);
    config.add_search("here.".parse().unwrap());
    config.add_search("elsewhere.".parse().unwrap());
    let settings = settings(DnsQuestion::Host("box".to_owned()), &[], SHORT);
    let resolver = Resolver::with(&settings, config, ResolverOpts::default()).unwrap();
    assert_eq!(addrs(&resolver.ask().await.unwrap()), ["10.6.6.6:0"], "box.here does not exist");
    server.set("box.here", [ip("10.0.0.1")]);
    assert_eq!(addrs(&resolver.ask().await.unwrap()), ["10.0.0.1:0"]);
    let questions = server.queries();
    server.set_fault(Fault::ServFail);
    assert!(!resolver.ask().await.unwrap_err().is_nothing());
    assert_eq!(server.queries() - questions, 2, "A and AAAA of the first name");
}
