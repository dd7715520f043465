//! The whole room: texts from every source in, settings or errors out.

use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::time::Duration;

use clap::{Args, Command, FromArgMatches};
use proptest::prelude::*;

use super::keys::{CONFIG, KEYS};
use super::settings::{
    Advertised, DnsOnEmpty, DnsQuestion, DnsRules, DnsTarget, EjectSettings, HoldSettings, LimitSettings, ListenFrom,
    LogFormat, ManagerHost, Settings, SubsetSettings,
};
use super::{Error, Errors, Flags, Resolved, Sources, watched};
use crate::metrics::Fault;
use crate::replica::Statuses;
use crate::service::Policy;

type Variables<'a> = &'a [(&'a str, &'a str)];

fn command() -> Command {
    Flags::augment_args(Command::new("evenkeel").no_binary_name(true))
}

fn flags(args: &[&str]) -> Flags {
    Flags::from_arg_matches(&command().try_get_matches_from(args).unwrap()).unwrap()
}

fn resolve(args: &[&str], variables: Variables<'_>) -> Result<Resolved, Errors> {
    let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    Sources::read(flags(args), variables).resolve()
}

fn settings(args: &[&str], variables: Variables<'_>) -> Settings {
    resolve(args, variables).unwrap().settings
}

fn complaints(args: &[&str], variables: Variables<'_>) -> Vec<String> {
    resolve(args, variables).unwrap_err().0.iter().map(Error::to_string).collect()
}

/// A file with this text, deleted with the value, and its path.
fn file(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("evenkeel.toml");
    std::fs::write(&path, text).unwrap();
    (dir, path.to_str().unwrap().to_owned())
}

#[test]
fn nothing_given_is_the_typed_defaults() {
    assert_eq!(settings(&[], &[]), Settings::default());
}

#[test]
fn every_key_has_a_flag_a_variable_and_a_file_key() {
    let command = command();
    let long: BTreeSet<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    assert_eq!(long, KEYS.iter().chain([&CONFIG]).map(|key| key.name).collect());
    for key in KEYS {
        // Without Docker there must be a static replica, and who lets others change something has a token.
        let (is_switch, also) = match key.name {
            "no-docker" => (true, vec!["--static=gateway=10.1.1.1:1"]),
            "admin-write" => (true, vec!["--admin-token=sesame-open-wide"]),
            "swarm" => (true, vec![]),
            _ => (false, vec![]),
        };
        // A file that is to be read must be there.
        let (_dir, secret) = file("sesame-open-wide");
        let example = match key.name {
            _ if is_switch => "true",
            "peer-token-file" => &secret,
            _ => key.example(),
        };
        let flag = if is_switch { format!("--{}", key.name) } else { format!("--{}={example}", key.name) };
        let source = |args: &[&str], variables: Variables<'_>| {
            let toml = resolve(&[&also[..], args].concat(), variables).unwrap().to_toml();
            // A secret's line is a comment, but says where it comes from all the same.
            let of_key = |line: &&str| line.trim_start_matches("# ").starts_with(&format!("{} =", key.name));
            let line = toml.lines().find(of_key).unwrap();
            line.rsplit_once("# from ").unwrap().1.trim_end_matches(", not shown").to_owned()
        };
        assert_eq!(source(&[&flag], &[]), format!("--{}", key.name));
        assert_eq!(source(&[], &[(&key.variable(), example)]), key.variable());
        let (_dir, path) = file(&format!("{} = {example:?}", key.name));
        assert_eq!(source(&["--config", &path], &[]), format!("{path}: {}", key.name));
    }
}

