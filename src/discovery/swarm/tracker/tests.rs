mod any_order;
mod desk;

use super::super::fixtures::{inside, labels, node, service, task};
use super::*;
use crate::change::Sighting;
use crate::replica::Lifecycle;
use Lifecycle::{Ailing, Draining, Paused, Running, Starting};
use desk::Desk;

const A_MINUTE: Duration = Duration::from_secs(60);

fn service_of(count: u64) -> Service {
    Service { wanted: Some(count), ..service() }
}

#[test]
fn the_first_answer_is_the_truth() {
    let mut desk = Desk::new();
    let unborn = Task { container: None, ..task(3) }.at("preparing", "running");
    desk.answer(&[task(1), task(2).at("starting", "running"), unborn], &[]);
    desk.assert(&["Upsert c1", "Upsert c2"], &[("c1", Running), ("c2", Starting)]);
    assert_eq!(
        desk.considered,
        [("c1".into(), "routed"), ("c2".into(), "starting"), ("t3".into(), "not-running")].into()
    );
}

#[test]
fn a_task_that_is_wanted_no_more_drains_long_before_its_signal_and_goes_when_it_ended() {
    for desired in ["shutdown", "remove"] {
        let mut desk = Desk::with(&[task(1), task(2)]);
        desk.answer(&[task(1)], &[task(2).at("running", desired)]);
        desk.assert(&["Drain c2"], &[("c1", Running), ("c2", Draining)]);
        assert_eq!(desk.considered[&"c2".into()], "draining");
        desk.go_on(Duration::from_secs(3), &[task(1)], &[task(2).at("running", desired)]);
        desk.assert(&["Drain c2"], &[("c1", Running), ("c2", Draining)]);
        desk.kill("c2", "TERM");
        let ended = Task { version: 3, ..task(2).at("shutdown", desired) };
        desk.answer(&[task(1)], &[ended]);
        desk.assert(&["Drain c2", "Remove c2"], &[("c1", Running)]);
        assert!(!desk.considered.contains_key(&"c2".into()));
    }
}

#[test]
fn every_end_removes() {
    for state in ["failed", "complete", "shutdown", "orphaned", "rejected", "remove"] {
        for desired in ["running", "shutdown"] {
            let mut desk = Desk::with(&[task(1)]);
            desk.answer(&[], &[task(1).at(state, desired)]);
            desk.assert(&["Remove c1"], &[]);
        }
        let mut desk = Desk::with(&[task(1)]);
        desk.answer(&[task(1).at(state, "running")], &[]);
        desk.assert(&["Remove c1"], &[]);
    }
    let mut desk = Desk::with(&[task(1)]);
    desk.answer(&[], &[]);
    desk.assert(&["Remove c1"], &[]);
}

#[test]
fn who_is_missing_from_one_list_and_wanted_by_the_next_stays() {
    let mut desk = Desk::with(&[task(1)]);
    desk.answer(&[], &[task(1)]);
    desk.assert(&[], &[("c1", Running)]);
}

#[test]
fn a_new_task_is_a_replica_as_soon_as_it_has_a_container_that_starts() {
    let mut desk = Desk::with(&[]);
    let born = |state: &str, version| Task { version, ..task(1).at(state, "running") };
    // The address is there from the first state on.
    desk.answer(&[Task { container: None, ..born("assigned", 2) }], &[]);
    desk.answer(&[born("ready", 3)], &[]);
    desk.assert(&[], &[]);
    desk.answer(&[born("starting", 4)], &[]);
    desk.answer(&[born("running", 5)], &[]);
    desk.assert(&["Upsert c1", "Upsert c1"], &[("c1", Running)]);
    assert_eq!(desk.considered, [("c1".into(), "routed")].into(), "the task's own verdict has gone");
}

