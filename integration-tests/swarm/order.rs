//! The order of things for each task: by the replicas' own logs, and for evenkeel by its log, too.

use std::collections::HashMap;
use std::time::UNIX_EPOCH;

use integration_tests::load::record::Record;
use integration_tests::load::witness::Life;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Least, middle and most, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) middle: f64,
    pub(crate) most: f64,
}

/// What became of the tasks that stopped and of those that were new.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Tasks that got SIGTERM.
    pub(crate) stopped: usize,
    /// From the drain to SIGTERM; evenkeel only.
    pub(crate) drained_before: Option<Spread>,
    /// From the begin of the last request on it to SIGTERM; negative if that was after it.
    pub(crate) last_before: Option<Spread>,
    /// Requests that began on tasks that had got SIGTERM.
    pub(crate) late: usize,
    /// Tasks that became ready, and those of them that no request came to.
    pub(crate) new: usize,
    pub(crate) unused: usize,
    /// From ready to the first request.
    pub(crate) first_after: Option<Spread>,
    /// That of one task that stopped and of one that was new.
    pub(crate) examples: Vec<String>,
}

impl Spread {
    fn of(mut millis: Vec<f64>) -> Option<Self> {
        millis.sort_by(f64::total_cmp);
        Some(Self { least: *millis.first()?, middle: *millis.get(millis.len() / 2)?, most: *millis.last()? })
    }
}

impl Order {
    /// Of a step that took from `began` to `ended`.
    pub(crate) fn new(lives: &HashMap<String, Life>, records: &[Record], log: &str, began: u64, ended: u64) -> Self {
        let mut order = Self::default();
        let names: HashMap<_, _> = records.iter().map(|record| (&record.replica, &record.served_by)).collect();
        let drains = drains(log);
        let (mut drained_before, mut last_before, mut first_after) = (Vec::new(), Vec::new(), Vec::new());
        let mut lives: Vec<_> = lives.iter().collect();
        lives.sort_by_key(|(_, life)| (life.told_to_stop, life.ready));
        for (hostname, life) in lives {
            let name =
                names.get(hostname).filter(|name| !name.is_empty()).map_or(hostname.as_str(), |name| name.as_str());
            if let Some(term) = life.told_to_stop.filter(|at| (began..ended).contains(at)) {
                order.stopped += 1;
                order.late += life.late;
                last_before.extend(life.last.map(|last| millis(last, term)));
                // A later task of that name may drain, too, but not before this one is told to stop.
                let drained = drains
                    .iter()
                    .filter(|(of, at)| of == name && (began..=term).contains(at))
                    .max_by_key(|(_, at)| *at);
                drained_before.extend(drained.map(|(_, at)| millis(*at, term)));
                if order.stopped == 1 {
                    let drained = drained.map(|(_, at)| format!("drained at {:+.1} ms, ", millis(began, *at)));
                    let last = life.last.map(|last| format!("last request at {:+.1} ms, ", millis(began, last)));
                    let (drained, last) = (drained.unwrap_or_default(), last.unwrap_or_default());
                    order.examples.push(format!("{name}: {drained}{last}SIGTERM at {:+.1} ms", millis(began, term)));
                }
            }
            if let Some(ready) = life.ready.filter(|at| (began..ended).contains(at)) {
                order.new += 1;
                order.unused += usize::from(life.first.is_none());
                first_after.extend(life.first.map(|first| millis(ready, first)));
                if let (Some(first), true) = (life.first, order.new == 1) {
                    let (ready, first) = (millis(began, ready), millis(began, first));
                    order.examples.push(format!("{name}: ready at {ready:+.1} ms, first request at {first:+.1} ms"));
                }
            }
        }
        order.drained_before = Spread::of(drained_before);
        order.last_before = Spread::of(last_before);
        order.first_after = Spread::of(first_after);
        order
    }
}

/// From one time to the other, both in microseconds.
pub(crate) fn millis(from: u64, to: u64) -> f64 {
    (to.cast_signed() - from.cast_signed()) as f64 / 1_000.0
}

/// Which replicas began to drain when, in microseconds since 1970.
fn drains(log: &str) -> Vec<(String, u64)> {
    let drain = |line: &str| {
        let said: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| said.get(name).and_then(Value::as_str);
        (text("message") == Some("Replica draining")).then_some(())?;
        let at = humantime::parse_rfc3339(text("timestamp")?).ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some((text("replica")?.to_owned(), u64::try_from(at.as_micros()).ok()?))
    };
    log.lines().filter_map(drain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_told_by_the_replicas_and_by_the_log() {
        let second = 1_000_000;
        let old =
            Life { told_to_stop: Some(9 * second), first: Some(1), last: Some(6 * second), late: 0, ready: Some(0) };
        let new = Life { ready: Some(7 * second), first: Some(7 * second + 90_000), ..Life::default() };
        let lives = HashMap::from([("a".to_owned(), old), ("b".to_owned(), new)]);
        let served =
            |replica: &str, by: &str| Record { replica: replica.into(), served_by: by.into(), ..Record::default() };
        let records = [served("a", "gateway.1@node-2"), served("b", "gateway.1@node-3")];
        let log = "nonsense\n{\"timestamp\":\"1970-01-01T00:00:06.000500Z\",\"message\":\"Replica draining\",\"replica\":\"gateway.1@node-2\"}\n\
                   {\"timestamp\":\"1970-01-01T00:00:09.5Z\",\"message\":\"Replica draining\",\"replica\":\"gateway.1@node-2\"}";
        let order = Order::new(&lives, &records, log, 5 * second, 10 * second);
        let only = |millis| Some(Spread { least: millis, middle: millis, most: millis });
        assert_eq!((order.stopped, order.new, order.late, order.unused), (1, 1, 0, 0));
        assert_eq!(
            (order.drained_before, order.last_before, order.first_after),
            (only(2_999.5), only(3_000.0), only(90.0))
        );
        assert_eq!(
            order.examples,
            [
                "gateway.1@node-3: ready at +2000.0 ms, first request at +2090.0 ms",
                "gateway.1@node-2: drained at +1000.5 ms, last request at +1000.0 ms, SIGTERM at +4000.0 ms",
            ]
        );
    }
}
