use std::collections::BTreeSet;

use clap::{Args, Command, FromArgMatches};

use super::*;
use crate::config::keys::KEYS;
use crate::config::settings::ReplicaDefaults;
use crate::config::{Error, Flags};
use crate::replica::ReplicaSpec;

/// Another value than the default for every key there is.
const ALL_CHANGED: &str = r#"
listen = "127.0.0.1:1"
listen-from = "/run/port.sock"
admin-listen = "127.0.0.1:2"
admin-write = true
admin-token = "sesame-open-wide"
threads = 7
service = "api"
policy = "random"
retries = 7
hold = "7s"
hold-interval = "30ms"
request-header = ["X-A: {client}"]
response-header = ["-Server"]
health-status = "200"
static = "gateway=10.1.1.1:1"
trusted-proxies = "10.0.0.0/8"
proxy-protocol = ["10.0.0.5"]
health-endpoint = "/lb"
no-docker = true
docker-host = "tcp://127.0.0.1:3"
project = "shop"
network = "back"
port = 7
resync-interval = "7s"
dns = "gateway.internal:7"
dns-server = "10.1.1.1"
dns-timeout = "7s"
dns-min-ttl = "7s"
dns-max-ttl = "7s"
dns-linger = "7s"
dns-on-empty = "drain"
health-path = "/up"
health-interval = "7s"
health-timeout = "7s"
healthy-threshold = 7
unhealthy-threshold = 7
eject-on = "503"
eject-failures = 7
eject-rate = 7
eject-time = "7s"
slow-start = "7s"
drain-timeout = "7s"
connect-timeout = "7s"
response-timeout = "7s"
first-byte-timeout = "7s"
head-timeout = "7s"
keep-alive-timeout = "7s"
idle-timeout = "7s"
tunnel-timeout = "7s"
max-head-bytes = 7777
max-headers = 7
max-target-bytes = 777
max-body-bytes = 7
max-connections = 7
max-connections-per-client = 7
max-concurrency = 7
max-held-requests = 7
max-held-bytes = 7777
lame-duck = "7s"
shutdown-timeout = "7s"
log = "debug"
log-format = "json"
"#;

fn flags(args: &[&str]) -> Flags {
    let command = Flags::augment_args(Command::new("evenkeel").no_binary_name(true));
    Flags::from_arg_matches(&command.try_get_matches_from(args).unwrap()).unwrap()
}

/// What runs by a file with this in it, and by these flags.
fn running_by(text: &str, args: &[&str], variables: &[(&str, &str)]) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("evenkeel.toml");
    std::fs::write(&path, text).unwrap();
    let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let args = [&["--config", path.to_str().unwrap()], args].concat();
    Running::new(Sources::read(flags(&args), variables)).unwrap()
}

fn reload(running: &mut Running, text: &str) -> Reloaded {
    running.reload(&Ok(text.to_owned())).unwrap()
}

fn refused(running: &mut Running, content: Content) -> Vec<String> {
    let path = running.path().unwrap().to_owned();
    let errors = running.reload(&content).unwrap_err();
    errors.0.iter().map(|error: &Error| error.to_string().replace(&path, "FILE")).collect()
}

fn names(text: &str) -> BTreeSet<&str> {
    text.lines().filter_map(|line| Some(line.split_once(" =")?.0)).collect()
}

#[test]
fn what_is_live_changes_and_all_else_stays_and_waits() {
    let all = names(ALL_CHANGED);
    assert!(LIVE.iter().all(|name| KEYS.iter().any(|key| key.name == *name)), "every one is a key");
    assert!(LIVE.iter().all(|name| all.contains(name)), "every one is tried");
    let mut running = running_by("", &[], &[]);
    let before = running.settings().clone();
    let Reloaded { settings, changed, waiting } = reload(&mut running, ALL_CHANGED);
    let of_all = |is_live: bool| -> Vec<_> {
        let names = KEYS.iter().map(|key| key.name).filter(|name| all.contains(name));
        names.filter(|name| LIVE.contains(name) == is_live).collect()
    };
    assert_eq!((changed, waiting), (of_all(true), of_all(false)));

    let mut expected = running_by(ALL_CHANGED, &[], &[]).settings().clone();
    expected.proxy.listen = before.proxy.listen;
    expected.proxy.listen_from = None;
    expected.proxy.threads = before.proxy.threads;
    expected.proxy.service = before.proxy.service.clone();
    expected.admin_listen = before.admin_listen;
    expected.admin_token = None;
    expected.log = before.log.clone();
    expected.docker = before.docker.clone();
    expected.dns = before.dns.clone();
    let ReplicaSpec { probe, drain_timeout, max_concurrency, .. } = expected.statics[0].clone();
    expected.docker[0].defaults = ReplicaDefaults { probe, drain_timeout, max_concurrency };
    assert_eq!(settings, expected);
    assert_eq!(*running.settings(), expected);
}

