//! One pool before one replica, whose ends of the connections the tests hold.

use super::connection::{QUESTION, SILENCE};
use super::*;
use crate::proxy::tests::support::{DEADLINE, NoDescriptors, deafen, drop_all, eventually, hanging, spec};
use crate::registry::RegistryWriter;
use crate::replica::{Health, Lifecycle, ReplicaSpec};
use std::io::Write;
use std::net::{TcpListener, TcpStream as StdStream};

struct Bench {
    pool: Pool,
    replica: Replica,
    listener: TcpListener,
}

impl Bench {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let replica = Replica::new(spec("gateway", 1, listener.local_addr().unwrap()), Lifecycle::Running);
        Self { pool: Pool::new(Rc::default(), Arc::default()), replica, listener }
    }

    async fn connect(&self) -> (Connection, StdStream) {
        let connection = self.pool.connect(&self.replica, DEADLINE, true, || false).await.unwrap();
        (connection, self.listener.accept().unwrap().0)
    }

    /// Idle connections, the oldest first, and the replica's ends.
    async fn fill(&self, count: usize) -> Vec<StdStream> {
        let mut ends = Vec::new();
        for _ in 0..count {
            let (connection, end) = self.connect().await;
            connection.give_back(&self.replica, Instant::now());
            ends.push(end);
        }
        ends
    }

    fn take(&self, look: Look) -> Option<Connection> {
        match self.pool.take(&self.replica, look, Instant::now()) {
            Kept::Open(connection) => Some(connection),
            Kept::Closed | Kept::None => None,
        }
    }

    fn shelf(&self) -> Rc<Shelf> {
        Rc::clone(&self.pool.shelves.borrow()[&self.replica.incarnation()])
    }

    fn idle(&self) -> usize {
        self.shelf().idle.borrow().len()
    }
}

#[tokio::test]
async fn the_newest_is_taken_first_and_only_so_many_are_kept() {
    let mut bench = Bench::new();
    bench.pool.room = 5;
    let ends = bench.fill(7).await;
    assert_eq!(bench.idle(), 5);
    for end in ends.iter().rev().take(3) {
        let taken = bench.take(Look::Short).unwrap();
        assert_eq!(taken.stream.local_addr().unwrap(), end.peer_addr().unwrap());
        assert!(taken.was_kept);
    }
}

#[tokio::test]
async fn who_lost_patience_has_it_again_at_the_next_request() {
    let bench = Bench::new();
    let _ends = bench.fill(1).await;
    let mut connection = bench.take(Look::Short).unwrap();
    let patience = |connection: &Connection| {
        let socket = SockRef::from(&connection.stream);
        (socket.tcp_user_timeout().unwrap(), socket.keepalive().unwrap(), connection.is_impatient())
    };
    assert_eq!(patience(&connection), (None, false, false));
    connection.lose_patience();
    assert_eq!(patience(&connection), (Some(SILENCE), true, true));
    connection.give_back(&bench.replica, Instant::now());
    let connection = bench.take(Look::Short).unwrap();
    assert_eq!(patience(&connection), (None, false, false));
}

#[tokio::test]
async fn what_the_other_end_does_not_acknowledge_is_told_from_what_it_leaves_unread() {
    let bench = Bench::new();
    let (connection, end) = bench.connect().await;
    let write = || (&*SockRef::from(&connection.stream)).write_all(&[0; 4_096]).unwrap();
    write();
    let since = std::time::Instant::now();
    while since.elapsed() < ARRIVAL {
        assert!(!connection.is_unheard(), "it is there, and nobody reads it");
    }
    deafen(&end);
    write();
    assert!(!connection.is_unheard(), "it may be on its way");
    eventually("it should be there", || connection.is_unheard());
    connection.note_silence(Instant::now());
    assert!(connection.shelf.silent_at.get().is_some());
    bench.connect().await;
    assert!(connection.shelf.silent_at.get().is_none(), "a connection was made since");
    connection.note_silence(Instant::now());
    let shelf = Rc::clone(&connection.shelf);
    connection.give_back(&bench.replica, Instant::now());
    assert!(shelf.silent_at.get().is_none(), "an answer came");
}

