//! HAProxy in front of two evenkeels, in the place of a cloud's balancer: it says in each way it knows whose each
//! connection is, and asks for their health. The replica sees the true client; a balancer that says nothing gets nothing;
//! and when one evenkeel stops, it says so at once, and serves until HAProxy has taken it out.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use integration_tests::Result;
use integration_tests::process::{self, Place, Process};
use rustix::process::Signal;

use crate::evenkeel::{LISTEN, loopback};
use crate::replica::Replica;
use crate::{Site, evenkeel, http};

/// Where HAProxy connects from; clients have other addresses.
const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SECOND: SocketAddr = loopback(8085);
const SECOND_ADMIN: SocketAddr = loopback(9905);
const STATISTICS: SocketAddr = loopback(8189);
const HEALTH: &str = "/lb-health";

/// HAProxy's interval of health checks, and how many have to fail.
const INTERVAL: Duration = Duration::from_millis(200);
const THRESHOLD: u32 = 2;
/// `--lame-duck`: more than interval × threshold, with time for a busy machine.
const LAME_DUCK: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// How HAProxy says whose a connection is, where it listens for that, and what its `server` lines have for it. With a port
/// for the checks these begin with no header.
const WAYS: [(&str, SocketAddr, &str); 4] = [
    ("send-proxy", loopback(8181), "send-proxy check"),
    ("send-proxy-v2", loopback(8182), "send-proxy-v2 check"),
    (
        "send-proxy-v2, with a checksum and an id",
        loopback(8183),
        "send-proxy-v2 proxy-v2-options crc32c,unique-id check",
    ),
    ("send-proxy-v2, with plain health checks", loopback(8184), "send-proxy-v2 check port @PORT@"),
];
/// One that does not say it.
const SILENT: SocketAddr = loopback(8185);

