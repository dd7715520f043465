use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use proptest::prelude::*;

use super::fixtures::{gateway, running, spec};
use super::*;
use crate::replica::{Health, ReplicaSpec};

/// What the model knows of a replica. The tag goes the way of the incarnation: a new one for each new replica.
#[derive(Clone, Debug)]
struct Known {
    provider: Provider,
    spec: ReplicaSpec,
    lifecycle: Lifecycle,
    tag: u64,
}

/// The registry as a stranger would write it down.
#[derive(Debug, Default)]
struct Model {
    known: BTreeMap<ReplicaId, Known>,
    /// Every service that ever had a replica.
    named: BTreeSet<ServiceName>,
    tags: u64,
}

impl Model {
    fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Reset { provider, replicas } => {
                let before = self.known.len();
                self.known.retain(|id, known| known.provider != provider || replicas.iter().any(|r| r.spec.id == *id));
                let mut changed = self.known.len() < before;
                for replica in replicas {
                    changed |= self.upsert(provider, replica);
                }
                changed
            }
            Change::Upsert { provider, replica } => self.upsert(provider, *replica),
            Change::Drain { provider, id } => {
                let known = self.known.get_mut(&id).filter(|known| known.provider == provider);
                known.is_some_and(|known| {
                    std::mem::replace(&mut known.lifecycle, Lifecycle::Draining) != Lifecycle::Draining
                })
            }
            Change::Remove { provider, id } => {
                let owned = self.known.get(&id).is_some_and(|known| known.provider == provider);
                owned && self.known.remove(&id).is_some()
            }
        }
    }

    fn upsert(&mut self, provider: Provider, Sighting { spec, lifecycle }: Sighting) -> bool {
        let old = self.known.get(&spec.id);
        if old.is_some_and(|old| old.provider != provider) {
            return false;
        }
        let place = |spec: &ReplicaSpec| (spec.service.clone(), spec.addr);
        let tag = match old.filter(|old| place(&old.spec) == place(&spec)) {
            Some(old) => old.tag,
            None => {
                self.tags += 1;
                self.tags
            }
        };
        let draining = old.is_some_and(|old| old.lifecycle == Lifecycle::Draining);
        let lifecycle = if draining { Lifecycle::Draining } else { lifecycle };
        let changed = old.is_none_or(|old| old.spec != spec || old.lifecycle != lifecycle);
        self.named.insert(spec.service.clone());
        self.known.insert(spec.id.clone(), Known { provider, spec, lifecycle, tag });
        changed
    }

    /// The services with their replicas, each in its order.
    fn services(&self) -> BTreeMap<ServiceName, Vec<&Known>> {
        let mut services: BTreeMap<_, Vec<_>> = self.named.iter().map(|name| (name.clone(), Vec::new())).collect();
        for known in self.known.values() {
            services.entry(known.spec.service.clone()).or_default().push(known);
        }
        for list in services.values_mut() {
            list.sort_by_key(|known| (known.spec.number.unwrap_or(u32::MAX), &known.spec.name, &known.spec.id));
        }
        services
    }
}

fn sighting() -> impl Strategy<Value = Sighting> {
    use Lifecycle::{Ailing, Draining, Paused, Running, Starting};
    let service = prop::sample::select(vec!["billing", "gateway"]);
    let lifecycle = prop::sample::select(vec![Running, Running, Running, Starting, Ailing, Paused, Draining]);
    let number = prop::option::weighted(0.8, 0..3_u32);
    let facts = (0..6_u16, service, number, 0..2_u16, 1..3_u16, lifecycle);
    facts.prop_map(|(id, service, number, addr, weight, lifecycle)| {
        let addr = ([10, 0, 0, 1], 80 + addr).into();
        let spec = ReplicaSpec { service: service.into(), number, addr, weight, ..spec("replica", id) };
        Sighting { spec, lifecycle }
    })
}

