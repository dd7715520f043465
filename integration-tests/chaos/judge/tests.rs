use super::*;
use crate::container::Container;

const STEP: u64 = 3;
/// When the fault begins, and when it ends.
const TIMES: [u64; 2] = [10_000_000, 20_000_000];

/// A step in which replica `a` of `a` and `b` was struck at the fault's beginning, for a second.
struct Case {
    fault: Fault,
    records: Vec<Record>,
    logs: tempfile::TempDir,
}

impl Case {
    fn new(fault: Fault) -> Self {
        let logs = tempfile::tempdir().unwrap();
        for replica in ["a", "b", "stranger"] {
            std::fs::write(logs.path().join(replica), "").unwrap();
        }
        Self { fault, records: Vec::new(), logs }
    }

    /// A request at a time relative to the fault's beginning, in milliseconds, begun at these replicas.
    fn request(mut self, method: Method, at: i64, took: u64, status: u16, begun: &[(&str, bool)]) -> Self {
        let number = self.records.len() as u64;
        let start = TIMES[0].checked_add_signed(at * 1_000).unwrap();
        let end = start + took * 1_000;
        for (replica, has_ended) in begun {
            let file = self.logs.path().join(replica);
            let mut log = std::fs::read_to_string(&file).unwrap();
            log += &format!("S {STEP}-{number} {} {}\n", method.name(), start + 100);
            if *has_ended {
                log += &format!("E {STEP}-{number} {} {}\n", method.name(), end - 100);
            }
            std::fs::write(file, log).unwrap();
        }
        let failure = (status != 200).then(|| status.to_string());
        let replica = begun.last().filter(|_| status == 200).map_or("", |(replica, _)| replica).to_owned();
        self.records.push(Record { number, method, start, end, status, replica, failure, ..Record::default() });
        self
    }

    fn outcome(&self, in_flight: f64) -> Outcome {
        self.outcome_of(Some(in_flight), &[])
    }

    /// The same with these as the replicas at the end.
    fn outcome_of(&self, in_flight: Option<f64>, now: &[&str]) -> Outcome {
        let mut story = Story { began: TIMES[0], ended: TIMES[1], ..Story::default() };
        let (from, until) = (TIMES[0], TIMES[0] + 1_000_000);
        story.struck.push(Struck { replica: "a".into(), from, until });
        let names = ["a", "b"].map(str::to_owned);
        let seen = Seen {
            fault: self.fault,
            system: System::Evenkeel,
            story: &story,
            records: &self.records,
            witness: &Witness::read(self.logs.path(), STEP).unwrap(),
            known: &names.clone().into(),
            now: now.iter().map(|name| (*name).to_owned()).collect(),
            before: None,
            after: None,
            in_flight,
            panics: 0,
        };
        seen.outcome()
    }

    /// What is complained of, in the words that are looked for.
    fn complaints(&self) -> String {
        self.outcome(0.0).complaints.join("\n")
    }
}

#[test]
fn a_good_step_is_no_ground_for_complaint() {
    let case = Case::new(Fault::Kill)
        .request(Method::Get, -50, 6, 200, &[("a", true)])
        .request(Method::Put, 1, 20, 200, &[("a", false), ("b", true)])
        .request(Method::Post, 60, 6, 200, &[("b", true)]);
    let outcome = case.outcome(0.0);
    assert_eq!(outcome.complaints, [] as [String; 0]);
    assert_eq!((outcome.moved, outcome.excused, outcome.idempotent.worst), (1, 0, 20.0));
    assert!(case.outcome(1.0).complaints[0].contains("in flight"));
    assert!(case.outcome_of(None, &[]).complaints[0].contains("nobody says how many"));
}

