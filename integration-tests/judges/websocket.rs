//! Autobahn's fuzzing client, as the package kosoku has it, against an echo server: first directly, then through
//! evenkeel. What it says of every case has to be the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use integration_tests::Result;
use integration_tests::process::{self, Place, Process};
use serde::Deserialize;

use crate::{Site, evenkeel};

/// The compression cases send 1,000 messages each, 216 times. They compress differently, but what is between client
/// and server sees only other bytes: of each kind the shortest one is run, and one with large messages.
const COMPRESSION: &[&str] = &[
    "12.1.1", "12.2.1", "12.3.1", "12.4.1", "12.5.1", "13.1.1", "13.2.1", "13.3.1", "13.4.1", "13.5.1", "13.6.1",
    "13.7.1", "12.1.10",
];
/// Everything else: framing, pings, reserved bits, opcodes, fragments, UTF-8, closing, and messages up to 16 MiB.
const USUAL: &[&str] = &["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"];

/// For one run of the usual cases; the rest takes up to ten minutes.
const PATIENCE: Duration = Duration::from_secs(240);
const LONG_PATIENCE: Duration = Duration::from_secs(1200);

/// Which cases.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Every compression case, too: many minutes
    #[arg(long)]
    all: bool,
    /// Only these: a number or a pattern such as 7.*
    #[arg(long)]
    only: Vec<String>,
}

/// What is said of a case.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    behavior: String,
    behavior_close: String,
    remote_close_code: Option<u16>,
}

impl Verdict {
    fn is_failure(&self) -> bool {
        !matches!(self.behavior.as_str(), "OK" | "INFORMATIONAL")
    }
}

type Verdicts = BTreeMap<String, Verdict>;

/// Runs the cases both ways and compares.
pub(crate) fn run(site: &Site, options: &Options) -> Result<()> {
    let mut command = process::command(Place::Anywhere, site.scratch.join("venv/bin/python"));
    command.arg("integration-tests/judges/echo.py").arg(evenkeel::REPLICA.port().to_string());
    // Some messages come in 65,536 fragments.
    command.env("WEBSOCKETS_MAX_FRAGMENTS", "100000");
    let mut echo = Process::start("echo", command, &site.scratch)?;
    echo.until(Duration::from_secs(20), || TcpStream::connect(evenkeel::REPLICA).is_ok())?;
    let _evenkeel = evenkeel::start(site, &[])?;

    println!("Autobahn's WebSocket cases, directly and through evenkeel");
    let direct = judge(site, options, "direct", evenkeel::REPLICA)?;
    let through = judge(site, options, "through", evenkeel::LISTEN)?;
    let differences = differences(&direct, &through);
    for difference in &differences {
        println!("  {difference}");
    }
    // An echo that fails by itself would fail the same way through evenkeel.
    let failed = direct.values().filter(|verdict| verdict.is_failure()).count();
    if failed * 20 > direct.len() {
        return Err(format!("{failed} of {} cases fail without evenkeel: the echo is broken", direct.len()).into());
    }
    if direct.is_empty() || !differences.is_empty() {
        return Err(format!("{} of {} WebSocket cases differ", differences.len(), direct.len()).into());
    }
    println!("  {} cases, each with the same verdict: {}", direct.len(), summary(&direct));
    Ok(())
}

/// Lets the fuzzing client loose on `addr`.
fn judge(site: &Site, options: &Options, name: &str, addr: SocketAddr) -> Result<Verdicts> {
    let began = Instant::now();
    let reports = site.scratch.join(format!("websocket-{name}"));
    if reports.exists() {
        fs::remove_dir_all(&reports)?;
    }
    let mut command = process::command(Place::Anywhere, site.scratch.join("venv/bin/kosoku"));
    command.arg(addr.to_string()).arg("--outdir").arg(&reports);
    let chosen: Vec<&str> = match options {
        Options { only, .. } if !only.is_empty() => only.iter().map(String::as_str).collect(),
        Options { all: true, .. } => vec!["*"],
        _ => [USUAL, COMPRESSION].concat(),
    };
    for case in chosen {
        command.arg("--include").arg(case);
    }
    let mut client = Process::start(&format!("kosoku-{name}"), command, &site.scratch)?;
    // It fails when the echo server fails a case, which is not our concern; without a report we do.
    client.wait(if options.all { LONG_PATIENCE } else { PATIENCE })?;
    let verdicts = read(&reports.join("index.json")).map_err(|error| client.failure(&error.to_string()))?;
    println!("  {name}: {} cases in {} s", verdicts.len(), began.elapsed().as_secs());
    Ok(verdicts)
}