#[test]
fn flags_go_before_variables_before_the_file_before_the_default() {
    let (_dir, path) = file("connect-timeout = \"3s\"");
    let with_file = ["--config", &path];
    let with_flag = ["--config", &path, "--connect-timeout", "1s"];
    let variable = [("EVENKEEL_CONNECT_TIMEOUT", "4s")];
    let cases: [(&[&str], Variables<'_>, u64); 6] = [
        (&[], &[], 2),
        (&with_file, &[], 3),
        (&with_file, &variable, 4),
        (&[], &variable, 4),
        (&with_flag, &variable, 1),
        (&with_flag, &[], 1),
    ];
    for (args, variables, seconds) in cases {
        let got = settings(args, variables).proxy.connect_timeout;
        assert_eq!(got, Duration::from_secs(seconds), "{args:?} {variables:?}");
    }
}

#[test]
fn a_variable_can_name_the_file_and_the_flag_names_another() {
    let (_dir, first) = file("retries = 7");
    let (_dir, second) = file("retries = 8");
    let variable = [("EVENKEEL_CONFIG", first.as_str())];
    assert_eq!(settings(&[], &variable).proxy.retries, 7);
    assert_eq!(settings(&["--config", &second], &variable).proxy.retries, 8);
}

#[test]
fn docker_host_counts_only_where_nothing_of_ours_speaks() {
    let (_dir, path) = file("docker-host = \"tcp://file:1\"");
    let ambient = ("DOCKER_HOST", "tcp://ambient:1");
    let host = |args: &[&str], variables: Variables<'_>| settings(args, variables).docker.remove(0).host;
    assert_eq!(host(&[], &[ambient]), "tcp://ambient:1");
    assert_eq!(host(&["--config", &path], &[ambient]), "tcp://file:1");
    assert_eq!(host(&[], &[ambient, ("EVENKEEL_DOCKER_HOST", "tcp://ours:1")]), "tcp://ours:1");
    assert_eq!(host(&[], &[("DOCKER_HOST", "")]), "unix:///var/run/docker.sock");
    assert_eq!(
        complaints(&[], &[("DOCKER_HOST", "ftp://box")]),
        [
            "DOCKER_HOST: \"ftp://box\": ftp:// is not supported, like unix:///var/run/docker.sock or vm-2=tcp://10.1.1.2:2375"
        ]
    );
    let without = ["--no-docker", "--static", "gateway=10.1.1.1:1"];
    assert_eq!(settings(&without, &[("DOCKER_HOST", "ftp://box")]).docker, []);
}

#[test]
fn dockers_own_variables_for_tls_count_with_its_host() {
    let path = |args: &[&str], more: Variables<'_>| {
        let tls = [("DOCKER_HOST", "tcp://box:2376"), ("DOCKER_TLS_VERIFY", "1"), ("HOME", "/home/me")];
        settings(args, &[&tls, more].concat()).docker.remove(0).cert_path
    };
    assert_eq!(path(&[], &[]), Some("/home/me/.docker".into()));
    assert_eq!(path(&[], &[("DOCKER_CERT_PATH", "/certs")]), Some("/certs".into()));
    assert_eq!(path(&[], &[("DOCKER_CERT_PATH", "/certs"), ("DOCKER_TLS_VERIFY", "")]), None);
    assert_eq!(path(&["--docker-cert-path", "/ours"], &[("DOCKER_CERT_PATH", "/certs")]), Some("/ours".into()));
    assert_eq!(path(&["--docker-host", "tcp://socket-proxy:2375"], &[]), None, "it was said of another engine");
}

#[test]
fn check_says_what_each_provider_would_watch() {
    let args =
        ["--docker-host=unix:///a", "--docker-host=b=tcp://b:1?cert-path=/c", "--static=gateway=10.1.1.1:1,10.1.1.2:1"];
    let toml = resolve(&args, &[("EVENKEEL_PROJECT", "shop")]).unwrap().to_toml();
    let expected = "\n# What is watched
# docker at unix:///a: container events; service gateway of project shop and what is labelled evenkeel.enable=true, \
                    dialled at their own addresses
# docker:b at tcp://b:1 with the certificates in /c: container events; service gateway of project shop and what is \
                    labelled evenkeel.enable=true, dialled at the ports published on b, unless evenkeel runs there
# static: 2 of gateway
";
    assert!(toml.ends_with(expected), "{toml}");
    let peers = ["--no-docker", "--peer=[2001:db8::5]:9900", "--peer=fleet.internal:9900"];
    let toml = resolve(&peers, &[("EVENKEEL_PEER_TOKEN", "sesame-open-wide")]).unwrap().to_toml();
    let expected = "\n# What is watched
# peer:[2001:db8::5]:9900: it is asked for GET /api/v1/watch, with our token; what it has ready of each service, \
                    dialled where it says
# peer:fleet.internal:9900: each address of that name, looked up every 5 s, is asked for GET /api/v1/watch, with our \
                    token; what it has ready of each service, dialled where it says
";
    assert!(toml.ends_with(expected), "{toml}");
}

#[test]
fn there_may_be_several_docker_engines() {
    let providers = |args: &[&str], variables: Variables<'_>| {
        let docker = settings(args, variables).docker.into_iter();
        docker.map(|one| (one.provider.to_string(), one.published_at)).collect::<Vec<_>>()
    };
    let at = |address: &str| Some(address.to_owned());
    let both = [("docker".to_owned(), None), ("docker:vm-2".to_owned(), at("10.0.0.6"))];
    let (local, other) = ("unix:///var/run/docker.sock", "vm-2=tcp://10.0.0.6:2375");
    assert_eq!(providers(&["--docker-host", local, "--docker-host", other], &[]), both);
    assert_eq!(providers(&[], &[("EVENKEEL_DOCKER_HOST", &format!("{local}, {other}"))]), both);
    let (_dir, path) = file(&format!("docker-host = [{local:?}, {other:?}]\nproject = \"shop\""));
    assert_eq!(providers(&["--config", &path], &[]), both);
    assert!(settings(&["--config", &path], &[]).docker.iter().all(|one| one.project.as_deref() == Some("shop")));
    assert_eq!(
        complaints(&["--docker-host", local, "--docker-host", "unix:///b"], &[]),
        ["--docker-host: \"unix:///b\" is the second engine without a name; give each a name of its own, like \
             vm-2=unix:///b",]
    );
    assert_eq!(
        complaints(&["--docker-host", local, "--docker-host", "box"], &[]),
        ["--docker-host: \"box\" is not the address of a Docker engine, like unix:///var/run/docker.sock or \
             vm-2=tcp://10.1.1.2:2375",]
    );
}