fn change() -> impl Strategy<Value = Change> {
    let provider = || prop::sample::select(vec![Provider::Docker, Provider::Docker, Provider::Static]);
    let id = || (0..6_u16).prop_map(|id| spec("replica", id).id);
    // A provider names each of its replicas once in a reset.
    let replicas = prop::collection::vec(sighting(), 0..6).prop_map(|all| {
        let by_id: BTreeMap<_, _> = all.into_iter().map(|r| (r.spec.id.clone(), r)).collect();
        by_id.into_values().collect()
    });
    let upsert = (provider(), sighting().prop_map(Box::new));
    prop_oneof![
        1 => (provider(), replicas).prop_map(|(provider, replicas)| Change::Reset { provider, replicas }),
        4 => upsert.prop_map(|(provider, replica)| Change::Upsert { provider, replica }),
        1 => (provider(), id()).prop_map(|(provider, id)| Change::Drain { provider, id }),
        1 => (provider(), id()).prop_map(|(provider, id)| Change::Remove { provider, id }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn agrees_with_a_plain_map(changes in prop::collection::vec(change(), 1..40)) {
        let ((registry, mut writer), mut model) = (Registry::new(), Model::default());
        let version = registry.watch();
        let (mut tags, mut changed_so_far) = (BTreeMap::new(), 0);
        for change in changes {
            let old = registry.services();
            let changed = writer.apply(change.clone());
            prop_assert_eq!(changed, model.apply(change.clone()), "{:?}", &change);
            changed_so_far += u64::from(changed);
            prop_assert_eq!(*version.borrow(), changed_so_far);

            let (services, expected) = (registry.services(), model.services());
            prop_assert_eq!(services.iter().map(|r| r.service()).collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
            for (replicas, expected) in services.iter().zip(expected.values()) {
                let facts = |r: &Arc<Replica>| (r.spec().clone(), r.lifecycle());
                prop_assert_eq!(
                    replicas.list().iter().map(facts).collect::<Vec<_>>(),
                    expected.iter().map(|known| (known.spec.clone(), known.lifecycle)).collect::<Vec<_>>()
                );
                let heaviest = expected.iter().map(|known| known.spec.weight).max().unwrap_or(0);
                prop_assert_eq!(replicas.heaviest(), heaviest);
                for (replica, known) in replicas.list().iter().zip(expected) {
                    // A tag that is known keeps its incarnation and counters; a new one starts anew.
                    let served = replica.metrics().requests();
                    let (incarnation, count) = tags.entry(known.tag).or_insert((replica.incarnation(), 0));
                    prop_assert_eq!((replica.incarnation(), served), (*incarnation, *count));
                    replica.metrics().record_answer(200, std::time::Duration::ZERO);
                    *count += 1;
                }
            }
            let incarnations: HashSet<_> = tags.values().map(|(incarnation, _)| incarnation).collect();
            prop_assert_eq!(incarnations.len(), tags.len());

            // Whoever still holds a replica that left finds it draining.
            let now: HashSet<_> = services.iter().flat_map(|r| r.list()).map(|r| r.incarnation()).collect();
            for gone in old.iter().flat_map(|r| r.list()).filter(|r| !now.contains(&r.incarnation())) {
                prop_assert_eq!(gone.lifecycle(), Lifecycle::Draining);
            }
            prop_assert!(!writer.apply(change), "the same change again changes nothing");
        }
    }
}

fn reset(replicas: impl IntoIterator<Item = ReplicaSpec>) -> Change {
    let replicas = replicas.into_iter().map(|spec| Sighting { spec, lifecycle: Lifecycle::Running }).collect();
    Change::Reset { provider: Provider::Docker, replicas }
}

#[test]
fn an_unchanged_replica_is_the_same_one_after_a_reset() {
    let (registry, mut writer) = gateway(&[1, 1]);
    let before = registry.replicas("gateway").unwrap();
    assert!(!writer.apply(reset([spec("gateway", 1), spec("gateway", 2)])));
    assert!(Arc::ptr_eq(&before, &registry.replicas("gateway").unwrap()));
    assert!(writer.apply(reset([spec("gateway", 1), spec("gateway", 2), spec("gateway", 3)])));
    let after = registry.replicas("gateway").unwrap();
    assert!(before.list().iter().zip(after.list()).all(|(old, new)| Arc::ptr_eq(old, new)));
    assert_eq!(after.list()[0].health(), Health::Healthy);
    assert_eq!(after.list()[2].health(), Health::Unknown);
}

#[test]
fn of_a_replica_named_twice_in_a_reset_the_last_word_holds() {
    let (registry, mut writer) = gateway(&[]);
    let twice = [spec("billing", 1), ReplicaSpec { service: "gateway".into(), ..spec("billing", 1) }];
    assert!(writer.apply(reset(twice.clone())));
    assert!(registry.replicas("billing").is_none_or(|replicas| replicas.list().is_empty()));
    assert_eq!(registry.replicas("gateway").unwrap().list().len(), 1);
    assert!(!writer.apply(reset(twice)));
}

#[test]
fn a_reader_may_hold_all_that_it_read_while_the_writer_goes_on() {
    let (registry, mut writer) = gateway(&[1, 1]);
    let (held, all) = (registry.replicas("gateway").unwrap(), registry.services());
    // With a map guard behind `held`, this would wait for itself for ever.
    assert!(writer.apply(reset([])));
    assert!(registry.replicas("gateway").unwrap().list().is_empty(), "known, though empty");
    assert!(writer.apply(running(spec("gateway", 3))));
    assert_eq!((held.list().len(), all[0].list().len()), (2, 2));
    assert!(held.list().iter().all(|r| r.lifecycle() == Lifecycle::Draining));
}

#[test]
fn readers_see_whole_lists_only() {
    let (registry, mut writer) = Registry::new();
    let sets = [[1, 2, 3].map(|n| spec("gateway", n)), [4, 5, 6].map(|n| spec("gateway", n))];
    writer.apply(reset(sets[0].clone()));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = HashSet::new();
            while !done.load(Ordering::Relaxed) {
                let replicas = registry.replicas("gateway").expect("there is always one set or the other");
                seen.insert(replicas.list().iter().map(|r| r.spec().number.unwrap()).collect::<Vec<_>>());
                assert_eq!(registry.services().len(), 1);
            }
            seen
        });
        for round in 1..=10_000 {
            writer.apply(reset(sets[round % 2].clone()));
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(reader.join().unwrap(), HashSet::from([vec![1, 2, 3], vec![4, 5, 6]]));
    });
}

#[test]
fn watchers_wake_for_changes_only() {
    let (registry, mut writer) = gateway(&[1]);
    let mut watch = registry.watch();
    watch.mark_unchanged();
    writer.apply(running(spec("gateway", 1)));
    registry.replicas("gateway").unwrap().list()[0].set_health(Health::Unhealthy);
    assert!(!watch.has_changed().unwrap());
    writer.apply(Change::Drain { provider: Provider::Docker, id: "gateway-1".into() });
    assert!(watch.has_changed().unwrap());
}
