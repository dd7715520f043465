use std::time::Duration;

use super::super::fixtures::{elsewhere, gateway, inside, labelled, outside, settings};
use super::*;

/// The verdict's code, and where it is dialled if it is a replica.
fn outcome(container: &Container, scope: &Scope) -> Option<String> {
    let Evaluation { considered, sighting } = evaluate(container, scope)?;
    let code = considered.verdict.code();
    Some(sighting.map_or(code.to_owned(), |s| format!("{code} {}/{} at {}", s.spec.service, s.spec.name, s.spec.addr)))
}

fn assert_outcomes(scope: &Scope, table: impl IntoIterator<Item = (&'static str, Container, Option<&'static str>)>) {
    for (what, container, expected) in table {
        assert_eq!(outcome(&container, scope).as_deref(), expected, "{what}");
    }
}

const ENABLE: (&str, &str) = ("evenkeel.enable", "true");
const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";

fn me() -> Container {
    Container { id: "me".into(), ..gateway(1) }
}

#[test]
fn which_containers_are_ours() {
    let other = |label, value| gateway(1).labelled(label, value);
    let table = [
        ("of our service", gateway(3), Some("routed gateway/gateway-3 at 10.0.0.13:3001")),
        ("of another service", other(SERVICE, "redis"), None),
        ("of our service in another project", other(PROJECT, "blog"), None),
        ("no Compose, no labels", labelled(&[]), None),
        ("somebody else's labels", labelled(&[("evenkeeler.enable", "true")]), None),
        ("ourselves", me(), None),
        ("ourselves, labelled", me().labelled("evenkeel.enable", "true"), None),
        ("labelled outside Compose", labelled(&[ENABLE]), Some("routed lonely/lonely at 10.0.0.11:3001")),
        (
            "labelled of another service",
            other(SERVICE, "api").labelled("evenkeel.enable", "true"),
            Some("routed api/api-1 at 10.0.0.11:3001"),
        ),
        (
            "labelled of another project",
            other(PROJECT, "blog").labelled("evenkeel.enable", "true"),
            Some("other-project"),
        ),
        (
            "another service by label",
            other("evenkeel.service", "edge"),
            Some("routed edge/gateway-1 at 10.0.0.11:3001"),
        ),
        ("opted out", other("evenkeel.enable", "false"), Some("opted-out")),
        (
            "opted out with a bad label",
            other("evenkeel.enable", "false").labelled("evenkeel.port", "x"),
            Some("opted-out"),
        ),
        ("labelled but not enabled", labelled(&[("evenkeel.port", "80")]), Some("not-enabled")),
        ("misspelt enable", labelled(&[("evenkeel.enabel", "true")]), Some("not-enabled")),
        ("enable with a bad value", labelled(&[("evenkeel.enable", "yes")]), Some("bad-label")),
        ("one-off", other("com.docker.compose.oneoff", "True"), Some("one-off")),
        (
            "one-off, enabled",
            other("com.docker.compose.oneoff", "True").labelled("evenkeel.enable", "true"),
            Some("one-off"),
        ),
    ];
    assert_outcomes(&inside(&["shop_default"]), table);
}

#[test]
fn without_a_project_only_labels_count() {
    let scope = Scope { settings: settings(), ..Scope::default() };
    let table = [
        ("of the service in some project", gateway(1), None),
        (
            "labelled in some project",
            gateway(1).labelled("evenkeel.enable", "true"),
            Some("routed gateway/gateway-1 at 10.0.0.11:3001"),
        ),
    ];
    assert_outcomes(&scope, table);
}

#[test]
fn the_project_of_the_flag_is_stronger_than_our_own() {
    let mut scope = inside(&["shop_default"]);
    scope.settings.project = Some("blog".to_owned());
    assert_eq!(outcome(&gateway(1), &scope), None);
    assert!(outcome(&gateway(1).labelled(PROJECT, "blog"), &scope).unwrap().starts_with("routed"));
}

