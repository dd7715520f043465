//! slowhttptest's four attacks on evenkeel. While one goes on, another client is served; every attacking connection is
//! gone within its limit; and memory stays within what is kept for a connection.

mod healthy;
mod sockets;

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use integration_tests::process::{self, Place, Process};
use integration_tests::{Result, procfs};

use self::healthy::Healthy;
use self::sockets::Sockets;
use crate::replica::Replica;
use crate::{Site, evenkeel};

/// Connections that an attack opens, all within its first second.
const CONNECTIONS: u64 = 200;
/// How long an attack would go on if nobody ended it, in seconds.
const LENGTH: u64 = 12;
/// `--head-timeout`, `--idle-timeout` and `--keep-alive-timeout`.
const LIMIT: Duration = Duration::from_secs(2);
/// After a limit evenkeel says 408 and lets the client read that for up to a second; the rest is for a busy machine.
const GRACE: Duration = Duration::from_secs(3);
/// How often one looks.
const POLL: Duration = Duration::from_millis(25);
/// Memory that does not depend on connections: tables that grow, and what the allocator keeps.
const SLACK_KIB: u64 = 3 * 1024;

/// One of slowhttptest's modes.
struct Attack {
    name: &'static str,
    what: &'static str,
    arguments: &'static [&'static str],
    path: &'static str,
    /// What evenkeel may keep for a connection, in KiB (docs/architecture.md).
    kept_kib: u64,
    /// Whether a connection waits for evenkeel to end it.
    stays: bool,
    /// How long a connection may live.
    most: Duration,
}

const ATTACKS: [Attack; 4] = [
    Attack {
        name: "headers",
        what: "a field every second, never the end of the head",
        arguments: &["-H", "-i", "1"],
        path: "/",
        kept_kib: 20,
        stays: true,
        most: LIMIT.saturating_add(GRACE),
    },
    Attack {
        name: "body",
        what: "a head, the beginning of a body, and then nothing for longer than the limit",
        arguments: &["-B", "-i", "5"],
        path: "/length",
        kept_kib: 20,
        stays: true,
        most: LIMIT.saturating_add(GRACE),
    },
    Attack {
        name: "range",
        what: "heads of 13 KB that ask for 2,000 ranges",
        arguments: &["-R"],
        path: "/",
        kept_kib: 20,
        stays: false,
        most: LIMIT.saturating_add(GRACE),
    },
    Attack {
        name: "read",
        what: "1.3 MB asked for, read five bytes a second",
        arguments: &["-X", "-w", "10", "-y", "20", "-n", "1", "-z", "5"],
        path: "/stream?chunks=100000&ms=0",
        kept_kib: 4 + 64,
        stays: true,
        // The answer is in the kernel's buffer long before it is read: the limit counts from the last byte that was
        // taken, and the kernel looks only when it probes a closed window.
        most: LIMIT.saturating_mul(2).saturating_add(GRACE),
    },
];

/// What became of one attack.
#[derive(Debug)]
struct Outcome {
    made: u64,
    at_once: usize,
    longest: Duration,
    left: u64,
    before_kib: u64,
    peak_kib: u64,
    after_kib: u64,
    healthy: healthy::Served,
    said: String,
}

/// All four, one after the other, each against an evenkeel of its own.
pub(crate) fn run(site: &Site) -> Result<()> {
    // Its address is another judge's afterwards.
    let _replica = Replica::start()?;
    println!("slowhttptest: {CONNECTIONS} connections in each of its modes; limits of {} s", LIMIT.as_secs());
    let mut failed = Vec::new();
    for attack in &ATTACKS {
        let outcome = attack.carry_out(site)?;
        println!("  {}: {}\n    {}", attack.name, attack.what, outcome.describe());
        for wrong in attack.judge(&outcome) {
            println!("    WRONG: {wrong}");
            failed.push(attack.name);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("attacks that did harm: {}", failed.join(", ")).into()) }
}

impl Attack {
    fn carry_out(&self, site: &Site) -> Result<Outcome> {
        let limit = LIMIT.as_secs();
        let limits = ["head", "idle", "keep-alive"].map(|which| format!("--{which}-timeout={limit}s"));
        let evenkeel = evenkeel::start(site, &limits)?;
        let before_kib = procfs::resident(evenkeel.pid())?;
        let accepted_before = evenkeel::metric("evenkeel_connections_total")?;
        let healthy = Healthy::start();
        let mut command = process::command(Place::Anywhere, "slowhttptest");
        command.args(["-c", &CONNECTIONS.to_string(), "-r", &CONNECTIONS.to_string(), "-l", &LENGTH.to_string()]);
        command.args(["-u", &format!("http://{}{}", evenkeel::LISTEN, self.path)]).args(self.arguments);
        let mut attack = Process::start(&format!("slowhttptest-{}", self.name), command, &site.scratch)?;

        let mut sockets = Sockets::default();
        let mut peak_kib = before_kib;
        let deadline = Instant::now() + Duration::from_secs(LENGTH) + LIMIT + GRACE + Duration::from_secs(10);
        loop {
            sockets.look(Ipv4Addr::LOCALHOST, evenkeel::LISTEN)?;
            peak_kib = peak_kib.max(procfs::resident(evenkeel.pid())?);
            let is_over = attack.has_ended()? && sockets.open() == 0;
            if is_over || Instant::now() > deadline {
                break;
            }
            thread::sleep(POLL);
        }
        let healthy = healthy.stop()?;
        let made = evenkeel::metric("evenkeel_connections_total")? - accepted_before - healthy.requests;
        Ok(Outcome {
            made,
            at_once: sockets.most(),
            longest: sockets.longest(),
            left: settled_connections()?,
            before_kib,
            peak_kib,
            after_kib: procfs::resident(evenkeel.pid())?,
            healthy,
            said: attack.output()?,
        })
    }

