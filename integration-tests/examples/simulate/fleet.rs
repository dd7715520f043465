//! One evenkeel before very many replicas, and the row that it comes to.

use std::process;
use std::time::{Duration, Instant};

use evenkeel::app::App;
use evenkeel::config::settings::Settings;
use integration_tests::procfs;
use tokio::time::{interval, sleep};

use crate::measure::{Control, Observer, Result, Times, are_ready, known, until};

/// The columns of a [`Row`].
pub(crate) const COLUMNS: [&str; 9] = [
    "published",
    "first sync",
    "all ready",
    "CPU, quiet",
    "CPU, with changes",
    "per change",
    "p50 | p99 | worst",
    "memory per replica",
    "changes seen",
];

/// For how long, and how often, something changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Churn {
    /// Changes a second.
    pub(crate) rate: u32,
    /// Seconds of quiet, and then of changes.
    pub(crate) seconds: u32,
}

impl Churn {
    pub(crate) fn span(self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// Lets each change come at its time.
    pub(crate) async fn run(self, mut change: impl FnMut(u32)) {
        let mut ticks = interval(Duration::from_secs(1) / self.rate.max(1));
        for number in 0..self.count() {
            ticks.tick().await;
            change(number);
        }
    }

    pub(crate) fn count(self) -> u32 {
        self.rate * self.seconds
    }
}

/// What it came to.
pub(crate) struct Row {
    published: usize,
    synced: Duration,
    ready: Duration,
    quiet: f64,
    busy: f64,
    per_change: f64,
    pub(crate) times: Times,
    memory: f64,
}

impl Row {
    /// The columns.
    pub(crate) fn columns(&self) -> String {
        format!(
            "{} | {:.1} s | {:.1} s | {:.1} % | {:.1} % | {:.2} ms | {} | {:.1} KiB | {}",
            self.published,
            self.synced.as_secs_f64(),
            self.ready.as_secs_f64(),
            self.quiet * 100.0,
            self.busy * 100.0,
            self.per_change,
            self.times.columns(),
            self.memory,
            self.times.count(),
        )
    }
}

/// Starts evenkeel before `total` replicas, and watches it in quiet and while `change` is called again and again.
pub(crate) async fn watch(
    settings: Settings,
    total: usize,
    churn: Churn,
    mut change: impl FnMut(u32, &Observer),
) -> Result<Row> {
    let (empty, is_part, begun) = (procfs::resident(process::id())?, settings.subset.is_some(), Instant::now());
    let app = App::start(settings)?;
    let control = Control::find(1).await?;
    until("all replicas known", || known(app.registry()) == total).await?;
    let synced = begun.elapsed();
    until("all replicas ready", || are_ready(app.registry())).await?;
    let ready = begun.elapsed();
    // What the sources were asked with is gone then.
    sleep(Duration::from_secs(2).min(churn.span())).await;
    let memory = procfs::resident(process::id())?.saturating_sub(empty) as f64 / total as f64;
    let published = app.registry().replicas("gateway").map_or(0, |replicas| replicas.list().len());

    let quiet = control.share(sleep(churn.span())).await?;
    let observer = Observer::start(vec![app.registry().clone()]);
    let busy = control.share(churn.run(|number| change(number, &observer))).await?;
    let times = observer.stop(is_part).await?;
    app.shutdown().await;
    let per_change = (busy - quiet).max(0.0) * churn.span().as_secs_f64() * 1e3 / f64::from(churn.count().max(1));
    Ok(Row { published, synced, ready, quiet, busy, per_change, times, memory })
}