#[test]
fn a_rolling_update_is_followed_without_events() {
    for start_first in [false, true] {
        let mut desk = Desk::with(&[task(1), task(2)]);
        // The only event there is.
        desk.services(&[Service { version: 2, is_updating: true, ..service_of(2) }]);
        let (mut wanted, mut others) = (vec![task(1), task(2)], Vec::new());
        for (old, new) in [(1_u8, 11_u8), (2, 12)] {
            let successor = |state: &str| Task { slot: Some(old.into()), ..task(new) }.at(state, "running");
            let leave = |wanted: &mut Vec<Task>, others: &mut Vec<Task>| {
                wanted.retain(|task| task.id != format!("t{old}"));
                others.push(task(old).at("running", "shutdown"));
            };
            let join = |wanted: &mut Vec<Task>| wanted.push(successor("running"));
            if start_first {
                join(&mut wanted)
            } else {
                leave(&mut wanted, &mut others)
            }
            desk.wait(A_MINUTE);
            assert!(desk.pause() <= 1000, "while it is being updated, before each signal");
            desk.answer(&wanted, &others);
            if start_first {
                leave(&mut wanted, &mut others)
            } else {
                join(&mut wanted)
            }
            assert_eq!(desk.pause(), 200);
            desk.answer(&wanted, &others);
            others.retain(|task| task.id != format!("t{old}"));
            desk.answer(&wanted, &others);
        }
        let log = match start_first {
            false => ["Drain c1", "Upsert c11", "Remove c1", "Drain c2", "Upsert c12", "Remove c2"],
            true => ["Upsert c11", "Drain c1", "Remove c1", "Upsert c12", "Drain c2", "Remove c2"],
        };
        desk.assert(&log, &[("c11", Running), ("c12", Running)]);
        desk.services(&[Service { version: 3, ..service_of(2) }]);
        desk.go_on(A_MINUTE, &wanted, &[]);
        assert_eq!(desk.go_on(A_MINUTE, &wanted, &[]), 12, "and then it is quiet");
    }
}

#[test]
fn a_service_rings_until_its_tasks_are_settled() {
    // What there is, and how often it is asked in a minute after all has been quiet for a while.
    let away = |task: Task| Task { node: Some("n3".to_owned()), ..task };
    let down = || Node { is_up: false, ..node(3) };
    let emptied = || Node { may_run: false, ..node(3) };
    let often = 60 * 5;
    let table: [(&str, Service, Node, Vec<Task>, usize); 9] = [
        ("as it should be", service_of(1), node(3), vec![task(1)], 12),
        ("global", service(), node(3), vec![task(1)], 12),
        ("one is missing", service_of(2), node(3), vec![task(1)], 60),
        ("one too many", service_of(0), node(3), vec![task(1)], 60),
        ("being updated", Service { is_updating: true, ..service_of(1) }, node(3), vec![task(1)], 60),
        (
            "one does not start",
            service_of(1),
            node(3),
            vec![Task { container: None, ..task(1) }.at("pending", "running")],
            60,
        ),
        ("on a node that is down", service_of(1), down(), vec![away(task(1))], 60),
        ("on a node that is being drained", service_of(1), emptied(), vec![away(task(1))], 60),
        ("on another node", service_of(1), node(3), vec![away(task(1))], 12),
    ];
    for (what, service, node_3, tasks, expected) in table {
        let mut desk = Desk::with(&tasks);
        desk.services(&[Service { version: 2, ..service }]);
        desk.nodes(&[node(1), node(2), node_3]);
        let first = desk.go_on(Duration::from_secs(30), &tasks, &[]);
        assert!(first >= 25, "{what}: {first} at first");
        assert!(expected == 12 || first >= 140, "{what}: {first} at first");
        desk.go_on(Duration::from_secs(10), &tasks, &[]);
        let later = desk.go_on(A_MINUTE, &tasks, &[]);
        assert!(later.abs_diff(expected) <= expected / 10 && later < often, "{what}: {later}");
    }
}

