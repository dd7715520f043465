use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use futures::StreamExt as _;
use integration_tests::fake_engine::Endpoint as Asked;
use integration_tests::{ContainerSpec, FakeEngine, FakeSwarm, ServiceSpec};
use tokio::time::timeout;

use super::super::fixtures::{labels, task};
use super::*;
use crate::discovery::docker::event::MessageKind;
use crate::discovery::docker::fixtures::ways::{certificates, ssh_before, tcp_before, tls_before};

const BOX: &str = "ssh://me@box";

/// A manager, and its Swarm of one node with one service.
fn swarm() -> (FakeEngine, FakeSwarm, String, String) {
    let (engine, swarm) = (FakeEngine::start(), FakeSwarm::new());
    swarm.add_manager(&engine);
    let node = swarm.add_node("node-1");
    let service = swarm.create_service(&ServiceSpec::stack("shop", "gateway", 2));
    (engine, swarm, node, service)
}

fn at(host: String, cert_path: Option<&Path>) -> ManagerHost {
    ManagerHost { host, cert_path: cert_path.map(Path::to_owned) }
}

/// A manager that is reached by `ssh`.
async fn by_ssh(ssh: &Path) -> Result<Manager, DockerError> {
    let client = Client::connect_with(BOX, None, ssh.to_str().unwrap()).await?;
    Ok(Manager { client, host: BOX.to_owned() })
}

/// Asks the manager for all there is to ask, and listens to it.
async fn assert_answers(way: &str, manager: &Manager, swarm: &FakeSwarm, service: &str) {
    manager.ping().await.unwrap();
    let seen = (manager.services().await.unwrap(), manager.nodes().await.unwrap());
    assert_eq!((seen.0[0].name.as_str(), seen.1[0].hostname.as_str()), ("shop_gateway", "node-1"), "{way}");
    assert_eq!(manager.containers().await.unwrap().len(), 1, "{way}: its node's");
    let question = Question { services: vec![service.to_owned()], ..Question::default() };
    assert_eq!(manager.tasks(question).await.unwrap().wanted.len(), 2, "{way}");

    let mut events = Box::pin(manager.events(SystemTime::now()));
    swarm.update_service(service, &ServiceSpec::stack("shop", "gateway", 2));
    let message = events.next().await.unwrap().unwrap();
    assert_eq!((message.kind, message.actor.as_str()), (MessageKind::Service, service), "{way}");
    manager.ping().await.unwrap();
}

