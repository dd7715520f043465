//! What was done, and when, as the judge has to know it.

use integration_tests::load::record::now;

use crate::container::Container;

/// A fault as it went.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) struck: Vec<Struck>,
    /// What is worth telling, such as how much of a storm the engine could make.
    pub(crate) notes: Vec<String>,
}

/// A replica that was struck, and when it may have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Struck {
    /// Its hostname.
    pub(crate) replica: String,
    pub(crate) from: u64,
    pub(crate) until: u64,
}

impl Story {
    pub(crate) fn begin() -> Self {
        Self { began: now(), ..Self::default() }
    }

    /// From now on a replica's requests may be lost.
    pub(crate) fn strike(&mut self, replica: &Container) {
        self.struck.push(Struck { replica: replica.hostname().to_owned(), from: now(), until: u64::MAX });
    }

    /// The strikes are over.
    pub(crate) fn struck(&mut self) {
        for struck in self.struck.iter_mut().filter(|struck| struck.until == u64::MAX) {
            struck.until = now();
        }
    }

    pub(crate) fn end(&mut self) {
        self.ended = now();
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}
