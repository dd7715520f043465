//! One connection to a manager, with what was asked on it and is not answered yet.

use std::collections::HashSet;
use std::future::pending;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use super::super::manager::{Answer, Manager, Question};
use super::super::model::{Node, Service};
use super::super::pace::Turn;
use super::super::tracker::Tracker;
use crate::discovery::docker::client::DockerError;
use crate::discovery::docker::container::Container;
use crate::discovery::docker::identity::Identity;

/// What is listed whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    Services,
    Nodes,
    Containers,
    Ourselves,
}

pub(super) enum List {
    Services(Vec<Service>),
    Nodes(Vec<Node>),
    Containers(Vec<Container>),
    Ourselves(Identity),
}

/// The lists that are under way.
#[derive(Default)]
pub(super) struct Lists {
    pub(super) answers: FuturesUnordered<BoxFuture<'static, Result<List, DockerError>>>,
    pub(super) asked: HashSet<Topic>,
    /// What something happened to since its list was asked for.
    again: HashSet<Topic>,
}

/// The question about tasks that is under way.
pub(super) struct Poll {
    turn: Turn,
    question: Question,
    began: Instant,
    answer: BoxFuture<'static, Result<Answer, DockerError>>,
}

/// One connection to a manager.
pub(super) struct Line {
    pub(super) manager: Manager,
    pub(super) lists: Lists,
    pub(super) poll: Option<Poll>,
    pub(super) ping: Option<BoxFuture<'static, Result<(), DockerError>>>,
    /// Whether the registry is to be told everything, at the next answer about all tasks.
    pub(super) is_whole_due: bool,
    /// Whether a list shows what no event has told; when to give up on the stream then.
    pub(super) deaf_at: Option<Instant>,
    /// Whether an event of a service has come since their last list; before the first one, nothing can be missing.
    pub(super) has_heard: bool,
}

impl Line {
    pub(super) fn new(manager: Manager) -> Self {
        let (lists, poll, ping) = (Lists::default(), None, None);
        Self { manager, lists, poll, ping, is_whole_due: true, deaf_at: None, has_heard: true }
    }

    /// Asks for a list, or once more after the one that is under way.
    pub(super) fn ask(&mut self, topic: Topic, tracker: &mut Tracker) {
        if !self.lists.asked.insert(topic) {
            self.lists.again.insert(topic);
            return;
        }
        if topic == Topic::Containers {
            tracker.containers_asked();
        }
        let manager = self.manager.clone();
        let answer = async move {
            Ok(match topic {
                Topic::Services => List::Services(manager.services().await?),
                Topic::Nodes => List::Nodes(manager.nodes().await?),
                Topic::Containers => List::Containers(manager.containers().await?),
                Topic::Ourselves => List::Ourselves(manager.find_ourselves().await?),
            })
        };
        self.lists.answers.push(answer.boxed());
    }

    /// A list has come; asks for it again if it is out of date already.
    pub(super) fn answered(&mut self, topic: Topic, tracker: &mut Tracker) {
        self.lists.asked.remove(&topic);
        if self.lists.again.remove(&topic) {
            self.ask(topic, tracker);
        }
    }

    /// Whom to ask about next and when, if that is not under way and it is known who there is.
    pub(super) fn turn(&self, tracker: &Tracker) -> Option<Turn> {
        let is_free = self.poll.is_none() && self.lists.asked.is_empty();
        is_free.then(|| tracker.turn(Instant::now().into_std())).flatten()
    }

    pub(super) fn poll(&mut self, turn: Turn, tracker: &Tracker) {
        let (manager, question) = (self.manager.clone(), tracker.question(&turn));
        let asked = question.clone();
        let answer = async move { manager.tasks(asked).await }.boxed();
        self.poll = Some(Poll { turn, question, began: Instant::now(), answer });
    }
}

/// Waits for the answer about tasks, for ever if there was no question. May be dropped and called again.
pub(super) async fn polled(poll: &mut Option<Poll>) -> (Turn, Question, Instant, Result<Answer, DockerError>) {
    let Some(under_way) = poll else { return pending().await };
    let answer = (&mut under_way.answer).await;
    match poll.take() {
        Some(Poll { turn, question, began, .. }) => (turn, question, began, answer),
        None => pending().await,
    }
}

/// Waits for the answer to a ping, for ever if there was none.
pub(super) async fn pong(ping: &mut Option<BoxFuture<'static, Result<(), DockerError>>>) -> Result<(), DockerError> {
    let Some(under_way) = ping else { return pending().await };
    let answer = under_way.await;
    *ping = None;
    answer
}