    /// All that is not as it has to be.
    fn judge(&self, outcome: &Outcome) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut demand = |holds: bool, what: String| {
            if !holds {
                wrong.push(what);
            }
        };
        let Outcome { made, at_once, longest, left, .. } = *outcome;
        demand(made >= CONNECTIONS, format!("no attack: {made} connections were made"));
        if self.stays {
            demand(at_once as u64 > CONNECTIONS / 2, format!("no attack: {at_once} connections at once"));
            demand(longest > LIMIT / 2, format!("no attack: none stayed longer than {longest:?}"));
        }
        demand(longest <= self.most, format!("a connection stayed for {longest:?}"));
        demand(left == 0, format!("evenkeel says that {left} connections are open"));
        demand(outcome.healthy.failures.is_empty(), format!("another client: {:?}", outcome.healthy.failures));
        demand(outcome.healthy.requests > 10, format!("another client got {} answers", outcome.healthy.requests));
        demand(is_available(&outcome.said), "slowhttptest calls the service unavailable".to_owned());
        let bound_kib = outcome.before_kib + CONNECTIONS * self.kept_kib + SLACK_KIB;
        demand(outcome.peak_kib <= bound_kib, format!("RSS above {bound_kib} KiB"));
        wrong
    }
}

impl Outcome {
    fn describe(&self) -> String {
        format!(
            "{} connections, {} at once, the longest for {:.1} s, {} left; \
             another client: {} answers, the slowest after {} ms; RSS {:.1}, {:.1}, {:.1} MB (before, most, after)",
            self.made,
            self.at_once,
            self.longest.as_secs_f64(),
            self.left,
            self.healthy.requests,
            self.healthy.slowest.as_millis(),
            self.before_kib as f64 / 1024.0,
            self.peak_kib as f64 / 1024.0,
            self.after_kib as f64 / 1024.0,
        )
    }
}

/// The connections that are open once those that just ended are counted as such.
fn settled_connections() -> Result<u64> {
    let deadline = Instant::now() + GRACE;
    loop {
        let open = evenkeel::metric("evenkeel_connections_open")?;
        if open == 0 || Instant::now() > deadline {
            return Ok(open);
        }
        thread::sleep(POLL);
    }
}

/// Whether every status that slowhttptest printed says that its own probe was answered. There are colours in it.
fn is_available(said: &str) -> bool {
    let mut statuses = said.split("service available:").skip(1).peekable();
    statuses.peek().is_some() && statuses.all(|status| status.lines().next().is_some_and(|rest| rest.contains("YES")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn harmless() -> Outcome {
        Outcome {
            made: CONNECTIONS,
            at_once: 200,
            longest: LIMIT + GRACE / 2,
            left: 0,
            before_kib: 5000,
            peak_kib: 9000,
            after_kib: 8000,
            healthy: healthy::Served { requests: 100, slowest: Duration::from_millis(5), failures: Vec::new() },
            said: "service available:\u{1b}[32m   YES\n".to_owned(),
        }
    }

    #[test]
    fn each_harm_is_told() {
        let headers = &ATTACKS[0];
        assert_eq!(headers.judge(&harmless()), Vec::<String>::new());
        let failures = vec!["refused".to_owned()];
        let healthy = |requests, failures| healthy::Served { requests, slowest: Duration::ZERO, failures };
        for (harm, outcome) in [
            ("were made", Outcome { made: CONNECTIONS - 1, ..harmless() }),
            ("at once", Outcome { at_once: 3, ..harmless() }),
            ("none stayed", Outcome { longest: LIMIT / 4, ..harmless() }),
            ("stayed for", Outcome { longest: LIMIT + GRACE * 2, ..harmless() }),
            ("are open", Outcome { left: 1, ..harmless() }),
            ("refused", Outcome { healthy: healthy(100, failures), ..harmless() }),
            ("got 0 answers", Outcome { healthy: healthy(0, Vec::new()), ..harmless() }),
            (
                "unavailable",
                Outcome { said: "service available: YES\nservice available: NO\n".to_owned(), ..harmless() },
            ),
            ("RSS", Outcome { peak_kib: 50_000, ..harmless() }),
        ] {
            let wrong = headers.judge(&outcome);
            assert!(matches!(wrong.as_slice(), [one] if one.contains(harm)), "{harm}: {wrong:?}");
        }
    }

    #[test]
    fn a_service_nobody_asked_is_not_available() {
        assert!(!is_available(""));
        assert!(is_available("service available:  \u{1b}[1mYES\nservice available: YES"));
    }
}
