use super::*;

/// What a manager of Docker 20.10 answers, with what is of no interest left out here and there.
const TASKS: &str = r#"[
  {"ID": "0kv4e2j5hm3w7n", "Version": {"Index": 87}, "CreatedAt": "2026-11-24T10:00:00.1Z", "Labels": {},
   "Spec": {
     "ContainerSpec": {
       "Image": "gateway:1@sha256:0badcafe", "Labels": {"com.docker.stack.namespace": "shop", "evenkeel.weight": "2"},
       "Env": ["A=B"], "StopSignal": "SIGQUIT", "Isolation": "default"
     },
     "Resources": {}, "Placement": {}, "ForceUpdate": 0
   },
   "ServiceID": "svc1", "Slot": 3, "NodeID": "node2",
   "Status": {
     "Timestamp": "2026-11-24T10:00:01Z", "State": "running", "Message": "started",
     "ContainerStatus": {"ContainerID": "c0ffee", "PID": 1234, "ExitCode": 0}, "PortStatus": {}
   },
   "DesiredState": "running",
   "NetworksAttachments": [
     {"Network": {"ID": "ov1", "Version": {"Index": 20}, "Spec": {"Name": "shop_default", "Labels": {}, "DriverConfiguration": {"Name": "overlay"}, "Scope": "swarm"}}, "Addresses": ["10.0.1.7/24"]},
     {"Network": {"ID": "ing", "Spec": {"Name": "ingress", "Ingress": true}}, "Addresses": ["10.0.0.9/24"]},
     {"Network": {"ID": "h", "Spec": {"Name": "host"}}},
     {"Addresses": ["nonsense"]}
   ]},
  {"ID": "global1", "Spec": {}, "ServiceID": "svc2", "NodeID": "node1", "Status": {"State": "pending"}, "DesiredState": "shutdown", "NetworksAttachments": null}
]"#;

#[test]
fn tasks_are_read() {
    let [first, second] = tasks(TASKS.as_bytes()).unwrap().try_into().unwrap();
    assert_eq!((first.id.as_str(), first.version, first.service.as_str()), ("0kv4e2j5hm3w7n", 87, "svc1"));
    assert_eq!((first.slot, first.node.as_deref()), (Some(3), Some("node2")));
    assert_eq!(first.container, Some("c0ffee".into()));
    assert_eq!((first.state, first.desired), (TaskState::Running, TaskState::Running));
    assert_eq!(first.image.as_deref(), Some("gateway:1"), "the digest is of no use to people");
    assert_eq!(first.labels["evenkeel.weight"], "2");
    assert_eq!(first.stop_signal, Signal::parse("QUIT").unwrap());
    let networks: Vec<_> = first.networks.iter().map(|a| (a.network.as_str(), a.is_ingress, a.address())).collect();
    let address = |text: &str| Some(text.parse().unwrap());
    assert_eq!(
        networks,
        [("shop_default", false, address("10.0.1.7")), ("ingress", true, address("10.0.0.9")), ("host", false, None)]
    );
    assert_eq!((second.slot, second.container, second.version), (None, None, 0));
    assert_eq!((second.state.word(), second.desired.word()), ("pending", "shutdown"));
    assert_eq!((second.networks, second.stop_signal), (vec![], Signal::TERM));
}

#[test]
fn services_are_read() {
    let json = r#"[
      {"ID": "svc1", "Version": {"Index": 9}, "Spec": {
         "Name": "shop_gateway", "Labels": {"com.docker.stack.namespace": "shop", "evenkeel.port": "3001"},
         "TaskTemplate": {"ContainerSpec": {"Image": "gateway:1", "Labels": {"evenkeel.weight": "2"}}},
         "Mode": {"Replicated": {"Replicas": 6}},
         "EndpointSpec": {"Mode": "dnsrr", "Ports": [
            {"Protocol": "tcp", "TargetPort": 3001, "PublishedPort": 80, "PublishMode": "host"},
            {"Protocol": "udp", "TargetPort": 53}]}
       }, "Endpoint": {"Spec": {}}, "UpdateStatus": {"State": "updating", "StartedAt": "2026-11-24T10:00:00Z"}},
      {"ID": "svc2", "Spec": {"Name": "agent", "Labels": null, "Mode": {"Global": {}}}, "UpdateStatus": {"State": "completed"}},
      {"ID": "svc3", "Spec": {"Name": "once", "Mode": {"ReplicatedJob": {"MaxConcurrent": 1}}}},
      {"ID": "svc4", "Spec": {"Name": "back", "Mode": {"GlobalJob": {}}}, "UpdateStatus": {"State": "rollback_started"}}
    ]"#;
    let [gateway, agent, once, back] = services(json.as_bytes()).unwrap().try_into().unwrap();
    assert_eq!((gateway.version, gateway.name.as_str(), gateway.stack.as_deref()), (9, "shop_gateway", Some("shop")));
    assert_eq!((gateway.labels["evenkeel.port"].as_str(), gateway.container_labels.len()), ("3001", 1));
    assert_eq!((gateway.ports, gateway.wanted), ([3001].into(), Some(6)));
    assert!(gateway.is_updating && !gateway.is_job);
    assert_eq!((agent.wanted, agent.is_updating, agent.is_job, agent.stack), (None, false, false, None));
    assert!(once.is_job && back.is_job && back.is_updating);
}

#[test]
fn nodes_are_read() {
    let json = r#"[
      {"ID": "n1", "Version": {"Index": 5}, "Spec": {"Role": "manager", "Availability": "active"},
       "Description": {"Hostname": "node-1"}, "Status": {"State": "ready", "Addr": "10.99.0.1"}},
      {"ID": "n2", "Spec": {"Availability": "drain"}, "Description": {"Hostname": ""}, "Status": {"State": "down", "Addr": "0.0.0.0"}},
      {"ID": "n3", "Spec": {"Availability": "pause"}, "Status": {"State": "unknown"}}
    ]"#;
    let read: Vec<_> = nodes(json.as_bytes()).unwrap();
    let read: Vec<_> = read.iter().map(|n| (n.hostname.as_str(), n.is_up, n.may_run)).collect();
    assert_eq!(read, [("node-1", true, true), ("n2", false, false), ("n3", true, true)]);
}

#[test]
fn what_is_no_list_is_said_to_be_none() {
    for json in ["", "{", "{}", "[1]", r#"[{"Spec":{}}]"#, "<html>", r#"[{"ID":"x","Slot":"three"}]"#] {
        let error = tasks(json.as_bytes()).unwrap_err();
        assert!(matches!(error, DockerError::Undecodable(_)), "{json}: {error}");
    }
    assert_eq!(tasks(b"null").unwrap(), []);
    assert_eq!(tasks(b"[]").unwrap(), []);
}
