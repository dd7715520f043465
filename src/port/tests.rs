//! A keeper and those who take the port from it, good and bad.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::keeper::hand_over;
use super::*;

const ANY: &str = "127.0.0.1:0";

/// A directory for a socket that is not there yet.
fn place() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("port.sock");
    (dir, path)
}

fn open(path: &Path) -> Keeper {
    Keeper::open(ANY.parse().unwrap(), path).unwrap()
}

/// Serves for as long as the test's runtime lives.
fn serve(keeper: Keeper) -> JoinHandle<io::Result<()>> {
    tokio::spawn(async move { keeper.run().await })
}

/// Hands this over as often as it is asked at the path, and says that beforehand.
fn impostor(path: &Path, socket: impl Into<OwnedFd>, says: &'static [u8]) {
    let (door, socket) = (UnixListener::bind(path).unwrap(), socket.into());
    std::thread::spawn(move || {
        for mut asks in door.incoming().map_while(Result::ok) {
            asks.write_all(says).unwrap();
            hand_over(socket.as_fd(), asks.as_fd()).unwrap();
        }
    });
}

fn complaint(outcome: Result<TcpListener, PortError>) -> String {
    outcome.unwrap_err().to_string()
}

#[tokio::test]
async fn clients_wait_while_nobody_takes_them_and_whoever_comes_next_does() {
    let (_dir, path) = place();
    let keeper = open(&path);
    let addr = keeper.local_addr().unwrap();
    serve(keeper);
    let early = TcpStream::connect(addr).unwrap();
    let first = take(&path).await.unwrap();
    assert_eq!(first.accept().unwrap().1, early.local_addr().unwrap());
    drop(first);

    let mut late = TcpStream::connect(addr).unwrap();
    late.write_all(b"hello").unwrap();
    let second = take(&path).await.unwrap();
    let (mut accepted, from) = second.accept().unwrap();
    assert_eq!((second.local_addr().unwrap(), from), (addr, late.local_addr().unwrap()));
    assert!(accepted.nodelay().unwrap(), "also of a connection that came while there was nobody to say so");
    let mut said = [0; 5];
    accepted.set_nonblocking(false).unwrap();
    accepted.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"hello");
}

#[tokio::test]
async fn the_unix_socket_is_for_its_user_and_goes_with_its_keeper() {
    let (_dir, path) = place();
    let keeper = open(&path);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    drop(keeper);
    assert!(!path.exists());
}

#[tokio::test]
async fn no_client_of_the_unix_socket_keeps_the_next_one_from_the_port() {
    let (_dir, path) = place();
    let keeper = open(&path);
    // A thread of its own, since its clients block; it ends with the test's process.
    let served = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { keeper.run().await })
    });
    let connect = || StdUnixStream::connect(&path).unwrap();
    let silent: Vec<_> = (0..100).map(|_| connect()).collect();
    for _ in 0..100 {
        drop(connect());
        // It may have been hung up on already.
        let _ = connect().write_all(&[0xff; 100_000]);
    }
    take(&path).await.unwrap();
    assert!(!served.is_finished());
    drop(silent);
}

#[tokio::test]
async fn what_a_dead_keeper_left_is_replaced_and_nothing_else() {
    let (_dir, path) = place();
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "as after a kill");
    let keeper = open(&path);
    let again = Keeper::open(ANY.parse().unwrap(), &path).unwrap_err().to_string();
    assert!(again.contains("another keeper answers there"), "{again}");
    drop(keeper);

    fs::write(&path, "precious").unwrap();
    let error = Keeper::open(ANY.parse().unwrap(), &path).unwrap_err().to_string();
    assert!(error.contains("something else is there"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

    let nowhere = path.with_file_name("none").join("port.sock");
    let error = Keeper::open(ANY.parse().unwrap(), &nowhere).unwrap_err().to_string();
    assert!(error.contains("its directory must be there"), "{error}");
}

#[tokio::test]
async fn a_keeper_leaves_a_later_one_its_socket() {
    let (_dir, path) = place();
    let earlier = open(&path);
    fs::remove_file(&path).unwrap();
    let _later = open(&path);
    drop(earlier);
    assert!(path.exists());
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_leaves_the_path_alone() {
    let (_dir, path) = place();
    let taken = TcpListener::bind(ANY).unwrap();
    let error = Keeper::open(taken.local_addr().unwrap(), &path).unwrap_err().to_string();
    assert!(error.contains("the address is taken"), "{error}");
    assert!(!path.exists());
}

#[tokio::test(start_paused = true)]
async fn a_keeper_that_is_late_is_waited_for() {
    let (_dir, path) = place();
    let coming = tokio::spawn({
        let path = path.clone();
        async move {
            sleep(Duration::from_secs(5)).await;
            serve(open(&path));
        }
    });
    take(&path).await.unwrap();
    coming.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_never_comes_is_an_error_that_says_what_to_do() {
    let (_dir, path) = place();
    let since = Instant::now();
    let error = complaint(take(&path).await);
    assert!(error.contains("evenkeel keep-port --socket") && error.contains("No such file"), "{error}");
    assert_eq!(since.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn what_is_not_a_listening_tcp_socket_is_refused() {
    let udp = UdpSocket::bind(ANY).unwrap();
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let (pipe, _other) = io::pipe().unwrap();
    let (_dir, door) = place();
    let unix = UnixListener::bind(door).unwrap();
    let sockets: [OwnedFd; 4] = [udp.into(), bound.into(), pipe.into(), unix.into()];
    for socket in sockets {
        let (_dir, path) = place();
        impostor(&path, socket, b"");
        let error = complaint(take(&path).await);
        assert!(error.ends_with("passed is not a TCP socket that listens") && error.contains("port.sock"), "{error}");
    }
}

#[tokio::test]
async fn who_says_something_else_or_passes_nothing_is_no_keeper() {
    let (_dir, path) = place();
    impostor(&path, TcpListener::bind(ANY).unwrap(), b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let error = complaint(take(&path).await);
    assert!(error.contains("is no keeper of a port: it said \"HTTP/1.1 400 Ba"), "{error}");

    let (_dir, path) = place();
    let door = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || door.accept().unwrap().0.write_all(GREETING).unwrap());
    let error = complaint(take(&path).await);
    assert!(error.ends_with("is no keeper of a port: it passed no socket"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_no_keeper() {
    let (_dir, path) = place();
    let _silent = UnixListener::bind(&path).unwrap();
    let error = complaint(take(&path).await);
    assert!(error.ends_with("it said nothing within 2 s"), "{error}");
}
