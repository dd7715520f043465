use std::time::Instant;

use super::*;
use crate::provider::ProviderKind;
use crate::registry::{Registry, RegistryWriter};
use crate::replica::{Health, Replica, State};

const OURS: &str = "00000000000000ff";

fn addr(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 9900))
}

fn provider() -> Provider {
    Provider::named(ProviderKind::Peer, "vms:9900")
}

fn share(ready: u32) -> Share {
    Share { ready, weight: ready, last_resort: 0 }
}

fn news(id: &str, ready: u32) -> News {
    News {
        version: Some(1),
        id: Some(id.to_owned()),
        name: Some(format!("vm-{id}")),
        port: Some(8080),
        draining: Some(false),
        services: [("gateway".to_owned(), share(ready))].into(),
        ..News::default()
    }
}

/// A roster and the registry that it tells.
struct Site {
    roster: Roster,
    registry: Registry,
    writer: RegistryWriter,
}

impl Site {
    /// With peers at these addresses of which nothing was heard.
    fn with(numbers: &[u8]) -> Self {
        let (registry, writer) = Registry::new();
        let mut site = Self { roster: Roster::new(OURS.to_owned()), registry, writer };
        site.list(numbers);
        site
    }

    fn list(&mut self, numbers: &[u8]) {
        let addresses: Vec<_> = numbers.iter().map(|number| addr(*number)).collect();
        self.roster.list(&provider(), &addresses);
        self.tell();
    }

    fn hear(&mut self, number: u8, news: News) -> bool {
        let is_ours = self.roster.hear(addr(number), news);
        self.tell();
        is_ours
    }

    fn lose(&mut self, number: u8, is_refused: bool) {
        self.roster.lose(addr(number), is_refused);
        self.tell();
    }

    fn tell(&mut self) {
        for change in self.roster.changes() {
            self.writer.apply(change);
        }
        assert_eq!(self.roster.changes(), [], "what was told is not news");
    }

    fn replicas(&self) -> Vec<std::sync::Arc<Replica>> {
        self.registry.replicas("gateway").map(|all| all.list().to_vec()).unwrap_or_default()
    }

    /// Name, weight and lifecycle of each.
    fn shown(&self) -> Vec<(String, u16, Lifecycle)> {
        let all = self.replicas();
        all.iter().map(|replica| (replica.spec().name.clone(), replica.spec().weight, replica.lifecycle())).collect()
    }

    fn only(&self) -> std::sync::Arc<Replica> {
        let mut all = self.replicas();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }
}

fn running(name: &str, weight: u16) -> (String, u16, Lifecycle) {
    (format!("peer:{name}"), weight, Lifecycle::Running)
}

#[test]
fn a_peer_is_one_replica_of_each_service_with_what_it_has() {
    let mut site = Site::with(&[2, 3]);
    assert!(site.replicas().is_empty());
    site.hear(2, news("2", 5));
    let mut other = news("3", 1);
    other.services.insert("api".to_owned(), share(4));
    other.address = Some([192, 0, 2, 1].into());
    site.hear(3, other);
    assert_eq!(site.shown(), [running("vm-2", 5), running("vm-3", 1)]);
    let specs: Vec<_> = site.replicas().iter().map(|replica| replica.spec().clone()).collect();
    assert_eq!(specs[0].id.as_str(), "peer:10.0.0.2:8080/gateway");
    assert_eq!((specs[0].addr, specs[1].addr), ("10.0.0.2:8080".parse().unwrap(), "192.0.2.1:8080".parse().unwrap()));
    assert_eq!(site.registry.replicas("api").unwrap().list()[0].spec().weight, 4);
    assert!(site.replicas().iter().all(|replica| replica.is_peer()));
}

#[test]
fn what_it_has_is_its_weight_and_the_replica_stays_the_same() {
    let mut site = Site::with(&[2]);
    site.hear(2, news("2", 5));
    let incarnation = site.only().incarnation();
    for (ready, weight) in [(6, 6), (0, 0), (1, 1), (70_000, u16::MAX)] {
        site.hear(2, news("2", ready));
        assert_eq!(site.shown(), [running("vm-2", weight)]);
    }
    assert_eq!(site.only().incarnation(), incarnation);
}

