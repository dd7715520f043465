//! Header rules, from a client through a worker to a replica and back.

use super::support::*;
use crate::config::settings::ProxySettings;
use crate::config::settings::headers::Direction;

fn ruled(request: &'static [&str], response: &'static [&str]) -> impl FnOnce(&mut ProxySettings) {
    move |settings| {
        request.iter().for_each(|text| settings.headers.request.push(text, Direction::Request).unwrap());
        response.iter().for_each(|text| settings.headers.response.push(text, Direction::Response).unwrap());
    }
}

#[test]
fn rules_change_what_the_replica_and_the_client_get() {
    let replica = FakeReplica::answering("HTTP/1.1 200 OK\r\nserver: x\r\ncontent-length: 2\r\n\r\nok");
    let change = ruled(
        &["X-Client: {client} of {host} by {scheme}", "-cookie", "Host: inner"],
        &["-Server", "+X-Seen: {client}, {host}"],
    );
    let proxy = Proxy::with(&[replica.addr], change);
    let answer = proxy.ask("GET / HTTP/1.1\r\nhost: outer:1\r\ncookie: a\r\nx-client: forged\r\n\r\n");
    assert_eq!((answer.status(), answer.body.as_str()), (200, "ok"));
    assert_eq!((answer.fields("server"), answer.fields("x-seen")), (vec![], vec!["127.0.0.1, outer:1".to_owned()]));
    let asked = replica.request();
    assert_eq!(asked.fields("x-client"), ["127.0.0.1 of outer:1 by http"]);
    assert_eq!((asked.fields("cookie"), asked.fields("host")), (vec![], vec!["inner".to_owned()]));
    assert_eq!(asked.fields("x-forwarded-host"), ["outer:1"]);
}

#[test]
fn a_request_keeps_its_id_over_attempts_and_the_next_one_has_another() {
    let dying = FakeReplica::start(|mut served| drop(served.request()));
    let replica = FakeReplica::answering(OK);
    let change = ruled(&["X-Request-Id: {request_id}"], &["X-Request-Id: {request_id}"]);
    let proxy = Proxy::with(&[dying.addr, replica.addr], change);
    let mut client = proxy.connect();
    let answers = [client.ask(GET), client.ask(GET)].map(|answer| answer.field("x-request-id").unwrap());
    let ids = |of: &FakeReplica| -> Vec<_> {
        of.requests.lock().unwrap().iter().map(|request| request.field("x-request-id").unwrap()).collect()
    };
    assert!(answers.iter().all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())), "{answers:?}");
    assert_ne!(answers[0], answers[1]);
    assert_eq!(ids(&replica), answers);
    let tried = ids(&dying);
    assert!(!tried.is_empty() && tried.iter().all(|id| answers.contains(id)), "{tried:?} and {answers:?}");
}

#[test]
fn trailers_do_not_say_what_a_rule_took_away() {
    let chunks = "transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-user: mallory\r\nx-sum: 1\r\n\r\n";
    let replica = FakeReplica::answering(format!("HTTP/1.1 200 OK\r\n{chunks}"));
    let request = format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: te\r\nte: trailers\r\n{chunks}");
    for (rules, pass) in
        [(ruled(&["+X-User: me"], &["+X-User: me"]), true), (ruled(&["X-User: me"], &["-X-User"]), false)]
    {
        replica.requests.lock().unwrap().clear();
        let answer = Proxy::with(&[replica.addr], rules).ask(&request);
        let asked = replica.request();
        assert_eq!((asked.body.as_str(), answer.body.as_str()), ("ok", "ok"));
        for trailers in [asked.trailers, answer.trailers] {
            assert_eq!((trailers.contains("mallory"), trailers.contains("x-sum")), (pass, pass), "{trailers}");
        }
    }
}

#[test]
fn rules_hold_for_what_replicas_say_only() {
    let proxy = Proxy::with(&[], ruled(&[], &["X-A: 1", "-X-Served-By"]));
    let answer = proxy.ask(GET);
    assert_eq!((answer.status(), answer.fields("x-a")), (503, vec![]));
    assert_eq!(answer.fields("x-served-by"), ["evenkeel"]);
}

#[test]
fn interim_answers_and_tunnels_are_without_what_a_rule_took_away() {
    let replica = FakeReplica::start(|mut served| {
        served.request();
        served.talk.send("HTTP/1.1 103 Early Hints\r\nserver: x\r\nlink: y\r\n\r\n");
        served
            .talk
            .send("HTTP/1.1 101 Switching Protocols\r\nserver: x\r\nconnection: upgrade\r\nupgrade: z\r\n\r\nhello");
    });
    let proxy = Proxy::with(&[replica.addr], ruled(&[], &["-Server", "X-A: 1"]));
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: z\r\n\r\n");
    assert_eq!(client.read_until("\r\n\r\n").unwrap(), "HTTP/1.1 103 Early Hints\r\nlink: y\r\n\r\n");
    let switched = client.read_until("\r\n\r\n").unwrap().to_lowercase();
    assert!(switched.starts_with("http/1.1 101 ") && switched.contains("\r\nx-a: 1\r\n"), "{switched}");
    assert!(switched.contains("\r\nupgrade: z\r\n") && !switched.contains("server"), "{switched}");
    assert_eq!(client.read_exact(5), "hello");
}
