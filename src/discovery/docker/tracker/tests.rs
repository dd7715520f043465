mod any_order;
mod desk;

use super::super::fixtures::{gateway, inside, labelled};
use super::*;
use Lifecycle::{Ailing, Draining, Paused, Running, Starting};
use desk::Desk;

/// A container as an inspect of its first run has it.
fn inspected(number: u8) -> Container {
    gateway(number).inspected("TERM", "first")
}

#[test]
fn the_first_list_is_the_truth() {
    let mut desk = Desk::new();
    let one_off = gateway(3).labelled("com.docker.compose.oneoff", "True");
    desk.list(&[gateway(1), gateway(2).is(RunState::Starting), one_off, labelled(&[])]);
    desk.assert(&["Reset"], &[("g1", Running), ("g2", Starting)]);
    assert_eq!(desk.considered, [("g1".into(), "routed"), ("g2".into(), "starting"), ("g3".into(), "one-off")].into());
    assert_eq!(desk.asked, [], "a list is enough");
}

#[test]
fn a_start_is_inspected_and_then_routed() {
    let mut desk = Desk::with(&[]);
    desk.event("g1", EventKind::Connect);
    assert_eq!(desk.asked, [], "it joins its networks before it starts");
    desk.event("g1", EventKind::Start);
    desk.answer(Some(inspected(1).is(RunState::Starting)));
    desk.event("g1", EventKind::Health);
    desk.answer(Some(inspected(1)));
    desk.assert(&["Upsert g1", "Upsert g1"], &[("g1", Running)]);
    desk.event("g1", EventKind::Health);
    desk.answer(Some(inspected(1).is(RunState::Unhealthy)));
    desk.assert(&["Upsert g1", "Upsert g1", "Upsert g1"], &[("g1", Ailing)]);
}

#[test]
fn a_stop_drains_at_once_and_removes_on_die() {
    let mut desk = Desk::with(&[gateway(1), gateway(2)]);
    desk.kill("g1", "15");
    desk.assert(&["Drain g1"], &[("g1", Draining), ("g2", Running)]);
    assert_eq!(desk.considered[&"g1".into()], "draining");
    desk.kill("g1", "9");
    desk.event("g1", EventKind::Die);
    desk.event("g1", EventKind::Disconnect("shop_default".to_owned()));
    desk.event("g1", EventKind::Destroy);
    desk.answer(None);
    desk.assert(&["Drain g1", "Remove g1"], &[("g2", Running)]);
    assert!(!desk.considered.contains_key(&"g1".into()));
    assert_eq!(desk.asked, []);
}

#[test]
fn which_signals_drain() {
    // The stop signal, where an inspect told it, and the signal that is sent.
    let table = [
        (Some("TERM"), "15", Draining),
        (Some("TERM"), "9", Draining),
        (Some("TERM"), "HUP", Running),
        (Some("TERM"), "QUIT", Running),
        (Some("QUIT"), "QUIT", Draining),
        (Some("QUIT"), "KILL", Draining),
        (Some("QUIT"), "TERM", Running),
        (None, "TERM", Draining),
        (None, "KILL", Draining),
    ];
    for (stop_signal, signal, expected) in table {
        let container = stop_signal.map_or(gateway(1), |stop_signal| gateway(1).inspected(stop_signal, "first"));
        let mut desk = Desk::with(&[container]);
        desk.kill("g1", signal);
        assert_eq!(desk.registry[&"g1".into()], expected, "{signal} where {stop_signal:?} stops it");
    }
}

#[test]
fn a_signal_that_may_be_the_stop_signal_is_looked_up() {
    for (signal, expected) in [("HUP", Running), ("QUIT", Draining)] {
        let mut desk = Desk::with(&[gateway(1)]);
        desk.kill("g1", signal);
        desk.assert(&[], &[("g1", Running)]);
        desk.kill("g1", "USR1");
        desk.answer(Some(gateway(1).inspected("QUIT", "first")));
        assert_eq!(desk.registry[&"g1".into()], expected, "{signal}");
        desk.kill("g1", "HUP");
        assert_eq!(desk.asked, [], "once is enough, also after the next list");
        desk.list(&[gateway(1)]);
        desk.kill("g1", "HUP");
        assert_eq!(desk.asked, if expected == Draining { vec!["g1".into()] } else { vec![] });
    }
}

