//! Whom to ask again, and when. No event tells of a task, so that an event is a doorbell only: what it rang for is asked
//! at short intervals until its tasks do what they should, and everything else now and then.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long after an event a service is asked at short intervals, however settled it looks: the manager tells of what was
/// decided before it has begun to do it.
const RUNG: Duration = Duration::from_secs(5);
/// After how long without any news a service that does not settle is asked less often: it may never, without a node that
/// would take its tasks, or wait long between two steps of an update.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often such a one is asked. Its tasks are told to stop three seconds before they get the signal.
const STUCK: Duration = Duration::from_secs(1);
/// A list of thousands of tasks takes the manager its time; at the most every fifth moment of it is spent on us.
const BREATH: u32 = 4;

/// How many times as often a service is asked whose tasks are about to run: each is of use from then on.
const EAGER: u32 = 4;

/// How often to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Intervals {
    /// While something is under way.
    pub(super) poll: Duration,
    /// When all is quiet.
    pub(super) idle: Duration,
}

/// When each service was heard of last.
#[derive(Debug)]
pub(super) struct Pace {
    intervals: Intervals,
    services: HashMap<String, Heard>,
    /// When all of them were asked last.
    all_asked: Option<Instant>,
    asked: Option<Instant>,
    /// How long the last answer took.
    took: Duration,
}

/// What was heard of one service.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    rung: Option<Instant>,
    /// When anything about it was last news.
    changed: Option<Instant>,
    is_settled: bool,
    has_starters: bool,
}

/// Whom to ask next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) at: Instant,
    /// The services, ordered by id.
    pub(super) services: Vec<String>,
    /// Whether that is every one.
    pub(super) is_all: bool,
}

impl Heard {
    fn is_within(moment: Option<Instant>, now: Instant, limit: Duration) -> bool {
        moment.is_some_and(|moment| now.saturating_duration_since(moment) < limit)
    }

    fn is_restless(&self, now: Instant) -> bool {
        !self.is_settled || Self::is_within(self.rung, now, RUNG)
    }

    /// Whether a task of it will run in a moment. One that waits for a HEALTHCHECK has had its moment.
    fn is_about_to_run(&self, now: Instant) -> bool {
        self.has_starters && Self::is_within(self.changed, now, RUNG)
    }

    fn is_stuck(&self, now: Instant) -> bool {
        !Self::is_within(self.rung, now, PATIENCE) && !Self::is_within(self.changed, now, PATIENCE)
    }
}

impl Pace {
    pub(super) fn new(intervals: Intervals) -> Self {
        Self { intervals, services: HashMap::new(), all_asked: None, asked: None, took: Duration::ZERO }
    }

    /// A service is there that was not, or something rang for it.
    pub(super) fn ring(&mut self, service: &str, now: Instant) {
        self.services.entry(service.to_owned()).or_default().rung = Some(now);
    }

    /// Something rang for all of them.
    pub(super) fn ring_all(&mut self, now: Instant) {
        self.services.values_mut().for_each(|heard| heard.rung = Some(now));
    }

    /// Only these are left.
    pub(super) fn retain(&mut self, is_left: impl Fn(&str) -> bool) {
        self.services.retain(|id, _| is_left(id));
    }

    /// A task of it has done something.
    pub(super) fn note_change(&mut self, service: &str, now: Instant) {
        if let Some(heard) = self.services.get_mut(service) {
            heard.changed = Some(now);
        }
    }

    /// Whether its tasks do what they should, and whether some are starting.
    pub(super) fn set_settled(&mut self, service: &str, is_settled: bool, has_starters: bool) {
        if let Some(heard) = self.services.get_mut(service) {
            (heard.is_settled, heard.has_starters) = (is_settled, has_starters);
        }
    }

    /// A question was answered.
    pub(super) fn note_answer(&mut self, turn: &Turn, asked: Instant, now: Instant) {
        self.asked = Some(asked);
        self.took = now.saturating_duration_since(asked);
        if turn.is_all {
            self.all_asked = Some(asked);
        }
    }