#[test]
fn where_it_is_in_its_life() {
    let table = [
        (RunState::Running, "routed", Some(Lifecycle::Running)),
        (RunState::Starting, "starting", Some(Lifecycle::Starting)),
        (RunState::Unhealthy, "unhealthy", Some(Lifecycle::Ailing)),
        (RunState::Paused, "paused", Some(Lifecycle::Paused)),
        (RunState::Stopping, "draining", Some(Lifecycle::Draining)),
        (RunState::Down("restarting".to_owned()), "not-running", None),
    ];
    for (run_state, code, lifecycle) in table {
        let evaluation = evaluate(&gateway(1).is(run_state), &inside(&["shop_default"])).unwrap();
        assert_eq!(evaluation.considered.verdict.code(), code);
        assert_eq!(evaluation.sighting.as_ref().map(|s| s.lifecycle), lifecycle);
        let drained = evaluation.drained();
        assert_eq!(drained.sighting.map(|s| s.lifecycle), lifecycle.map(|_| Lifecycle::Draining));
    }
}

#[test]
fn the_address_is_on_a_network_we_share() {
    let both = [("shop_back", "10.2.0.5"), ("shop_default", "10.1.0.5")];
    let table = [
        ("the only one shared", gateway(1).on(&both), Some("routed gateway/gateway-1 at 10.1.0.5:3001")),
        ("none shared", gateway(1).on(&[("blog_default", "10.3.0.5")]), Some("no-shared-network")),
        ("none at all", gateway(1).on(&[]), Some("no-shared-network")),
        (
            "IPv6 only",
            gateway(1).on(&[("shop_default", "fd00::5")]),
            Some("routed gateway/gateway-1 at [fd00::5]:3001"),
        ),
        ("no address yet", gateway(1).on(&[("shop_default", "")]), Some("no-address")),
        (
            "named by label, as Compose calls it",
            gateway(1).on(&both).labelled("evenkeel.network", "back"),
            Some("routed gateway/gateway-1 at 10.2.0.5:3001"),
        ),
        (
            "named by label, in full",
            gateway(1).on(&both).labelled("evenkeel.network", "shop_back"),
            Some("routed gateway/gateway-1 at 10.2.0.5:3001"),
        ),
        (
            "named by label, not there",
            gateway(1).on(&both).labelled("evenkeel.network", "front"),
            Some("not-on-network"),
        ),
        (
            "on the host's network",
            Container { network_mode: "host".to_owned(), ..gateway(1).on(&[("host", "")]) },
            Some("no-shared-network"),
        ),
    ];
    assert_outcomes(&inside(&["shop_default"]), table);
}

#[test]
fn of_several_shared_networks_the_first_by_name_is_taken() {
    let container = gateway(1).on(&[("shop_a", ""), ("shop_b", "10.2.0.5"), ("shop_c", "10.1.0.5")]);
    let scope = inside(&["shop_c", "shop_b", "shop_a"]);
    assert_eq!(outcome(&container, &scope).unwrap(), "routed gateway/gateway-1 at 10.2.0.5:3001");
}

#[test]
fn the_flags_network_gives_way_to_the_label() {
    let mut scope = inside(&["shop_default"]);
    scope.settings.network = Some("back".to_owned());
    let container = gateway(1).on(&[("shop_back", "10.2.0.5"), ("shop_default", "10.1.0.5")]);
    assert_eq!(outcome(&container, &scope).unwrap(), "routed gateway/gateway-1 at 10.2.0.5:3001");
    let container = container.labelled("evenkeel.network", "default");
    assert_eq!(outcome(&container, &scope).unwrap(), "routed gateway/gateway-1 at 10.1.0.5:3001");
}

#[test]
fn two_networks_of_one_name_are_not_one_network() {
    let mut scope = inside(&["shop_default"]);
    let ours = scope.me.networks.as_mut().unwrap().get_mut("shop_default").unwrap();
    ours.network_id = "another-id".to_owned();
    assert_eq!(outcome(&gateway(1), &scope).unwrap(), "no-shared-network");
}