#[test]
fn a_kill_before_the_first_verdict_is_remembered() {
    let mut desk = Desk::with(&[]);
    desk.event("g1", EventKind::Start);
    desk.kill("g1", "TERM");
    desk.answer(Some(inspected(1)));
    desk.assert(&["Upsert g1"], &[("g1", Draining)]);

    let mut desk = Desk::new();
    desk.tracker.list_asked();
    desk.kill("g1", "TERM");
    desk.list_answered(&[gateway(1)]);
    desk.assert(&["Reset"], &[("g1", Draining)]);
}

#[test]
fn a_drain_outlasts_lists_inspects_and_reconnects() {
    let mut desk = Desk::with(&[gateway(1)]);
    desk.kill("g1", "TERM");
    desk.answer(Some(inspected(1)));
    for _ in 0..2 {
        desk.list(&[gateway(1)]);
        desk.answer(Some(inspected(1)));
        desk.event("g1", EventKind::Health);
        desk.answer(Some(inspected(1)));
        desk.reconnect();
    }
    desk.assert(&["Drain g1", "Reset", "Reset"], &[("g1", Draining)]);
}

#[test]
fn a_missed_die_shows_in_another_start() {
    let mut desk = Desk::with(&[gateway(1)]);
    desk.kill("g1", "TERM");
    desk.answer(Some(inspected(1)));
    desk.reconnect();
    desk.list(&[gateway(1)]);
    desk.assert(&["Drain g1", "Reset"], &[("g1", Draining)]);
    desk.answer(Some(gateway(1).inspected("TERM", "second")));
    desk.assert(&["Drain g1", "Reset", "Remove g1", "Upsert g1"], &[("g1", Running)]);
    desk.list(&[gateway(1)]);
    assert_eq!(desk.asked, [], "nothing is left to find out");
}

#[test]
fn a_missed_restart_shows_in_another_endpoint() {
    let run = |endpoint: &str| {
        let mut container = gateway(1);
        container.networks.get_mut("shop_default").unwrap().endpoint_id = endpoint.to_owned();
        container
    };
    let mut desk = Desk::with(&[run("first")]);
    desk.list(&[run("first")]);
    desk.list(&[run("second")]);
    desk.assert(&["Reset", "Remove g1", "Reset"], &[("g1", Running)]);
    // Also where the connection broke before an inspect could date the run that was told to stop.
    desk.kill("g1", "TERM");
    desk.reconnect();
    desk.list(&[run("third")]);
    desk.answer(Some(run("third").inspected("TERM", "third")));
    let log = ["Reset", "Remove g1", "Reset", "Drain g1", "Remove g1", "Reset", "Remove g1", "Upsert g1"];
    desk.assert(&log, &[("g1", Running)]);
}

#[test]
fn a_kill_that_comes_after_its_die_is_of_no_consequence() {
    let mut desk = Desk::with(&[gateway(1)]);
    desk.event("g1", EventKind::Health);
    desk.event("g1", EventKind::Die);
    desk.kill("g1", "TERM");
    desk.kill("g1", "QUIT");
    desk.answer(Some(inspected(1)));
    desk.assert(&["Remove g1"], &[]);
    assert!(desk.tracker.draining.is_empty() && desk.tracker.undecided.is_empty());

    let mut desk = Desk::new();
    desk.tracker.list_asked();
    desk.event("g1", EventKind::Die);
    desk.kill("g1", "TERM");
    desk.kill("g1", "QUIT");
    desk.list_answered(&[gateway(1)]);
    desk.answer(Some(inspected(1).is(RunState::Down("exited".to_owned()))));
    desk.assert(&["Reset"], &[]);
    assert!(desk.tracker.draining.is_empty() && desk.tracker.undecided.is_empty());
}

#[test]
fn a_signal_to_a_run_that_ended_unseen_does_not_drain_the_next() {
    let mut desk = Desk::with(&[gateway(1)]);
    desk.kill("g1", "QUIT");
    desk.reconnect();
    desk.list(&[gateway(1)]);
    desk.event("g1", EventKind::Health);
    desk.answer(Some(gateway(1).inspected("QUIT", "second")));
    assert_eq!(desk.registry[&"g1".into()], Running);
}

#[test]
fn a_restart_is_a_new_replica() {
    let mut desk = Desk::with(&[inspected(1)]);
    desk.kill("g1", "TERM");
    desk.event("g1", EventKind::Die);
    desk.event("g1", EventKind::Disconnect("shop_default".to_owned()));
    desk.event("g1", EventKind::Connect);
    desk.event("g1", EventKind::Start);
    desk.answer(Some(gateway(1).inspected("TERM", "second")));
    desk.assert(&["Drain g1", "Remove g1", "Upsert g1"], &[("g1", Running)]);
}

