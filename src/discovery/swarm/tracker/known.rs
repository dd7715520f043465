//! What is known of one task, and what its news come to.

use std::sync::Arc;
use std::time::Instant;

use super::super::evaluate::Evaluation;
use super::super::model::{Service, Task};
use crate::change::{Change, Observed, Sighting};
use crate::discovery::verdict::Considered;
use crate::provider::Provider;
use crate::replica::{Lifecycle, ReplicaId};

/// What the watcher has to do, in this order.
#[derive(Clone, Debug)]
pub(in crate::discovery::swarm) enum Action {
    /// Tell the registry.
    Apply(Observed),
    /// Tell people the verdict on one task,
    Consider(Considered),
    /// or on all of them.
    ConsiderAll(Vec<Considered>),
    /// Drop the verdict on a task that is gone.
    Forget(ReplicaId),
}

/// A task that has not ended, as it was described last, and what came of it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) task: Task,
    pub(super) service: Arc<Service>,
    /// `None`: it is ourselves.
    pub(super) evaluation: Option<Evaluation>,
}

impl Known {
    pub(super) fn sighting(&self) -> Option<&Sighting> {
        self.evaluation.as_ref()?.sighting.as_ref()
    }

    pub(super) fn considered(&self) -> Option<&Considered> {
        self.evaluation.as_ref().map(|evaluation| &evaluation.considered)
    }
}

/// What tells the registry and people that this has become of that.
pub(super) fn difference(before: Option<&Known>, now: Option<&Known>, provider: &Provider, at: Instant) -> Vec<Action> {
    let mut actions = Vec::new();
    let (was, is) = (before.and_then(Known::sighting), now.and_then(Known::sighting));
    if let Some(was) = was.filter(|was| is.is_none_or(|is| is.spec.id != was.spec.id)) {
        actions.push(apply(Change::Remove { provider: provider.clone(), id: was.spec.id.clone() }, at));
    }
    match (was, is) {
        (_, None) => {}
        (Some(was), Some(is)) if was == is => {}
        (Some(was), Some(is)) if was.spec == is.spec && is.lifecycle == Lifecycle::Draining => {
            actions.push(apply(Change::Drain { provider: provider.clone(), id: is.spec.id.clone() }, at));
        }
        (_, Some(is)) => actions.push(apply(Change::Upsert { replica: Box::new(is.clone()) }, at)),
    }
    let (was, is) = (before.and_then(Known::considered), now.and_then(Known::considered));
    if let Some(was) = was.filter(|was| is.is_none_or(|is| is.id != was.id)) {
        actions.push(Action::Forget(was.id.clone()));
    }
    actions.extend(is.filter(|is| was != Some(is)).map(|is| Action::Consider(is.clone())));
    actions
}

pub(super) fn apply(change: Change, at: Instant) -> Action {
    Action::Apply(Observed { change, at })
}
