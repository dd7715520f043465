//! What changes about a running evenkeel when its settings do.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::settings::{ProxySettings, Settings};
use crate::proxy::{Admission, connection_limit};

/// The settings of a running evenkeel, which those whom they concern follow.
#[derive(Debug)]
pub(super) struct Live {
    proxy: watch::Sender<Arc<ProxySettings>>,
    all: watch::Sender<Arc<Settings>>,
    admission: Arc<Admission>,
}

impl Live {
    /// These settings, for now.
    pub(super) fn new(settings: &Settings, admission: Arc<Admission>) -> Self {
        let proxy = watch::Sender::new(Arc::new(settings.proxy.clone()));
        Self { proxy, all: watch::Sender::new(Arc::new(settings.clone())), admission }
    }

    /// How to serve, now and later.
    pub(super) fn proxy(&self) -> watch::Receiver<Arc<ProxySettings>> {
        self.proxy.subscribe()
    }

    /// All settings, now and later.
    pub(super) fn all(&self) -> watch::Receiver<Arc<Settings>> {
        self.all.subscribe()
    }

    /// All settings as of now.
    pub(super) fn now(&self) -> Arc<Settings> {
        Arc::clone(&self.all.borrow())
    }

    /// Lets others hold from now on, and wakes those whom that concerns.
    pub(super) fn set(&self, settings: Settings) {
        let before = self.now();
        if before.proxy.limits.connections != settings.proxy.limits.connections {
            self.admission.set_limit(connection_limit(&settings.proxy));
        }
        if before.proxy != settings.proxy {
            self.proxy.send_replace(Arc::new(settings.proxy.clone()));
        }
        if *before != settings {
            self.all.send_replace(Arc::new(settings));
        }
    }
}