#[tokio::test]
async fn a_host_that_is_gone_is_told_from_one_whose_replica_takes_its_time() {
    let bench = Bench::new();
    let mut both = [bench.connect().await, bench.connect().await];
    let since = std::time::Instant::now();
    for (connection, _) in &mut both {
        (&*SockRef::from(&connection.stream)).write_all(b"x").unwrap();
        connection.lose_patience();
    }
    let [(gone, end), (there, _end)] = both;
    drop_all(&end);
    while since.elapsed() < QUESTION * 9 / 10 {
        assert!(!gone.is_host_gone(), "it was not asked yet");
    }
    eventually("it should have answered", || gone.is_host_gone() && since.elapsed() > PRESENCE);
    assert!(!there.is_host_gone(), "it is there");
    assert!(SockRef::from(&there.stream).keepalive().unwrap());
    there.ask_no_more();
    assert!(!SockRef::from(&there.stream).keepalive().unwrap());
}

#[tokio::test]
async fn where_a_host_was_silent_the_first_connect_of_a_request_moves_sooner_and_at_no_cost() {
    let (_held, addr) = hanging();
    let mut bench = Bench::new();
    bench.replica = Replica::new(spec("gateway", 1, addr), Lifecycle::Running);
    let failed = async |may_hurry, ago| {
        bench.pool.shelf(&bench.replica).silent_at.set(Instant::now().checked_sub(ago));
        bench.pool.connect(&bench.replica, DEADLINE, may_hurry, || true).await
    };
    assert!(matches!(failed(true, Duration::ZERO).await, Err(Failure::Hasty)));
    assert!(matches!(failed(false, Duration::ZERO).await, Err(Failure::ConnectTimeout)));
    assert!(matches!(failed(true, LATELY).await, Err(Failure::ConnectTimeout)), "that is long ago");
}

#[tokio::test]
async fn idle_connections_give_way_where_descriptors_are_short() {
    let bench = Bench::new();
    let _ends = bench.fill(1).await;
    let shortage = NoDescriptors::left();
    let first = bench.pool.connect(&bench.replica, DEADLINE, true, || false).await;
    let second = bench.pool.connect(&bench.replica, DEADLINE, true, || false).await;
    drop(shortage);
    assert!(first.is_ok(), "the idle one made way: {first:?}");
    assert!(matches!(second, Err(Failure::OutOfDescriptors(_))), "there was none left to make way: {second:?}");
    assert_eq!(bench.idle(), 0);
}

#[tokio::test]
async fn a_shortage_that_another_worker_met_is_heard_of_once() {
    let bench = Bench::new();
    let _ends = bench.fill(4).await;
    bench.pool.sweep();
    assert_eq!(bench.idle(), 4);
    bench.pool.metrics.descriptor_shortages.fetch_add(1, Ordering::Relaxed);
    bench.pool.sweep();
    assert_eq!(bench.idle(), 2);
    bench.pool.sweep();
    assert_eq!(bench.idle(), 2);
    bench.pool.make_way();
    bench.pool.make_way();
    assert_eq!(bench.idle(), 1, "the last is what those who are there are served with");
}

#[tokio::test]
async fn a_closed_or_talkative_connection_is_not_taken_even_if_the_runtime_has_not_heard_of_it() {
    let bench = Bench::new();
    let mut ends = bench.fill(3).await;
    // Nothing is awaited from here on.
    ends[1].write_all(b"x").unwrap();
    drop(ends.remove(2));
    let taken = bench.take(Look::Long).unwrap();
    assert_eq!(taken.stream.local_addr().unwrap(), ends[0].peer_addr().unwrap());
    assert!(bench.take(Look::Long).is_none());
}

