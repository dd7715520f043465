//! The program as a shell sees it: what it prints, and what it exits with.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

fn evenkeel(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    seen(&evenkeel(args).output().unwrap())
}

fn seen(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Takes one connection, answers its request with this, and returns the request's head.
fn answer(listener: &TcpListener, answer: &str) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let head: Vec<_> = lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
    stream.write_all(answer.as_bytes()).unwrap();
    head.join("\n")
}

/// Does so on a thread and a port of its own.
fn answer_once(text: &'static str) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap(), std::thread::spawn(move || answer(&listener, text)))
}

#[test]
fn version_and_help_are_complete() {
    let (code, out, _) = run(&["--version"]);
    assert_eq!((code, out.as_str()), (Some(0), concat!("evenkeel ", env!("CARGO_PKG_VERSION"), "\n")));
    let (code, out, _) = run(&["--help"]);
    assert_eq!(code, Some(0));
    for text in ["healthcheck", "Health and draining:", "--connect-timeout <DURATION>", "[default: 2s]", "EVENKEEL_"] {
        assert!(out.contains(text), "{text:?} is not in\n{out}");
    }
}

#[test]
fn check_prints_the_configuration_or_everything_that_is_wrong() {
    let (code, out, err) = run(&["check", "--service", "api"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("service = \"api\"                              # from --service\n"), "{out}");

    let (code, out, err) = seen(&evenkeel(&["check", "--retries=x"]).env("EVENKEEL_TREADS", "1").output().unwrap());
    assert_eq!((code, out.as_str()), (Some(2), ""));
    let expected = "error: the configuration has 2 problems
  EVENKEEL_TREADS: no such setting; did you mean EVENKEEL_THREADS?
  --retries: \"x\" is not a whole number from 0 to 100, like 2\n";
    assert_eq!(err, expected);
}

#[test]
fn run_refuses_a_wrong_configuration_with_or_without_its_name() {
    for args in [&["--policy", "best"][..], &["run", "--policy", "best"]] {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (Some(2), ""));
        assert!(
            err.contains("--policy: \"best\" is not one of p2c, round-robin, least-requests, random, ewma"),
            "{err}"
        );
    }
}

#[test]
fn run_ends_at_once_where_a_port_is_taken_and_names_it() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    for (flag, other) in [("--listen", "--admin-listen"), ("--admin-listen", "--listen")] {
        let (code, _, err) =
            run(&["run", "--no-docker", "--static=gateway=127.0.0.1:1", flag, &taken, other, "127.0.0.1:0"]);
        assert_eq!(code, Some(1), "{err}");
        let first = err.lines().next().unwrap_or_default();
        assert!(first.starts_with("error: cannot listen on") && first.contains(&taken), "{err}");
        assert!(first.ends_with(flag) && !err.contains("panicked"), "{err}");
    }
}

#[test]
fn run_raises_the_limit_of_descriptors_and_says_when_they_are_too_few() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -Sn 100 && ulimit -Hn 512 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_evenkeel")]);
    command.args(["run", "--no-docker", "--static=gateway=127.0.0.1:1", "--threads=1", "--max-connections=221"]);
    command.args(["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"]).env_clear().stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let log: Vec<_> = lines.take_while(|line| !line.contains("Proxy listening")).collect();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["512", "512"]);
    for event in [
        "File descriptor limit raised cause=from 100 to 512",
        "221 connections may need 657 file descriptors, and there are 512",
    ] {
        assert!(log.iter().any(|line| line.contains(event)), "{event:?} is not in {log:#?}");
    }
}

#[test]
fn an_unknown_flag_gets_a_suggestion() {
    let (code, _, err) = run(&["--conect-timeout", "3s"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("'--connect-timeout'"), "{err}");
}

#[test]
fn healthcheck_asks_the_loopback_and_says_one_line() {
    for (args, path, word) in
        [(&["healthcheck"][..], "/healthz", "alive\n"), (&["healthcheck", "--ready"], "/readyz", "ready\n")]
    {
        let (addr, served) = answer_once("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let listen = format!("0.0.0.0:{}", addr.port());
        let (code, out, err) = seen(&evenkeel(args).env("EVENKEEL_ADMIN_LISTEN", listen).output().unwrap());
        assert_eq!((code, out.as_str(), err.as_str()), (Some(0), word, ""));
        let head = served.join().unwrap();
        assert!(head.starts_with(&format!("GET {path} HTTP/1.1\nhost: {addr}")), "{head}");
    }
}

#[test]
fn healthcheck_fails_with_1_and_one_line() {
    let (addr, _) = answer_once("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 10\r\n\r\nshut\ndown\n");
    let listen = addr.to_string();
    let (code, out, err) = run(&["healthcheck", "--ready", "--admin-listen", &listen]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert_eq!(err, format!("error: /readyz of {listen} says 503 Service Unavailable: shut\n"));

    let (code, _, err) = run(&["healthcheck", "--admin-listen", "127.0.0.1:1"]);
    assert_eq!(code, Some(1));
    assert!(err.starts_with("error: cannot connect to 127.0.0.1:1: ") && err.lines().count() == 1, "{err}");

    let (addr, _) = answer_once("SSH-2.0-OpenSSH\r\n");
    let (code, _, err) = run(&["healthcheck", "--admin-listen", &addr.to_string()]);
    assert_eq!(code, Some(1));
    assert!(err.starts_with(&format!("error: no HTTP answer from {addr}: ")) && err.lines().count() == 1, "{err}");

    let (code, _, err) = run(&["healthcheck", "--admin-listen", "nine", "--config", "/nowhere"]);
    assert_eq!((code, err.lines().count()), (Some(1), 1), "{err}");
}

#[test]
fn healthcheck_does_not_wait_for_ever() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let (code, _, err) = run(&["healthcheck", "--admin-listen", &addr]);
    assert_eq!((code, err), (Some(1), format!("error: no answer from {addr} within 2s\n")));
}

#[test]
fn replicas_prints_the_table_or_the_json() {
    for (flag, path) in [(None, "/debug/replicas"), (Some("--json"), "/api/v1/replicas")] {
        let (addr, served) = answer_once("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nNAME ...\n");
        let listen = addr.to_string();
        let args: Vec<_> = ["replicas", "--admin-listen", &listen].into_iter().chain(flag).collect();
        let (code, out, err) = run(&args);
        assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "NAME ...\n", ""));
        assert!(served.join().unwrap().starts_with(&format!("GET {path} ")));
    }
}