#[test]
fn from_outside_any_network_will_do() {
    let on_host = Container { network_mode: "host".to_owned(), ..gateway(1).on(&[("host", "")]) };
    let table = [
        ("the only one", gateway(1).on(&[("blog", "10.3.0.5")]), Some("routed gateway/gateway-1 at 10.3.0.5:3001")),
        (
            "the project's default",
            gateway(1).on(&[("a", "10.3.0.5"), ("shop_default", "10.1.0.5"), ("z", "10.4.0.5")]),
            Some("routed gateway/gateway-1 at 10.1.0.5:3001"),
        ),
        ("no default among them", gateway(1).on(&[("a", "10.3.0.5"), ("b", "10.1.0.5")]), Some("several-networks")),
        (
            "only one with an address",
            gateway(1).on(&[("a", ""), ("b", "10.1.0.5")]),
            Some("routed gateway/gateway-1 at 10.1.0.5:3001"),
        ),
        ("no network", gateway(1).on(&[("none", "")]), Some("no-address")),
        ("the host's", on_host, Some("routed gateway/gateway-1 at 127.0.0.1:3001")),
    ];
    assert_outcomes(&outside(), table);
}

#[test]
fn on_another_host_the_published_port_is_dialled() {
    let published = |ip: &str| gateway(1).publishing(ip, 32768, 3001);
    let on_host = |ports: &[u16]| Container { network_mode: "host".to_owned(), ..gateway(1).exposing(ports) };
    let table = [
        ("at every address", published("0.0.0.0"), Some("routed gateway/gateway-1@vm-2 at 10.0.0.5:32768")),
        ("at that one", published("10.0.0.5"), Some("routed gateway/gateway-1@vm-2 at 10.0.0.5:32768")),
        ("the engine does not say", published(""), Some("routed gateway/gateway-1@vm-2 at 10.0.0.5:32768")),
        ("at another address only", published("127.0.0.1"), Some("not-published")),
        ("for IPv6 only", published("::"), Some("not-published")),
        ("nowhere", gateway(1), Some("not-published")),
        ("another port", gateway(1).publishing("0.0.0.0", 9000, 9000), Some("not-published")),
        (
            "twice: the lower of both",
            published("0.0.0.0").publishing("0.0.0.0", 8080, 3001),
            Some("routed gateway/gateway-1@vm-2 at 10.0.0.5:8080"),
        ),
        (
            "of several exposed the one that is published",
            gateway(1).exposing(&[80, 443]).publishing("0.0.0.0", 8443, 443),
            Some("routed gateway/gateway-1@vm-2 at 10.0.0.5:8443"),
        ),
        (
            "several published",
            gateway(1).exposing(&[80, 443]).publishing("0.0.0.0", 8443, 443).publishing("0.0.0.0", 8080, 80),
            Some("several-ports"),
        ),
        (
            "the label says which, in the container's terms",
            published("0.0.0.0").publishing("0.0.0.0", 8080, 80).labelled("evenkeel.port", "80"),
            Some("routed gateway/gateway-1@vm-2 at 10.0.0.5:8080"),
        ),
        (
            "its network does not matter",
            published("0.0.0.0").labelled("evenkeel.network", "front"),
            Some("routed gateway/gateway-1@vm-2 at 10.0.0.5:32768"),
        ),
        ("it left its network", published("0.0.0.0").on(&[]), Some("not-published")),
        ("no port at all", gateway(1).exposing(&[]), Some("no-port")),
        ("on that host's network", on_host(&[3001]), Some("routed gateway/gateway-1@vm-2 at 10.0.0.5:3001")),
        ("there, and no port", on_host(&[]), Some("no-port")),
        (
            "outside Compose",
            labelled(&[ENABLE]).publishing("0.0.0.0", 1, 3001),
            Some("routed lonely/lonely@vm-2 at 10.0.0.5:1"),
        ),
    ];
    assert_outcomes(&elsewhere("10.0.0.5"), table);
    let ipv6 = published("0.0.0.0").publishing("::", 32769, 3001);
    assert_eq!(outcome(&ipv6, &elsewhere("fd00::5")).unwrap(), "routed gateway/gateway-1@vm-2 at [fd00::5]:32769");
    let considered = evaluate(&gateway(1), &elsewhere("10.0.0.5")).unwrap().considered;
    assert_eq!(considered.name, "shop-gateway-1@vm-2");
}

#[test]
fn our_project_counts_for_other_hosts() {
    let mut scope = Scope { own_project: Some("shop".into()), ..elsewhere("10.0.0.5") };
    scope.settings.project = None;
    let container = gateway(1).publishing("0.0.0.0", 1, 3001);
    assert!(outcome(&container, &scope).unwrap().starts_with("routed"));
    scope.settings.project = Some("blog".to_owned());
    assert_eq!(outcome(&container, &scope), None, "the flag is stronger");
}

