//! What the kernel knows of a process and its children.

use std::collections::HashSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use crate::Result;

/// A process and all that descend from it: nginx works in a child.
pub fn family(pid: u32) -> Vec<u32> {
    let mut pids = vec![pid];
    let mut next = 0;
    while let Some(pid) = pids.get(next) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        pids.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        next += 1;
    }
    pids
}

/// What the scheduler did for all threads of a process and of its descendants.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scheduled {
    /// Time on a core, in user and kernel mode.
    pub ran: Duration,
    /// Time ready to run while something else had the core.
    pub waited: Duration,
}

/// Since the process began.
pub fn scheduled(pid: u32) -> Result<Scheduled> {
    let mut sum = Scheduled::default();
    for pid in family(pid) {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread = parse_schedstat(&fs::read_to_string(thread?.path().join("schedstat"))?)?;
            sum.ran += thread.ran;
            sum.waited += thread.waited;
        }
    }
    Ok(sum)
}

fn parse_schedstat(text: &str) -> Result<Scheduled> {
    let mut words = text.split_whitespace().map(|word| word.parse().map(Duration::from_nanos));
    match (words.next(), words.next()) {
        (Some(ran), Some(waited)) => Ok(Scheduled { ran: ran?, waited: waited? }),
        _ => Err("a schedstat without times".into()),
    }
}

/// The memory that a process and its descendants occupy, in KiB; what they share is counted for each.
pub fn resident(pid: u32) -> Result<u64> {
    family(pid).into_iter().map(|pid| status_number(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmRSS")).sum()
}

/// Whether something traces every thread of these processes.
pub fn is_traced(pids: &[u32]) -> Result<bool> {
    for pid in pids {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            if status_number(&fs::read_to_string(thread?.path().join("status"))?, "TracerPid")? == 0 {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Connections in the kernel's table that are over but for the memory of them: TIME_WAIT, CLOSE.
const OVER: [&str; 2] = ["06", "07"];

/// The ports of `client` that `listener` has connections to, also such as its process has closed while the kernel still
/// has something to send.
pub fn accepted(client: Ipv4Addr, listener: SocketAddr) -> Result<HashSet<u16>> {
    let table = fs::read_to_string("/proc/net/tcp")?;
    let connections = table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, remote, state) = (address(words.next()?)?, address(words.next()?)?, words.next()?);
        Some((local, remote, state))
    });
    let accepted = connections.filter(|(local, remote, state)| {
        SocketAddr::V4(*local) == listener && *remote.ip() == client && !OVER.contains(state)
    });
    Ok(accepted.map(|(_, remote, _)| remote.port()).collect())
}

/// An address as the kernel writes it: the IP in the byte order of this machine, the port as a number.
fn address(text: &str) -> Option<SocketAddrV4> {
    let (ip, port) = text.split_once(':')?;
    let ip = u32::from_str_radix(ip, 16).ok()?;
    Some(SocketAddrV4::new(Ipv4Addr::from(ip.to_ne_bytes()), u16::from_str_radix(port, 16).ok()?))
}

fn status_number(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|rest| rest.split_whitespace().next()).ok_or_else(|| format!("no {name} in status"))?;
    Ok(number.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn numbers_come_from_the_line_of_that_name() {
        let status = "Name:\tnginx\nTracerPid:\t7\nVmHWM:\t   99 kB\nVmRSS:\t    1536 kB\n";
        assert_eq!(status_number(status, "VmRSS").unwrap(), 1536);
        assert_eq!(status_number(status, "TracerPid").unwrap(), 7);
        assert!(status_number(status, "Tracer").is_err());
        let [ran, waited] = [32_398, 10_385].map(Duration::from_nanos);
        assert_eq!(parse_schedstat("32398 10385 2\n").unwrap(), Scheduled { ran, waited });
    }

    #[test]
    fn a_connection_is_in_the_kernels_table_until_it_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let client = TcpStream::connect(addr).unwrap();
        let (server, _) = listener.accept().unwrap();
        let port = client.local_addr().unwrap().port();
        assert_eq!(accepted(Ipv4Addr::LOCALHOST, addr).unwrap(), HashSet::from([port]));
        assert_eq!(accepted(Ipv4Addr::new(127, 0, 0, 2), addr).unwrap(), HashSet::new());
        drop(client);
        assert_eq!(accepted(Ipv4Addr::LOCALHOST, addr).unwrap().len(), 1);
        drop(server);
        assert_eq!(accepted(Ipv4Addr::LOCALHOST, addr).unwrap(), HashSet::new());
    }

    #[test]
    fn this_process_has_run_and_occupies_memory() {
        let pid = std::process::id();
        let before = scheduled(pid).unwrap().ran;
        while scheduled(pid).unwrap().ran == before {}
        assert!(resident(pid).unwrap() > 100);
        assert_eq!(family(pid).first(), Some(&pid));
        assert!(!is_traced(&[pid]).unwrap());
    }
}
