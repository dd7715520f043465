//! One run: a worker of its own between the peers.

use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use evenkeel::config::settings::{EjectSettings, HeaderSettings, HoldSettings, LimitSettings, ProxySettings};
use evenkeel::proxy::{Admission, Context, Hold, Listener, Worker};
use evenkeel::service::Policy;
use integration_tests::wire::{self, Parsed};
use tokio::sync::watch;
use tokio_util::sync::DropGuard;

use super::events::Event;
use super::peer::Peer;
use super::site::Site;

/// How long anything may take that is to happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Longer than anything may take: what only a time limit ends is a hang.
const NEVER: Duration = Duration::from_secs(60);

/// How long the replica waits for a connection and a pause for bytes. Nothing that is checked depends on it.
const LULL: Duration = Duration::from_millis(10);

/// The time between two looks at the sockets.
const LOOK: Duration = Duration::from_micros(50);

/// Further attempts that the worker may make after one that failed.
pub(super) const RETRIES: u32 = 1;

const HEALTHY: &[u8] = b"GET /healthy HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n";

pub(super) struct Run<'a> {
    site: &'a Site,
    context: Arc<Context>,
    addr: SocketAddr,
    worker: JoinHandle<()>,
    /// Ends the worker at once if something does not hold.
    _abort: DropGuard,
    clients: Vec<Peer>,
    replicas: Vec<Peer>,
    /// How many of the replica's connections the input has a say in; on the others it answers every request.
    scripted: Option<usize>,
    /// How many requests were answered on each of the replica's connections since then.
    answered: Vec<usize>,
}

impl<'a> Run<'a> {
    pub(super) fn start(site: &'a Site) -> Self {
        let (settings, metrics) = (settings((site.ip, 0).into()), Arc::default());
        let admission = Arc::new(Admission::new(NonZeroUsize::MAX, Arc::clone(&metrics)));
        let hold = Hold::new(Arc::clone(&metrics));
        let listener = Listener::bind(settings.listen, 1, NEVER).expect("a port").remove(0);
        let service = settings.service.clone();
        // Nobody changes them.
        let (_, settings) = watch::channel(Arc::new(settings));
        let context = Arc::new(Context {
            registry: site.registry.clone(),
            service,
            settings,
            metrics,
            admission,
            peers: Arc::default(),
            hold,
            leaving: Default::default(),
            stop_accepting: Default::default(),
            abort: Default::default(),
        });
        let addr = listener.local_addr();
        let worker = Worker::spawn(0, listener, Arc::clone(&context)).expect("a thread");
        let _abort = context.abort.clone().drop_guard();
        // What came after the end of the run before, or was a probe.
        while site.listener.accept().is_ok() {}
        let (clients, replicas, answered) = Default::default();
        let mut run = Self { site, context, addr, worker, _abort, clients, replicas, scripted: None, answered };
        run.next_client();
        run
    }

    fn next_client(&mut self) {
        let stream = TcpStream::connect(self.addr).expect("the worker accepts");
        self.clients.push(Peer::new(stream).expect("a socket"));
    }

    /// Does what the input says.
    pub(super) fn play(&mut self, event: &Event) {
        let before = self.clients.last().map(|client| client.received.len());
        let is_of_replica = |event| {
            matches!(
                event,
                &Event::ReplicaSends(_) | &Event::ReplicaFinishes | &Event::ReplicaCloses | &Event::ReplicaResets
            )
        };
        if is_of_replica(event) {
            self.wait(LULL, |run| {
                let is_asked = run.replicas.last().is_some_and(|peer| peer.is_open() && !peer.received.is_empty());
                is_asked || run.clients.last().is_some_and(|one| one.has_ended || Some(one.received.len()) != before)
            });
        }
        let replica = self.replicas.last_mut().filter(|peer| peer.is_open());
        match (event, self.clients.last_mut(), replica) {
            (Event::NextClient, ..) => self.next_client(),
            (Event::ClientSends(bytes), Some(client), _) => client.send(bytes),
            (Event::ClientFinishes, Some(client), _) => client.finish(),
            (Event::ClientResets, Some(client), _) => client.reset(),
            (Event::ReplicaSends(bytes), _, Some(replica)) => replica.send(bytes),
            (Event::ReplicaFinishes, _, Some(replica)) => replica.finish(),
            (Event::ReplicaCloses, _, Some(replica)) => replica.close(),
            (Event::ReplicaResets, _, Some(replica)) => replica.reset(),
            (Event::Pause, ..) => {
                let mut has_come = false;
                self.wait(LULL, |_| std::mem::replace(&mut has_come, true));
            }
            _ => {}
        }
    }

