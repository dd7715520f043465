//! The Compose project of evenkeel's own container: only the engine that runs it can tell, and it counts for all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

/// The project that one watcher finds and all use.
#[derive(Debug)]
pub struct OwnProject {
    name: watch::Sender<Option<Arc<str>>>,
    /// The engines that have not said yet whether they run us.
    unasked: AtomicUsize,
}

impl OwnProject {
    /// Not found yet; so many engines will be asked.
    pub fn new(engines: usize) -> Arc<Self> {
        Arc::new(Self { name: watch::Sender::new(None), unasked: AtomicUsize::new(engines) })
    }

    /// Tells the others what an engine said about our own container.
    pub(super) fn tell(&self, found: Option<&str>) {
        let Some(found) = found else { return };
        self.name.send_if_modified(|name| {
            let is_news = name.as_deref() != Some(found);
            if is_news {
                *name = Some(found.into());
            }
            is_news
        });
    }

    /// Follows what is found.
    pub(super) fn follow(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.name.subscribe()
    }

    /// Counts an engine that was asked for the first time, and says whether it was the last of them.
    pub(super) fn was_last_to_be_asked(&self) -> bool {
        self.unasked.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_finds_all_follow() {
        let own = OwnProject::new(2);
        let mut followed = own.follow();
        own.tell(None);
        assert!(!followed.has_changed().unwrap());
        own.tell(Some("shop"));
        assert_eq!(followed.borrow_and_update().as_deref(), Some("shop"));
        own.tell(Some("shop"));
        assert!(!followed.has_changed().unwrap(), "to say it again is no news");
        assert_eq!([own.was_last_to_be_asked(), own.was_last_to_be_asked()], [false, true]);
    }
}
