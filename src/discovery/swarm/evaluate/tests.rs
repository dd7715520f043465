use super::super::fixtures::{attachment, inside, labels, node, outside, service, task};
use super::*;

/// What comes of a task: its service, name and address, or the verdict's code.
fn judged(task: &Task, service: &Service, scope: &Scope) -> String {
    let Some(Evaluation { considered, sighting }) = evaluate(task, service, Some(&node(1)), Local::default(), scope)
    else {
        return "none of our business".to_owned();
    };
    match sighting {
        Some(Sighting { spec, .. }) => format!("{} {} {}", spec.service, spec.name, spec.addr),
        None => considered.verdict.code().to_owned(),
    }
}

#[test]
fn which_services_are_ours_and_how_they_are_called() {
    let in_stack = |stack: Option<&str>, name: &str| Service {
        name: name.to_owned(),
        stack: stack.map(str::to_owned),
        ..service()
    };
    let enabled = |service: Service| Service { labels: labels(&[("evenkeel.enable", "true")]), ..service };
    let of = |stack: &str| Scope {
        settings: SwarmSettings { project: Some(stack.to_owned()), ..outside().settings },
        ..outside()
    };
    let asking = |name: &str| Scope {
        settings: SwarmSettings { service: ServiceName::from(name), ..outside().settings },
        ..outside()
    };
    let shop = || in_stack(Some("shop"), "shop_gateway");
    let table = [
        ("our own stack's", inside(&["shop_default"]), shop(), true, "gateway gateway.1@node-1 10.0.1.1:3001"),
        ("that of --project", of("shop"), shop(), true, "gateway gateway.1@node-1 10.0.1.1:3001"),
        ("--project goes before our own", of("other"), shop(), false, "not-enabled"),
        ("no stack is known", outside(), shop(), false, "not-enabled"),
        ("by its whole name", asking("shop_gateway"), shop(), true, "shop_gateway gateway.1@node-1 10.0.1.1:3001"),
        ("without a stack", outside(), in_stack(None, "gateway"), true, "gateway gateway.1@node-1 10.0.1.1:3001"),
        (
            "without a stack, from one",
            inside(&["shop_default"]),
            in_stack(None, "gateway"),
            true,
            "gateway gateway.1@node-1 10.0.1.1:3001",
        ),
        ("another service", inside(&["shop_default"]), in_stack(Some("shop"), "shop_billing"), false, "not-enabled"),
        (
            "another service, labelled",
            inside(&["shop_default"]),
            enabled(in_stack(Some("shop"), "shop_billing")),
            true,
            "billing billing.1@node-1 10.0.1.1:3001",
        ),
        (
            "another stack's, labelled",
            inside(&["shop_default"]),
            enabled(in_stack(Some("b"), "b_gateway")),
            true,
            "other-project",
        ),
        (
            "a stack's, labelled, and none is known",
            outside(),
            enabled(in_stack(Some("b"), "b_gateway")),
            true,
            "b_gateway gateway.1@node-1 10.0.1.1:3001",
        ),
    ];
    for (what, scope, service, concerns, expected) in table {
        assert_eq!(scope.concerns(&service), concerns, "{what}");
        assert_eq!(judged(&task(1), &service, &scope), expected, "{what}");
    }
}

#[test]
fn labels_may_stand_on_the_service_or_on_its_containers_which_go_first() {
    let scope = inside(&["shop_default"]);
    let mut labelled = Service { labels: labels(&[("evenkeel.port", "80"), ("evenkeel.weight", "3")]), ..service() };
    let found = |task: &Task, service: &Service| {
        let spec = evaluate(task, service, None, Local::default(), &scope).unwrap().sighting.unwrap().spec;
        (spec.addr.port(), spec.weight, spec.service.to_string())
    };
    assert_eq!(found(&task(1), &labelled), (80, 3, "gateway".to_owned()));
    let own = Task { labels: labels(&[("evenkeel.weight", "5"), ("evenkeel.service", "api")]), ..task(1) };
    assert_eq!(found(&own, &labelled), (80, 5, "api".to_owned()));
    for (label, value, code) in [("evenkeel.enable", "false", "opted-out"), ("evenkeel.port", "x", "bad-label")] {
        labelled.labels = labels(&[(label, value)]);
        assert_eq!(judged(&task(1), &labelled, &scope), code);
    }
    assert_eq!(judged(&task(1), &Service { is_job: true, ..service() }, &scope), "one-off");
}