    /// Has both peers come to an end, and a healthy client after them; then the worker has to end, too. What went over
    /// the connections is what is left of it.
    pub(super) fn finish(mut self) -> (Vec<Peer>, Vec<Peer>) {
        self.pump();
        self.scripted = Some(self.replicas.len());
        self.answered = vec![usize::MAX; self.replicas.len()];
        self.clients.iter_mut().for_each(Peer::give_up);
        let have_ended = |run: &Self| run.clients.iter().all(|client| client.has_ended);
        if !self.wait(LULL, have_ended) {
            // What is left waits for the replica.
            self.replicas.iter_mut().for_each(Peer::close);
            assert!(self.wait(PATIENCE, have_ended), "a client's connection is left open");
        }
        self.check_healthy();
        self.clients.iter_mut().for_each(Peer::close);
        self.context.stop_accepting.cancel();
        assert!(self.wait(PATIENCE, |run| run.worker.is_finished()), "the worker does not stop");
        assert!(
            self.wait(PATIENCE, |run| run.replicas.iter().all(|peer| peer.has_ended)),
            "a replica is not let go of"
        );
        let Self { worker, clients, replicas, context, site, .. } = self;
        worker.join().expect("the worker did not panic");
        assert_eq!(context.metrics.connections_open.load(Ordering::SeqCst), 0, "connections counted as open");
        assert_eq!(site.replica.in_flight(), 0, "requests counted as in flight");
        (clients, replicas)
    }

    fn check_healthy(&mut self) {
        self.next_client();
        self.clients.iter_mut().next_back().expect("it was just added").send(HEALTHY);
        let has_ended = |run: &Self| run.clients.last().is_some_and(|client| client.has_ended);
        assert!(self.wait(PATIENCE, has_ended), "a healthy request gets no answer");
        let received = &self.clients.last().expect("it was just added").received;
        match wire::response(received, false) {
            Ok(Parsed::Whole(answer, length)) if length == received.len() => {
                assert_eq!((answer.status, wire::text(&answer.body).as_str()), (200, "GET /healthy"), "{answer:?}");
            }
            other => panic!("a healthy request gets {other:?}"),
        }
    }

    /// Pumps until something holds, for so long; whether it does.
    fn wait(&mut self, limit: Duration, mut holds: impl FnMut(&Self) -> bool) -> bool {
        let end = Instant::now() + limit;
        let mut is_first = true;
        loop {
            let has_come = self.pump();
            if (has_come || is_first) && holds(self) {
                return true;
            }
            if Instant::now() > end {
                return holds(self);
            }
            is_first = false;
            thread::sleep(LOOK);
        }
    }

    /// Moves what can be moved; whether anything came.
    fn pump(&mut self) -> bool {
        let mut has_come = self.worker.is_finished();
        while let Ok((stream, _)) = self.site.listener.accept() {
            self.replicas.push(Peer::new(stream).expect("a socket"));
            has_come = true;
        }
        for peer in self.clients.iter_mut().chain(&mut self.replicas) {
            has_come |= peer.pump();
        }
        if let Some(scripted) = self.scripted {
            self.answer(scripted);
        }
        has_come
    }

    /// Answers, after the input, every request on a new connection, and on those from before the healthy one.
    fn answer(&mut self, scripted: usize) {
        self.answered.resize(self.replicas.len(), 0);
        for (index, (replica, answered)) in self.replicas.iter_mut().zip(&mut self.answered).enumerate() {
            let mut bytes = &replica.received[..];
            let mut lines = Vec::new();
            while let Ok(Parsed::Whole(request, length)) = wire::request(bytes) {
                lines.push(request.line());
                bytes = &bytes[length..];
            }
            if *answered == usize::MAX {
                *answered = lines.len();
            }
            for line in lines.get(*answered..).unwrap_or_default() {
                if index >= scripted || line == "GET /healthy" {
                    let body = if line.starts_with("HEAD ") { "" } else { line };
                    replica.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", line.len()).as_bytes());
                }
            }
            *answered = lines.len();
        }
    }
}

fn settings(listen: SocketAddr) -> ProxySettings {
    ProxySettings {
        listen_from: None,
        listen,
        threads: NonZeroUsize::MIN,
        service: "gateway".into(),
        policy: Policy::RoundRobin,
        connect_timeout: NEVER,
        first_byte_timeout: NEVER,
        tunnel_timeout: NEVER,
        response_timeout: NEVER,
        head_timeout: NEVER,
        keep_alive_timeout: NEVER,
        idle_timeout: NEVER,
        retries: RETRIES,
        eject: EjectSettings::default(),
        slow_start: Duration::ZERO,
        trusted_proxies: Vec::new(),
        proxy_protocol: Vec::new(),
        health_endpoint: None,
        headers: HeaderSettings::default(),
        hold: HoldSettings { time: Duration::ZERO, ..HoldSettings::default() },
        limits: LimitSettings::default(),
    }
}