#[test]
fn a_pause_acts_at_once_and_an_unpause_asks() {
    let mut desk = Desk::with(&[gateway(1)]);
    desk.event("g1", EventKind::Pause);
    desk.assert(&["Upsert g1"], &[("g1", Paused)]);
    desk.event("g1", EventKind::Unpause);
    desk.answer(Some(inspected(1)));
    desk.assert(&["Upsert g1", "Upsert g1"], &[("g1", Running)]);
}

#[test]
fn leaving_the_dialled_network_removes_at_once_and_only_once() {
    let disconnect = |network: &str| EventKind::Disconnect(network.to_owned());
    let mut desk = Desk::with(&[gateway(1).on(&[("shop_default", "10.0.0.11"), ("back", "10.9.0.11")])]);
    desk.event("g1", disconnect("back"));
    desk.assert(&[], &[("g1", Running)]);
    desk.event("g1", disconnect("shop_default"));
    desk.event("g1", disconnect("shop_default"));
    desk.assert(&["Remove g1"], &[]);
    assert_eq!(desk.considered[&"g1".into()], "no-shared-network");
    desk.event("g1", EventKind::Connect);
    desk.answer(Some(inspected(1)));
    desk.assert(&["Remove g1", "Upsert g1"], &[("g1", Running)]);
}

#[test]
fn leaving_our_network_for_another_of_ours_moves_it() {
    let mut desk = Desk::new();
    desk.tracker.reconnected(inside(&["a", "b"]));
    desk.list(&[gateway(1).on(&[("a", "10.1.0.5"), ("b", "10.2.0.5")])]);
    desk.event("g1", EventKind::Disconnect("a".to_owned()));
    desk.assert(&["Reset", "Upsert g1"], &[("g1", Running)]);
    assert_eq!(desk.tracker.known[&"g1".into()].sighting().unwrap().spec.addr.to_string(), "10.2.0.5:3001");
}

#[test]
fn an_inspect_that_was_overtaken_is_void() {
    let mut desk = Desk::with(&[]);
    desk.event("g1", EventKind::Start);
    desk.event("g1", EventKind::Die);
    desk.answer(Some(inspected(1)));
    desk.assert(&[], &[]);
    assert_eq!(desk.asked, [], "by the container's end: that was it");

    desk.event("g1", EventKind::Start);
    desk.event("g1", EventKind::Pause);
    desk.answer(Some(inspected(1)));
    desk.assert(&[], &[]);
    desk.answer(Some(inspected(1).is(RunState::Paused)));
    desk.assert(&["Upsert g1"], &[("g1", Paused)]);

    desk.event("g1", EventKind::Unpause);
    desk.event("g1", EventKind::Die);
    desk.event("g1", EventKind::Start);
    desk.answer(Some(inspected(1)));
    desk.answer(Some(gateway(1).inspected("TERM", "second")));
    desk.assert(&["Upsert g1", "Remove g1", "Upsert g1"], &[("g1", Running)]);
}

#[test]
fn a_list_neither_resurrects_nor_drops() {
    let mut desk = Desk::with(&[gateway(1), gateway(2), gateway(3)]);
    desk.tracker.list_asked();
    desk.event("g1", EventKind::Die);
    desk.event("g2", EventKind::Pause);
    desk.event("g4", EventKind::Start);
    desk.answer(Some(inspected(4)));
    desk.event("g5", EventKind::Start);
    desk.list_answered(&[gateway(1), gateway(2), gateway(3)]);
    desk.answer(Some(inspected(5)));
    let expected = [("g2", Paused), ("g3", Running), ("g4", Running), ("g5", Running)];
    desk.assert(&["Remove g1", "Upsert g2", "Upsert g4", "Reset", "Upsert g5"], &expected);
}

#[test]
fn a_list_that_still_shows_who_died_is_not_believed() {
    let mut desk = Desk::with(&[gateway(1), gateway(2)]);
    desk.event("g1", EventKind::Die);
    desk.list(&[gateway(1), gateway(2)]);
    assert_eq!(desk.registry.keys().collect::<Vec<_>>(), [&"g2".into()], "its row is of a moment before");
    assert_eq!(desk.asked, ["g1".into()]);
    desk.answer(Some(gateway(1).is(RunState::Down("exited".into()))));
    desk.list(&[gateway(1), gateway(2)]);
    desk.answer(Some(gateway(1).is(RunState::Down("exited".into()))));
    assert_eq!(desk.registry.len(), 1);

    // It does run again, and its `start` was missed: the inspect is believed, and so is every list from then on.
    desk.event("g1", EventKind::Die);
    desk.list(&[gateway(1), gateway(2)]);
    desk.answer(Some(gateway(1).inspected("TERM", "second")));
    desk.list(&[gateway(1), gateway(2)]);
    assert_eq!((desk.registry.len(), desk.asked.len()), (2, 0));
}

