//! A small engine that is asked, answers and tells in any order: whatever happens, once all has been told the registry
//! is what the engine is.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

/// A container of the engine.
#[derive(Clone, Debug)]
struct Live {
    run_state: RunState,
    /// Which run it is in, or was in last.
    run: u32,
    is_joined: bool,
}

/// A question and, once the engine has looked, the answer that is still on its way.
type Question<T> = Option<T>;

struct World {
    desk: Desk,
    live: BTreeMap<u8, Live>,
    events: VecDeque<(u8, u32, EventKind)>,
    inspects: BTreeMap<u8, Question<Container>>,
    list: Option<Question<Vec<Container>>>,
    /// The run that was told to stop, of those whose `kill` arrived.
    told: BTreeMap<u8, u32>,
}

impl World {
    fn new() -> Self {
        let mut desk = Desk::new();
        desk.tracker.list_asked();
        let (live, events, inspects, told) = Default::default();
        Self { desk, live, events, inspects, list: Some(None), told }
    }

    fn describe(&self, number: u8, is_inspect: bool) -> Container {
        let live = &self.live[&number];
        let mut container = gateway(number).is(live.run_state.clone());
        let run = live.run.to_string();
        if live.is_joined {
            container.networks.get_mut("shop_default").unwrap().endpoint_id.clone_from(&run);
        } else {
            container.networks.clear();
        }
        if is_inspect { container.inspected("TERM", &run) } else { container }
    }

    fn tell(&mut self, number: u8, kind: EventKind) {
        let run = self.live[&number].run;
        self.events.push_back((number, run, kind));
    }

    /// Something happens to a container, if it can.
    fn happen(&mut self, number: u8, what: u8) {
        let live = self.live.entry(number).or_insert(Live {
            run_state: RunState::Down("created".to_owned()),
            run: 0,
            is_joined: false,
        });
        let network = || "shop_default".to_owned();
        let is_down = matches!(live.run_state, RunState::Down(_));
        match (what, live.run_state.clone()) {
            (0, _) if is_down => {
                (live.run, live.is_joined) = (live.run + 1, true);
                self.tell(number, EventKind::Connect);
                self.live.get_mut(&number).unwrap().run_state = RunState::Running;
                self.tell(number, EventKind::Start);
            }
            (1, _) if !is_down => {
                live.run_state = RunState::Down("exited".to_owned());
                self.tell(number, EventKind::Die);
                self.live.get_mut(&number).unwrap().is_joined = false;
                self.tell(number, EventKind::Disconnect(network()));
            }
            (2, RunState::Running) => {
                live.run_state = RunState::Paused;
                self.tell(number, EventKind::Pause);
            }
            (3, RunState::Paused) => {
                live.run_state = RunState::Running;
                self.tell(number, EventKind::Unpause);
            }
            (4, RunState::Running) => self.tell(number, EventKind::Kill(Signal::TERM)),
            (5, RunState::Running) => self.tell(number, EventKind::Kill(Signal::parse("HUP").unwrap())),
            (6, RunState::Running) if live.is_joined => {
                live.is_joined = false;
                self.tell(number, EventKind::Disconnect(network()));
                self.tell(number, EventKind::Disconnect(network()));
            }
            _ => {}
        }
    }

    fn hear(&mut self) {
        let Some((number, run, kind)) = self.events.pop_front() else { return };
        if kind == EventKind::Kill(Signal::TERM) {
            self.told.insert(number, run);
        }
        self.desk.event(&format!("g{number}"), kind);
        self.collect();
    }

    /// Lets the oldest `kill` come after the `die` that follows it.
    fn let_a_kill_come_late(&mut self) {
        let is_kill = |(_, _, kind): &(u8, u32, EventKind)| matches!(kind, EventKind::Kill(_));
        let Some(kill) = self.events.iter().position(is_kill) else { return };
        let (number, run, _) = self.events[kill];
        let is_die = |(n, r, kind): &(u8, u32, EventKind)| (*n, *r, kind) == (number, run, &EventKind::Die);
        if let Some(die) = self.events.iter().position(is_die)
            && let Some(event) = self.events.remove(kill)
        {
            self.events.insert(die, event);
        }
    }

