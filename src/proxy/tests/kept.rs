//! A listening socket that somebody else keeps: shared by workers, and left as it is.

use std::net::{TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::SockRef;

use super::support::*;
use crate::proxy::Listener;

const PATIENCE: Duration = Duration::from_secs(7);

fn keep() -> TcpListener {
    Listener::keep(([127, 0, 0, 1], 0).into()).unwrap()
}

#[test]
fn who_waits_already_is_answered_by_whichever_worker() {
    let replica = FakeReplica::answering(OK);
    let kept = keep();
    let mut clients: Vec<_> =
        (0..50).map(|_| Talk::new(TcpStream::connect(kept.local_addr().unwrap()).unwrap())).collect();
    for client in &mut clients {
        client.send(GET);
    }
    let proxy = Proxy::on(&kept, &[replica.addr], |s| s.threads = NonZeroUsize::new(2).unwrap());
    for client in &mut clients {
        assert_eq!(client.read_message().expect("an answer").status(), 200);
    }
    assert_eq!(proxy.ask(GET).status(), 200);
}

#[test]
fn a_stop_leaves_the_queue_to_the_next() {
    let replica = FakeReplica::answering(OK);
    let kept = keep();
    let old = Proxy::on(&kept, &[replica.addr], |_| {});
    assert_eq!(old.ask(GET).status(), 200);
    old.context.stop_accepting.cancel();
    eventually("its worker ends", || old.have_workers_ended());

    let mut waiting = old.connect();
    waiting.send(GET);
    assert_eq!(replica.count(), 1);
    let new = Proxy::on(&kept, &[replica.addr], |_| {});
    assert_eq!(waiting.read_message().expect("an answer").status(), 200);
    assert_eq!((old.addr, replica.count()), (new.addr, 2));
}

#[test]
fn at_the_limit_who_was_accepted_is_answered_here_and_who_waits_by_the_next() {
    let (replica, go) = FakeReplica::slow_until_told();
    let kept = keep();
    let old = Proxy::on(&kept, &[replica.addr], |s| s.limits.connections = NonZeroUsize::new(1));
    let mut busy = old.connect();
    busy.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually("it is under way", || replica.count() == 1);
    let mut clients: Vec<_> = (0..3).map(|_| old.connect()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    eventually("the first of them waits", || old.context.metrics.workers_waiting.load(Ordering::SeqCst) == 1);
    old.context.stop_accepting.cancel();
    assert_eq!(clients[0].read_message().expect("an answer").status(), 200);
    assert_eq!(replica.count(), 2);

    let _new = Proxy::on(&kept, &[replica.addr], |_| {});
    for client in &mut clients[1..] {
        assert_eq!(client.read_message().expect("an answer").status(), 200);
    }
    go.send(()).unwrap();
    assert_eq!(busy.read_message().unwrap().status(), 200);
}

#[test]
fn of_two_that_run_either_may_stop_and_no_client_notices() {
    let replica = FakeReplica::answering(OK);
    let kept = keep();
    let mut running = Proxy::on(&kept, &[replica.addr], |_| {});
    for _ in 0..10 {
        let next = Proxy::on(&kept, &[replica.addr], |_| {});
        let mut clients: Vec<_> = (0..20).map(|_| next.connect()).collect();
        for client in &mut clients {
            client.send(GET);
        }
        running.context.stop_accepting.cancel();
        for client in &mut clients {
            assert_eq!(client.read_message().expect("an answer").status(), 200);
        }
        eventually("its worker ends", || running.have_workers_ended());
        running = next;
    }
}

#[test]
fn its_connections_get_what_those_of_our_own_listener_inherit() {
    // As systemd makes it: it blocks, and sets nothing.
    let kept = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(kept.local_addr().unwrap()).unwrap();
    let shared = Listener::share(&kept, 2).unwrap();
    assert!(shared.iter().all(|listener| listener.is_kept() && listener.local_addr() == kept.local_addr().unwrap()));
    let (accepted, _) = kept.accept().unwrap();
    crate::proxy::listener::adopt(SockRef::from(&accepted), PATIENCE).unwrap();
    let accepted = SockRef::from(&accepted);
    assert!(accepted.tcp_nodelay().unwrap());
    assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(PATIENCE));
    let nobody = kept.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock, "a worker must not hang in an accept");
    drop(client);
}
