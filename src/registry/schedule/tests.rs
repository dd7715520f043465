use super::*;
use crate::registry::Replicas;
use crate::registry::fixtures::spec;
use crate::replica::{Lifecycle, ReplicaSpec};

fn replicas(weights: &[u16]) -> Vec<Arc<Replica>> {
    let replica = |(weight, number): (&u16, u16)| {
        Arc::new(Replica::new(ReplicaSpec { weight: *weight, ..spec("gateway", number) }, Lifecycle::Running))
    };
    weights.iter().zip(1..).map(replica).collect()
}

/// The share that would fill each turn of a round, for each replica.
fn wholes(list: &[Arc<Replica>]) -> Vec<Vec<u32>> {
    let mut wholes = vec![Vec::new(); list.len()];
    for turn in Schedule::new(list, Start::default()).turns() {
        wholes[turn.replica()].push(turn.whole() / u32::from(FULL_RAMP));
    }
    wholes
}

/// The replicas that have the next turns.
fn next(replicas: &Replicas, times: usize) -> Vec<u64> {
    let turns = (0..times).filter_map(|_| replicas.schedule().take());
    turns.map(|turn| replicas.list()[turn.replica()].incarnation()).collect()
}

#[test]
fn equal_weights_have_one_whole_turn_each() {
    for weight in [1, 3, 65_535] {
        assert_eq!(wholes(&replicas(&[weight; 50])), vec![[u32::from(weight)]; 50]);
    }
}

/// The mean is 2: so the weight of 5 has three turns, of which it fills two and a half.
#[test]
fn greater_weights_have_more_turns() {
    assert_eq!(wholes(&replicas(&[1, 0, 1, 1, 5])), [vec![2], vec![], vec![2], vec![2], vec![6; 3]]);
}

#[test]
fn turns_are_no_more_than_three_times_the_replicas() {
    let mut weights = vec![1; 1000];
    for heavy in [2, 400, 65_535] {
        weights[17] = heavy;
        let all: usize = wholes(&replicas(&weights)).iter().map(Vec::len).sum();
        assert!((1000..=3000).contains(&all), "{all} turns beside a weight of {heavy}");
    }
}

#[test]
fn a_list_without_weights_has_no_turns() {
    for list in [replicas(&[]), replicas(&[0; 40])] {
        let schedule = Schedule::new(&list, Start { hand: 7, unit: 0 });
        assert!(schedule.take().is_none() && schedule.turns().is_empty());
        assert_eq!(schedule.left().hand, 0);
    }
}

#[test]
fn turns_stay_as_many_until_the_mean_is_far_from_before() {
    let unit = |weights: &[u16], before| unit(&replicas(weights), before);
    assert_eq!([0, 1, 2, 4, 5].map(|before| unit(&[1, 1, 4], before)), [2, 1, 2, 4, 2]);
    assert_eq!([0, 2, 6].map(|before| unit(&[3, 3, 3, 0], before)), [3; 3], "equal weights have one turn each");
    assert_eq!(unit(&[65_535, 65_535, 65_534], 131_070), 65_534);
}

#[test]
fn newcomers_are_spread_among_the_others() {
    let list = replicas(&[1; 1000]);
    let is_new: Vec<_> =
        Schedule::new(&list, Start::default()).turns().iter().map(|turn| turn.replica() >= 900).collect();
    let longest = is_new.split(|is_new| !is_new).map(<[bool]>::len).max();
    assert!(longest <= Some(3), "{longest:?} in a row");
}

#[test]
fn a_round_goes_on_in_the_next_list() {
    let all = replicas(&[1; 100]);
    let first = Replicas::freeze("gateway".into(), all[..90].to_vec());
    let mut had = next(&first, 40);
    // Two lists later, with others; nobody asked for a turn in between.
    let second = Replicas::freeze_after(Some(&first), "gateway".into(), all[5..80].to_vec());
    let third = Replicas::freeze_after(Some(&second), "gateway".into(), all[10..].to_vec());
    let rest = 80 - had.iter().filter(|one| all[10..90].iter().any(|other| other.incarnation() == **one)).count();
    let is_old = |one: &u64| all[..90].iter().any(|other| other.incarnation() == *one);
    while had.len() < 40 + rest {
        had.extend(next(&third, 1).iter().filter(|one| is_old(one)));
    }
    had.sort_unstable();
    had.dedup();
    assert_eq!(had.len(), 40 + rest, "none has two turns before each that stayed has one");
}

#[test]
fn the_next_list_has_its_schedule_only_if_somebody_asked_for_it() {
    let list = || replicas(&[1; 40]);
    let freeze = |older: &Replicas| Replicas::freeze_after(Some(older), "gateway".into(), list());
    let first = Replicas::freeze("gateway".into(), list());
    assert!(!first.has_schedule() && !freeze(&first).has_schedule());
    first.schedule();
    let second = freeze(&first);
    assert!(second.has_schedule());
    assert!(!freeze(&second).has_schedule(), "nobody minds it any more");
}