#[test]
fn what_a_task_does_decides_its_lifecycle() {
    let (scope, local) = (inside(&["shop_default"]), Local::default());
    let (paused, ailing) = (Local { is_paused: true, ..local }, Local { is_ailing: true, ..local });
    let told = Local { is_told: true, ..local };
    let table = [
        ("running", "running", local, Ok(Lifecycle::Running)),
        ("starting", "running", local, Ok(Lifecycle::Starting)),
        ("preparing", "running", local, Err("not-running")),
        ("ready", "ready", local, Err("not-running")),
        ("running", "shutdown", local, Ok(Lifecycle::Draining)),
        ("running", "remove", local, Ok(Lifecycle::Draining)),
        ("starting", "shutdown", local, Ok(Lifecycle::Draining)),
        ("failed", "running", local, Err("not-running")),
        ("running", "running", paused, Ok(Lifecycle::Paused)),
        ("running", "running", ailing, Ok(Lifecycle::Ailing)),
        ("starting", "running", ailing, Ok(Lifecycle::Starting)),
        ("running", "running", told, Ok(Lifecycle::Draining)),
        ("running", "shutdown", paused, Ok(Lifecycle::Draining)),
    ];
    for (state, desired, local, expected) in table {
        let found = evaluate(&task(1).at(state, desired), &service(), None, local, &scope).unwrap();
        let code = found.considered.verdict.code();
        assert_eq!(found.sighting.map(|s| s.lifecycle).ok_or(code), expected, "{state}, wanted {desired}, {local:?}");
    }
    let unborn = Task { container: None, ..task(1) };
    assert_eq!(judged(&unborn, &service(), &scope), "not-running");
    let me = Task { container: Some("me".into()), ..task(1) };
    assert_eq!(judged(&me, &service(), &scope), "none of our business");
}

#[test]
fn a_global_services_task_goes_by_its_node() {
    let scope = inside(&["shop_default"]);
    let global = Task { slot: None, ..task(1) };
    assert_eq!(judged(&global, &service(), &scope), "gateway gateway@node-1 10.0.1.1:3001");
    let unknown = evaluate(&global, &service(), None, Local::default(), &scope).unwrap();
    assert_eq!(unknown.considered.name, "gateway@n1", "until the nodes are listed anew");
}

#[test]
fn which_address_is_dialled() {
    let named = |scope: Scope, network: &str| Scope {
        settings: SwarmSettings { network: Some(network.to_owned()), ..scope.settings },
        ..scope
    };
    let two = [("shop_back", "10.0.2.1"), ("shop_default", "10.0.1.1")];
    let none: [(&str, &str); 0] = [];
    let table = [
        ("the shared one", inside(&["shop_default"]), &two[..], "10.0.1.1:3001"),
        ("the named one", named(inside(&["shop_default"]), "shop_back"), &two[..], "10.0.2.1:3001"),
        ("named without the stack", named(outside(), "back"), &two[..], "10.0.2.1:3001"),
        ("named and not there", named(outside(), "front"), &two[..], "not-on-network"),
        ("none shared", inside(&["other"]), &two[..], "no-shared-network"),
        ("nobody knows where we are", outside(), &two[..], "several-networks"),
        ("the only one", outside(), &two[..1], "10.0.2.1:3001"),
        ("none", outside(), &none, "no-address"),
        ("without an address", inside(&["shop_default"]), &[("shop_default", "")][..], "no-address"),
        ("IPv6", outside(), &[("six", "fd00::1")][..], "[fd00::1]:3001"),
        ("on its node's own network", inside(&["shop_default"]), &[("host", "")][..], "10.99.0.11:3001"),
    ];
    for (what, scope, networks, expected) in table {
        // Whoever has published ports is on this one, too, where nobody but the mesh can reach it.
        let mut task = task(1).on(networks);
        task.networks.insert(0, Attachment { is_ingress: true, ..attachment("ingress", "10.255.0.9") });
        let scope = Scope {
            settings: SwarmSettings { service: ServiceName::from("shop_gateway"), ..scope.settings.clone() },
            ..scope.clone()
        };
        let found = judged(&task, &service(), &scope);
        assert_eq!(found.rsplit(' ').next().unwrap(), expected, "{what}");
    }
}

#[test]
fn which_port_is_dialled() {
    let table = [
        (Some("1"), Some(2), &[3_u16][..], "10.0.1.1:1"),
        (None, Some(2), &[3], "10.0.1.1:2"),
        (None, None, &[3], "10.0.1.1:3"),
        (None, None, &[3, 4], "several-ports"),
        (None, None, &[], "no-port"),
        (Some("0"), Some(2), &[3], "bad-label"),
    ];
    for (label, setting, published, expected) in table {
        let label = label.map(|port| ("evenkeel.port", port));
        let service =
            Service { labels: labels(label.as_slice()), ports: published.iter().copied().collect(), ..service() };
        let mut scope = inside(&["shop_default"]);
        scope.settings.port = setting;
        let found = judged(&task(1), &service, &scope);
        assert_eq!(found.rsplit(' ').next().unwrap(), expected, "{label:?} {setting:?} {published:?}");
    }
}

#[test]
fn a_task_without_a_container_is_not_us_who_have_none() {
    let unborn = Task { container: None, ..task(1) }.at("preparing", "running");
    let service = Service { name: "gateway".to_owned(), stack: None, ..service() };
    assert_eq!(judged(&unborn, &service, &outside()), "not-running");
}

#[test]
fn what_else_is_wrong_with_the_labels_is_a_warning() {
    let bad = labels(&[("evenkeel.port", "x"), ("evenkeel.weight", "y")]);
    let service = Service { labels: bad, ..service() };
    let considered =
        evaluate(&task(1), &service, None, Local::default(), &inside(&["shop_default"])).unwrap().considered;
    let verdict = considered.verdict.to_string();
    assert_eq!((considered.verdict.code(), considered.warnings.len()), ("bad-label", 1), "{considered:?}");
    assert!(considered.warnings.iter().all(|warning| *warning != verdict), "{considered:?}");
}
