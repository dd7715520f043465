//! One client's connection that the test itself polls: so it is the test that says what the runtime has heard of, and
//! what time it is.

use std::io::Read;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::yield_now;
use tokio::time::advance;

use super::support::{DEADLINE, GET, OK, context, spec};
use crate::change::Change;
use crate::config::settings::ProxySettings;
use crate::provider::Provider;
use crate::proxy::berths::Visit;
use crate::proxy::connection;
use crate::proxy::worker::Worker;
use crate::registry::RegistryWriter;
use crate::registry::fixtures::join;
use crate::replica::Replica;

pub(super) const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
/// How long a client that has finished sending waits for an answer to begin.
const HALF_CLOSED: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);

/// A connection that goes on only while the test waits for something, on a clock that only the test moves.
pub(super) struct Served {
    connection: Pin<Box<dyn Future<Output = ()>>>,
    worker: Rc<Worker>,
    /// Two ends of a socket that has to do with nothing.
    bystanders: (TcpStream, TcpStream),
    writer: RegistryWriter,
}

impl Served {
    /// A client, and the one replica's listener.
    pub(super) async fn start(change: impl FnOnce(&mut ProxySettings)) -> (Self, TcpStream, TcpListener) {
        Self::between(pair().await, change).await
    }

    /// The same with these ends of the client's connection.
    async fn between(
        (client, stream): (TcpStream, TcpStream),
        change: impl FnOnce(&mut ProxySettings),
    ) -> (Self, TcpStream, TcpListener) {
        let replica = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (context, mut writer, _) = context(change);
        join(&context.registry, &mut writer, spec("gateway", 1, replica.local_addr().unwrap()));
        let worker = Rc::new(Worker::new(context));
        let addr = client.local_addr().unwrap();
        let admission = &worker.context.admission;
        let admitted =
            admission.try_admit(admission.greet(addr, &worker.settings(), &worker.context.peers).unwrap()).unwrap();
        // It waits for no other connection.
        worker.berths.close();
        let connection = Box::pin(connection::serve(Rc::clone(&worker), Visit { stream, addr, admitted }));
        (Self { connection, worker, bystanders: pair().await, writer }, client, replica)
    }

    /// Lets the connection go on until `other` is done.
    pub(super) async fn until<T>(&mut self, other: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            () = &mut self.connection => panic!("the connection ended"),
            done = awake(other) => done,
        }
    }

    /// Sends a request and accepts it as the replica.
    pub(super) async fn ask(&mut self, client: &mut TcpStream, replica: &TcpListener, request: &str) -> TcpStream {
        client.write_all(request.as_bytes()).await.unwrap();
        let (mut stream, _) = self.until(replica.accept()).await.unwrap();
        let end = request.rsplit("\r\n\r\n").next().unwrap();
        self.until(read_until(&mut stream, &format!("\r\n\r\n{end}"))).await;
        stream
    }

    /// Waits until the runtime, but not the connection, knows all that has happened to the sockets.
    async fn hear(&mut self) {
        let (near, far) = &mut self.bystanders;
        // It finds nothing, so that the runtime has to look before the next read.
        assert!(far.try_read(&mut [0; 8]).is_err());
        near.write_all(b"x").await.unwrap();
        assert_eq!(awake(far.read(&mut [0; 8])).await.unwrap(), 1);
    }

    /// Lets the connection see all that has happened.
    pub(super) async fn catch_up(&mut self) {
        self.hear().await;
        self.until(yield_now()).await;
    }

    /// Lets time pass.
    pub(super) async fn pass(&mut self, time: Duration) {
        advance(time).await;
        self.catch_up().await;
    }

    fn replica(&self) -> Arc<Replica> {
        Arc::clone(&self.worker.context.registry.replicas("gateway").unwrap().list()[0])
    }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (one, listener.accept().await.unwrap().0)
}

/// A pair of which neither end's kernel holds more than a few kilobytes on the way to the first.
async fn narrow_pair() -> (TcpStream, TcpStream) {
    const FEW: u32 = 4096;
    let [near, far] = [(); 2].map(|()| TcpSocket::new_v4().unwrap());
    far.set_send_buffer_size(FEW).unwrap();
    far.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = far.listen(1).unwrap();
    near.set_recv_buffer_size(FEW).unwrap();
    let one = near.connect(listener.local_addr().unwrap()).await.unwrap();
    (one, listener.accept().await.unwrap().0)
}

/// Waits without ever being idle, since a paused clock would jump then.
async fn awake<T>(other: impl Future<Output = T>) -> T {
    let never_idle = async {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            yield_now().await;
        }
    };
    tokio::select! {
        biased;
        done = other => done,
        () = never_idle => panic!("not in time"),
    }
}

