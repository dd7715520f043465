//! evenkeel in front of a replica, and what it says of itself.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use integration_tests::Result;
use integration_tests::process::{self, Place, Process};

use crate::{Site, http};

pub(crate) const LISTEN: SocketAddr = loopback(8080);
pub(crate) const ADMIN: SocketAddr = loopback(9900);
/// Where a judge's replica listens, unless varnishtest plays it.
pub(crate) const REPLICA: SocketAddr = loopback(9001);

/// The metric that says how many replicas are ready.
const READY: &str = r#"evenkeel_service_replicas{service="gateway",state="ready"}"#;

const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

pub(crate) const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

/// What every evenkeel here is started with.
pub(crate) fn arguments() -> Vec<String> {
    arguments_at(LISTEN, ADMIN)
}

fn arguments_at(listen: SocketAddr, admin: SocketAddr) -> Vec<String> {
    let mut arguments: Vec<String> = ["run", "--no-docker", "--log=warn"].map(Into::into).into();
    arguments.extend([format!("--listen={listen}"), format!("--admin-listen={admin}")]);
    arguments
}

/// Starts evenkeel in front of [`REPLICA`], which has to be there, and waits until it is ready.
pub(crate) fn start(site: &Site, more: &[String]) -> Result<Process> {
    start_at(site, ("evenkeel", LISTEN, ADMIN), more)
}

/// The same under another name and at other addresses: for clients, and for the admin room.
pub(crate) fn start_at(
    site: &Site,
    (name, listen, admin): (&str, SocketAddr, SocketAddr),
    more: &[String],
) -> Result<Process> {
    let mut command = process::command(Place::Anywhere, &site.evenkeel);
    command.args(arguments_at(listen, admin)).arg(format!("--static=gateway={REPLICA}")).args(more);
    let mut evenkeel = Process::start(name, command, &site.scratch)?;
    evenkeel.until(PATIENCE, || metric_at(admin, READY).is_ok_and(|ready| ready == 1))?;
    Ok(evenkeel)
}

/// Waits until so many replicas are ready.
pub(crate) fn wait_ready(replicas: u64) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while ready() != Some(replicas) {
        if Instant::now() > deadline {
            return Err(format!("{:?} replicas are ready, not {replicas}", ready()).into());
        }
        thread::sleep(POLL);
    }
    Ok(())
}

fn ready() -> Option<u64> {
    metric(READY).ok()
}

/// The value of one series on the metrics page.
pub(crate) fn metric(series: &str) -> Result<u64> {
    metric_at(ADMIN, series)
}

fn metric_at(admin: SocketAddr, series: &str) -> Result<u64> {
    let page = http::get(admin, Ipv4Addr::LOCALHOST, "/metrics")?;
    Ok(value(&page.body, series).ok_or_else(|| format!("no {series} among the metrics"))?.parse()?)
}

fn value<'a>(page: &'a str, series: &str) -> Option<&'a str> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_that_of_the_whole_series_name() {
        let page = "# TYPE open gauge\nopen_ever 5\nopen 3\nready{state=\"x\"} 1\n";
        assert_eq!(value(page, "open"), Some("3"));
        assert_eq!(value(page, "ready{state=\"x\"}"), Some("1"));
        assert_eq!(value(page, "ready"), None);
    }
}
