//! varnishtest's scripts: clients and replicas are scripted, evenkeel is between them.
//!
//! A script starts evenkeel itself, with `${evenkeel}`, and waits with `${ready}` until its servers are ready. What
//! connects to a server first is the one probe that evenkeel makes; `accept` leaves it behind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use integration_tests::Result;
use integration_tests::process::{self, Place, Process};

use crate::{Site, evenkeel};

/// How long one script may take, in varnishtest's own reckoning and in ours.
const SECONDS: u64 = 30;
const PATIENCE: Duration = Duration::from_secs(SECONDS + 10);

/// Runs those of `names`, or all; fails at the end if any failed.
pub(crate) fn run(site: &Site, names: &[String]) -> Result<()> {
    let folder = Path::new("integration-tests/judges/scripts").canonicalize()?;
    let mut scripts: Vec<PathBuf> = if names.is_empty() {
        folder.read_dir()?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?
    } else {
        names.iter().map(|name| folder.join(name).with_extension("vtc")).collect()
    };
    scripts.sort();
    println!("varnishtest: {} scripts", scripts.len());
    let mut failed = Vec::new();
    for script in &scripts {
        let name = script.file_stem().unwrap_or_default().to_string_lossy();
        match play(site, script, &name) {
            Ok(()) => println!("  {name}"),
            Err(error) => {
                println!("  {name}: {error}");
                failed.push(name);
            }
        }
    }
    if scripts.is_empty() || !failed.is_empty() {
        return Err(format!("scripts failed: {}", failed.join(", ")).into());
    }
    Ok(())
}

fn play(site: &Site, script: &Path, name: &str) -> Result<()> {
    let us = std::env::current_exe()?;
    let us = us.display();
    let evenkeel =
        format!("{} {} --threads=1 --health-interval=1h", site.evenkeel.display(), evenkeel::arguments().join(" "));
    let listen = format!("{} {}", evenkeel::LISTEN.ip(), evenkeel::LISTEN.port());
    let mut command = process::command(Place::Anywhere, "varnishtest");
    command.arg("-t").arg(SECONDS.to_string());
    for (word, value) in [
        ("evenkeel", evenkeel),
        ("ready", format!("{us} ready")),
        ("half_close", format!("{us} half-close")),
        ("listen", listen),
    ] {
        command.arg("-D").arg(format!("{word}={value}"));
    }
    command.arg(script);
    let mut varnishtest = Process::start(name, command, &site.scratch)?;
    let status = varnishtest.wait(PATIENCE)?;
    // 77 says that it was skipped, which is no success either.
    if status.success() { Ok(()) } else { Err(varnishtest.failure("failed")) }
}
