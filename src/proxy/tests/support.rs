//! A proxy, replicas and clients that speak in raw bytes. Every read has a deadline, so a test fails instead of
//! hanging.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;
use tokio::sync::watch;

use crate::change::{Change, Sighting};
use crate::config::settings::{EjectSettings, HeaderSettings, HoldSettings, LimitSettings, ProxySettings};
use crate::metrics::HoldEnd;
use crate::peers::Peers;
use crate::provider::Provider;
use crate::proxy::pool::is_out_of_descriptors;
use crate::proxy::{Admission, Context, Hold, Listener, Worker};
use crate::registry::{Registry, RegistryWriter};
use crate::replica::{Health, Lifecycle, Replica, ReplicaId, ReplicaSpec};
use crate::service::Policy;

pub(in crate::proxy) const DEADLINE: Duration = Duration::from_secs(10);
pub(in crate::proxy) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
pub(super) const GET: &str = "GET / HTTP/1.1\r\nhost: gateway\r\n\r\n";

pub(in crate::proxy) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::yield_now();
    }
}

/// A socket with a buffer; both sides of a conversation use it.
pub(super) struct Talk {
    pub(super) stream: TcpStream,
    unread: Vec<u8>,
}

impl Talk {
    pub(super) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { stream, unread: Vec::new() }
    }

    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Reads more; `false` at the end or a reset.
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(count) => {
                self.unread.extend_from_slice(&chunk[..count]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("read failed: {error}"),
        }
    }

    pub(super) fn read_exact(&mut self, count: usize) -> String {
        while self.unread.len() < count {
            assert!(self.fill(), "ended early: {:?}", String::from_utf8_lossy(&self.unread));
        }
        String::from_utf8(self.unread.drain(..count).collect()).unwrap()
    }

    pub(super) fn read_to_end(&mut self) -> String {
        while self.fill() {}
        String::from_utf8_lossy(&std::mem::take(&mut self.unread)).into_owned()
    }

    /// All that comes, and whether it ends with a reset.
    pub(super) fn until_the_end(&mut self) -> (String, bool) {
        let outcome = self.stream.read_to_end(&mut self.unread);
        (String::from_utf8_lossy(&std::mem::take(&mut self.unread)).into_owned(), outcome.is_err())
    }

    /// Reads up to and with `end`; `None` if the other side is done.
    pub(super) fn read_until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|w| w == end.as_bytes()) {
                return Some(self.read_exact(at + end.len()));
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Reads a head and the body that its framing announces.
    pub(super) fn read_message(&mut self) -> Option<Message> {
        let head = self.read_until("\r\n\r\n")?;
        let mut message = Message { head, body: String::new(), trailers: String::new() };
        if message.field("transfer-encoding").as_deref() == Some("chunked") {
            loop {
                let size = self.read_until("\r\n")?;
                let size = usize::from_str_radix(size.trim(), 16).unwrap();
                if size == 0 {
                    break;
                }
                message.body += &self.read_exact(size);
                assert_eq!(self.read_exact(2), "\r\n");
            }
            while let Some(line) = self.read_until("\r\n").filter(|line| line != "\r\n") {
                message.trailers += &line;
            }
        } else if let Some(length) = message.field("content-length") {
            message.body = self.read_exact(length.parse().unwrap());
        }
        Some(message)
    }

    pub(super) fn ask(&mut self, request: &str) -> Message {
        self.send(request);
        self.read_message().expect("an answer")
    }

    pub(super) fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && !self.fill()
    }

    /// Closes with a reset.
    pub(super) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub(super) fn finish_writing(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) head: String,
    pub(super) body: String,
    pub(super) trailers: String,
}

impl Message {
    /// The head's lines, names in lower case and sorted, without those that differ from run to run: a `Date` and a `Via`
    /// of ours.
    pub(super) fn sorted_lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.head.trim_end().lines().map(str::to_owned).collect();
        for line in lines.iter_mut().skip(1) {
            let (name, value) = line.split_once(": ").unwrap();
            *line = format!("{}: {value}", name.to_lowercase());
        }
        let is_ours = |line: &str| line.starts_with("via: 1.1 evenkeel-") || line.ends_with(" GMT");
        lines.retain(|line| !is_ours(line));
        lines[1..].sort_unstable();
        lines
    }

    pub(super) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(super) fn fields(&self, name: &str) -> Vec<String> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
    }

    pub(super) fn field(&self, name: &str) -> Option<String> {
        self.fields(name).pop()
    }

    /// The reason that an answer of ours names.
    pub(super) fn error(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["error"].as_str().unwrap_or_default().to_owned()
    }
}