#[tokio::test]
async fn what_the_runtime_has_heard_of_needs_no_long_look() {
    let bench = Bench::new();
    drop(bench.fill(1).await);
    let (other, end) = bench.connect().await;
    drop(end);
    other.stream.readable().await.unwrap();
    assert!(bench.take(Look::Short).is_none());
}

#[tokio::test(start_paused = true)]
async fn connections_age_and_a_replica_teaches_how_fast() {
    let bench = Bench::new();
    let _ends = bench.fill(1).await;
    tokio::time::advance(MAX_IDLE_AGE - Duration::from_millis(1)).await;
    let connection = bench.take(Look::Short).unwrap();
    connection.note_keep_alive(Duration::from_secs(5));
    connection.note_keep_alive(Duration::from_secs(60));
    connection.give_back(&bench.replica, Instant::now());
    assert_eq!(bench.shelf().limit.get(), Duration::from_secs(4));
    tokio::time::advance(Duration::from_secs(4)).await;
    assert!(bench.take(Look::Short).is_none());
    bench.shelf().learn(Duration::ZERO);
    assert_eq!(bench.shelf().limit.get(), MIN_IDLE_AGE);
}

#[tokio::test(start_paused = true)]
async fn a_close_while_idle_teaches_too_unless_it_comes_at_once() {
    let bench = Bench::new();
    for (age, limit) in [(1, 30), (11, 8)] {
        let ends = bench.fill(2).await;
        tokio::time::advance(Duration::from_secs(age)).await;
        let streams = bench.shelf();
        drop(ends);
        let idle = streams.idle.take();
        for idle in &idle {
            idle.stream.readable().await.unwrap();
        }
        streams.idle.replace(idle);
        streams.sweep();
        assert_eq!((bench.idle(), streams.limit.get()), (0, Duration::from_secs(limit)), "after {age} s");
    }
}

#[tokio::test]
async fn nothing_comes_back_to_a_replica_that_drains_or_left() {
    let bench = Bench::new();
    let (connection, _end) = bench.connect().await;
    bench.shelf().close();
    connection.give_back(&bench.replica, Instant::now());
    assert_eq!(bench.idle(), 0);

    let bench = Bench::new();
    let (connection, _end) = bench.connect().await;
    bench.replica.set_lifecycle(Lifecycle::Draining);
    connection.give_back(&bench.replica, Instant::now());
    assert_eq!(bench.idle(), 0);
}

#[tokio::test]
async fn nothing_comes_back_to_a_replica_that_is_drained_by_hand() {
    let bench = Bench::new();
    let (connection, _end) = bench.connect().await;
    bench.replica.set_drained_by_hand(true);
    connection.give_back(&bench.replica, Instant::now());
    assert_eq!(bench.idle(), 0);
}

/// A pool that follows a registry of one replica, which may drain for as long as this.
struct Following {
    bench: Bench,
    registry: Registry,
    _writer: RegistryWriter,
}

impl Following {
    fn new(drain_timeout: Duration) -> Self {
        let mut bench = Bench::new();
        let spec = ReplicaSpec { drain_timeout: Some(drain_timeout), ..bench.replica.spec().clone() };
        bench.replica = Replica::new(spec.clone(), Lifecycle::Running);
        let (registry, mut writer) = Registry::new();
        writer.apply(crate::registry::fixtures::running(spec));
        // The pool and the registry mean the same replica.
        let listed = Arc::clone(&registry.replicas("gateway").unwrap().list()[0]);
        bench.replica = listed.with_spec(listed.spec().clone());
        Self { bench, registry, _writer: writer }
    }

    fn drain_by_hand(&self, is_drained: bool) {
        self.bench.replica.set_drained_by_hand(is_drained);
        self.bench.pool.match_to(&self.registry);
    }
}