#[test]
fn the_port_is_the_only_one_exposed_unless_named() {
    let mut scope = inside(&["shop_default"]);
    let table = [
        ("none", gateway(1).exposing(&[]), Some("no-port")),
        ("several", gateway(1).exposing(&[80, 443]), Some("several-ports")),
        (
            "several, and a label",
            gateway(1).exposing(&[80, 443]).labelled("evenkeel.port", "8080"),
            Some("routed gateway/gateway-1 at 10.0.0.11:8080"),
        ),
    ];
    assert_outcomes(&scope, table);
    scope.settings.port = Some(9000);
    assert!(outcome(&gateway(1), &scope).unwrap().ends_with(":9000"), "the flag is stronger than what is exposed");
    let labelled = gateway(1).labelled("evenkeel.port", "8080");
    assert!(outcome(&labelled, &scope).unwrap().ends_with(":8080"), "the label is stronger than the flag");
}

#[test]
fn a_replica_carries_what_its_labels_and_the_settings_say() {
    let mut scope = inside(&["shop_default"]);
    scope.settings.defaults.drain_timeout = Some(Duration::from_secs(9));
    let plain = evaluate(&gateway(3), &scope).unwrap().sighting.unwrap().spec;
    assert_eq!((plain.weight, plain.number, plain.drain_timeout), (1, Some(3), Some(Duration::from_secs(9))));
    assert_eq!(plain.project.as_deref(), Some("shop"));
    assert_eq!(plain.network.as_deref(), Some("shop_default"));
    assert_eq!(plain.image.as_deref(), Some("gateway:1"));
    let labelled = gateway(3)
        .labelled("evenkeel.weight", "5")
        .labelled("evenkeel.drain-timeout", "1s")
        .labelled("evenkeel.health.path", "/up");
    let labelled = evaluate(&labelled, &scope).unwrap().sighting.unwrap().spec;
    assert_eq!((labelled.weight, labelled.drain_timeout), (5, Some(Duration::from_secs(1))));
    assert_eq!(labelled.probe.path.as_deref(), Some("/up"));
}

#[test]
fn the_verdict_names_the_reason_and_the_fix() {
    let scope = inside(&["shop_default"]);
    let verdict = |container: Container| evaluate(&container, &scope).unwrap().considered.verdict.to_string();
    let table = [
        (
            gateway(1).labelled("evenkeel.port", "htpp"),
            "label evenkeel.port is \"htpp\": it should be a port from 1 to 65535",
        ),
        (gateway(1).exposing(&[]), "it exposes no TCP port: set evenkeel.port or --port"),
        (
            gateway(1).exposing(&[80, 443]),
            "it exposes several TCP ports (80, 443): say which with evenkeel.port or --port",
        ),
        (
            gateway(1).on(&[("blog", "10.3.0.5")]),
            "on no network of ours: it is on blog, we are on shop_default; put both on one network",
        ),
        (
            gateway(1).labelled("evenkeel.network", "front"),
            "not on network \"front\" but on shop_default: correct evenkeel.network or --network",
        ),
    ];
    for (container, text) in table {
        assert_eq!(verdict(container), text);
    }
    let told =
        |container: Container| evaluate(&container, &elsewhere("10.0.0.5")).unwrap().considered.verdict.to_string();
    assert_eq!(
        told(gateway(1)),
        "it runs on another host, and its port 3001 is not published at 10.0.0.5 there: publish it, like ports: [\"3001\"]"
    );
    assert!(
        told(gateway(1).publishing("127.0.0.1", 9, 3001))
            .contains("not published at 10.0.0.5 there but at 127.0.0.1:9:")
    );
}

#[test]
fn further_bad_labels_and_unknown_ones_are_warnings() {
    let container =
        gateway(1).labelled("evenkeel.port", "x").labelled("evenkeel.weight", "y").labelled("evenkeel.prot", "1");
    let considered = evaluate(&container, &inside(&["shop_default"])).unwrap().considered;
    assert_eq!(considered.verdict.code(), "bad-label");
    let [weight, prot] = considered.warnings.as_slice() else { panic!("{:?}", considered.warnings) };
    assert!(weight.contains("evenkeel.weight") && prot.contains("did you mean evenkeel.port?"), "{weight}, {prot}");
}