#[test]
fn an_empty_variable_is_unset() {
    assert_eq!(settings(&[], &[("EVENKEEL_PROJECT", ""), ("EVENKEEL_CONFIG", "")]), Settings::default());
}

#[test]
fn every_setting_reaches_its_place() {
    let all = "--listen [::1]:80 --admin-listen 127.0.0.1:0 --threads 3 --service api --policy least-requests \
        --docker-host tcp://[::1]:2375 --project shop --network back --port 81 --health-path /up --health-status 200,304 --health-interval 4s \
        --health-timeout 5s --healthy-threshold 6 --unhealthy-threshold 7 --drain-timeout 8s --resync-interval 9s \
        --connect-timeout 10s --response-timeout 11s --head-timeout 12s --keep-alive-timeout 13s --idle-timeout 14s \
        --first-byte-timeout 16s --tunnel-timeout 17s --max-head-bytes 18KiB --max-headers 19 --max-target-bytes 20KiB \
        --max-concurrency 24 --hold 25s --hold-interval 28s --max-held-requests 26 --max-held-bytes 27KiB \
        --max-body-bytes 21MiB --max-connections 22 --max-connections-per-client 23 --eject-on 503,connect \
        --eject-failures 24 --eject-rate 25 --eject-time 26s --slow-start 27s \
        --retries 0 --trusted-proxies 10.0.0.0/8,::1 --proxy-protocol 10.0.0.5,fd00::/8 --health-endpoint /lb --lame-duck 15s --shutdown-timeout 0s --log debug \
        --admin-write --admin-token sesame-open-wide --log-format json --listen-from /run/port.sock \
        --dns box:28,x=srv:y --dns-server ::1,10.0.0.2:5353 --dns-timeout 29s --dns-min-ttl 30s --dns-max-ttl 31s \
        --dns-linger 32s --dns-on-empty drain --peer vm-2,10.0.0.5:9901 \
        --advertise 10.0.0.4:80 --peer-name vm-1 --peer-token open-sesame-wide --prefer-local 3 --subset-slot 29/30";
    let Settings { proxy, admin_listen, admin_token, docker, swarm, dns, statics, peers, subset, shutdown, log } =
        settings(&all.split_whitespace().collect::<Vec<_>>(), &[]);
    let seconds = Duration::from_secs;
    assert_eq!((proxy.listen.to_string(), admin_listen.to_string()), ("[::1]:80".into(), "127.0.0.1:0".into()));
    assert_eq!(proxy.listen_from, Some(ListenFrom::Keeper("/run/port.sock".into())));
    assert_eq!(admin_token, Some("sesame-open-wide".into()));
    let hosts: Vec<_> = peers.hosts.iter().map(ToString::to_string).collect();
    assert_eq!((hosts, peers.name.as_deref()), (vec!["vm-2:9900".into(), "10.0.0.5:9901".into()], Some("vm-1")));
    assert_eq!(peers.advertise, Advertised { address: Some([10, 0, 0, 4].into()), port: Some(80) });
    assert_eq!((peers.token, peers.prefer_local), (Some("open-sesame-wide".into()), 3));
    assert_eq!((proxy.threads.get(), proxy.policy, proxy.retries), (3, Policy::LeastRequests, 0));
    assert_eq!((proxy.connect_timeout, proxy.response_timeout), (seconds(10), seconds(11)));
    assert_eq!((proxy.head_timeout, proxy.keep_alive_timeout), (seconds(12), seconds(13)));
    assert_eq!((proxy.idle_timeout, proxy.service.as_str()), (seconds(14), "api"));
    assert_eq!((proxy.first_byte_timeout, proxy.tunnel_timeout), (seconds(16), seconds(17)));
    let on = [Fault::Connect, Fault::Unavailable].into_iter().collect();
    assert_eq!(proxy.eject, EjectSettings { on, failures: 24, rate: 25, time: seconds(26) });
    assert_eq!(proxy.slow_start, seconds(27));
    let expected = LimitSettings {
        head_bytes: 18 << 10,
        headers: 19,
        target_bytes: 20 << 10,
        body_bytes: NonZeroU64::new(21 << 20),
        connections: NonZeroUsize::new(22),
        connections_per_client: NonZeroUsize::new(23),
    };
    assert_eq!(proxy.limits, expected);
    assert_eq!(proxy.hold, HoldSettings { time: seconds(25), interval: seconds(28), requests: 26, bytes: 27 << 10 });
    assert_eq!(proxy.trusted_proxies, ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
    assert_eq!(proxy.proxy_protocol, ["10.0.0.5/32".parse().unwrap(), "fd00::/8".parse().unwrap()]);
    assert_eq!(proxy.health_endpoint.as_deref(), Some("/lb"));
    assert_eq!(subset, None, "which goes with no peers");
    assert_eq!(swarm, None);
    let docker = &docker[0];
    assert_eq!((docker.host.as_str(), docker.service.as_str()), ("tcp://[::1]:2375", "api"));
    assert_eq!((docker.project.as_deref(), docker.network.as_deref()), (Some("shop"), Some("back")));
    assert_eq!(docker.defaults.max_concurrency, NonZeroU32::new(24));
    assert_eq!((docker.port, docker.resync_interval), (Some(81), seconds(9)));
    assert_eq!((docker.defaults.probe.path.as_deref(), docker.defaults.drain_timeout), (Some("/up"), Some(seconds(8))));
    assert_eq!(Some(&docker.defaults.probe.status), Statuses::parse("200,304").as_ref());
    assert_eq!((docker.defaults.probe.interval, docker.defaults.probe.timeout), (seconds(4), seconds(5)));
    assert_eq!((docker.defaults.probe.healthy_threshold, docker.defaults.probe.unhealthy_threshold), (6, 7));
    assert_eq!((shutdown.lame_duck, shutdown.timeout, statics), (seconds(15), seconds(0), vec![]));
    let rules = DnsRules {
        servers: vec!["[::1]:53".parse().unwrap(), "10.0.0.2:5353".parse().unwrap()],
        timeout: seconds(29),
        min_ttl: seconds(30),
        max_ttl: seconds(31),
        linger: seconds(32),
        on_empty: DnsOnEmpty::Drain,
    };
    assert!(dns.len() == 2 && dns.iter().all(|one| one.rules == rules && one.defaults == docker.defaults), "{dns:?}");
    assert_eq!((log.filter.as_str(), log.format), ("debug", LogFormat::Json));
}

#[test]
fn with_swarm_the_engine_is_a_manager() {
    let args = "--swarm --docker-host tcp://m:2375 --service api --project shop --port 81 --drain-timeout 8s";
    let args: Vec<_> = args.split(' ').collect();
    let Settings { docker, swarm, .. } = settings(&args, &[]);
    let swarm = swarm.unwrap();
    assert_eq!(
        (docker.len(), swarm.provider.to_string(), swarm.hosts),
        (0, "swarm".to_owned(), vec![ManagerHost { host: "tcp://m:2375".to_owned(), cert_path: None }])
    );
    assert_eq!((swarm.service.as_str(), swarm.project.as_deref(), swarm.port), ("api", Some("shop"), Some(81)));
    assert_eq!(swarm.defaults.drain_timeout, Some(Duration::from_secs(8)));
    assert_eq!((swarm.poll, swarm.idle_poll), (Duration::from_millis(200), Duration::from_secs(5)));
    let swarm = settings(&["--swarm", "--swarm-poll", "1s", "--swarm-idle-poll=1m"], &[]).swarm.unwrap();
    assert_eq!((swarm.poll, swarm.idle_poll), (Duration::from_secs(1), Duration::from_secs(60)));
    assert_eq!(
        complaints(&["--swarm", "--no-docker", "--static", "a=10.1.1.1:1"], &[]),
        ["--swarm: true needs an engine, which is a manager of the Swarm; leave out --no-docker"]
    );
}

#[test]
fn managers_are_reached_by_all_that_engines_are() {
    let all = "unix:///a.sock,tcp://b:2376,ssh://me@c,b2=tcp://b:2375?cert-path=off,tcp://d:2376?cert-path=/d";
    let resolved = settings(&["--swarm", "--docker-host", all, "--docker-cert-path=/all"], &[]);
    let managers = resolved.swarm.as_ref().unwrap().hosts.iter();
    let managers: Vec<_> = managers.map(|one| (one.host.as_str(), one.cert_path.as_deref())).collect();
    let path = |path| Some(Path::new(path));
    assert_eq!(
        managers,
        [
            ("unix:///a.sock", None),
            ("tcp://b:2376", path("/all")),
            ("ssh://me@c", None),
            ("tcp://b:2375", None),
            ("tcp://d:2376", path("/d"))
        ]
    );
    let told = watched::lines(&resolved).remove(0);
    let expected = "swarm at unix:///a.sock, or tcp://b:2376 with the certificates in /all, or ssh://me@c, or \
        tcp://b:2375, or tcp://d:2376 with the certificates in /d: tasks on all nodes; ";
    assert!(told.starts_with(expected), "{told}");
}

#[test]
fn static_replicas_are_named_after_their_service_and_address() {
    let args = ["--static", "gateway=10.1.1.1:3001, [::1]:3001,api=10.1.1.1:80", "--static", "api=10.1.1.2:80"];
    let statics = settings(&[&args[..], &["--health-path", "/up"]].concat(), &[]).statics;
    let ids: Vec<_> = statics.iter().map(|spec| spec.id.as_str()).collect();
    let expected = [
        "static:gateway@10.1.1.1:3001",
        "static:gateway@[::1]:3001",
        "static:api@10.1.1.1:80",
        "static:api@10.1.1.2:80",
    ];
    assert_eq!(ids, expected);
    let last = statics.last().unwrap();
    assert_eq!((last.name.as_str(), last.weight, last.service.as_str()), ("10.1.1.2:80", 1, "api"));
    assert_eq!((last.addr.to_string(), last.probe.path.as_deref()), ("10.1.1.2:80".to_owned(), Some("/up")));
}

#[test]
fn a_static_replica_can_have_a_name_and_a_weight() {
    let args =
        ["--static", "gateway=web-1@10.1.1.1:1*3, 10.1.1.2:1*0,api= web-1 @ [::1]:1 * 65535", "--static=b=10.1.1.1:1"];
    let statics = settings(&args, &[]).statics;
    let told: Vec<_> = statics.iter().map(|spec| (spec.id.as_str(), spec.name.as_str(), spec.weight)).collect();
    let expected = [
        ("static:gateway@10.1.1.1:1", "web-1", 3),
        ("static:gateway@10.1.1.2:1", "10.1.1.2:1", 0),
        ("static:api@[::1]:1", "web-1", 65535),
        ("static:b@10.1.1.1:1", "10.1.1.1:1", 1),
    ];
    assert_eq!(told, expected);
    let complaint = "--static: \"w\" is the name of two replicas of a; give each its own";
    assert_eq!(complaints(&["--static", "a=w@10.1.1.1:1,w@10.1.1.2:1"], &[]), [complaint]);
}

#[test]
fn a_name_in_the_dns_is_looked_up_once_for_all_who_need_it() {
    let args = ["--service=shop", "--dns=box:80,srv:_http._tcp.box,api=box:80", "--dns=api=box:81,shop=box:80"];
    let dns = settings(&args, &[]).dns;
    let seen: Vec<_> = dns.iter().map(|one| (one.provider.to_string(), &one.question, one.targets.clone())).collect();
    let target = |service: &str, port| DnsTarget { service: service.into(), port };
    let (host, srv) = (DnsQuestion::Host("box".to_owned()), DnsQuestion::Srv("_http._tcp.box".to_owned()));
    let of_host = vec![target("shop", Some(80)), target("api", Some(80)), target("api", Some(81))];
    assert_eq!(
        seen,
        [
            ("dns:box".to_owned(), &host, of_host),
            ("dns:srv:_http._tcp.box".to_owned(), &srv, vec![target("shop", None)])
        ]
    );
    assert_eq!(settings(&["--no-docker", "--dns=box:80"], &[]).docker, [], "names are something to balance");
    assert_eq!(
        complaints(&["--dns-min-ttl=9s"], &[]),
        ["--dns-min-ttl: 9s is more than dns-max-ttl, 5s; an answer cannot hold at least so long"]
    );
}

#[test]
fn an_address_belongs_to_a_service_once() {
    let args = ["--static", "a=10.1.1.1:1,10.1.1.1:1", "--static", "b=10.1.1.1:1,x", "--static", "a=10.1.1.1:01"];
    assert_eq!(
        complaints(&args, &[]),
        [
            "--static: \"a=10.1.1.1:1\" is there twice; list each address of a service once",
            "--static: \"x\" is a hostname; say --dns, or use an IP address, like 10.1.1.1:3001",
            "--static: \"a=10.1.1.1:1\" is there twice; list each address of a service once",
        ]
    );
}

#[test]
fn all_errors_come_at_once_in_a_fixed_order() {
    let (_dir, path) =
        file("conect_timeout = \"1s\"\nlisten = [1]\nhead-timeout = 5\nconfig = \"x\"\n[health]\npath = 1");
    let args = ["--config", &path, "--connect-timeout", "5"];
    let variables = [("EVENKEEL_POLICY", "p2cc"), ("EVENKEEL_HEALTY_THRESHOLD", "1"), ("EVENKEEL_XYZ", "")];
    let errors = resolve(&args, &variables).unwrap_err();
    let expected = "the configuration has 9 problems
  EVENKEEL_HEALTY_THRESHOLD: no such setting; did you mean EVENKEEL_HEALTHY_THRESHOLD?
  EVENKEEL_XYZ: no such setting; `evenkeel --help` lists them all
  FILE: conect_timeout: no such setting; did you mean connect-timeout?
  FILE: config: a file cannot name another; use --config or EVENKEEL_CONFIG
  FILE: health: no such setting; `evenkeel --help` lists them all
  FILE: listen: [1] is a TOML array; write listen = \"0.0.0.0:8080\"
  EVENKEEL_POLICY: \"p2cc\" is not one of p2c, round-robin, least-requests, random, ewma; did you mean p2c?
  --connect-timeout: \"5\" needs a unit, like 5s or 500ms
  FILE: head-timeout: \"5\" needs a unit, like 5s or 500ms";
    assert_eq!(errors.to_string().replace(&path, "FILE"), expected);
}

#[test]
fn a_file_that_is_not_there_or_not_toml_says_so() {
    let missing = "--config: cannot read \"/nowhere/evenkeel.toml\": No such file or directory (os error 2)";
    assert_eq!(complaints(&["--config", "/nowhere/evenkeel.toml"], &[]), [missing]);
    let (_dir, path) = file("retries = 1\nlisten = \n");
    let broken = complaints(&[], &[("EVENKEEL_CONFIG", &path)]);
    assert_eq!(broken.len(), 1);
    assert!(broken[0].starts_with(&format!("{path}: line 2: ")), "{broken:?}");
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    assert_eq!(
        complaints(&["--no-docker", "--admin-listen", "127.0.0.1:8080"], &[]),
        [
            "--no-docker: true leaves nothing to balance; add replicas, like --static gateway=10.1.1.1:3001 or --dns gateway.internal:3001",
            "--admin-listen: \"127.0.0.1:8080\" is taken by listen; use another port, like 0.0.0.0:9900",
        ]
    );
    // Nobody binds 8080 here.
    assert!(resolve(&["--listen-from", "systemd", "--admin-listen", "127.0.0.1:8080"], &[]).is_ok());
    let apart = ["--listen", "127.0.0.2:8080", "--admin-listen", "127.0.0.1:8080"];
    assert!(resolve(&apart, &[]).is_ok());
    assert!(resolve(&["--listen", "0.0.0.0:0", "--admin-listen", "0.0.0.0:0"], &[]).is_ok());
}

#[test]
fn the_admin_address_needs_no_other_key_to_be_right() {
    let sources = Sources::read(flags(&["--retries", "x", "--admin-listen", "127.0.0.1:7"]), []);
    assert_eq!(sources.admin_listen().unwrap().to_string(), "127.0.0.1:7");
    let sources = Sources::read(flags(&["--admin-listen", "x"]), []);
    let expected = "the configuration has a problem
  --admin-listen: \"x\" is not an IP address with a port, like 0.0.0.0:8080";
    assert_eq!(sources.admin_listen().unwrap_err().to_string(), expected);
}

#[test]
fn changes_need_a_token_and_the_error_says_where_to_put_it() {
    let expected = "--admin-write: there is no admin token; give the file that has it, like \
                    EVENKEEL_ADMIN_TOKEN_FILE=/run/secrets/evenkeel-admin-token";
    assert_eq!(complaints(&["--admin-write"], &[]), [expected]);
    let (token, variable) = ("sesame-open-wide", ("EVENKEEL_ADMIN_TOKEN", "sesame-open-wide"));
    assert_eq!(settings(&["--admin-write"], &[variable]).admin_token, Some(token.into()));
    assert_eq!(settings(&[], &[variable]).admin_token, None, "a token alone changes nothing");

    let (_dir, path) = file(&format!(" {token}\r\n\n"));
    assert_eq!(settings(&["--admin-write", "--admin-token-file", &path], &[]).admin_token, Some(token.into()));
    let both = complaints(&["--admin-write", "--admin-token-file", &path], &[variable]);
    assert_eq!(both, ["--admin-token-file: there is an admin-token as well; leave out one of the two"]);
    let missing = complaints(&["--admin-write"], &[("EVENKEEL_ADMIN_TOKEN_FILE", "/nowhere/token")]);
    let expected = "EVENKEEL_ADMIN_TOKEN_FILE: cannot read \"/nowhere/token\": No such file or directory (os error 2)";
    assert_eq!(missing, [expected]);
}

#[test]
fn a_token_is_shown_neither_by_check_nor_by_an_error() {
    let toml = resolve(&["--admin-write"], &[("EVENKEEL_ADMIN_TOKEN", "sesame-open-wide")]).unwrap().to_toml();
    assert!(!toml.contains("sesame"), "{toml}");
    assert!(toml.contains("\n# admin-token =                              # from EVENKEEL_ADMIN_TOKEN, not shown\n"));

    let long = "sesame".repeat(200);
    for wrong in ["sesame", "sesame open wide", "sesame\u{e4}sesamesesame", &long, &"sesame".repeat(2000)] {
        let (_dir, path) = file(wrong);
        for given in [["--admin-token", wrong], ["--admin-token-file", &path]] {
            let told = complaints(&[&given[..], &["--admin-write"]].concat(), &[]).join("\n");
            assert!(told.starts_with(given[0]) && !told.contains("sesame"), "{told}");
            assert!(told.contains("not 16 to 1024 visible ASCII characters"), "{told}");
        }
    }
    let (_dir, path) = file("admin-token = [\"sesame-open-wide\"]");
    let told = complaints(&["--config", &path], &[]).join("\n");
    assert!(told.contains("what is given is a TOML array") && !told.contains("sesame"), "{told}");
}

#[test]
fn who_changes_something_needs_the_address_and_the_token_alone() {
    let access = |args: &[&str], variables: Variables<'_>| {
        let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Sources::read(flags(args), variables).admin_access()
    };
    let given = [("EVENKEEL_ADMIN_TOKEN", "sesame-open-wide"), ("EVENKEEL_RETRIES", "x")];
    let (addr, token) = access(&["--admin-listen", "127.0.0.1:7"], &given).unwrap();
    assert_eq!((addr.to_string(), token), ("127.0.0.1:7".to_owned(), "sesame-open-wide".into()));
    let error = access(&[], &[]).unwrap_err().to_string();
    assert!(error.contains("\n  admin-token: there is no admin token; give the file that has it"), "{error}");
}

