//! The rows of all tables: run together, and reported together.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use futures::{FutureExt, StreamExt, stream};
use tokio::time::timeout;

use crate::case::Case;
use crate::run::verdict;

/// How many rows run at the same time.
pub(crate) const AT_ONCE: usize = 16;

/// How long a row may take, its waits for what does not come included.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Row {
    number: u16,
    handle: &'static str,
    check: LocalBoxFuture<'static, Result<(), String>>,
}

impl Row {
    pub(crate) fn new(
        number: u16,
        handle: &'static str,
        check: impl Future<Output = Result<(), String>> + 'static,
    ) -> Self {
        Self { number, handle, check: check.boxed_local() }
    }

    pub(crate) fn name(&self) -> (u16, &'static str) {
        (self.number, self.handle)
    }
}

impl From<Case> for Row {
    fn from(case: Case) -> Self {
        Self::new(case.number, case.handle, verdict(case))
    }
}

/// Runs rows and fails with all that are not as they are said to be.
pub(crate) async fn verify(rows: Vec<Row>) {
    let count = rows.len();
    let mut wrong: Vec<_> = stream::iter(rows)
        .map(async |Row { number, handle, check }| {
            let outcome = timeout(LIMIT, AssertUnwindSafe(check).catch_unwind()).await;
            let outcome = outcome.unwrap_or_else(|_| Ok(Err(format!("did not end within {LIMIT:?}"))));
            let outcome = outcome.unwrap_or_else(|_| Err("panicked; see above".to_owned()));
            match outcome {
                Ok(()) if is_pending(number, handle) => {
                    Some((number, format!("{number} {handle}: passes, though it is pending")))
                }
                Err(wrong) if !is_pending(number, handle) => Some((number, format!("{number} {handle}: {wrong}"))),
                _ => None,
            }
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    wrong.sort();
    let lines: Vec<_> = wrong.iter().map(|(_, line)| line.as_str()).collect();
    assert!(wrong.is_empty(), "{} of {count} rows:\n{}", wrong.len(), lines.join("\n"));
}

pub(crate) fn is_pending(number: u16, handle: &str) -> bool {
    PENDING.iter().any(|(n, h, _)| (*n, *h) == (number, handle))
}

/// Rows that are not as they have to be yet, and why. One that is as it has to be is an error here.
pub(crate) const PENDING: &[(u16, &str, &str)] = &[];
