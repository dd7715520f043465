//! Where the time of the slowest requests went: by the clients' clock and the replicas' logs.

use std::collections::HashMap;

use integration_tests::load::record::Record;
use integration_tests::load::witness::Witness;

use crate::order::millis;

/// How many are told of.
const TOLD: usize = 3;

/// The slowest of these: when each began, as counted from `began`, how long it took, and from when to when in that time
/// a replica had it.
pub(crate) fn slowest(records: &[&Record], witness: &Witness, began: u64) -> Vec<String> {
    let names: HashMap<_, _> = records.iter().map(|record| (record.replica.as_str(), &record.served_by)).collect();
    let mut records = records.to_vec();
    records.sort_by_key(|record| std::cmp::Reverse(record.end.saturating_sub(record.start)));
    let tell = |record: &&Record| {
        let mut starts: Vec<_> = witness.starts(record.number).iter().collect();
        starts.sort_by_key(|start| start.start);
        let mut line = format!(
            "{} at {:+.1} ms took {:.1} ms:",
            record.method.name(),
            millis(began, record.start),
            millis(record.start, record.end)
        );
        for start in &starts {
            let replica = witness.replica(start);
            let name = names.get(replica).filter(|name| !name.is_empty()).map_or(replica, |name| name.as_str());
            let end = start.end.map_or("?".to_owned(), |end| format!("{:.1}", millis(record.start, end)));
            line.push_str(&format!(" {name} had it from {:.1} to {end},", millis(record.start, start.start)));
        }
        if starts.is_empty() {
            line.push_str(" no replica had it,");
        }
        line.pop();
        line
    };
    records.iter().take(TOLD).map(tell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_are_told_with_the_replicas_that_had_them() {
        let logs = tempfile::tempdir().unwrap();
        std::fs::write(logs.path().join("a"), "S 7-1 GET 3203000\nE 7-1 GET 3208500\nS 7-2 PUT 4001000\n").unwrap();
        std::fs::write(logs.path().join("b"), "S 7-2 PUT 4040000\nE 7-2 PUT 4046000\n").unwrap();
        let record = |number, start: u64, took: u64| Record {
            number,
            start,
            end: start + took,
            replica: if number == 1 { "a".into() } else { "b".into() },
            served_by: if number == 1 { "gateway.1@node-3".into() } else { String::new() },
            ..Record::default()
        };
        let records =
            [record(1, 3_000_000, 209_000), record(2, 4_000_000, 47_000), record(3, 1, 8_000), record(4, 1, 9_000)];
        let records: Vec<_> = records.iter().collect();
        let witness = Witness::read(logs.path(), 7).unwrap();
        assert_eq!(
            slowest(&records, &witness, 1_000_000),
            [
                "GET at +2000.0 ms took 209.0 ms: gateway.1@node-3 had it from 203.0 to 208.5",
                "GET at +3000.0 ms took 47.0 ms: gateway.1@node-3 had it from 1.0 to ?, b had it from 40.0 to 46.0",
                "GET at -1000.0 ms took 9.0 ms: no replica had it",
            ]
        );
    }
}