#[test]
fn keeping_a_port_takes_its_address_and_how_to_log() {
    let sources =
        Sources::read(flags(&["--retries", "x", "--listen", "[::1]:7"]), [("EVENKEEL_LOG".into(), "warn".into())]);
    let (listen, log) = sources.keeper().unwrap();
    assert_eq!((listen.to_string(), log.filter), ("[::1]:7".to_owned(), "warn".to_owned()));
    let errors = Sources::read(flags(&["--listen", "x", "--log-format", "y"]), []).keeper().unwrap_err();
    assert_eq!(errors.0.len(), 2, "{errors}");
}

#[test]
fn what_check_prints_is_a_file_that_means_the_same() {
    let cases: [&[&str]; 4] = [
        &[],
        &["--static", "gateway=10.1.1.1:3001,10.1.1.2:3001", "--static", "api=[::1]:1", "--no-docker", "--threads=4"],
        &["--docker-host", "unix:///a", "--docker-host", "b=tcp://b:1?address=::1,tcp://c:1"],
        &["--health-path", "/a\"b\\c", "--port", "0081", "--project", "007", "--trusted-proxies", "::1", "--log=off"],
    ];
    for args in cases {
        let resolved = resolve(args, &[("EVENKEEL_LOG_FORMAT", "json")]).unwrap();
        let (_dir, path) = file(&resolved.to_toml());
        assert_eq!(settings(&["--config", &path], &[]), resolved.settings, "{}", resolved.to_toml());
    }
}