#[test]
fn tasks_that_a_lost_node_cannot_be_told_to_end_are_drained_in_peace() {
    let mut desk = Desk::with(&[task(1), Task { node: Some("n2".to_owned()), ..task(2) }]);
    desk.services(&[service_of(2)]);
    let lost = |state: &str, desired: &str| Task { node: Some("n2".to_owned()), ..task(2).at(state, desired) };
    desk.go_on(A_MINUTE, &[task(1), Task { node: Some("n2".to_owned()), ..task(2) }], &[]);
    desk.nodes(&[node(1), Node { is_up: false, ..node(2) }]);
    desk.assert(&[], &[("c1", Running), ("c2", Running)]);
    assert!(desk.pause() <= 200, "their successors come without any event");
    let successors = [task(1), task(3)];
    desk.go_on(A_MINUTE * 2, &successors, &[lost("running", "shutdown")]);
    desk.assert(&["Upsert c3", "Drain c2"], &[("c1", Running), ("c2", Draining), ("c3", Running)]);
    let polls = desk.go_on(A_MINUTE, &successors, &[lost("running", "shutdown")]);
    assert_eq!(polls, 12, "it may stay away for days");
    // Back again, it ends them after some seconds.
    desk.nodes(&[node(1), node(2)]);
    assert!(desk.pause() <= 200);
    desk.go_on(Duration::from_secs(3), &successors, &[lost("running", "shutdown")]);
    desk.answer(&successors, &[Task { version: 9, ..lost("shutdown", "shutdown") }]);
    desk.assert(&["Upsert c3", "Drain c2", "Remove c2"], &[("c1", Running), ("c3", Running)]);
}

#[test]
fn an_end_long_ago_is_no_news() {
    // Tasks that ended stay listed, with their addresses; so do those whose end began before we came.
    let mut desk = Desk::new();
    desk.answer(&[task(1)], &[]);
    let turn = desk.turn();
    let question = Question { expected: ["t2".to_owned(), "t3".to_owned()].into(), ..desk.tracker.question(&turn) };
    let history = [task(2).at("shutdown", "shutdown"), task(3).at("running", "shutdown")];
    desk.answer_to(&turn, &question, &[task(1)], &history);
    desk.assert(&["Upsert c1"], &[("c1", Running)]);
}

#[test]
fn what_happens_on_the_managers_own_node_acts_at_once() {
    let mut desk = Desk::with(&[task(1), task(2), task(3), task(4)]);
    desk.event("c1", EventKind::Die);
    desk.kill("c2", "TERM");
    desk.event("c3", EventKind::Pause);
    desk.event_with("c4", EventKind::Health, Some(false));
    desk.assert(
        &["Remove c1", "Drain c2", "Upsert c3", "Upsert c4"],
        &[("c2", Draining), ("c3", Paused), ("c4", Ailing)],
    );
    assert_eq!(desk.considered[&"c1".into()], "not-running");
    desk.event("c3", EventKind::Unpause);
    desk.event_with("c4", EventKind::Health, Some(true));
    // The manager lags behind.
    desk.answer(&[task(1).at("running", "running"), task(2), task(3), task(4)], &[]);
    let log = ["Remove c1", "Drain c2", "Upsert c3", "Upsert c4", "Upsert c3", "Upsert c4"];
    desk.assert(&log, &[("c2", Draining), ("c3", Running), ("c4", Running)]);
    assert_eq!(desk.pause(), 200, "and is asked what it makes of it");
}

#[test]
fn which_signals_drain() {
    let quits = Task { stop_signal: Signal::parse("QUIT").unwrap(), ..task(2) };
    for (id, signal, expected) in [
        ("c1", "TERM", Draining),
        ("c1", "KILL", Draining),
        ("c1", "HUP", Running),
        ("c1", "QUIT", Running),
        ("c2", "QUIT", Draining),
        ("c2", "TERM", Running),
        ("c2", "9", Draining),
    ] {
        let mut desk = Desk::with(&[task(1), quits.clone()]);
        desk.kill(id, signal);
        assert_eq!(desk.registry[&id.into()], expected, "{signal} to {id}");
    }
}