#[test]
fn an_event_on_a_container_not_yet_listed_is_looked_into() {
    let mut desk = Desk::new();
    desk.tracker.list_asked();
    desk.event("g1", EventKind::Pause);
    desk.list_answered(&[gateway(1)]);
    desk.assert(&["Reset"], &[]);
    desk.answer(Some(inspected(1).is(RunState::Paused)));
    desk.assert(&["Reset", "Upsert g1"], &[("g1", Paused)]);
}

#[test]
fn a_row_that_may_leave_out_ports_is_looked_into_once() {
    let mut desk = Desk::with(&[gateway(1).exposing(&[])]);
    assert!(desk.considered.is_empty(), "no verdict before it is known");
    desk.answer(Some(inspected(1)));
    desk.list(&[gateway(1).exposing(&[])]);
    desk.assert(&["Upsert g1", "Reset"], &[("g1", Running)]);
    assert_eq!(desk.asked, []);
    let mut desk = Desk::with(&[gateway(1).exposing(&[])]);
    desk.answer(Some(inspected(1).exposing(&[])));
    assert_eq!(desk.considered[&"g1".into()], "no-port");
}

#[test]
fn a_row_that_is_newly_unhealthy_is_looked_into() {
    let mut desk = Desk::with(&[gateway(1)]);
    desk.list(&[gateway(1).is(RunState::Unhealthy)]);
    desk.assert(&["Reset"], &[("g1", Running)]);
    desk.answer(Some(inspected(1).is(RunState::Unhealthy)));
    desk.list(&[gateway(1).is(RunState::Unhealthy)]);
    desk.assert(&["Reset", "Upsert g1", "Reset"], &[("g1", Ailing)]);
    assert_eq!(desk.asked, []);
}

#[test]
fn a_rename_keeps_the_replica() {
    let mut desk = Desk::with(&[labelled(&[("evenkeel.enable", "true")])]);
    let renamed = Container { name: "new".to_owned(), ..labelled(&[("evenkeel.enable", "true")]) };
    desk.event("l", EventKind::Rename);
    desk.answer(Some(renamed.inspected("TERM", "first")));
    desk.assert(&["Upsert l"], &[("l", Running)]);
}

#[test]
fn the_networks_of_the_container_that_we_share_one_with_are_ours() {
    let mut scope = inside(&["shop_default"]);
    scope.me.host = Some("port".into());
    let mut desk = Desk::new();
    desk.tracker = Tracker::new(scope);
    desk.event("port", EventKind::Connect);
    desk.event("me", EventKind::Connect);
    desk.event("port", EventKind::Disconnect("shop_default".to_owned()));
    desk.assert(&["Find ourselves", "Find ourselves"], &[]);
    assert_eq!(desk.asked, []);
}

#[test]
fn our_own_networks_are_news_and_the_rest_of_us_is_not() {
    let mut desk = Desk::with(&[]);
    desk.event("me", EventKind::Connect);
    desk.event("me", EventKind::Disconnect("shop_default".to_owned()));
    desk.event("me", EventKind::Health);
    desk.kill("me", "TERM");
    desk.assert(&["Find ourselves", "Find ourselves"], &[]);
    assert_eq!(desk.asked, []);
}

#[test]
fn a_failed_inspect_leaves_the_last_truth_to_the_next_list() {
    let mut desk = Desk::with(&[gateway(1)]);
    desk.event("g1", EventKind::Health);
    let id = desk.asked.remove(0);
    desk.tracker.on_inspect_failed(&id);
    desk.assert(&[], &[("g1", Running)]);
    desk.list(&[gateway(1).is(RunState::Starting)]);
    desk.assert(&["Reset"], &[("g1", Starting)]);
}

#[test]
fn containers_that_are_none_of_our_business_leave_nothing_behind() {
    let mut desk = Desk::with(&[labelled(&[])]);
    desk.kill("l", "TERM");
    desk.kill("l", "HUP");
    desk.event("l", EventKind::Disconnect("x".to_owned()));
    desk.event("l", EventKind::Health);
    desk.answer(Some(labelled(&[]).inspected("TERM", "first")));
    desk.event("l", EventKind::Die);
    desk.assert(&[], &[]);
    let Tracker { known, draining, undecided, asked, .. } = &desk.tracker;
    assert!(known.is_empty() && draining.is_empty() && undecided.is_empty() && asked.is_empty());
}