/// What comes until the end, or until a reset.
async fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ = awake(stream.read_to_end(&mut bytes)).await;
    String::from_utf8(bytes).unwrap()
}

pub(super) async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let mut chunk = [0; 1024];
        let count = stream.read(&mut chunk).await.unwrap();
        assert!(count > 0, "ended early: {text:?}");
        text += str::from_utf8(&chunk[..count]).unwrap();
    }
    text
}

#[tokio::test(start_paused = true)]
async fn what_may_be_sent_only_once_is_not_sent_on_a_connection_whose_end_the_runtime_has_not_heard_of() {
    let (mut served, mut client, replica) = Served::start(|_| {}).await;
    let mut kept = served.ask(&mut client, &replica, POST).await;
    kept.write_all(OK.as_bytes()).await.unwrap();
    served.until(read_until(&mut client, "ok")).await;

    client.write_all(POST.as_bytes()).await.unwrap();
    served.hear().await;
    drop(kept);
    let (mut fresh, _) = served.until(replica.accept()).await.unwrap();
    served.until(read_until(&mut fresh, "hi")).await;
    fresh.write_all(OK.as_bytes()).await.unwrap();
    let answer = served.until(read_until(&mut client, "ok")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(served.worker.context.metrics.retries.load(Ordering::Relaxed), 0);
    assert_eq!(served.replica().metrics().errors(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_may_still_send_waits_for_as_long_as_a_replica_may_take() {
    for request in [GET, POST] {
        let (mut served, mut client, replica) = Served::start(|s| s.response_timeout = SECOND * 60).await;
        let mut asked = served.ask(&mut client, &replica, request).await;
        served.pass(SECOND * 59).await;
        asked.write_all(OK.as_bytes()).await.unwrap();
        let answer = served.until(read_until(&mut client, "ok")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_finished_is_taken_for_gone_when_no_answer_has_begun_in_five_seconds() {
    for request in [GET, POST] {
        let (mut served, mut client, replica) = Served::start(|s| s.response_timeout = SECOND * 60).await;
        let mut asked = served.ask(&mut client, &replica, request).await;
        client.shutdown().await.unwrap();
        served.catch_up().await;
        served.pass(HALF_CLOSED - SECOND / 10).await;
        advance(SECOND / 5).await;
        awake(&mut served.connection).await;
        assert_eq!(awake(asked.read(&mut [0])).await.unwrap(), 0, "the request is taken back");
        let replica = served.replica();
        assert_eq!((replica.metrics().errors(), replica.in_flight()), (0, 0), "it was not the replica's fault");
        assert_eq!(awake(client.read(&mut [0])).await.unwrap(), 0, "there is nobody to be told");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_finished_waits_for_the_rest_of_an_answer_that_has_begun() {
    let (mut served, mut client, replica) = Served::start(|s| s.idle_timeout = SECOND * 60).await;
    let mut asked = served.ask(&mut client, &replica, GET).await;
    client.shutdown().await.unwrap();
    served.catch_up().await;
    asked.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf").await.unwrap();
    served.until(read_until(&mut client, "half")).await;
    served.pass(SECOND * 59).await;
    asked.write_all(b"rest").await.unwrap();
    awake(async { tokio::join!(&mut served.connection, read_until(&mut client, "rest")) }).await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_silent_for_too_long_is_to_blame_even_if_the_client_has_finished() {
    let (mut served, mut client, replica) = Served::start(|s| s.response_timeout = SECOND * 2).await;
    let _asked = served.ask(&mut client, &replica, GET).await;
    client.shutdown().await.unwrap();
    served.catch_up().await;
    advance(SECOND * 3).await;
    let answer = awake(async { tokio::join!(&mut served.connection, read_until(&mut client, "}\n")).1 }).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert_eq!(served.replica().metrics().errors(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_came_before_its_replica_left_is_passed_on_though_nobody_has_heard_of_it() {
    let (mut served, mut client, replica) = Served::start(|_| {}).await;
    let mut stream = served.ask(&mut client, &replica, POST).await;
    stream.write_all(OK.as_bytes()).await.unwrap();
    let (provider, id) = (Provider::DOCKER, served.replica().id().clone());
    served.writer.apply(Change::Remove { provider, id });
    let worker = Rc::clone(&served.worker);
    worker.pool.match_to(&worker.context.registry);
    served.until(yield_now()).await;
    served.hear().await;
    let answer = served.until(read_until(&mut client, "ok")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_has_come_whole_is_passed_on_to_a_slow_client_though_its_replica_has_left() {
    let (mut served, mut client, replica) = Served::between(narrow_pair().await, |_| {}).await;
    let mut stream = served.ask(&mut client, &replica, GET).await;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 49152\r\n\r\n{}the end", "x".repeat(49_152 - 7));
    served.until(stream.write_all(answer.as_bytes())).await.unwrap();
    served.catch_up().await;
    let (provider, id) = (Provider::DOCKER, served.replica().id().clone());
    served.writer.apply(Change::Remove { provider, id });
    let worker = Rc::clone(&served.worker);
    worker.pool.match_to(&worker.context.registry);
    served.catch_up().await;
    let got = served.until(read_until(&mut client, "the end")).await;
    assert!(got.starts_with("HTTP/1.1 200 OK"), "{got}");
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_ends_with_its_replica_although_something_has_come_last() {
    let (mut served, mut client, replica) = Served::start(|_| {}).await;
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n";
    let mut stream = served.ask(&mut client, &replica, request).await;
    stream.write_all(b"HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n").await.unwrap();
    served.until(read_until(&mut client, "\r\n\r\n")).await;
    stream.write_all(b"bye").await.unwrap();
    let (provider, id) = (Provider::DOCKER, served.replica().id().clone());
    served.writer.apply(Change::Remove { provider, id });
    let worker = Rc::clone(&served.worker);
    worker.pool.match_to(&worker.context.registry);
    served.hear().await;
    // Nothing would wake it a second time.
    let mut once = Context::from_waker(Waker::noop());
    assert!(served.connection.as_mut().poll(&mut once).is_ready());
    assert_eq!(read_all(&mut client).await, "bye");
}

/// What the client has said and nobody has read makes the close a reset, and that would take along what the kernel was
/// told to keep for the end.
#[tokio::test(start_paused = true)]
async fn the_last_answer_arrives_although_more_has_come_from_the_client() {
    let (mut served, mut client, replica) = Served::start(|_| {}).await;
    let mut stream = served.ask(&mut client, &replica, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    stream.write_all(OK.as_bytes()).await.unwrap();
    client.write_all(b"more").await.unwrap();
    served.hear().await;
    awake(&mut served.connection).await;
    let answer = read_all(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer:?}");
}

/// A `101` is not the last of anything, whatever the client said of its connection.
#[tokio::test(start_paused = true)]
async fn a_switch_is_passed_on_at_once() {
    let (mut served, mut client, replica) = Served::start(|_| {}).await;
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close, upgrade\r\nupgrade: chat\r\n\r\n";
    let mut stream = served.ask(&mut client, &replica, request).await;
    stream.write_all(b"HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n").await.unwrap();
    served.catch_up().await;
    let mut bytes = [0; 1024];
    let count = (&*SockRef::from(&client)).read(&mut bytes).unwrap();
    assert!(bytes[..count].starts_with(b"HTTP/1.1 101"));
}

#[tokio::test(start_paused = true)]
async fn what_may_be_sent_only_once_leaves_a_replica_that_closes_what_it_kept() {
    let (mut served, mut client, replica) = Served::start(|_| {}).await;
    let mut kept = served.ask(&mut client, &replica, POST).await;
    kept.write_all(OK.as_bytes()).await.unwrap();
    served.until(read_until(&mut client, "ok")).await;
    drop(kept);

    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let registry = served.worker.context.registry.clone();
    join(&registry, &mut served.writer, spec("gateway", 2, other.local_addr().unwrap()));
    // One of two has its turn at the first replica.
    let mut stream = served.ask(&mut client, &other, POST).await;
    stream.write_all(OK.as_bytes()).await.unwrap();
    served.until(read_until(&mut client, "ok")).await;
    client.write_all(POST.as_bytes()).await.unwrap();
    served.until(read_until(&mut stream, "hi")).await;
    assert_eq!(served.replica().metrics().errors(), 0, "that is no failure of its");
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_to_its_end_by_the_settings_that_it_began_with() {
    let (mut served, mut client, replica) = Served::start(|s| s.response_timeout = SECOND * 60).await;
    let mut asked = served.ask(&mut client, &replica, GET).await;
    let settings = ProxySettings::clone(&served.worker.settings());
    served.worker.take_on(&ProxySettings { response_timeout: SECOND, ..settings });
    served.pass(SECOND * 59).await;
    asked.write_all(OK.as_bytes()).await.unwrap();
    let answer = served.until(read_until(&mut client, "ok")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    client.write_all(GET.as_bytes()).await.unwrap();
    served.until(read_until(&mut asked, "\r\n\r\n")).await;
    served.pass(SECOND * 2).await;
    let answer = served.until(read_until(&mut client, "}\n")).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
}