#[test]
fn drain_and_undrain_show_the_token_and_print_what_it_came_to() {
    let secret = tempfile::tempdir().unwrap();
    let path = secret.path().join("token");
    std::fs::write(&path, "sesame-open-wide\n").unwrap();
    let from_file = ("EVENKEEL_ADMIN_TOKEN_FILE", path.to_str().unwrap());
    let from_variable = ("EVENKEEL_ADMIN_TOKEN", "sesame-open-wide");
    for (args, target, variable) in [
        (&["drain", "gateway-3"][..], "gateway-3/drain", from_variable),
        (&["drain", "gateway-3", "--force"], "gateway-3/drain?force=true", from_file),
        (&["undrain", "static:web@[::1]:80"], "static%3Aweb%40%5B%3A%3A1%5D%3A80/undrain", from_file),
    ] {
        let (addr, served) =
            answer_once("HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\n{\"name\":\"gateway-3\",\"verdict\":\"so so\"}");
        let listen = addr.to_string();
        let mut command = evenkeel(&[args, &["--admin-listen", &listen]].concat());
        let (code, out, err) = seen(&command.env(variable.0, variable.1).output().unwrap());
        assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "gateway-3: so so\n", ""));
        let head = served.join().unwrap();
        assert!(head.starts_with(&format!("POST /api/v1/replicas/{target} HTTP/1.1\n")), "{head}");
        assert!(head.contains("\nauthorization: Bearer sesame-open-wide\n"), "{head}");
    }
}

#[test]
fn drain_says_why_not() {
    let (code, _, err) = run(&["drain", "gateway-3"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("admin-token: there is no admin token; give the file that has it, like EVENKEEL_"), "{err}");

    let (addr, _) = answer_once("HTTP/1.1 409 Conflict\r\nContent-Length: 16\r\n\r\n{\"error\":\"last\"}");
    let mut command = evenkeel(&["drain", "gateway-3", "--admin-listen", &addr.to_string()]);
    let (code, out, err) = seen(&command.env("EVENKEEL_ADMIN_TOKEN", "sesame-open-wide").output().unwrap());
    assert_eq!((code, out.as_str()), (Some(1), ""));
    let expected =
        format!("error: /api/v1/replicas/gateway-3/drain of {addr} says 409 Conflict: {{\"error\":\"last\"}}\n");
    assert_eq!(err, expected);
}

#[test]
fn the_admin_token_is_never_printed() {
    let given = |args: &[&str]| {
        let mut command = evenkeel(args);
        seen(&command.env("EVENKEEL_ADMIN_TOKEN", "sesame-open-wide").output().unwrap())
    };
    for args in [&["check", "--admin-write"][..], &["--help"], &["check", "--retries=x"], &["drain", "--help"]] {
        let (_, out, err) = given(args);
        assert!(!out.contains("sesame") && !err.contains("sesame"), "{args:?}: {out}{err}");
    }
    let (code, _, err) = run(&["check", "--admin-write", "--admin-token", "sesame"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("--admin-token: what is given is not 16 to 1024") && !err.contains("sesame"), "{err}");
}

#[test]
fn watching_goes_on_while_nobody_answers_and_ends_with_its_reader() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let args = ["replicas", "--watch", "--admin-listen", &addr.to_string()];
    let mut watch = evenkeel(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    answer(&listener, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\none\n");
    assert_eq!(lines.next().as_deref(), Some("one"));
    drop(listener.accept().unwrap());
    assert!(lines.next().unwrap().starts_with(&format!("no HTTP answer from {addr}: ")));
    drop(lines);
    drop(listener);
    assert_eq!(watch.wait().unwrap().code(), Some(0));
    let mut err = String::new();
    watch.stderr.unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(err, "");
}

#[test]
fn completions_know_the_settings() {
    let (code, out, _) = run(&["completions", "bash"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("--connect-timeout") && out.contains("healthcheck"));
}

#[test]
fn kubernetes_example() {
    let manifest = include_str!("../../deploy/examples/kubernetes/evenkeel.yaml");
    let args = manifest.lines().skip_while(|line| line.trim() != "args:").skip(1).map(str::trim);
    let args = args.take_while(|line| line.starts_with(['-', '#'])).filter_map(|line| line.strip_prefix("- "));
    let args: Vec<_> = args.collect();
    assert_eq!(args.first(), Some(&"run"));
    let (code, out, err) = run(&[&["check"], args.get(1..).unwrap()].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for line in
        ["dns = [\"gateway=gateway.default.svc.cluster.local.:3001\"]", "no-docker = true", "lame-duck = \"10s\""]
    {
        assert!(out.contains(line), "{line:?} is not in\n{out}");
    }
}