    /// Takes the questions that the tracker asked.
    fn collect(&mut self) {
        for id in self.desk.asked.drain(..) {
            let number = id.as_str().strip_prefix('g').unwrap().parse().unwrap();
            assert!(self.inspects.insert(number, None).is_none());
        }
    }

    /// The engine looks at what it is asked for.
    fn look(&mut self, number: u8) {
        if let Some(None) = self.inspects.get(&number) {
            let answer = self.describe(number, true);
            self.inspects.insert(number, Some(answer));
        }
    }

    fn answer(&mut self, number: u8) {
        self.look(number);
        if let Some(answer) = self.inspects.remove(&number) {
            let actions = self.desk.tracker.on_inspected(&format!("g{number}").into(), answer);
            self.desk.perform(actions);
            self.collect();
        }
    }

    fn look_at_list(&mut self) {
        let is_up = |live: &Live| !matches!(live.run_state, RunState::Down(_));
        let rows = self.live.iter().filter(|(_, live)| is_up(live)).map(|(number, _)| self.describe(*number, false));
        let rows = rows.collect();
        if let Some(answer @ None) = &mut self.list {
            *answer = Some(rows);
        }
    }

    fn answer_list(&mut self) {
        self.look_at_list();
        if let Some(Some(rows)) = self.list.take() {
            self.desk.list_answered(&rows);
            self.collect();
        }
    }

    fn resync(&mut self) {
        if self.list.is_none() {
            self.desk.tracker.list_asked();
            self.list = Some(None);
        }
    }

    fn reconnect(&mut self) {
        self.events.clear();
        self.inspects.clear();
        self.list = None;
        self.desk.reconnect();
        // Two things cannot be known. A `kill` in a run that no answer dated yet is lost with the connection; and so is
        // the `die` after it where the inspect that should date it saw the next run already.
        let draining = &self.desk.tracker.draining;
        let dated = |number: &u8| draining.get(&format!("g{number}").into()).map(|run| run.started_at.clone());
        self.told.retain(|number, _| dated(number).is_some());
        for (number, told) in &mut self.told {
            if dated(number) == Some(Some(self.live[number].run.to_string())) {
                *told = self.live[number].run;
            }
        }
        self.resync();
    }

    fn step(&mut self, (action, number, what): (u8, u8, u8)) {
        match action {
            0..=4 => self.happen(number, what),
            5..=8 => self.hear(),
            9 => self.look(number),
            10 | 11 => self.answer(number),
            12 => self.look_at_list(),
            13 => self.answer_list(),
            14 => self.resync(),
            15 => self.reconnect(),
            _ => self.let_a_kill_come_late(),
        }
    }

    /// Everything that is under way arrives.
    fn settle(&mut self) {
        while !(self.events.is_empty() && self.inspects.is_empty() && self.list.is_none()) {
            self.hear();
            self.answer_list();
            if let Some((number, _)) = self.inspects.first_key_value() {
                self.answer(*number);
            }
        }
    }

    fn is_up(&self, id: &ReplicaId) -> bool {
        self.live
            .iter()
            .any(|(number, live)| *id == format!("g{number}").into() && !matches!(live.run_state, RunState::Down(_)))
    }

    fn truth(&self) -> BTreeMap<ReplicaId, Lifecycle> {
        let routed =
            self.live.iter().filter(|(_, live)| live.is_joined && !matches!(live.run_state, RunState::Down(_)));
        let lifecycle = |number: &u8, live: &Live| match live.run_state {
            _ if self.told.get(number) == Some(&live.run) => Draining,
            RunState::Paused => Paused,
            _ => Running,
        };
        routed.map(|(number, live)| (format!("g{number}").into(), lifecycle(number, live))).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn once_all_is_told_the_registry_is_what_the_engine_is(
        steps in prop::collection::vec((0..17u8, 1..4u8, 0..7u8), 0..120)
    ) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.settle();
        prop_assert_eq!(&world.desk.registry, &world.truth());
        let Tracker { asked, undecided, draining, .. } = &world.desk.tracker;
        prop_assert!(asked.is_empty() && undecided.is_empty());
        prop_assert!(draining.keys().all(|id| world.is_up(id)), "{:?} {:?}", draining, world.live);
    }
}
