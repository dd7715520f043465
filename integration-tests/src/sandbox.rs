//! Namespaces of our own. No packet leaves them, no firewall rule of the host (Docker's cost 1–2 µs a request) slows
//! what is in them, and no process outlives them.

use std::fs;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, Resource, Rlimit, Signal};

use crate::Result;

/// Starts this program again with new network, process and mount namespaces, and waits for it.
pub fn enter() -> Result<ExitCode> {
    let mut command = Command::new("unshare");
    command.args(["--net", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child"]);
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    let mut child = command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).arg("--inside").spawn()?;
    kill_on_signal(Pid::from_child(&child))?;
    let status = child.wait()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// A signal ends the first process of the namespace, and with it every other one in there.
fn kill_on_signal(child: Pid) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            // It is gone already when this fails.
            let _ = rustix::process::kill_process(child, Signal::KILL);
        });
    });
    Ok(())
}

/// Sets up the namespaces from within; refuses to go on where another interface than `lo` is to be seen.
pub fn prepare() -> Result<()> {
    let devices = fs::read_to_string("/proc/net/dev")?;
    let others: Vec<_> =
        devices.lines().skip(2).filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    if let Some(other) = others.iter().find(|name| name.trim() != "lo") {
        return Err(format!("interface {} is not of a private network namespace", other.trim()).into());
    }
    if !Command::new("ip").args(["link", "set", "lo", "up"]).status()?.success() {
        return Err("the loopback interface does not come up".into());
    }
    // Connections that are over keep their ports for a minute; a new one for each request needs many.
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "10000 65535")?;
    let limit = rustix::process::getrlimit(Resource::Nofile);
    // As high as may be; the workloads that need more than there is say so.
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}