const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn an_undrain_opens_the_shelf_and_calls_off_the_cut() {
    let local = tokio::task::LocalSet::new();
    let test = async {
        let following = Following::new(LIMIT);
        let bench = &following.bench;
        let (busy, _end) = bench.connect().await;
        let (other, _other_end) = bench.connect().await;
        following.drain_by_hand(true);
        sleep(LIMIT / 2).await;
        following.drain_by_hand(false);
        sleep(LIMIT * 2).await;
        assert_ne!(busy.fate(), Fate::Cut);
        other.give_back(&bench.replica, Instant::now());
        assert_eq!(bench.idle(), 1);

        // The next drain has all of its time.
        following.drain_by_hand(true);
        assert_eq!(bench.idle(), 0);
        sleep(LIMIT / 2).await;
        following.bench.pool.match_to(&following.registry);
        sleep(LIMIT / 2 - Duration::from_millis(10)).await;
        assert_ne!(busy.fate(), Fate::Cut);
        sleep(Duration::from_millis(20)).await;
        assert_eq!(busy.fate(), Fate::Cut);
        following.drain_by_hand(false);
        let (fresh, _fresh_end) = bench.connect().await;
        assert_ne!(fresh.fate(), Fate::Cut, "what comes after an undrain is not cut");
    };
    local.run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_made_after_the_drain_began_is_cut_too() {
    let local = tokio::task::LocalSet::new();
    let test = async {
        let following = Following::new(LIMIT);
        following.drain_by_hand(true);
        let (late, _end) = following.bench.connect().await;
        sleep(LIMIT + Duration::from_millis(10)).await;
        assert_eq!(late.fate(), Fate::Cut);
    };
    local.run_until(test).await;
}

#[tokio::test]
async fn a_drain_by_hand_does_not_hide_that_the_replica_may_never_answer() {
    let local = tokio::task::LocalSet::new();
    let test = async {
        let following = Following::new(LIMIT);
        let (busy, _end) = following.bench.connect().await;
        following.drain_by_hand(true);
        assert_eq!(busy.fate(), Fate::Fine);
        following.bench.replica.set_lifecycle(Lifecycle::Paused);
        following.bench.pool.match_to(&following.registry);
        assert_eq!(busy.fate(), Fate::Doubtful);
        following.bench.replica.set_lifecycle(Lifecycle::Running);
        following.drain_by_hand(false);
        assert_eq!(busy.fate(), Fate::Fine);
    };
    local.run_until(test).await;
}

#[tokio::test]
async fn who_is_ready_again_is_not_doubted_although_the_news_is_late() {
    let following = Following::new(LIMIT);
    let bench = &following.bench;
    let ((busy, _end), (idle, _other_end)) = (bench.connect().await, bench.connect().await);
    idle.give_back(&bench.replica, Instant::now());
    for is_kept in [true, false] {
        bench.replica.set_health(Health::Suspect);
        bench.pool.match_to(&following.registry);
        assert_eq!(busy.fate(), Fate::Suspect);
        bench.replica.set_health(Health::Healthy);
        let fate = if is_kept { bench.take(Look::Short).unwrap().fate() } else { bench.connect().await.0.fate() };
        assert_eq!(fate, Fate::Fine, "{is_kept}");
    }
    bench.replica.set_health(Health::Suspect);
    bench.pool.match_to(&following.registry);
    assert_eq!(bench.connect().await.0.fate(), Fate::Suspect, "picked in panic");
}

#[tokio::test]
async fn a_connection_that_is_made_when_its_replica_has_left_is_not_used() {
    let bench = Bench::new();
    let mut connecting = pin!(bench.pool.connect(&bench.replica, DEADLINE, true, || false));
    assert!(poll_fn(|cx| Poll::Ready(connecting.as_mut().poll(cx).is_pending())).await);
    let (_end, _) = bench.listener.accept().unwrap();
    // By the time that it hears of a later one, the runtime knows that there is a connection.
    let _later = TcpStream::connect(bench.replica.spec().addr).await.unwrap();
    bench.shelf().meet(Fate::Gone);
    assert!(matches!(connecting.await, Err(Failure::Connect(_))));
}