#[test]
fn check_shows_every_key_with_its_source() {
    let (_dir, path) = file("retries = 5");
    let toml = resolve(&["--config", &path, "--log", "debug"], &[("EVENKEEL_PORT", "80")]).unwrap().to_toml();
    for expected in [
        "# Listeners\nlisten = \"0.0.0.0:8080\"                      # default\n",
        &format!("retries = 5                                  # from {path}: retries\n"),
        "port = 80                                    # from EVENKEEL_PORT\n",
        "# project =                                  # not set: the project of evenkeel's own container\n",
        "\n# Logging\nlog = \"debug\"                                # from --log\n",
    ] {
        assert!(toml.contains(expected), "{expected:?} is not in\n{toml}");
    }
}

#[test]
fn the_example_file_has_every_key_and_says_the_defaults() {
    let example = include_str!("../../deploy/evenkeel.toml");
    let (_dir, path) = file(example);
    assert_eq!(settings(&["--config", &path], &[]), Settings::default());

    let is_key = |line: &str| KEYS.iter().any(|key| line.starts_with(&format!("{} = ", key.name)));
    let uncommented = |line: &str| line.strip_prefix("# ").filter(|rest| is_key(rest)).unwrap_or(line).to_owned();
    let whole: Vec<_> = example.lines().map(uncommented).collect();
    let keys: Vec<_> = whole.iter().filter_map(|line| line.split_once(" = ").map(|(name, _)| name)).collect();
    assert_eq!(keys, KEYS.iter().map(|key| key.name).collect::<Vec<_>>());
    // There is one token, here or in a file of its own.
    let whole: Vec<_> = whole.into_iter().filter(|line| !line.starts_with("peer-token-file")).collect();
    let (_dir, path) = file(&whole.join("\n"));
    assert_ne!(settings(&["--config", &path], &[]), Settings::default());
}

