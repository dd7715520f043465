//! What is measured: how long changes take to arrive, what threads have of the cores, and memory.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use evenkeel::registry::Registry;
use tokio::time::sleep;

/// How long the first sync, or the last change, may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Waits for what must come.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > deadline {
            return Err(format!("after {PATIENCE:?} still not: {what}").into());
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

pub(crate) fn known(registry: &Registry) -> usize {
    registry.replicas("gateway").map_or(0, |replicas| replicas.known())
}

pub(crate) fn are_ready(registry: &Registry) -> bool {
    registry.replicas("gateway").is_some_and(|replicas| replicas.list().iter().all(|replica| replica.is_pickable()))
}

/// The control threads of the evenkeels that run in this process.
pub(crate) struct Control(Vec<String>);

impl Control {
    /// Those of so many evenkeels: a thread gives itself its name once it runs.
    pub(crate) async fn find(evenkeels: usize) -> Result<Self> {
        until("control threads with their names", || threads().is_ok_and(|found| found.len() == evenkeels)).await?;
        Ok(Self(threads()?))
    }

    /// The part of a core that each of them takes meanwhile, on average.
    pub(crate) async fn share(&self, meanwhile: impl Future<Output = ()>) -> Result<f64> {
        let sum = || self.0.iter().map(|thread| ran(thread)).sum::<Result<f64>>();
        let (before, begun) = (sum()?, Instant::now());
        meanwhile.await;
        Ok((sum()? - before) / begun.elapsed().as_secs_f64() / self.0.len() as f64)
    }
}

fn threads() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        // One that has ended meanwhile is not of ours.
        if fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("evenkeel-contro")) {
            let number = task.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            found.push(format!("self/task/{number}"));
        }
    }
    Ok(found)
}

/// Seconds that a thread has been on a core.
pub(crate) fn ran(thread: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{thread}/schedstat"))?;
    Ok(text.split(' ').next().unwrap_or_default().parse::<f64>()? / 1e9)
}

/// What has to show in a balancer's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Expected {
    /// It is there, and ready.
    Ready,
    /// It is not there, or takes nothing more.
    Gone,
    /// It is there with this weight, and ready.
    Weighs(u16),
}

/// What is awaited of one registry, by the replica's id or name, and since when.
type Pending = HashMap<String, (Instant, Expected)>;

struct Awaited {
    pending: Vec<Mutex<Pending>>,
    is_over: AtomicBool,
}

impl Awaited {
    fn of(&self, index: usize) -> Option<MutexGuard<'_, Pending>> {
        self.pending.get(index).map(|pending| pending.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_everything_there(&self) -> bool {
        (0..self.pending.len()).all(|index| self.of(index).is_none_or(|pending| pending.is_empty()))
    }
}

/// Looks at lists whenever they change, on a thread of its own.
pub(crate) struct Observer {
    registries: Vec<Registry>,
    awaited: Arc<Awaited>,
    thread: thread::JoinHandle<Vec<Duration>>,
}

impl Observer {
    pub(crate) fn start(registries: Vec<Registry>) -> Self {
        let pending = registries.iter().map(|_| Mutex::default()).collect();
        let awaited = Arc::new(Awaited { pending, is_over: AtomicBool::new(false) });
        let (looked_at, shared) = (registries.clone(), Arc::clone(&awaited));
        let thread = thread::spawn(move || {
            let mut versions: Vec<_> = looked_at.iter().map(Registry::watch).collect();
            let mut times = Vec::new();
            while !shared.is_over.load(Ordering::Relaxed) {
                for (index, (registry, version)) in looked_at.iter().zip(&mut versions).enumerate() {
                    if version.has_changed().unwrap_or(false) {
                        version.mark_unchanged();
                        shared.of(index).into_iter().for_each(|mut pending| look(registry, &mut pending, &mut times));
                    }
                }
                thread::sleep(Duration::from_micros(200));
            }
            times
        });
        Self { registries, awaited, thread }
    }

    /// Awaits something of the registry with this index. Who leaves and is in nobody's list has nothing to leave.
    pub(crate) fn expect(&self, index: usize, key: &str, at: Instant, expected: Expected) {
        let Some(registry) = self.registries.get(index) else { return };
        let replicas = registry.replicas("gateway");
        let mut list = replicas.iter().flat_map(|replicas| replicas.list());
        if expected == Expected::Gone && list.all(|replica| replica.id().as_str() != key) {
            return;
        }
        if let Some(mut pending) = self.awaited.of(index) {
            pending.insert(key.to_owned(), (at, expected));
        }
    }

    /// Whether anything of this replica is still awaited anywhere.
    pub(crate) fn is_awaited(&self, key: &str) -> bool {
        (0..self.registries.len()).any(|index| self.awaited.of(index).is_some_and(|pending| pending.contains_key(key)))
    }

    /// How long the changes took; `is_part`: only some of them will show.
    pub(crate) async fn stop(self, is_part: bool) -> Result<Times> {
        if is_part {
            sleep(Duration::from_secs(2)).await;
        } else {
            until("every change in every list", || self.awaited.is_everything_there()).await?;
        }
        self.awaited.is_over.store(true, Ordering::Relaxed);
        let mut times = tokio::task::spawn_blocking(|| self.thread.join()).await?.map_err(|_| "the observer failed")?;
        times.sort();
        Ok(Times(times))
    }
}

/// Notes what shows in the list by now.
fn look(registry: &Registry, pending: &mut Pending, times: &mut Vec<Duration>) {
    let now = Instant::now();
    let Some(replicas) = registry.replicas("gateway").filter(|_| !pending.is_empty()) else { return };
    let mut met: HashSet<_> = pending.iter().filter(|(_, (_, expected))| *expected == Expected::Gone).collect();
    for replica in replicas.list() {
        let awaited = pending.get_key_value(replica.id().as_str());
        let Some(awaited) = awaited.or_else(|| pending.get_key_value(&replica.spec().name)) else { continue };
        let is_met = match awaited.1.1 {
            Expected::Ready => replica.is_pickable(),
            Expected::Gone => replica.is_draining(),
            Expected::Weighs(weight) => replica.is_pickable() && replica.spec().weight == weight,
        };
        if is_met {
            met.insert(awaited);
        } else {
            met.remove(&awaited);
        }
    }
    let met: Vec<_> = met.into_iter().map(|(key, (at, _))| (key.clone(), *at)).collect();
    for (key, at) in met {
        pending.remove(&key);
        times.push(now.saturating_duration_since(at));
    }
}

/// How long changes took, the shortest first.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    #[cfg(test)]
    pub(crate) fn worst(&self) -> Option<Duration> {
        self.0.last().copied()
    }

    /// The columns for the median, the 99th percentile and the worst.
    pub(crate) fn columns(&self) -> String {
        let at = |hundredths: usize| self.0.get((self.0.len() * hundredths / 100).min(self.0.len().saturating_sub(1)));
        let text =
            |time: Option<&Duration>| time.map_or("-".to_owned(), |t| format!("{:.1} ms", t.as_secs_f64() * 1e3));
        [at(50), at(99), self.0.last()].map(text).join(" | ")
    }
}