/// A replica that does what a closure says, once per connection.
pub(super) struct FakeReplica {
    pub(super) addr: SocketAddr,
    pub(super) requests: Arc<Mutex<Vec<Message>>>,
    pub(super) connections: Arc<AtomicUsize>,
}

/// A connection as a fake replica sees it.
pub(super) struct Served {
    pub(super) talk: Talk,
    /// Which connection of this replica it is, from 0.
    pub(super) index: usize,
    requests: Arc<Mutex<Vec<Message>>>,
}

impl Served {
    /// The next request, which is also kept for the test to look at.
    pub(super) fn request(&mut self) -> Option<Message> {
        let message = self.talk.read_message()?;
        self.requests.lock().unwrap().push(message.clone());
        Some(message)
    }
}

impl FakeReplica {
    pub(super) fn start(serve: impl Fn(Served) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let (requests, connections, serve) = (Arc::default(), Arc::new(AtomicUsize::new(0)), Arc::new(serve));
        let replica = Self { addr, requests: Arc::clone(&requests), connections: Arc::clone(&connections) };
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A test may leave the process without descriptors, this thread as well.
                if stream.as_ref().is_err_and(is_out_of_descriptors) {
                    continue;
                }
                let (talk, serve) = (Talk::new(stream.unwrap()), Arc::clone(&serve));
                let index = connections.fetch_add(1, Ordering::SeqCst);
                let served = Served { talk, index, requests: Arc::clone(&requests) };
                thread::spawn(move || serve(served));
            }
        });
        replica
    }

    /// Answers every request with the same bytes.
    pub(super) fn answering(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        Self::start(move |mut served| {
            while served.request().is_some() {
                served.talk.send(&answer);
            }
        })
    }

    /// Answers every request at once, but a `GET /slow` when it is told to.
    pub(super) fn slow_until_told() -> (Self, mpsc::Sender<()>) {
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let replica = Self::start(move |mut served| {
            while let Some(request) = served.request() {
                if request.head.starts_with("GET /slow") {
                    wait.lock().unwrap().recv_timeout(DEADLINE).unwrap();
                }
                served.talk.send(OK);
            }
        });
        (replica, go)
    }

    /// The only request so far.
    pub(super) fn request(&self) -> Message {
        let requests = self.requests.lock().unwrap();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests[0].clone()
    }

    pub(super) fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

/// An address that refuses connections for as long as the socket lives.
pub(super) fn refusing() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}

/// A proxy with a client whose request `request` hangs in its connect to the only replica there was, before a second one came
/// that answers; and what the connect hangs at.
pub(super) fn hanging_at_the_first_of_two(request: &str) -> (Proxy, Talk, FakeReplica, Vec<socket2::Socket>) {
    let (held, addr) = hanging();
    let second = FakeReplica::answering(OK);
    let mut proxy = Proxy::start(&[addr]);
    let mut client = proxy.connect();
    client.send(request);
    eventually("it is picked", || proxy.in_flight() == 1);
    proxy.add("gateway", 2, second.addr);
    (proxy, client, second, held)
}

/// An address at which connects hang for as long as the sockets live.
pub(in crate::proxy) fn hanging() -> (Vec<socket2::Socket>, SocketAddr) {
    let (listener, addr) = with_short_queue();
    let mut held = fill_queue(addr);
    held.push(listener);
    (held, addr)
}

/// A listener that can soon be made one at which connects hang.
pub(super) fn with_short_queue() -> (socket2::Socket, SocketAddr) {
    let (listener, addr) = refusing();
    listener.listen(0).unwrap();
    (listener, addr)
}

/// Fills the queue of a listener who does not accept: the kernel answers no further SYN.
pub(super) fn fill_queue(addr: SocketAddr) -> Vec<socket2::Socket> {
    let queued = (0..4).map(|_| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&addr.into());
        socket
    });
    queued.collect()
}

/// From now on the kernel drops what comes to a socket with some kilobytes unread, and acknowledges none of it.
pub(in crate::proxy) fn deafen(stream: &TcpStream) {
    SockRef::from(stream).set_recv_buffer_size(1).unwrap();
}