#[test]
fn what_waits_is_told_again_until_it_is_taken_back() {
    let mut running = running_by("retries = 1", &[], &[]);
    let told = |reloaded: Reloaded| (reloaded.changed, reloaded.waiting);
    assert_eq!(told(reload(&mut running, "retries = 1\nthreads = 3")), (vec![], vec!["threads"]));
    assert_eq!(told(reload(&mut running, "retries = 2\nthreads = 3")), (vec!["retries"], vec!["threads"]));
    assert_eq!(told(reload(&mut running, "retries = 2")), (vec![], vec![]));
    assert_eq!(told(reload(&mut running, "")), (vec![], vec![]), "2 is the default");
}

#[test]
fn flags_and_variables_go_before_the_file_as_before() {
    let mut running = running_by("", &["--retries", "7"], &[("EVENKEEL_HOLD", "3s")]);
    let before = running.settings().clone();
    let Reloaded { settings, changed, .. } = reload(&mut running, "retries = 1\nhold = \"1s\"");
    assert_eq!((settings, changed), (before, vec![]));
}

#[test]
fn a_file_that_is_wrong_is_refused_with_all_that_is_and_changes_nothing() {
    let mut running = running_by("retries = 1", &[], &[]);
    let before = running.settings().clone();
    let errors =
        refused(&mut running, Ok("retries = \"x\"\nretires = 3\nhold = \"5\"\npolicy = \"random\"".to_owned()));
    let expected = [
        "FILE: retires: no such setting; did you mean retries?",
        "FILE: retries: \"x\" is not a whole number from 0 to 100, like 2",
        "FILE: hold: \"5\" needs a unit, like 5s or 500ms",
    ];
    assert_eq!(errors, expected);
    assert!(refused(&mut running, Ok("listen = ".to_owned()))[0].starts_with("FILE: line 1: "));
    assert_eq!(refused(&mut running, Err("no such file".to_owned())), ["--config: cannot read \"FILE\": no such file"]);
    assert_eq!(*running.settings(), before);
    assert_eq!(reload(&mut running, "retries = 1").changed, [""; 0]);
}

#[test]
fn what_would_leave_nothing_to_balance_until_a_restart_is_refused() {
    let mut running = running_by("no-docker = true\nstatic = \"gateway=10.1.1.1:1\"", &[], &[]);
    let expected = "no-docker: true leaves nothing to balance; add replicas, like --static gateway=10.1.1.1:3001 or --dns gateway.internal:3001";
    assert_eq!(refused(&mut running, Ok(String::new())), [expected]);
    assert_eq!(running.settings().statics.len(), 1);
}

#[test]
fn files_of_tokens_are_read_at_the_start_only() {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "sesame-open-wide").unwrap();
    let text = format!("peer = \"10.0.0.5:9900\"\npeer-token-file = {:?}", token.path());
    let mut running = running_by(&text, &[], &[]);
    let before = running.settings().peers.clone();
    assert!(before.token.is_some());
    drop(token);
    let Reloaded { settings, changed, waiting } = reload(&mut running, &format!("{text}\nretries = 7"));
    assert_eq!((changed, waiting, settings.peers), (vec!["retries"], vec![], before));
    let both = refused(&mut running, Ok(format!("{text}\npeer-token = \"sesame-open-wide\"")));
    assert_eq!(both, ["FILE: peer-token-file: there is a peer-token as well; leave out one of the two"]);
    let expected = "FILE: admin-write: there is no admin token; give the file that has it, like \
                    EVENKEEL_ADMIN_TOKEN_FILE=/run/secrets/evenkeel-admin-token";
    assert_eq!(refused(&mut running, Ok(format!("{text}\nadmin-write = true"))), [expected]);
}

#[test]
fn the_documentation_has_the_same_table() {
    let page = include_str!("../../../docs/reload.md");
    let rows = page.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    let named: BTreeSet<_> = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert_eq!(named, LIVE.iter().copied().collect());
}

#[test]
fn the_rules_of_names_in_the_dns_are_live_and_the_names_are_not() {
    let mut running = running_by("dns = \"box:1\"", &[], &[]);
    let Reloaded { settings, changed, waiting } = reload(&mut running, "dns = \"other:1\"\ndns-max-ttl = \"9s\"");
    assert_eq!((changed, waiting), (vec!["dns-max-ttl"], vec!["dns"]));
    let [dns] = &settings.dns[..] else { panic!("{settings:?}") };
    assert_eq!((dns.provider.to_string().as_str(), dns.rules.max_ttl.as_secs()), ("dns:box", 9));
}