#[tokio::test]
async fn a_manager_is_asked_and_heard_over_whatever_leads_to_it() {
    let (engine, swarm, node, service) = swarm();
    for slot in [1, 2] {
        swarm.create_task(&service, Some(slot), &node, ("shop_default", IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
    engine.run(ContainerSpec::plain("gateway.1").label(TASK, "t1"));
    let (pem, bin) = (certificates(), tempfile::tempdir().unwrap());
    for (way, host) in [
        ("unix", at(engine.host(), None)),
        ("tcp", at(tcp_before(&engine).await, None)),
        ("TLS", at(tls_before(&engine, pem.path()).await, Some(pem.path()))),
    ] {
        let manager = Manager::connect(&host).await.unwrap_or_else(|error| panic!("{way}: {error}"));
        assert_answers(way, &manager, &swarm, &service).await;
    }
    let manager = by_ssh(&ssh_before(&engine, bin.path()).await).await.unwrap();
    assert_answers("ssh", &manager, &swarm, &service).await;
    let logins = fs::read_to_string(bin.path().join("logins")).unwrap();
    let expected = "-T -o BatchMode=yes -o ConnectTimeout=8 -- ssh://me@box docker system dial-stdio";
    assert_eq!(logins.lines().collect::<Vec<_>>(), [expected; 2], "one for the events, one for all the rest");
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why() {
    let (engine, ..) = swarm();
    let (pem, others) = (certificates(), certificates());
    let url = tls_before(&engine, pem.path()).await;
    let refused = Manager::connect(&at(url, Some(others.path()))).await.err().unwrap();
    assert!(matches!(refused, DockerError::Tls { .. }), "{refused}");

    let bin = tempfile::tempdir().unwrap();
    let ssh = ssh_before(&engine, bin.path()).await;
    fs::write(&ssh, "#!/bin/sh\necho 'me@box: Permission denied (publickey).' >&2\nexit 255\n").unwrap();
    let refused = by_ssh(&ssh).await.err().unwrap().to_string();
    assert_eq!(refused, "ssh to ssh://me@box failed: me@box: Permission denied (publickey).");
}

#[tokio::test]
async fn a_worker_says_that_it_is_none_over_tls_as_well() {
    let (engine, pem) = (FakeEngine::start(), certificates());
    let host = at(tls_before(&engine, pem.path()).await, Some(pem.path()));
    let manager = Manager::connect(&host).await.unwrap();
    let error = manager.services().await.unwrap_err();
    assert!(matches!(&error, DockerError::NoManager { host: named } if *named == host.host), "{error}");
}

#[tokio::test]
async fn a_manager_that_has_gone_or_says_nothing_is_an_error_in_time() {
    let (engine, ..) = swarm();
    let manager = Manager::connect(&at(engine.host(), None)).await.unwrap();
    engine.go_away().await;
    let error = manager.services().await.unwrap_err();
    assert!(matches!(&error, DockerError::NoSocket { path } if Path::new(path) == engine.socket_path()), "{error}");
    engine.come_back();
    engine.stall();
    let quick = async || manager.client.get("/services", "the service list", Duration::from_millis(50)).await;
    let error = timeout(ANSWER, quick()).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "no answer to the service list within 0 s");
}

#[tokio::test]
async fn more_services_than_can_be_named_are_asked_about_in_one_go_and_others_are_left_out() {
    let (engine, swarm, node, service) = swarm();
    let other = swarm.create_service(&ServiceSpec::stack("shop", "other", 1));
    let task = |service: &str| swarm.create_task(service, Some(1), &node, ("shop_default", [127, 0, 0, 1].into()));
    let (ours, _theirs) = (task(&service), task(&other));
    let manager = Manager::connect(&at(engine.host(), None)).await.unwrap();
    let none = (1..=NAMED).map(|number| format!("none-{number}"));
    let question = Question { services: none.chain([service]).collect(), ..Question::default() };
    let before = engine.requests(Asked::Tasks);
    let wanted = manager.tasks(question).await.unwrap().wanted;
    assert_eq!(wanted.iter().map(|task| task.id.as_str()).collect::<Vec<_>>(), [ours.as_str()]);
    assert_eq!(engine.requests(Asked::Tasks), before + 1);
}

#[tokio::test]
async fn what_has_become_of_those_that_are_missing_is_asked_as_well() {
    let (engine, swarm, node, service) = swarm();
    let task = || swarm.create_task(&service, Some(1), &node, ("shop_default", [127, 0, 0, 1].into()));
    let (there, ending, leaving, forgotten) = (task(), task(), task(), task());
    swarm.want_task(&ending, "shutdown");
    swarm.want_task(&leaving, "shutdown");
    swarm.forget_task(&forgotten);
    let manager = Manager::connect(&at(engine.host(), None)).await.unwrap();
    // Swarm takes an id for the beginning of one.
    let beginning = there[..4].to_owned();
    let expected = [&there, &ending, &forgotten].map(Clone::clone).into();
    let question = Question { services: vec![service.clone()], expected, leaving: vec![leaving.clone(), beginning] };
    let Answer { wanted, others } = manager.tasks(question).await.unwrap();
    assert_eq!(wanted.iter().map(|task| &task.id).collect::<Vec<_>>(), [&there]);
    let mut others: Vec<_> = others.into_iter().map(|task| task.id).collect();
    others.sort_unstable();
    let mut both = [ending, leaving];
    both.sort_unstable();
    assert_eq!(others, both);
    let before = engine.requests(Asked::Tasks);
    manager.tasks(Question { services: vec![service], expected: [there].into(), leaving: vec![] }).await.unwrap();
    assert_eq!(engine.requests(Asked::Tasks), before + 1, "nobody is missing");
}

#[test]
fn we_are_the_task_in_whose_container_we_run() {
    let ours = Task { labels: labels(&[(STACK, "shop")]), ..task(2) };
    let tasks = vec![Task { container: None, ..task(1) }, ours, task(3)];
    let me = find_among(tasks.clone(), &["c2".to_owned(), "nobody".to_owned()]).unwrap();
    assert_eq!((me.id, me.stack.as_deref()), (Some("c2".into()), Some("shop")));
    let networks = me.networks.unwrap();
    let networks: Vec<_> = networks.iter().map(|(name, at)| (name.as_str(), at.network_id.as_str())).collect();
    assert_eq!(networks, [("shop_default", "shop_default-id")]);
    assert_eq!(find_among(tasks, &["x".to_owned()]), None);
}