pub(crate) fn run(site: &Site) -> Result<()> {
    println!("HAProxy in front, {} ways", WAYS.len());
    let _replica = Replica::start()?;
    let settings = [
        format!("--proxy-protocol={BALANCER}"),
        format!("--health-endpoint={HEALTH}"),
        format!("--lame-duck={}s", LAME_DUCK.as_secs()),
    ];
    let mut first = evenkeel::start(site, &settings)?;
    let _second = evenkeel::start_at(site, ("evenkeel-2", SECOND, SECOND_ADMIN), &settings)?;
    let config = site.scratch.join("front.cfg");
    fs::write(&config, configuration())?;
    let mut command = process::command(Place::Anywhere, "haproxy");
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").arg("-db").arg("-f").arg(&config);
    let mut haproxy = Process::start("haproxy", command, &site.scratch)?;
    let all = WAYS.len() * 2;
    haproxy.until(PATIENCE, || servers("check_status", "L7OK").is_ok_and(|up| up.len() == all))?;

    for (way, addr, _) in WAYS {
        for host in [7, 8] {
            see(addr, Ipv4Addr::new(127, 0, 0, host)).map_err(|error| format!("{way}: {error}"))?;
        }
        println!("  {way}: the replica sees 127.0.0.7 and 127.0.0.8");
    }
    see(LISTEN, Ipv4Addr::new(127, 0, 0, 9)).map_err(|error| format!("without HAProxy: {error}"))?;
    let missing = || evenkeel::metric(r#"evenkeel_proxy_protocol_errors_total{reason="missing"}"#);
    if missing()? != 0 {
        return Err("connections without a header were counted before there were any".into());
    }
    if let Ok(answer) = http::get(SILENT, Ipv4Addr::new(127, 0, 0, 7), "/headers") {
        return Err(format!("a balancer that says nothing got {}", answer.status).into());
    }
    if missing()? != 1 {
        return Err(format!("{} connections without a header were counted, not 1", missing()?).into());
    }
    println!("  no header from an address that has to send one: closed, and counted");
    stop_one(&mut first)
}

/// Stops one of the two evenkeels under load.
fn stop_one(first: &mut Process) -> Result<()> {
    let load = Load::start();
    thread::sleep(INTERVAL);
    first.signal(Signal::TERM)?;
    let began = Instant::now();
    let from = Ipv4Addr::new(127, 0, 0, 9);
    while http::get(LISTEN, from, HEALTH)?.status != 503 {
        if began.elapsed() > PATIENCE {
            return Err("it never says that it stops".into());
        }
    }
    let told = began.elapsed();
    let mut served = 0;
    let mut taken_out = None;
    // While it is a lame duck, with time to spare for the last request.
    while began.elapsed() < LAME_DUCK.saturating_sub(Duration::from_millis(500)) {
        see(LISTEN, from).map_err(|error| format!("a lame duck: {error}"))?;
        served += 1;
        if taken_out.is_none() && servers("status", "DOWN")?.len() == WAYS.len() {
            taken_out = Some(began.elapsed());
        }
        thread::sleep(POLL);
    }
    let taken_out = taken_out.ok_or("HAProxy has not taken it out")?;
    let status = first.wait(LAME_DUCK + PATIENCE)?;
    let ended = began.elapsed();
    thread::sleep(INTERVAL);
    let outcome = load.stop()?;
    println!(
        "  SIGTERM: {HEALTH} says 503 after {} ms, out of HAProxy after {} ms, gone after {} ms ({status}); \
         {} requests through HAProxy meanwhile and {served} past it, {} failed",
        told.as_millis(),
        taken_out.as_millis(),
        ended.as_millis(),
        outcome.answers,
        outcome.failures.len(),
    );
    let limit = INTERVAL * THRESHOLD * 3;
    if !outcome.failures.is_empty()
        || outcome.answers < 100
        || told > INTERVAL
        || taken_out > limit
        || ended < LAME_DUCK
    {
        return Err(format!("not as it has to be: {:?}", outcome.failures).into());
    }
    Ok(())
}

/// Asks from an address and checks that the replica was told just that one.
fn see(addr: SocketAddr, from: Ipv4Addr) -> Result<()> {
    let answer = http::get(addr, from, "/headers")?;
    let field = |name: &str| {
        let lines = answer.body.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
    };
    let (chain, real) = (field("x-forwarded-for"), field("x-real-ip"));
    if answer.status == 200 && [&chain, &real].iter().all(|values| **values == [from.to_string()]) {
        return Ok(());
    }
    Err(format!("{from} got {}, and the replica saw {chain:?}, {real:?}", answer.status).into())
}

/// The servers, one for each way and evenkeel, of which HAProxy's statistics say this.
fn servers(column: &str, value: &str) -> Result<BTreeSet<String>> {
    Ok(that_have(&http::get(STATISTICS, Ipv4Addr::LOCALHOST, "/;csv")?.body, column, value))
}

fn that_have(page: &str, column: &str, value: &str) -> BTreeSet<String> {
    // It comes in chunks, whose sizes are lines of their own.
    let mut lines = page.lines().skip_while(|line| !line.starts_with("# "));
    let columns: Vec<_> = lines.next().unwrap_or_default().trim_start_matches("# ").split(',').collect();
    let Some(at) = columns.iter().position(|name| *name == column) else { return BTreeSet::new() };
    let cells = lines.map(|line| line.split(',').collect::<Vec<_>>());
    let fitting = cells.filter(|cells| cells.get(at).is_some_and(|cell| cell.trim_start_matches("* ") == value));
    let fitting = fitting.filter(|cells| cells.get(1).is_some_and(|name| *name != "BACKEND"));
    fitting.map(|cells| cells.get(..2).unwrap_or_default().join("/")).collect()
}

fn configuration() -> String {
    let mut text = format!(
        "global\n    maxconn 1000\n\ndefaults\n    mode tcp\n    timeout connect 2s\n    timeout client 10s\n    \
         timeout server 10s\n    retries 2\n    option redispatch\n    option httpchk GET {HEALTH}\n    \
         unique-id-format %{{+X}}o%ci:%cp-%rt\n    default-server inter {}ms fall {THRESHOLD} rise 1\n\n\
         listen statistics\n    mode http\n    bind {STATISTICS}\n    stats enable\n    stats uri /\n",
        INTERVAL.as_millis(),
    );
    let silent = [("silent", SILENT, "")];
    for (number, (_, addr, options)) in WAYS.iter().chain(&silent).enumerate() {
        text += &format!("\nlisten way{number}\n    bind {addr}\n    source {BALANCER}\n");
        for (name, server) in [("first", LISTEN), ("second", SECOND)] {
            let options = options.replace("@PORT@", &server.port().to_string());
            let is_needed = *addr != SILENT || server == LISTEN;
            text += &if is_needed { format!("    server {name} {server} {options}\n") } else { String::new() };
        }
    }
    text
}

/// Clients, each from an address of its own, on a new connection for each request.
struct Load {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Outcome>>,
}

/// What they got.
#[derive(Default)]
struct Outcome {
    answers: u64,
    failures: Vec<String>,
}

impl Load {
    fn start() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let client = |(host, (_, addr, _)): (u8, (&str, SocketAddr, &str))| {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || {
                let mut outcome = Outcome::default();
                while !is_over.load(Ordering::Relaxed) {
                    match see(addr, Ipv4Addr::new(127, 0, 0, host)) {
                        Ok(()) => outcome.answers += 1,
                        Err(error) => outcome.failures.push(error.to_string()),
                    }
                    thread::sleep(POLL);
                }
                outcome
            })
        };
        let threads = (20..).zip(WAYS).map(client).collect();
        Self { is_over, threads }
    }

    fn stop(self) -> Result<Outcome> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut sum = Outcome::default();
        for thread in self.threads {
            let outcome = thread.join().map_err(|_| "a client panicked")?;
            sum.answers += outcome.answers;
            sum.failures.extend(outcome.failures);
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_are_found_of_which_the_statistics_say_so() {
        let page = "2a1\r\n# pxname,svname,status,check_status,check_code\nway0,FRONTEND,OPEN,,\nway0,first,UP,L7OK,200\n\
                    way0,second,DOWN,* L7STS,503\nway0,BACKEND,DOWN,,\nway1,first,UP,L7OK,200\n\r\n0\r\n\r\n";
        let found = |column, value| that_have(page, column, value).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(found("check_status", "L7OK"), "way0/first way1/first");
        assert_eq!(
            (found("check_status", "L7STS"), found("status", "DOWN")),
            ("way0/second".into(), "way0/second".into())
        );
        assert_eq!((found("check_status", "L4CON"), found("nothing", "UP")), (String::new(), String::new()));
    }

    #[test]
    fn each_way_has_both_servers_and_its_own_port_for_checks() {
        let text = configuration();
        assert_eq!(text.matches("    server ").count(), 2 * WAYS.len() + 1);
        assert!(text.contains("check port 8080\n") && text.contains("check port 8085\n"), "{text}");
    }
}
