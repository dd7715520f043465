//! What other clients do to the system while the load goes on.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use integration_tests::client::Client;
use integration_tests::{Result, procfs};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{Story, hold};
use crate::site::Site;

const LONG: Duration = Duration::from_secs(4);

fn addr(site: &Site) -> Result<SocketAddr> {
    Ok(site.running.addr().ok_or("clients of this system talk to the replicas")?)
}

/// Leaves a few descriptors, and lets clients come that use them up.
pub(super) async fn descriptors(site: &mut Site, story: &mut Story) -> Result<()> {
    let (addr, pid) = (addr(site)?, site.running.pid().ok_or("no process")?);
    let pids = procfs::family(pid);
    let mut before = Vec::new();
    for pid in &pids {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        before.push(limit(*pid, None)?);
        limit(*pid, Some(&format!("{}:", open + 8)))?;
    }
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.extend(timeout(Duration::from_millis(200), TcpStream::connect(addr)).await.ok().and_then(|r| r.ok()));
    }
    story.note(format!("{} clients more, with eight descriptors left", crowd.len()));
    hold(4_000).await;
    drop(crowd);
    for (pid, before) in pids.iter().zip(before) {
        limit(*pid, Some(&format!("{before}:")))?;
    }
    Ok(())
}

/// Reads or sets the soft limit of open files.
fn limit(pid: u32, limit: Option<&str>) -> Result<String> {
    let nofile = limit.map_or_else(|| "--nofile".to_owned(), |limit| format!("--nofile={limit}"));
    let mut command = Command::new("prlimit");
    command.args(["--pid", &pid.to_string(), &nofile]);
    if limit.is_none() {
        command.args(["--raw", "--noheadings", "--output", "SOFT"]);
    }
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("prlimit of {pid}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// Twenty clients at a time that leave two milliseconds after they asked.
pub(super) async fn aborts(site: &mut Site, story: &mut Story) -> Result<()> {
    let addr = addr(site)?;
    let end = Instant::now() + LONG;
    let mut clients = JoinSet::new();
    for client in 0..20 {
        clients.spawn(async move {
            let mut left = 0u64;
            while Instant::now() < end {
                let Ok(mut stream) = Client::connect(addr).await else { continue };
                let method = if left.is_multiple_of(2) { "GET" } else { "POST" };
                let id = format!("abort-{client}.{left}");
                let ask = format!("{method} /work?id={id}&ms=20 HTTP/1.1\r\nHost: gateway\r\nX-Id: {id}\r\n");
                let body = if method == "POST" { "Content-Length: 100\r\n\r\nnot all of it" } else { "\r\n" };
                let _ = stream.send(format!("{ask}{body}").as_bytes()).await;
                sleep(Duration::from_millis(2)).await;
                left += 1;
            }
            left
        });
    }
    let mut left = 0;
    while let Some(count) = clients.join_next().await {
        left += count?;
    }
    story.note(format!("{left} clients left"));
    Ok(())
}

/// Half of them send a head a byte at a time, half ask for much and read nothing.
pub(super) async fn slow(site: &mut Site, story: &mut Story) -> Result<()> {
    let addr = addr(site)?;
    let end = Instant::now() + LONG;
    let mut clients = JoinSet::new();
    for client in 0..100 {
        clients.spawn(async move {
            let Ok(mut stream) = TcpStream::connect(addr).await else { return false };
            if client % 2 == 0 {
                let ask = "GET /stream?chunks=100000&ms=0 HTTP/1.1\r\nHost: gateway\r\n\r\n";
                let asked = stream.write_all(ask.as_bytes()).await.is_ok();
                sleep(end.saturating_duration_since(Instant::now())).await;
                return asked;
            }
            let head = "GET / HTTP/1.1\r\nHost: gateway\r\nX-Slow: ".bytes().chain(std::iter::repeat(b'x'));
            for byte in head {
                if Instant::now() > end {
                    break;
                }
                if stream.write_all(&[byte]).await.is_err() {
                    return false;
                }
                sleep(Duration::from_millis(50)).await;
            }
            true
        });
    }
    let mut stayed = 0;
    while let Some(client) = clients.join_next().await {
        stayed += usize::from(client?);
    }
    story.note(format!("{stayed} of 100 slow clients stayed to the end"));
    Ok(())
}

/// Fifty clients of a service whose only replica never answers them.
pub(super) async fn neighbour(site: &mut Site, story: &mut Story) -> Result<()> {
    let addr = addr(site)?;
    let mut spec = site.replica("other", 1, &[]);
    spec.labels.push(("evenkeel.enable", "true".to_owned()));
    let other = site.run.start(&spec).await?;
    other.until_ready().await?;
    hold(2_500).await;
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        clients.spawn(async move {
            let Ok(mut client) = Client::connect(addr).await else { return false };
            let asked = client.request("GET", "/hang", &[("Host", "other")], b"");
            // It waits in vain, which is what it is to do.
            timeout(LONG, asked).await.is_err()
        });
    }
    let mut waited = 0;
    while let Some(client) = clients.join_next().await {
        waited += usize::from(client?);
    }
    story.note(format!("{waited} of 50 clients waited for the other service to the end"));
    other.remove().await
}