#[test]
fn rules_come_from_flags_lines_of_a_variable_and_the_file() {
    let rules = |args: &[&str], variables: Variables<'_>| settings(args, variables).proxy.headers;
    let expected =
        rules(&["--request-header", "X-A: {client}, b", "--request-header=-Cookie", "--response-header=-X"], &[]);
    assert!(expected.request.takes_away(b"cookie") && expected.has_placeholders() && !expected.is_empty());
    let lines = [("EVENKEEL_REQUEST_HEADER", "X-A: {client}, b\n\n -Cookie\n"), ("EVENKEEL_RESPONSE_HEADER", "-X")];
    assert_eq!(rules(&[], &lines), expected);
    let (_dir, path) = file("request-header = [\"X-A: {client}, b\", \"-Cookie\"]\nresponse-header = \"-X\"");
    assert_eq!(rules(&["--config", &path], &[]), expected);
    // What check prints is the same again.
    let (_dir, path) = file(&resolve(&[], &lines).unwrap().to_toml());
    assert_eq!(rules(&["--config", &path], &[]), expected);
    assert_eq!(
        complaints(&["--request-header=Content-Length: 5", "--response-header", "X {host}"], &[]),
        [
            "--request-header: \"Content-Length: 5\": Content-Length is evenkeel's own to write in a request; leave out this rule",
            "--response-header: \"X {host}\" is no rule: \"Name: value\" sets, \"+Name: value\" adds, \"-Name\" removes a field",
        ]
    );
}