#[test]
fn one_where_none_is_ready_but_some_run_is_a_last_resort() {
    let mut site = Site::with(&[2]);
    site.hear(2, news("2", 3));
    site.only().set_health(Health::Healthy);
    let worst = Share { ready: 0, weight: 0, last_resort: 2 };
    site.hear(2, News { services: [("gateway".to_owned(), worst)].into(), ..news("2", 0) });
    assert_eq!(site.shown(), [("peer:vm-2".to_owned(), 2, Lifecycle::Ailing)]);
    assert!(!site.only().is_pickable() && site.only().is_pickable_in_panic());
    site.hear(2, news("2", 0));
    assert!(!site.only().is_pickable() && !site.only().is_pickable_in_panic());
}

#[test]
fn one_that_is_not_heard_stays_as_it_was_said_to_be() {
    let mut site = Site::with(&[2]);
    site.hear(2, news("2", 5));
    assert!(site.roster.is_connected(&provider()));
    for is_refused in [false, true] {
        site.lose(2, is_refused);
        assert_eq!(site.shown(), [running("vm-2", 5)]);
        assert!(!site.roster.is_connected(&provider()));
    }
    site.hear(2, news("2", 4));
    assert_eq!(site.shown(), [running("vm-2", 4)]);
}

#[test]
fn one_that_goes_drains_and_is_gone_when_nobody_is_there() {
    let mut site = Site::with(&[2]);
    site.hear(2, news("2", 5));
    let replica = site.only();
    site.hear(2, News { draining: Some(true), ..news("2", 5) });
    assert_eq!((site.only().state(), site.only().incarnation()), (State::Draining, replica.incarnation()));
    site.lose(2, false);
    assert_eq!(site.only().state(), State::Draining, "it may still be at work");
    site.lose(2, true);
    assert_eq!(site.shown(), []);
    site.hear(2, news("2b", 3));
    assert_eq!(site.shown(), [running("vm-2b", 3)]);
}

#[test]
fn one_that_comes_back_at_once_drains_no_more() {
    let mut site = Site::with(&[2]);
    site.hear(2, News { draining: Some(true), ..news("2", 5) });
    let old = site.only();
    assert_eq!(old.state(), State::Draining);
    site.hear(2, news("2b", 5));
    assert_eq!(site.shown(), [running("vm-2b", 5)]);
    assert_ne!(site.only().incarnation(), old.incarnation());
}

#[test]
fn one_that_was_killed_and_came_back_is_the_same_replica() {
    let mut site = Site::with(&[2]);
    site.hear(2, news("2", 5));
    let old = site.only().incarnation();
    site.lose(2, true);
    site.hear(2, news("2b", 1));
    assert_eq!((site.shown(), site.only().incarnation()), (vec![running("vm-2b", 1)], old));
}

#[test]
fn we_are_no_peer_of_ours_and_one_at_two_addresses_counts_once() {
    let mut site = Site::with(&[1, 2, 3]);
    assert!(site.hear(1, news(OURS, 9)));
    assert!(site.replicas().is_empty());
    assert!(!site.hear(2, news("2", 5)) && !site.hear(3, news("2", 5)));
    assert_eq!(site.shown(), [running("vm-2", 5)]);
    assert!(site.roster.is_connected(&provider()));
}

#[test]
fn one_that_left_the_name_finishes_what_it_has_and_goes() {
    let mut site = Site::with(&[2, 3]);
    site.hear(2, news("2", 5));
    site.hear(3, news("3", 5));
    let leaving = site.replicas().remove(0);
    leaving.in_flight_cell().store(1, std::sync::atomic::Ordering::SeqCst);
    site.list(&[3]);
    site.writer.remove_retired();
    assert_eq!(site.shown(), [("peer:vm-2".to_owned(), 5, Lifecycle::Draining), running("vm-3", 5)]);
    assert_eq!(site.roster.followed(), [addr(3)].into());
    // It may come back, and then goes on.
    site.list(&[2, 3]);
    site.hear(2, news("2", 4));
    assert_eq!(site.shown(), [running("vm-2", 4), running("vm-3", 5)]);
    assert_eq!(site.replicas()[0].incarnation(), leaving.incarnation());
    site.list(&[3]);
    leaving.in_flight_cell().store(0, std::sync::atomic::Ordering::SeqCst);
    site.writer.remove_retired();
    assert_eq!(site.shown(), [running("vm-3", 5)]);
}