/// From now on the kernel drops whatever comes to a socket, as if its host were gone.
pub(in crate::proxy) fn drop_all(stream: &TcpStream) {
    // `BPF_RET`: ends, and takes none of the packet's bytes.
    let nothing = socket2::SockFilter::new(6, 0, 0, 0);
    SockRef::from(stream).attach_filter(&[nothing]).unwrap();
}

/// A process that can open no file for as long as this lives; what it has open it keeps.
pub(in crate::proxy) struct NoDescriptors(Rlimit);

impl NoDescriptors {
    /// Whoever closes one may open one.
    pub(in crate::proxy) fn left() -> Self {
        // The lowest number that is free: whoever needs one more than there are now gets none.
        let next = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
        Self::limited_to(next.unsigned_abs().into())
    }

    /// Nobody may open one, not even in place of one that another thread had open for a moment, as the allocator has when it
    /// counts the processors.
    pub(in crate::proxy) fn for_anybody() -> Self {
        Self::limited_to(0)
    }

    fn limited_to(most: u64) -> Self {
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..before }).unwrap();
        Self(before)
    }
}

impl Drop for NoDescriptors {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).unwrap();
    }
}

/// Limits that no test reaches unless it changes them.
pub(in crate::proxy) fn settings() -> ProxySettings {
    ProxySettings {
        listen_from: None,
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        threads: NonZeroUsize::MIN,
        service: "gateway".into(),
        policy: Policy::RoundRobin,
        connect_timeout: DEADLINE,
        response_timeout: DEADLINE,
        first_byte_timeout: DEADLINE,
        head_timeout: DEADLINE,
        keep_alive_timeout: DEADLINE,
        idle_timeout: DEADLINE,
        tunnel_timeout: DEADLINE,
        retries: 2,
        eject: EjectSettings::default(),
        slow_start: Duration::ZERO,
        trusted_proxies: Vec::new(),
        proxy_protocol: Vec::new(),
        health_endpoint: None,
        headers: HeaderSettings::default(),
        hold: HoldSettings { time: Duration::ZERO, ..HoldSettings::default() },
        limits: LimitSettings { connections: NonZeroUsize::new(10_000), ..LimitSettings::default() },
    }
}

pub(in crate::proxy) fn spec(service: &str, number: u32, addr: SocketAddr) -> ReplicaSpec {
    let name = format!("{service}-{number}");
    let bare = ReplicaSpec::at(addr, (&name).into(), Provider::DOCKER, service.into());
    ReplicaSpec { name, number: Some(number), ..bare }
}

/// What workers share, with a registry that is empty, and who may change the settings.
pub(super) fn context(
    change: impl FnOnce(&mut ProxySettings),
) -> (Arc<Context>, RegistryWriter, watch::Sender<Arc<ProxySettings>>) {
    context_of(Peers::new("vm-1".to_owned(), None, false), change)
}

fn context_of(
    peers: Peers,
    change: impl FnOnce(&mut ProxySettings),
) -> (Arc<Context>, RegistryWriter, watch::Sender<Arc<ProxySettings>>) {
    let mut settings = settings();
    change(&mut settings);
    let (registry, writer) = Registry::new();
    let (metrics, leaving, stop_accepting, abort) = Default::default();
    let limit = settings.limits.connections.unwrap();
    let admission = Arc::new(Admission::new(limit, Arc::clone(&metrics)));
    let (hold, service) = (Hold::new(Arc::clone(&metrics)), settings.service.clone());
    let (sender, settings) = watch::channel(Arc::new(settings));
    let peers = Arc::new(peers);
    let context =
        Context { registry, service, settings, metrics, admission, peers, hold, leaving, stop_accepting, abort };
    (Arc::new(context), writer, sender)
}

fn bind(settings: &ProxySettings) -> Vec<Listener> {
    Listener::bind(settings.listen, settings.threads.get(), settings.idle_timeout).unwrap()
}

pub(super) struct Proxy {
    pub(super) addr: SocketAddr,
    pub(super) context: Arc<Context>,
    pub(super) registry: Registry,
    writer: RegistryWriter,
    settings: watch::Sender<Arc<ProxySettings>>,
    threads: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// One worker in front of these replicas of the service `gateway`, all ready.
    pub(super) fn start(replicas: &[SocketAddr]) -> Self {
        Self::with(replicas, |_| {})
    }

    pub(super) fn with(replicas: &[SocketAddr], change: impl FnOnce(&mut ProxySettings)) -> Self {
        Self::listening(bind, replicas, context(change))
    }

