//! What the kernel knows of a process and its children.

use std::fs;
use std::time::Duration;

use crate::Result;

/// A process and all that descend from it: nginx works in a child.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut pids = vec![pid];
    let mut next = 0;
    while let Some(pid) = pids.get(next) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        pids.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        next += 1;
    }
    pids
}

/// The time that all threads of a process and of its descendants have run, in user and kernel mode.
pub(crate) fn run_time(pid: u32) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for pid in family(pid) {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            sum += parse_schedstat(&fs::read_to_string(thread?.path().join("schedstat"))?)?;
        }
    }
    Ok(sum)
}

fn parse_schedstat(text: &str) -> Result<Duration> {
    let nanoseconds = text.split_whitespace().next().ok_or("an empty schedstat")?.parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// The memory that a process and its descendants occupy, in KiB; what they share is counted for each.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    family(pid).into_iter().map(|pid| status_number(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmRSS")).sum()
}

/// Whether something traces every thread of these processes.
pub(crate) fn is_traced(pids: &[u32]) -> Result<bool> {
    for pid in pids {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            if status_number(&fs::read_to_string(thread?.path().join("status"))?, "TracerPid")? == 0 {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn status_number(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|rest| rest.split_whitespace().next()).ok_or_else(|| format!("no {name} in status"))?;
    Ok(number.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_from_the_line_of_that_name() {
        let status = "Name:\tnginx\nTracerPid:\t7\nVmHWM:\t   99 kB\nVmRSS:\t    1536 kB\n";
        assert_eq!(status_number(status, "VmRSS").unwrap(), 1536);
        assert_eq!(status_number(status, "TracerPid").unwrap(), 7);
        assert!(status_number(status, "Tracer").is_err());
        assert_eq!(parse_schedstat("32398 10385 2\n").unwrap(), Duration::from_nanos(32_398));
    }

    #[test]
    fn this_process_has_run_and_occupies_memory() {
        let pid = std::process::id();
        let before = run_time(pid).unwrap();
        while run_time(pid).unwrap() == before {}
        assert!(resident(pid).unwrap() > 100);
        assert_eq!(family(pid).first(), Some(&pid));
        assert!(!is_traced(&[pid]).unwrap());
    }
}