#[test]
fn a_service_that_no_request_could_name_is_left_out() {
    let mut site = Site::with(&[2]);
    let names = ["a b", "a\r\nX: y", "", "ä"];
    let services = names.iter().map(|name| ((*name).to_owned(), share(1))).collect();
    site.hear(2, News { services, ..news("2", 0) });
    assert!(site.registry.services().is_empty());
}

#[test]
fn the_first_word_of_a_provider_is_all_of_it() {
    let mut roster = Roster::new(OURS.to_owned());
    let other = Provider::named(ProviderKind::Peer, "vm-9:9900");
    roster.list(&provider(), &[addr(2), addr(3)]);
    roster.list(&other, &[addr(9)]);
    assert_eq!(roster.changes(), []);
    roster.hear(addr(9), news("9", 1));
    roster.hear(addr(2), news("2", 1));
    let resets = roster.changes();
    let of = |change: &Change| matches!(change, Change::Reset { replicas, .. } if replicas.len() == 1);
    assert!(resets.len() == 2 && resets.iter().all(of), "{resets:?}");
    roster.hear(addr(3), news("3", 1));
    assert!(matches!(roster.changes().as_slice(), [Change::Upsert { .. }]));
}

#[test]
fn one_that_two_list_is_one_replica_and_both_are_told_of() {
    let mut site = Site::with(&[2]);
    let literal = Provider::named(ProviderKind::Peer, "10.0.0.2:9900");
    site.roster.list(&literal, &[addr(2)]);
    site.roster.hear(addr(2), news("2", 5));
    let changes = site.roster.changes();
    let of = |provider: &Provider| -> Vec<_> {
        let told = changes.iter().filter_map(|change| match change {
            Change::Reset { provider, replicas } => Some((provider, replicas.len())),
            _ => None,
        });
        told.filter(|(of, _)| *of == provider).map(|(_, count)| count).collect()
    };
    assert_eq!((of(&literal), of(&provider()), changes.len()), (vec![1], vec![0], 2), "{changes:?}");
    changes.into_iter().for_each(|change| _ = site.writer.apply(change));
    assert_eq!(site.shown(), [running("vm-2", 5)]);
    assert!(site.roster.is_connected(&literal) && site.roster.is_connected(&provider()));
    site.lose(2, false);
    assert!(!site.roster.is_connected(&literal) && !site.roster.is_connected(&provider()));
}

#[test]
fn one_that_leaves_a_name_stays_if_it_is_listed_by_its_address_too() {
    let names = [Provider::named(ProviderKind::Peer, "10.0.0.2:9900"), Provider::named(ProviderKind::Peer, "zz:9900")];
    for other in names {
        let mut site = Site::with(&[2, 3]);
        site.hear(2, news("2", 5));
        site.hear(3, news("3", 5));
        let before: Vec<_> = site.replicas().iter().map(|replica| replica.incarnation()).collect();
        // Those who are to look for it are told so once.
        site.roster.list(&other, &[addr(2)]);
        site.tell();
        site.list(&[3]);
        site.writer.remove_retired();
        assert_eq!(site.shown(), [running("vm-2", 5), running("vm-3", 5)], "{other}");
        let now: Vec<_> = site.replicas().iter().map(|replica| replica.incarnation()).collect();
        assert_eq!(now, before, "nothing of it was lost");
        assert_eq!(site.replicas()[0].spec().provider, other);
        assert_eq!(site.roster.followed(), [addr(2), addr(3)].into());
        site.roster.list(&other, &[]);
        site.tell();
        site.writer.remove_retired();
        assert_eq!(site.shown(), [running("vm-3", 5)]);
    }
}

#[test]
fn two_hundred_peers_with_news_are_no_work() {
    let mut roster = Roster::new(OURS.to_owned());
    let addresses: Vec<_> = (1..=200).map(addr).collect();
    roster.list(&provider(), &addresses);
    for number in 1..=200 {
        roster.hear(addr(number), news(&number.to_string(), 50));
    }
    assert_eq!(roster.changes().len(), 1);
    let began = Instant::now();
    for number in 1..=200 {
        roster.hear(addr(number), news(&number.to_string(), 51));
        assert_eq!(roster.changes().len(), 1);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn of_two_that_say_they_are_at_one_address_the_first_counts() {
    let mut site = Site::with(&[2, 3]);
    let there = |id: &str, ready| News { address: Some([192, 0, 2, 1].into()), ..news(id, ready) };
    site.hear(3, there("3", 1));
    site.hear(2, there("2", 5));
    assert_eq!(site.shown(), [running("vm-2", 5)]);
}
