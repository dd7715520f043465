//! A small Swarm that is asked, answers late and tells in any order: whatever happens, once all has been told the
//! registry is what the Swarm is.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

/// A task of the Swarm, whose container is on the manager's own node.
#[derive(Clone, Debug)]
struct Live {
    task: Task,
    is_paused: bool,
    /// Whether the container runs, which the manager may not know yet.
    is_up: bool,
    /// Whether it was sent its stop signal.
    is_told: bool,
    /// Whether the manager has forgotten it.
    is_forgotten: bool,
}

/// The wanted tasks and the others, once the manager has looked.
type Seen = Option<(Vec<Task>, Vec<Task>)>;

impl Live {
    fn is(&mut self, state: &str) {
        self.task.version += 1;
        self.task.state = TaskState::parse(state);
    }
}

struct World {
    desk: Desk,
    live: BTreeMap<u8, Live>,
    events: VecDeque<(u8, EventKind)>,
    /// The question that is under way, with the answer once the manager has looked.
    asked: Option<(Turn, Question, Seen)>,
}

impl World {
    fn new() -> Self {
        let (live, events) = Default::default();
        Self { desk: Desk::new(), live, events, asked: None }
    }

    fn happen(&mut self, number: u8, what: u8) {
        let Some(live) = self.live.get_mut(&number) else {
            if what == 0 {
                let (task, is_up) = (Task { container: None, ..task(number) }.at("preparing", "running"), false);
                let (is_paused, is_told, is_forgotten) = Default::default();
                self.live.insert(number, Live { task, is_paused, is_up, is_told, is_forgotten });
            }
            return;
        };
        let is_running = live.task.state == TaskState::Running;
        match what {
            // It starts, which its node's engine tells before the manager knows.
            1 if live.task.container.is_none() => {
                live.is("running");
                (live.task.container, live.is_up) = (Some(format!("c{number}").as_str().into()), true);
                self.events.push_back((number, EventKind::Start));
            }
            2 if !live.task.is_leaving() => {
                live.task.version += 1;
                live.task.desired = TaskState::parse("shutdown");
            }
            3 if live.is_up => {
                live.is_told = true;
                self.events.push_back((number, EventKind::Kill(Signal::TERM)));
            }
            4 if live.is_up => {
                live.is_up = false;
                self.events.push_back((number, EventKind::Die));
            }
            // The manager hears of the end.
            5 if !live.is_up && is_running => live.is("failed"),
            6 if live.is_up => {
                live.is_paused = !live.is_paused;
                let kind = if live.is_paused { EventKind::Pause } else { EventKind::Unpause };
                self.events.push_back((number, kind));
            }
            // It is history, and then not even that. No container has its id again.
            7 if live.task.state.is_ended() => live.is_forgotten = true,
            _ => {}
        }
    }

    fn hear(&mut self) {
        let Some((number, kind)) = self.events.pop_front() else { return };
        self.desk.event(&format!("c{number}"), kind);
    }

    fn ask(&mut self) {
        if self.asked.is_none() {
            let turn = self.desk.turn();
            let question = self.desk.tracker.question(&turn);
            self.asked = Some((turn, question, None));
        }
    }

    fn look(&mut self) {
        let tasks = self.live.values().filter(|live| !live.is_forgotten).map(|live| live.task.clone());
        let found = tasks.partition(|task| task.desired == TaskState::Running);
        if let Some((_, _, answer @ None)) = &mut self.asked {
            *answer = Some(found);
        }
    }

    fn answer(&mut self) {
        self.look();
        if let Some((turn, question, Some((wanted, others)))) = self.asked.take() {
            self.desk.answer_to(&turn, &question, &wanted, &others);
        }
    }

    /// The answer that is under way is lost with the connection, and so are the events. Paused ones are listed anew.
    fn reconnect(&mut self) {
        self.asked = None;
        self.events.clear();
        for live in self.live.values_mut() {
            // Neither an end nor a signal that no event told of can be known before the manager tells of it.
            if !live.is_up && live.task.state == TaskState::Running {
                live.is("failed");
            }
            live.is_told &= self.desk.tracker.local.get(&container_of(live)).is_some_and(|local| local.is_told);
        }
        let actions = self.desk.tracker.reconnected(inside(&["shop_default"]), self.desk.now);
        self.desk.perform(actions);
        self.desk.tracker.containers_asked();
        let up = self.live.values().filter(|live| live.is_up);
        let state = |live: &Live| if live.is_paused { RunState::Paused } else { RunState::Running };
        let rows = up.map(|live| container(container_of(live).as_str(), state(live))).collect();
        let actions = self.desk.tracker.on_containers(rows, self.desk.now);
        self.desk.perform(actions);
    }

    fn step(&mut self, (action, number, what): (u8, u8, u8)) {
        match action {
            0..=5 => self.happen(number, what),
            6..=8 => self.hear(),
            9 => self.ask(),
            10 => self.look(),
            11 | 12 => self.answer(),
            13 => self.reconnect(),
            _ => self.desk.wait(Duration::from_millis(300)),
        }
    }

    /// All that is under way arrives, and the manager hears of every end.
    fn settle(&mut self) {
        while !self.events.is_empty() {
            self.hear();
        }
        (1..4).for_each(|number| self.happen(number, 5));
        for _ in 0..3 {
            self.answer();
            self.ask();
        }
        self.answer();
    }

    fn truth(&self) -> BTreeMap<ReplicaId, Lifecycle> {
        let lifecycle = |live: &Live| match live {
            live if live.task.is_leaving() || live.is_told => Draining,
            live if live.is_paused => Paused,
            _ => Running,
        };
        let up = self.live.values().filter(|live| live.is_up);
        up.map(|live| (container_of(live), lifecycle(live))).collect()
    }
}

fn container_of(live: &Live) -> ReplicaId {
    live.task.container.clone().unwrap_or_else(|| "none".into())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn once_all_is_told_the_registry_is_what_the_swarm_is(
        steps in prop::collection::vec((0..15_u8, 1..4_u8, 0..8_u8), 0..120)
    ) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.settle();
        let mut truth = world.truth();
        // Who was told to stop before we heard of it is nobody that we need to know.
        truth.retain(|id, lifecycle| *lifecycle != Draining || world.desk.registry.contains_key(id));
        prop_assert_eq!(&world.desk.registry, &truth);
        prop_assert_eq!(world.desk.tracker.containers.len(), world.desk.tracker.tasks.values().filter(|known| known.task.container.is_some()).count());
    }
}
