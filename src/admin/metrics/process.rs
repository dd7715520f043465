//! What Linux says about this process; `None` where it does not say.

use std::fs;

/// Clock ticks a second in `/proc`: fixed by the kernel's interface, whatever its own clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// Resident memory in bytes.
pub(super) fn resident_memory_bytes() -> Option<u64> {
    resident_in(&fs::read_to_string("/proc/self/status").ok()?)
}

/// Processor time in seconds, user and system.
pub(super) fn cpu_seconds() -> Option<f64> {
    cpu_in(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// Open file descriptors, without the one that counting them takes.
pub(super) fn open_fds() -> Option<u64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(count).ok()?.checked_sub(1)
}

fn resident_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn cpu_in(stat: &str) -> Option<f64> {
    // The second field, the program's name, may hold blanks and brackets.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some(user.saturating_add(system) as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_read_as_proc_5_says() {
        assert_eq!(resident_in("Name:\tx\nVmPeak:\t  9 kB\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2_097_152));
        let stat = "7 (even) keel) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 100 1000 10";
        assert_eq!(cpu_in(stat), Some(3.0));
        for odd in ["", "VmRSS:", "VmRSS: x kB", "7 (x", "7 (x) S 1", ") ) ) )"] {
            assert_eq!((resident_in(odd), cpu_in(odd)), (None, None), "{odd}");
        }
    }

    #[test]
    fn this_process_has_memory_and_descriptors() {
        assert!(resident_memory_bytes().is_some_and(|bytes| bytes > 100_000));
        assert!(cpu_seconds().is_some());
        let before = open_fds().unwrap();
        let file = fs::File::open("/proc/self/stat").unwrap();
        assert!(open_fds().unwrap() > 0 && before > 0, "{file:?}");
    }
}