#[test]
fn an_end_that_the_manager_denies_for_long_is_not_believed_for_ever() {
    let mut desk = Desk::with(&[task(1)]);
    desk.event("c1", EventKind::Die);
    desk.go_on(LAG - Duration::from_secs(1), &[task(1)], &[]);
    desk.assert(&["Remove c1"], &[]);
    desk.go_on(Duration::from_secs(7), &[task(1)], &[]);
    desk.assert(&["Remove c1", "Upsert c1"], &[("c1", Running)]);
    desk.event("c1", EventKind::Die);
    desk.event("c1", EventKind::Start);
    assert_eq!(desk.registry.len(), 1, "it runs again");
}

#[test]
fn an_end_may_be_seen_before_the_task_is() {
    let mut desk = Desk::with(&[]);
    desk.event("c1", EventKind::Start);
    desk.event("c1", EventKind::Die);
    desk.answer(&[task(1)], &[]);
    desk.assert(&[], &[]);
    desk.answer(&[], &[task(1).at("failed", "shutdown")]);
    assert!(desk.considered.is_empty() && desk.tracker.containers.is_empty());
}

fn container(id: &str, run_state: RunState) -> Container {
    let (name, image, network_mode, labels, networks, ports, published) = Default::default();
    Container { id: id.into(), name, image, labels, run_state, network_mode, networks, ports, published, details: None }
}

#[test]
fn who_is_paused_or_ailing_is_listed_after_a_connect() {
    let mut desk = Desk::with(&[task(1), task(2), task(3), task(4)]);
    let list = |desk: &mut Desk, rows: Vec<Container>| {
        let actions = desk.tracker.on_containers(rows, desk.now);
        desk.perform(actions);
    };
    desk.tracker.containers_asked();
    desk.event("c3", EventKind::Pause);
    desk.event("c4", EventKind::Pause);
    desk.event("c4", EventKind::Unpause);
    let rows = [
        ("c1", RunState::Paused),
        ("c2", RunState::Unhealthy),
        ("c3", RunState::Running),
        ("c4", RunState::Paused),
        ("x", RunState::Paused),
    ];
    list(&mut desk, rows.into_iter().map(|(id, state)| container(id, state)).collect());
    let expected = [("c1", Paused), ("c2", Ailing), ("c3", Paused), ("c4", Running)];
    assert_eq!(desk.registry, expected.into_iter().map(|(id, lifecycle)| (id.into(), lifecycle)).collect());
    // Another manager's node has none of them; whoever was told to stop stays told.
    desk.kill("c4", "TERM");
    desk.tracker.containers_asked();
    list(&mut desk, Vec::new());
    let expected = [("c1", Running), ("c2", Running), ("c3", Running), ("c4", Draining)];
    assert_eq!(desk.registry, expected.into_iter().map(|(id, lifecycle)| (id.into(), lifecycle)).collect());
}

#[test]
fn nothing_ends_a_drain() {
    let mut desk = Desk::with(&[task(1)]);
    desk.answer(&[], &[task(1).at("running", "shutdown")]);
    // The next manager has not heard of it yet.
    let actions = desk.tracker.reconnected(inside(&["shop_default"]), desk.now);
    desk.perform(actions);
    desk.answer(&[Task { version: 9, ..task(1) }], &[Task { version: 9, ..task(1) }]);
    let actions = desk.tracker.whole(desk.now);
    desk.perform(actions);
    desk.assert(&["Drain c1", "Reset"], &[("c1", Draining)]);
}

#[test]
fn a_service_that_is_gone_drains_its_tasks_until_they_ended() {
    let mut desk = Desk::with(&[task(1)]);
    let other = Service { id: "other".to_owned(), labels: labels(&[("evenkeel.enable", "true")]), ..service() };
    desk.services(std::slice::from_ref(&other));
    desk.assert(&["Drain c1"], &[("c1", Draining)]);
    desk.answer(&[], &[task(1)]);
    desk.assert(&["Drain c1"], &[("c1", Draining)]);
    desk.answer(&[], &[]);
    desk.assert(&["Drain c1", "Remove c1"], &[]);
}

