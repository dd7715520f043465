//! When the kernel is told to give up a connection to a replica that acknowledges nothing, and when no longer.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::Socket;
use tokio::io::AsyncWriteExt;

use super::polled::{POST, Served, read_until};
use super::support::{GET, OK};
use crate::proxy::pool::PATIENCE;

const MOMENT: Duration = Duration::from_millis(10);
/// What the kernel is told: a part of it has passed when it begins to count.
const SILENCE: Option<Duration> = Some(Duration::from_millis(500));
const UPGRADE: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n";

/// Our end of a connection that a replica has accepted from this address, by a descriptor of our own.
pub(super) fn our_end(addr: SocketAddr) -> Socket {
    let is_it = |socket: &Socket| socket.local_addr().is_ok_and(|local| local.as_socket() == Some(addr));
    find_socket(is_it).unwrap_or_else(|| panic!("no socket of this process is at {addr}"))
}

fn find_socket(is_it: impl Fn(&Socket) -> bool) -> Option<Socket> {
    let ourselves = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let numbers = fs::read_dir("/proc/self/fd").unwrap();
    let mut numbers = numbers.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // One that has been closed meanwhile is not it.
    numbers.find_map(|number| {
        let duplicate = pidfd_getfd(&ourselves, number, PidfdGetfdFlags::empty()).ok()?;
        Some(Socket::from(duplicate)).filter(&is_it)
    })
}

fn patience(socket: &Socket) -> Option<Duration> {
    socket.tcp_user_timeout().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_request_that_may_move_loses_patience_after_half_a_second_until_its_answer_comes() {
    let (mut served, mut client, replica) = Served::start(|_| {}).await;
    let mut asked = served.ask(&mut client, &replica, GET).await;
    let socket = our_end(asked.peer_addr().unwrap());
    // Twice on one connection: what one request has set is none of the next one's.
    for _ in 0..2 {
        served.catch_up().await;
        served.pass(PATIENCE - MOMENT).await;
        assert_eq!(patience(&socket), None, "it may yet answer");
        served.pass(MOMENT * 2).await;
        assert_eq!((patience(&socket), socket.keepalive().unwrap()), (SILENCE, true));
        served.pass(PATIENCE * 4).await;
        assert_eq!(patience(&socket), SILENCE, "a replica that is only slow may take its time");
        assert!(!socket.keepalive().unwrap(), "its host was asked once");
        asked.write_all(OK.as_bytes()).await.unwrap();
        served.until(read_until(&mut client, "ok")).await;
        assert_eq!(patience(&socket), None, "the connection is kept");
        client.write_all(GET.as_bytes()).await.unwrap();
        served.until(read_until(&mut asked, "\r\n\r\n")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_not_move_and_who_has_begun_to_answer_keeps_its_time() {
    let put = "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
    let begun = "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nhi";
    // What was asked, with how many retries, what has come of an answer, and whether patience is lost.
    for (request, retries, answer, expected) in [
        (GET, 1, "", SILENCE),
        (put, 1, "", SILENCE),
        (POST, 1, "", None),
        (GET, 0, "", None),
        (begun, 1, "", None),
        (UPGRADE, 1, "", None),
        (GET, 1, "HTTP/1.1 2", None),
        (GET, 1, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", None),
    ] {
        let (mut served, mut client, replica) = Served::start(|settings| settings.retries = retries).await;
        let mut asked = served.ask(&mut client, &replica, request).await;
        let socket = our_end(asked.peer_addr().unwrap());
        asked.write_all(answer.as_bytes()).await.unwrap();
        served.catch_up().await;
        served.pass(PATIENCE + MOMENT).await;
        served.pass(PATIENCE + MOMENT).await;
        assert_eq!(patience(&socket), expected, "{request:?} with {retries} retries, {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_ends_sooner_is_not_overtaken() {
    for (limit, expected) in [(PATIENCE, None), (PATIENCE * 2, SILENCE)] {
        let (mut served, mut client, replica) = Served::start(|settings| settings.response_timeout = limit).await;
        let asked = served.ask(&mut client, &replica, GET).await;
        let socket = our_end(asked.peer_addr().unwrap());
        served.catch_up().await;
        // In two steps, since nobody looks at the clock in between.
        served.pass(PATIENCE + MOMENT).await;
        served.pass(limit - PATIENCE).await;
        let answer = served.until(read_until(&mut client, "}\n")).await;
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
        assert_eq!(patience(&socket), expected);
    }
}