/// The verdicts are under the name of the server, as far as there was an answer that named it.
///
/// Autobahn says NON-STRICT where a server conforms but closes because of a wrong frame before it has answered the
/// right ones in front of it. Whether it does depends on whether they reach it in one piece, so it differs from run to
/// run, also directly; it counts as OK here.
fn read(index: &Path) -> Result<Verdicts> {
    let by_agent: BTreeMap<String, Verdicts> = serde_json::from_slice(&fs::read(index)?)?;
    let mut verdicts: Verdicts = by_agent.into_values().flatten().collect();
    for verdict in verdicts.values_mut().filter(|verdict| verdict.behavior == "NON-STRICT") {
        verdict.behavior = "OK".to_owned();
    }
    Ok(verdicts)
}

fn differences(direct: &Verdicts, through: &Verdicts) -> Vec<String> {
    let cases: BTreeSet<_> = direct.keys().chain(through.keys()).collect();
    let show = |verdict: Option<&Verdict>| verdict.map_or_else(|| "not run".to_owned(), describe);
    cases
        .into_iter()
        .filter(|case| direct.get(*case) != through.get(*case))
        .map(|case| {
            format!("{case}: directly {}, through evenkeel {}", show(direct.get(case)), show(through.get(case)))
        })
        .collect()
}

fn describe(verdict: &Verdict) -> String {
    let code = verdict.remote_close_code.map_or_else(|| "none".to_owned(), |code| code.to_string());
    format!("{} / {} / close code {code}", verdict.behavior, verdict.behavior_close)
}

fn summary(verdicts: &Verdicts) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for verdict in verdicts.values() {
        *counts.entry(&verdict.behavior).or_default() += 1;
    }
    let counts: Vec<_> = counts.iter().map(|(behavior, count)| format!("{count} {behavior}")).collect();
    counts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(of: &[(&str, &str, Option<u16>)]) -> Verdicts {
        let verdict = |behavior: &str, remote_close_code| Verdict {
            behavior: behavior.to_owned(),
            behavior_close: "OK".to_owned(),
            remote_close_code,
        };
        of.iter().map(|(case, behavior, code)| ((*case).to_owned(), verdict(behavior, *code))).collect()
    }

    #[test]
    fn what_differs_or_is_missing_is_told() {
        let direct = verdicts(&[("1.1", "OK", Some(1000)), ("1.2", "OK", Some(1000)), ("1.3", "OK", None)]);
        let through = verdicts(&[("1.1", "OK", Some(1000)), ("1.2", "OK", None), ("1.4", "FAILED", None)]);
        assert_eq!(differences(&direct, &direct), Vec::<String>::new());
        assert_eq!(
            differences(&direct, &through),
            [
                "1.2: directly OK / OK / close code 1000, through evenkeel OK / OK / close code none",
                "1.3: directly OK / OK / close code none, through evenkeel not run",
                "1.4: directly not run, through evenkeel FAILED / OK / close code none",
            ]
        );
    }

    #[test]
    fn verdicts_are_read_whatever_the_server_is_called() {
        let scratch = tempfile::tempdir().unwrap();
        let index = scratch.path().join("index.json");
        let case =
            |behavior| format!(r#"{{"behavior": "{behavior}", "behaviorClose": "OK", "remoteCloseCode": 1002}}"#);
        let (late, wrong) = (case("NON-STRICT"), case("FAILED"));
        fs::write(&index, format!(r#"{{"a": {{"1.1": {late}}}, "": {{"1.2": {wrong}}}}}"#)).unwrap();
        assert_eq!(read(&index).unwrap(), verdicts(&[("1.1", "OK", Some(1002)), ("1.2", "FAILED", Some(1002))]));
    }
}