#[test]
fn tasks_of_the_last_service_that_is_gone_are_asked_about_all_the_same() {
    let mut desk = Desk::with(&[task(1)]);
    desk.services(&[]);
    desk.assert(&["Drain c1"], &[("c1", Draining)]);
    desk.answer(&[], &[]);
    desk.assert(&["Drain c1", "Remove c1"], &[]);
    assert_eq!(desk.tracker.turn(desk.now), None, "nobody is left");
}

#[test]
fn new_labels_of_a_service_and_a_new_name_of_a_node_hold_for_tasks_that_did_not_change() {
    let mut desk = Desk::with(&[task(1)]);
    desk.services(&[Service { version: 2, labels: labels(&[("evenkeel.weight", "7")]), ..service() }]);
    desk.nodes(&[Node { hostname: "anchor".to_owned(), ..node(1) }, node(2)]);
    desk.assert(&["Upsert c1", "Upsert c1"], &[("c1", Running)]);
    let spec = &desk.tracker.tasks["t1"].sighting().unwrap().spec;
    assert_eq!((spec.weight, spec.name.as_str()), (7, "gateway.1@anchor"));
    desk.services(&[Service { version: 3, labels: labels(&[("evenkeel.enable", "false")]), ..service() }]);
    desk.assert(&["Upsert c1", "Upsert c1", "Remove c1"], &[]);
    assert_eq!(desk.considered[&"c1".into()], "opted-out");
}

#[test]
fn a_service_that_loses_its_label_is_let_go_and_taken_back_with_it() {
    let mut desk = Desk::new();
    let labelled = Service { name: "other".to_owned(), labels: labels(&[("evenkeel.enable", "true")]), ..service() };
    desk.services(std::slice::from_ref(&labelled));
    desk.answer(&[task(1)], &[]);
    desk.assert(&["Upsert c1"], &[("c1", Running)]);
    desk.services(&[Service { version: 2, labels: HashMap::new(), stack: None, ..labelled.clone() }]);
    desk.assert(&["Upsert c1", "Remove c1"], &[]);
    assert_eq!((desk.considered.len(), desk.tracker.turn(desk.now)), (0, None), "nobody asks about it");
    desk.services(&[Service { version: 3, ..labelled }]);
    desk.answer(&[task(1)], &[]);
    desk.assert(&["Upsert c1", "Remove c1", "Upsert c1"], &[("c1", Running)]);
}

#[test]
fn an_answer_without_news_is_no_work() {
    let mut desk = Desk::with(&[task(1), task(2)]);
    desk.services(&[service()]);
    desk.nodes(&[node(1), node(2)]);
    desk.go_on(A_MINUTE, &[task(1), task(2)], &[]);
    desk.assert(&[], &[("c1", Running), ("c2", Running)]);
    // Not even a look: a row of a known version is not read.
    let odd = Task { state: TaskState::Ended("failed".to_owned()), ..task(1) };
    desk.answer(&[odd, task(2)], &[]);
    desk.assert(&[], &[("c1", Running), ("c2", Running)]);
}

#[test]
fn many_at_once_are_told_in_one_go() {
    let mut desk = Desk::with(&[]);
    let tasks: Vec<_> = (1..=100).map(task).collect();
    desk.answer(&tasks, &[]);
    assert_eq!(
        (desk.log.as_slice(), desk.registry.len(), desk.considered.len()),
        (&["Reset".to_owned()][..], 100, 100)
    );
    desk.answer(&[], &tasks.iter().map(|task| task.clone().at("running", "remove")).collect::<Vec<_>>());
    assert_eq!((desk.log.len(), desk.registry.values().all(|lifecycle| *lifecycle == Draining)), (2, true));
}

