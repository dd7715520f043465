//! What became of the settings each time they were read again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// What became of the settings each time they were read again, written by who reads them.
#[derive(Debug)]
pub struct Reloads {
    applied: AtomicU64,
    refused: AtomicU64,
    newest: Mutex<Newest>,
}

/// How things stand after the newest time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Since when the settings hold that hold now.
    pub since: SystemTime,
    /// How many things are wrong with what is in the file now; `None`: it was taken.
    pub wrong: Option<usize>,
    /// What waits for a restart.
    pub waiting: Vec<&'static str>,
}

impl Default for Reloads {
    /// Of settings that have just been read for the first time.
    fn default() -> Self {
        let newest = Newest { since: SystemTime::now(), wrong: None, waiting: Vec::new() };
        Self { applied: AtomicU64::new(0), refused: AtomicU64::new(0), newest: Mutex::new(newest) }
    }
}

impl Reloads {
    /// Counts new settings that hold from now on, but for those that wait for a restart.
    pub fn record_applied(&self, waiting: Vec<&'static str>) {
        self.applied.fetch_add(1, Ordering::Relaxed);
        *self.lock() = Newest { since: SystemTime::now(), wrong: None, waiting };
    }

    /// Counts settings with so many things wrong that the old ones stay.
    pub fn record_refused(&self, wrong: usize) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.lock().wrong = Some(wrong);
    }

    /// How often it ended so, by the word for it.
    pub fn outcomes(&self) -> [(&'static str, u64); 2] {
        [("applied", &self.applied), ("refused", &self.refused)]
            .map(|(word, count)| (word, count.load(Ordering::Relaxed)))
    }

    /// How things stand.
    pub fn newest(&self) -> Newest {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_leaves_what_holds_as_it_is() {
        let reloads = Reloads::default();
        reloads.record_applied(vec!["listen"]);
        let before = reloads.newest();
        reloads.record_refused(2);
        assert_eq!(reloads.newest(), Newest { wrong: Some(2), ..before });
        reloads.record_applied(Vec::new());
        let Newest { wrong, waiting, .. } = reloads.newest();
        assert_eq!((wrong, waiting.len()), (None, 0));
        assert_eq!(reloads.outcomes(), [("applied", 2), ("refused", 1)]);
    }
}