#[test]
fn the_example_of_a_load_balancer_vm_says_what_its_page_says() {
    let page = include_str!("../../deploy/examples/lb-vm/README.md");
    let ours = include_str!("../../deploy/examples/lb-vm/evenkeel.toml");
    for text in [ours, include_str!("../../deploy/examples/lb-vm/Caddyfile")] {
        let is_said = |line: &&str| !line.starts_with('#') && line.contains(' ') && !line.ends_with(['[', '}']);
        for line in text.lines().map(str::trim).filter(is_said) {
            assert!(page.contains(&format!("`{line}`")), "{line:?} is not on the page");
        }
    }
    let (_dir, path) = file(ours);
    let Settings { proxy, docker, statics, .. } = settings(&["--config", &path], &[]);
    assert_eq!((docker, statics.len(), proxy.policy), (vec![], 3, Policy::RoundRobin));
    assert_eq!(statics.first().map(|spec| spec.probe.status.clone()), Statuses::parse("200"));
    assert_eq!(proxy.headers.request.lines().count(), 3);
}

proptest! {
    #[test]
    fn no_text_panics_whatever_its_key(place in 0..KEYS.len(), text in text()) {
        let key = &KEYS[place];
        let variables = [(key.variable(), text)];
        if let Ok(resolved) = Sources::read(Flags::default(), variables).resolve() {
            prop_assert!(resolved.to_toml().parse::<toml::Table>().is_ok());
        }
    }

    #[test]
    fn no_file_panics(text in any::<String>(), place in 0..KEYS.len(), value in "[-0-9\\[\\]{}\"a-z=.:, ]*") {
        super::file::parse("x", &text);
        super::file::parse("x", &format!("{} = {value}", KEYS[place].name));
    }

    #[test]
    fn no_variable_panics(name in "EVENKEEL_.*", text in any::<String>()) {
        prop_assume!(name != "EVENKEEL_CONFIG" && !KEYS.iter().any(|key| key.variable() == name));
        prop_assert!(Sources::read(Flags::default(), [(name, text)]).resolve().is_err());
    }

    #[test]
    fn no_command_line_panics(args in prop::collection::vec(any::<String>(), 0..5)) {
        let _ = command().try_get_matches_from(args);
    }
}