#[test]
fn services_that_are_none_of_our_business_are_not_even_asked_about() {
    let mut desk = Desk::new();
    desk.services(&[service(), Service { id: "b".to_owned(), name: "shop_billing".to_owned(), ..service() }]);
    assert_eq!(desk.turn().services, ["gateway-id"]);
    desk.tracker.on_ring(Some("b"), desk.now);
    let actions = desk.tracker.on_container(&Event { id: "x".into(), kind: EventKind::Die }, None, "b", desk.now);
    desk.perform(actions);
    assert_eq!(desk.turn().services, ["gateway-id"]);
    assert!(desk.tracker.ended.is_empty());
}

#[test]
fn whether_a_list_of_services_is_news() {
    let desk = Desk::new();
    let unrelated = Service { id: "b".to_owned(), name: "billing".to_owned(), ..service() };
    assert!(!desk.tracker.is_news(&[service(), unrelated.clone()]));
    assert!(desk.tracker.is_news(&[unrelated]));
    assert!(desk.tracker.is_news(&[Service { version: 2, ..service() }]));
    assert!(desk.tracker.is_news(&[service(), Service { id: "c".to_owned(), ..service() }]));
}

#[test]
fn what_rings_for_a_quiet_service_and_what_does_not() {
    let quiet = || {
        let tasks = [task(1), task(2)];
        let mut desk = Desk::with(&tasks);
        desk.go_on(A_MINUTE, &tasks, &[]);
        desk.answer(&tasks, &[]);
        assert!(desk.pause() > 200, "nothing is under way");
        desk
    };
    let mut desk = quiet();
    desk.nodes(&[node(1), node(2)]);
    desk.tracker.on_ring(Some("another"), desk.now);
    assert!(desk.pause() > 200, "no news");
    desk.tracker.on_ring(Some("gateway-id"), desk.now);
    assert!(desk.pause() <= 200, "an event of the service");
    let mut desk = quiet();
    desk.nodes(&[node(1), Node { hostname: "anchor".to_owned(), ..node(2) }]);
    assert!(desk.pause() <= 200, "a node is not what it was");
    let mut desk = quiet();
    let actions = desk.tracker.reconnected(inside(&["shop_default"]), desk.now);
    desk.perform(actions);
    assert!(desk.pause() <= 200, "another manager may know more");
}

#[test]
fn a_task_that_ends_is_news_of_its_service_and_leaves_nothing_behind() {
    let mut desk = Desk::with(&[task(1), task(2)]);
    desk.services(&[service_of(2)]);
    desk.event("c2", EventKind::Pause);
    desk.go_on(A_MINUTE, &[task(1), task(2)], &[]);
    // Nobody knows it any more.
    desk.answer(&[task(1)], &[]);
    assert!(desk.pause() <= 200, "another one in its place is to be expected");
    assert!(desk.tracker.local.is_empty() && desk.tracker.containers.len() == 1);
}

#[test]
fn a_manager_that_lags_behind_takes_no_container_away() {
    let mut desk = Desk::with(&[task(1)]);
    desk.answer(&[Task { version: 9, container: None, ..task(1) }], &[]);
    desk.assert(&[], &[("c1", Running)]);
}

#[test]
fn a_task_without_a_version_is_looked_at_each_time() {
    let unversioned = |state: &str| Task { version: 0, ..task(1).at(state, "running") };
    let mut desk = Desk::with(&[unversioned("starting")]);
    desk.answer(&[unversioned("running")], &[]);
    desk.assert(&["Upsert c1"], &[("c1", Running)]);
}

#[test]
fn from_how_many_changes_on_they_are_told_in_one_go() {
    let log = |count: usize| {
        let mut desk = Desk::with(&[]);
        desk.answer(&(1..).take(count).map(task).collect::<Vec<_>>(), &[]);
        desk.log
    };
    assert_eq!(log(MANY - 1).len(), MANY - 1);
    assert_eq!(log(MANY), ["Reset"]);
}