#[test]
fn a_post_is_excused_only_on_the_struck_replica_at_the_strike() {
    let post = |at, status, begun: &[(&str, bool)]| Case::new(Fault::Kill).request(Method::Post, at, 6, status, begun);
    for (excused, case) in [
        (true, post(-3, 502, &[("a", false)])),
        (true, post(-3, 502, &[("a", true)])),
        (true, post(1, 502, &[])),
        (false, post(-3, 502, &[("b", false)])),
        (false, post(-900, 502, &[("a", true)])),
        (false, post(2_000, 502, &[("a", false)])),
        (false, post(2_000, 502, &[])),
        // Nothing was sent, says the system.
        (false, post(1, 503, &[])),
    ] {
        assert_eq!(case.complaints().contains("must not"), !excused, "{:?}", case.records);
    }
    let idempotent = Case::new(Fault::Kill).request(Method::Put, -3, 6, 502, &[("a", false)]);
    assert!(idempotent.complaints().contains("1 failed that must not"));
    let crowd = (0..17).fold(Case::new(Fault::Kill), |case, _| case.request(Method::Post, 1, 6, 502, &[]));
    assert!(crowd.complaints().contains("17 failed that no replica has begun"));
}

#[test]
fn a_post_that_was_begun_twice_and_an_answer_by_a_stranger_are_found() {
    let twice = Case::new(Fault::Kill).request(Method::Post, 1, 6, 200, &[("a", false), ("b", true)]);
    assert!(twice.complaints().contains("1 POSTs were begun twice"));
    let stranger = Case::new(Fault::Kill).request(Method::Get, 1, 6, 200, &[("stranger", true)]);
    assert!(stranger.complaints().contains("1 answers to other requests"));
}

#[test]
fn a_refusal_in_an_outage_shorter_than_the_hold_is_not_excused() {
    let refused = Case::new(Fault::AllDown).request(Method::Get, 500, 1, 503, &[]);
    assert!(refused.complaints().contains("must not"));
}

#[test]
fn a_post_in_the_race_with_a_close_is_excused_and_one_that_was_begun_is_not() {
    let post = |begun: &[(&str, bool)]| Case::new(Fault::KeepAlive).request(Method::Post, 1, 6, 502, begun);
    assert_eq!(post(&[]).complaints(), "");
    for begun in [("a", false), ("a", true)] {
        assert!(post(&[begun]).complaints().contains("must not"), "{begun:?}");
    }
}

#[test]
fn who_has_no_share_at_the_end_is_told_but_for_a_churn() {
    let of = |fault, begun: &[(&str, bool)]| {
        Case::new(fault).request(Method::Get, 1, 6, 200, begun).outcome_of(Some(0.0), &["a", "b"]).complaints.join("")
    };
    assert!(of(Fault::Kill, &[("a", true)]).contains("shares 200 % apart"));
    assert_eq!(of(Fault::Churn, &[("a", true)]), "");
}

#[test]
fn what_takes_too_long_is_told() {
    let slow = Case::new(Fault::Kill).request(Method::Get, 1, 250, 200, &[("b", true)]);
    let outcome = slow.outcome(0.0);
    assert!(outcome.complaints[0].contains("took 250 ms, not 200"), "{:?}", outcome.complaints);
    assert_eq!((outcome.recovered_ms, outcome.idempotent.p999), (251, 250.0));
    // A POST may wait for as long as its replica is paused.
    assert_eq!(Case::new(Fault::Pause).request(Method::Post, 1, 5_000, 200, &[("a", true)]).complaints(), "");
}

#[test]
fn shares_are_apart_by_their_mean() {
    let shares =
        |counts: &[usize]| spread(&(0..).map(|name: u32| name.to_string()).zip(counts.iter().copied()).collect());
    assert_eq!(shares(&[10, 10]), 0.0);
    assert_eq!(shares(&[15, 5]), 1.0);
    assert_eq!(shares(&[0, 0]), 0.0);
}

#[test]
fn what_a_container_calls_itself_is_the_beginning_of_its_id() {
    let id = "0123456789abcdef".repeat(4);
    let addr = std::net::Ipv4Addr::LOCALHOST;
    let container = Container { id, name: "gateway-1".into(), number: 1, addr, pid: 1 };
    assert_eq!(container.hostname(), "0123456789ab");
}