    /// Where every client is at the address of a peer.
    pub(super) fn for_peers(replicas: &[SocketAddr]) -> Self {
        let peers = Peers::new("vm-1".to_owned(), None, true);
        peers.set_addresses([Ipv4Addr::LOCALHOST.into()].into());
        Self::listening(bind, replicas, context_of(peers, |_| {}))
    }

    /// On a socket that somebody else keeps, and where requests may wait for the replicas.
    pub(super) fn on(kept: &TcpListener, replicas: &[SocketAddr], change: impl FnOnce(&mut ProxySettings)) -> Self {
        let share = |s: &ProxySettings| Listener::share(kept, s.threads.get()).unwrap();
        let change = |settings: &mut ProxySettings| {
            settings.hold.time = DEADLINE;
            change(settings);
        };
        Self::listening(share, replicas, context(change))
    }

    fn listening(
        listen: impl FnOnce(&ProxySettings) -> Vec<Listener>,
        replicas: &[SocketAddr],
        (context, writer, settings): (Arc<Context>, RegistryWriter, watch::Sender<Arc<ProxySettings>>),
    ) -> Self {
        let registry = context.registry.clone();
        let listeners = listen(&settings.borrow());
        let addr = listeners[0].local_addr();
        let spawn = |(index, listener)| Worker::spawn(index, listener, Arc::clone(&context)).unwrap();
        let threads = listeners.into_iter().enumerate().map(spawn).collect();
        let mut proxy = Self { addr, context, registry, writer, settings, threads };
        for (number, addr) in (1..).zip(replicas) {
            proxy.add("gateway", number, *addr);
        }
        proxy
    }

    /// Changes the settings; the worker hears of it in a moment.
    pub(super) fn change(&self, change: impl FnOnce(&mut ProxySettings)) {
        self.settings.send_modify(|settings| change(Arc::make_mut(settings)));
    }

    pub(super) fn add(&mut self, service: &str, number: u32, addr: SocketAddr) {
        self.upsert(spec(service, number, addr));
        self.replica(service, number).set_health(Health::Healthy);
        self.registry.announce();
    }

    /// A replica with other facts, or one that is there with new ones.
    pub(super) fn upsert(&mut self, spec: ReplicaSpec) {
        let replica = Box::new(Sighting { spec, lifecycle: Lifecycle::Running });
        self.writer.apply(Change::Upsert { replica });
    }

    pub(super) fn replica(&self, service: &str, number: u32) -> Arc<Replica> {
        let replicas = self.registry.replicas(service).unwrap();
        Arc::clone(replicas.list().iter().find(|r| r.spec().number == Some(number)).unwrap())
    }

    pub(super) fn drain(&mut self, id: &str) {
        self.writer.apply(Change::Drain { provider: Provider::DOCKER, id: ReplicaId::from(id) });
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.writer.apply(Change::Remove { provider: Provider::DOCKER, id: ReplicaId::from(id) });
    }

    /// A replica of the service `gateway` as discovery sees it now.
    pub(super) fn sees(&mut self, number: u32, lifecycle: Lifecycle) {
        let replica = Box::new(Sighting { spec: self.replica("gateway", number).spec().clone(), lifecycle });
        self.writer.apply(Change::Upsert { replica });
    }

    /// What the probes of a replica of the service `gateway` say now.
    pub(super) fn probed(&self, number: u32, health: Health) {
        self.replica("gateway", number).set_health(health);
        self.registry.announce();
    }

    pub(super) fn held(&self) -> u64 {
        self.context.metrics.requests_held.load(Ordering::SeqCst)
    }

    pub(super) fn holds_that(&self, end: HoldEnd) -> u64 {
        self.context.metrics.hold_ends().find(|(known, _)| *known == end).unwrap().1
    }

    pub(super) fn connect(&self) -> Talk {
        Talk::new(TcpStream::connect(self.addr).unwrap())
    }

    /// One request on a connection of its own.
    pub(super) fn ask(&self, request: &str) -> Message {
        self.connect().ask(request)
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.registry.services().iter().flat_map(|s| s.list()).map(|r| r.in_flight()).sum()
    }

    pub(super) fn have_workers_ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.context.abort.cancel();
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "a worker panicked");
        }
    }
}

/// Both ends of a connection.
pub(in crate::proxy) async fn pair() -> (tokio::net::TcpStream, tokio::net::TcpStream) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let one = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (one, listener.accept().await.unwrap().0)
}
