//! What the replicas logged: which request began and ended where and when.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use crate::Result;

/// One start of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Whose hostname [`Witness::replica`] says.
    replica: usize,
    /// In microseconds since 1970.
    pub start: u64,
    /// If it ended.
    pub end: Option<u64>,
}

/// Every start of every request of a step.
#[derive(Debug, Default)]
pub struct Witness {
    replicas: Vec<String>,
    starts: HashMap<u64, Vec<Start>>,
}

impl Witness {
    /// Reads what concerns a step.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn read(logs: &Path, step: u64) -> Result<Self> {
        let mut witness = Self::default();
        for file in fs::read_dir(logs)? {
            let file = file?;
            witness.replicas.push(file.file_name().to_string_lossy().into_owned());
            for line in BufReader::new(File::open(file.path())?).lines() {
                // A line of another step's, or of a request that is none of the load's.
                witness.note(&line?, step);
            }
        }
        Ok(witness)
    }

    fn note(&mut self, line: &str, step: u64) -> Option<()> {
        let mut words = line.split(' ');
        let (mark, id) = (words.next()?, words.next()?);
        let time = words.nth(1)?.parse().ok()?;
        let (of_step, number) = id.split_once('-')?;
        if of_step.parse() != Ok(step) {
            return None;
        }
        let replica = self.replicas.len().checked_sub(1)?;
        let starts = self.starts.entry(number.parse().ok()?).or_default();
        if mark == "S" {
            starts.push(Start { replica, start: time, end: None });
        } else if let Some(start) = starts.iter_mut().rev().find(|start| start.replica == replica) {
            start.end = Some(time);
        }
        Some(())
    }

    /// The starts of a request.
    pub fn starts(&self, number: u64) -> &[Start] {
        self.starts.get(&number).map_or(&[], Vec::as_slice)
    }

    /// The hostname of the replica.
    pub fn replica(&self, start: &Start) -> &str {
        self.replicas.get(start.replica).map_or("?", String::as_str)
    }
}

/// What became of a replica, in microseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// When it was ready.
    pub ready: Option<u64>,
    /// When its first request of the load's began there.
    pub first: Option<u64>,
    /// When it got SIGTERM.
    pub told_to_stop: Option<u64>,
    /// When its last request began there.
    pub last: Option<u64>,
    /// How many began there after SIGTERM.
    pub late: usize,
}

/// What became of every replica that logged anything, by hostname.
///
/// # Errors
/// If a file cannot be read.
pub fn lives(logs: &Path) -> Result<HashMap<String, Life>> {
    let mut lives = HashMap::new();
    for file in fs::read_dir(logs)? {
        let file = file?;
        let mut life = Life::default();
        for line in BufReader::new(File::open(file.path())?).lines() {
            let line = line?;
            let (Some(mark), Some(at)) = (line.chars().next(), line.rsplit(' ').next()) else { continue };
            let Ok(at) = at.parse() else { continue };
            match mark {
                'R' => life.ready = Some(at),
                'T' => life.told_to_stop = Some(at),
                'S' => {
                    life.first.get_or_insert(at);
                    life.last = Some(at);
                    life.late += usize::from(life.told_to_stop.is_some());
                }
                _ => {}
            }
        }
        lives.insert(file.file_name().to_string_lossy().into_owned(), life);
    }
    Ok(lives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_kept_with_their_replica_and_their_end() {
        let logs = tempfile::tempdir().unwrap();
        fs::write(logs.path().join("a"), "S 1-7 POST 10\nS 1-8 GET 11\nS 2-7 GET 12\nE 1-7 POST 15\n").unwrap();
        fs::write(logs.path().join("b"), "S 1-8 GET 30\nE 1-8 GET 35\nS probe GET 1\n").unwrap();
        let witness = Witness::read(logs.path(), 1).unwrap();
        let seen = |number| {
            let starts = witness.starts(number).iter();
            let mut seen: Vec<_> = starts.map(|start| (witness.replica(start), start.start, start.end)).collect();
            seen.sort_unstable();
            seen
        };
        assert_eq!(seen(7), [("a", 10, Some(15))]);
        assert_eq!(seen(8), [("a", 11, None), ("b", 30, Some(35))]);
        assert_eq!(seen(9), []);
    }

    #[test]
    fn a_life_is_from_ready_to_the_last_request() {
        let logs = tempfile::tempdir().unwrap();
        let log = "R ready - 5\nS 1-1 GET 7\nE 1-1 GET 8\nS 1-2 GET 9\nT stop - 10\nS 1-3 GET 11\n";
        fs::write(logs.path().join("a"), log).unwrap();
        let life = Life { ready: Some(5), first: Some(7), told_to_stop: Some(10), last: Some(11), late: 1 };
        assert_eq!(lives(logs.path()).unwrap(), HashMap::from([("a".to_owned(), life)]));
    }
}