/// Any text, and texts that look like values.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[0-9]{0,30}(ns|ms|s|m|h|days|years)?",
        "[0-9]{0,30} ?(B|KiB|MiB|GiB|TiB)?",
        "[a-z0-9:/.,=\\[\\]-]{0,30}",
        "[0-9.:/,]{0,20}"
    ]
}

#[test]
fn a_subset_is_of_a_fleet() {
    let subset = |args: &[&str]| settings(args, &[]).subset;
    assert_eq!(subset(&["--subset-slot", "1/1"]), None, "a deployment may always say which one it is");
    assert_eq!(
        subset(&["--subset=500", "--subset-slot=20/20"]),
        Some(SubsetSettings { size: 500, slot: 20, slots: 20 })
    );
    assert_eq!(
        complaints(&["--subset", "500"], &[]),
        ["--subset: 500 of which evenkeels? Say which of how many this one is, like --subset-slot 3/20"]
    );
    assert_eq!(
        complaints(&["--subset", "500", "--subset-slot", "1/2", "--peer", "vm-2"], &[]),
        [
            "--subset: a part for each is for evenkeels that all see the same replicas, which peers do not; leave one out"
        ]
    );
    for wrong in ["0/20", "21/20", "3", "3/", "/20", "a/b", "1/10001"] {
        let complaint =
            format!("--subset-slot: {wrong:?} is not a number of a count, from 1/10000 to 10000/10000, like 3/20");
        assert_eq!(complaints(&["--subset-slot", wrong], &[]), [complaint]);
    }
    let complaint = "--subset: \"19\" is not a whole number from 20 to 1048576, like 500, or off";
    assert_eq!(complaints(&["--subset", "19"], &[]), [complaint]);
}