    /// Whom to ask next and when; `None` where there is nobody to ask about. `are_some_left`: there are tasks of services
    /// that are gone.
    pub(super) fn turn(&self, now: Instant, are_some_left: bool) -> Option<Turn> {
        if self.services.is_empty() && !are_some_left {
            return None;
        }
        let breath = self.took * BREATH;
        let after = |interval: Duration| self.asked.map_or(now, |asked| asked + interval.max(breath));
        let all_due = self.all_asked.map_or(now, |asked| asked + self.intervals.idle.max(breath));
        let restless = || self.services.iter().filter(|(_, heard)| heard.is_restless(now));
        let is_any = |what: fn(&Heard, Instant) -> bool| restless().any(|(_, heard)| what(heard, now));
        let interval = match is_any(|heard, now| !heard.is_stuck(now)) {
            true if is_any(Heard::is_about_to_run) => self.intervals.poll / EAGER,
            true => self.intervals.poll,
            false => STUCK.clamp(self.intervals.poll, self.intervals.idle.max(self.intervals.poll)),
        };
        let mut services: Vec<_> = restless().map(|(id, _)| id.clone()).collect();
        let at = if services.is_empty() && !are_some_left { all_due } else { after(interval) };
        let is_all = all_due <= at;
        if is_all {
            services = self.services.keys().cloned().collect();
        }
        services.sort_unstable();
        Some(Turn { at, services, is_all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVALS: Intervals = Intervals { poll: Duration::from_millis(200), idle: Duration::from_secs(5) };

    /// A pace after all of these were asked and settled, and the moment at which that was.
    fn quiet(services: &[&str]) -> (Pace, Instant) {
        let (mut pace, now) = (Pace::new(INTERVALS), Instant::now());
        for service in services {
            pace.ring(service, now);
            pace.set_settled(service, true, false);
        }
        let later = now + PATIENCE * 2;
        pace.note_answer(&pace.turn(later, false).unwrap(), later, later);
        (pace, later)
    }

    /// In how many milliseconds whom.
    fn next(pace: &Pace, now: Instant) -> (u128, String) {
        let turn = pace.turn(now, false).unwrap();
        (turn.at.saturating_duration_since(now).as_millis(), turn.services.join(" "))
    }

    #[test]
    fn nobody_is_asked_about_nothing() {
        assert_eq!(Pace::new(INTERVALS).turn(Instant::now(), false), None);
    }

    #[test]
    fn everybody_is_asked_at_once_and_then_now_and_then() {
        let (mut pace, now) = (Pace::new(INTERVALS), Instant::now());
        pace.ring("b", now);
        pace.ring("a", now);
        assert_eq!(next(&pace, now), (0, "a b".to_owned()));
        let (pace, now) = quiet(&["a", "b"]);
        assert_eq!(next(&pace, now), (5000, "a b".to_owned()));
    }

    #[test]
    fn who_was_rung_for_is_asked_often_and_alone() {
        let (mut pace, now) = quiet(&["a", "b"]);
        pace.ring("b", now + Duration::from_secs(1));
        let now = now + Duration::from_secs(1);
        assert_eq!(next(&pace, now), (0, "b".to_owned()), "at once");
        pace.note_answer(&pace.turn(now, false).unwrap(), now, now);
        assert_eq!(next(&pace, now), (200, "b".to_owned()));
        assert_eq!(next(&pace, now + RUNG), (0, "a b".to_owned()), "and not for ever, if it has settled");
    }

    #[test]
    fn who_does_not_settle_is_asked_often_until_it_looks_stuck() {
        let (mut pace, mut now) = quiet(&["a", "b"]);
        pace.set_settled("a", false, false);
        pace.note_change("a", now);
        assert_eq!(next(&pace, now), (200, "a".to_owned()));
        now += PATIENCE;
        pace.note_answer(&Turn { at: now, services: Vec::new(), is_all: true }, now, now);
        assert_eq!(
            next(&pace, now),
            (1000, "a".to_owned()),
            "still before a task that is told to stop gets its signal"
        );
        pace.note_change("a", now);
        assert_eq!(next(&pace, now), (200, "a".to_owned()));
    }

    #[test]
    fn whose_tasks_are_about_to_run_is_asked_more_often_for_a_while() {
        let (mut pace, now) = quiet(&["a", "b"]);
        pace.set_settled("a", false, true);
        pace.note_change("a", now);
        assert_eq!(next(&pace, now), (50, "a".to_owned()));
        pace.note_answer(&Turn { at: now, services: Vec::new(), is_all: true }, now + RUNG, now + RUNG);
        assert_eq!(next(&pace, now + RUNG), (200, "a".to_owned()), "it may wait for a HEALTHCHECK");
    }

    #[test]
    fn those_that_a_service_left_behind_are_asked_about() {
        let (mut pace, now) = quiet(&["a"]);
        assert_eq!(pace.turn(now, true).unwrap().at, now + STUCK);
        pace.retain(|_| false);
        assert_eq!(pace.turn(now, true).unwrap(), Turn { at: now + STUCK, services: Vec::new(), is_all: false });
        assert_eq!(pace.turn(now, false), None);
    }

    #[test]
    fn nobody_is_forgotten_while_somebody_is_restless() {
        let (mut pace, mut now) = quiet(&["a", "b"]);
        let end = now + Duration::from_secs(20);
        let mut alls = 0;
        while now < end {
            pace.ring("a", now);
            let turn = pace.turn(now, false).unwrap();
            now = turn.at;
            alls += u32::from(turn.is_all);
            pace.note_answer(&turn, now, now);
        }
        assert!((3..=4).contains(&alls), "{alls} in 20 s");
    }

    #[test]
    fn a_manager_that_takes_long_is_left_in_peace_for_longer() {
        let (mut pace, now) = quiet(&["a"]);
        pace.set_settled("a", false, false);
        pace.note_change("a", now);
        let asked = now;
        let now = now + Duration::from_millis(300);
        pace.note_answer(&Turn { at: asked, services: vec!["a".to_owned()], is_all: false }, asked, now);
        assert_eq!(next(&pace, now).0, 900);
    }
}
