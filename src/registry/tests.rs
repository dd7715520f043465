use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use proptest::prelude::*;

use super::fixtures::{gateway, running, spec};
use super::*;
use crate::provider::ProviderKind;
use crate::replica::{Health, ReplicaSpec};

/// What the model knows of a replica. The tag goes the way of the incarnation: a new one for each new replica.
#[derive(Clone, Debug)]
struct Known {
    claims: BTreeMap<Provider, Sighting>,
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
                let ids: Vec<_> = self.known.keys().cloned().collect();
                let unlisted = ids.into_iter().filter(|id| replicas.iter().all(|r| r.spec.id != *id));
                let mut changed = unlisted.fold(false, |changed, id| self.remove(&provider, &id) | changed);
                for replica in replicas {
                    changed |= self.upsert(replica);
                }
                changed
            }
            Change::Upsert { replica } => self.upsert(*replica),
            Change::Drain { provider, id } => {
                let claims = self.known.get(&id).map(|known| known.claims.clone()).unwrap_or_default();
                let claim = claims.get(&provider).cloned();
                claim.is_some_and(|claim| self.upsert(Sighting { lifecycle: Lifecycle::Draining, ..claim }))
            }
            Change::Retire { .. } => unreachable!("is tried by itself"),
            Change::Remove { provider, id } => self.remove(&provider, &id),
        }
    }

    fn upsert(&mut self, mut sighting: Sighting) -> bool {
        let (id, provider) = (sighting.spec.id.clone(), sighting.spec.provider.clone());
        let mut claims = self.known.get(&id).map(|known| known.claims.clone()).unwrap_or_default();
        if claims.get(&provider).is_some_and(|claim| claim.lifecycle == Lifecycle::Draining) {
            sighting.lifecycle = Lifecycle::Draining;
        }
        claims.insert(provider, sighting);
        self.settle(id, claims)
    }

    fn remove(&mut self, provider: &Provider, id: &ReplicaId) -> bool {
        let Some(mut claims) = self.known.get(id).map(|known| known.claims.clone()) else { return false };
        claims.remove(provider).is_some() && self.settle(id.clone(), claims)
    }

    fn settle(&mut self, id: ReplicaId, claims: BTreeMap<Provider, Sighting>) -> bool {
        let old = self.known.remove(&id);
        let Some((_, Sighting { spec, .. })) = claims.first_key_value() else { return true };
        let spec = spec.clone();
        let said = |lifecycle| claims.values().any(|claim| claim.lifecycle == lifecycle);
        let lifecycle = [Lifecycle::Draining, Lifecycle::Paused, Lifecycle::Ailing, Lifecycle::Starting]
            .into_iter()
            .find(|lifecycle| said(*lifecycle))
            .unwrap_or(Lifecycle::Running);
        let place = |spec: &ReplicaSpec| (spec.service.clone(), spec.addr);
        let is_same = |old: &Known| {
            let is_back = old.lifecycle == Lifecycle::Draining && lifecycle != Lifecycle::Draining;
            place(&old.spec) == place(&spec) && !is_back
        };
        let tag = match old.as_ref().filter(|old| is_same(old)) {
            Some(old) => old.tag,
            None => {
                self.tags += 1;
                self.tags
            }
        };
        let changed = old.is_none_or(|old| old.spec != spec || old.lifecycle != lifecycle || old.tag != tag);
        self.named.insert(spec.service.clone());
        self.known.insert(id, Known { claims, spec, lifecycle, tag });
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
    let swarm = Provider::only(ProviderKind::Swarm);
    let providers = vec![Provider::DOCKER, Provider::DOCKER, Provider::STATIC, swarm];
    let provider = move || prop::sample::select(providers.clone());
    let seen_by = |provider: &Provider, mut sighting: Sighting| {
        sighting.spec.provider = provider.clone();
        sighting
    };
    let id = || (0..6_u16).prop_map(|id| spec("replica", id).id);
    // A provider names each of its replicas once in a reset.
    let replicas = prop::collection::vec(sighting(), 0..6).prop_map(|all| {
        let by_id: BTreeMap<_, _> = all.into_iter().map(|r| (r.spec.id.clone(), r)).collect();
        by_id.into_values().collect()
    });
    let upsert = (provider(), sighting());
    prop_oneof![
        1 => (provider(), replicas).prop_map(move |(provider, replicas): (_, Vec<_>)| {
            let replicas = replicas.into_iter().map(|replica| seen_by(&provider, replica)).collect();
            Change::Reset { provider, replicas }
        }),
        4 => upsert.prop_map(move |(provider, replica)| Change::Upsert { replica: Box::new(seen_by(&provider, replica)) }),
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
    Change::Reset { provider: Provider::DOCKER, replicas }
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
    writer.apply(Change::Drain { provider: Provider::DOCKER, id: "gateway-1".into() });
    assert!(watch.has_changed().unwrap());
}

#[test]
fn one_container_that_two_providers_see_is_one_replica_until_both_have_lost_it() {
    let (registry, mut writer) = gateway(&[1]);
    let swarm = Provider::only(ProviderKind::Swarm);
    let seen = |lifecycle| {
        let spec = ReplicaSpec { provider: swarm.clone(), name: "gateway.1@node-1".into(), ..spec("gateway", 1) };
        Change::Upsert { replica: Box::new(Sighting { spec, lifecycle }) }
    };
    let only = || {
        let replicas = registry.replicas("gateway").unwrap();
        assert!(replicas.list().len() <= 1);
        replicas.list().first().cloned()
    };
    let facts = || only().map(|replica| (replica.spec().name.clone(), replica.lifecycle()));
    let first = only().unwrap();
    writer.apply(seen(Lifecycle::Running));
    assert_eq!(facts(), Some(("gateway.1@node-1".to_owned(), Lifecycle::Running)));
    assert_eq!(only().unwrap().incarnation(), first.incarnation(), "counters, pools and health go on");
    assert_eq!(only().unwrap().health(), Health::Healthy);

    writer.apply(Change::Drain { provider: Provider::DOCKER, id: "gateway-1".into() });
    writer.apply(seen(Lifecycle::Running));
    assert_eq!(facts(), Some(("gateway.1@node-1".to_owned(), Lifecycle::Draining)), "whoever says so first");
    writer.apply(Change::Remove { provider: Provider::DOCKER, id: "gateway-1".into() });
    assert_eq!(facts(), Some(("gateway.1@node-1".to_owned(), Lifecycle::Running)));
    assert_ne!(only().unwrap().incarnation(), first.incarnation(), "what drained does not come back as the same");
    assert_eq!(first.lifecycle(), Lifecycle::Draining);

    writer.apply(Change::Reset { provider: Provider::DOCKER, replicas: Vec::new() });
    assert!(facts().is_some(), "a provider's list says nothing of what others see");
    writer.apply(Change::Reset { provider: swarm, replicas: Vec::new() });
    assert_eq!(facts(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn changes_that_come_together_end_where_each_by_itself_would(
        batches in prop::collection::vec(prop::collection::vec(change(), 0..6), 1..10),
    ) {
        let ((together, mut writer), (apart, mut other)) = (Registry::new(), Registry::new());
        let facts = |registry: &Registry| -> Vec<_> {
            let services = registry.services();
            let of_one = |replicas: &Arc<Replicas>| {
                replicas.list().iter().map(|r| (r.spec().clone(), r.lifecycle())).collect::<Vec<_>>()
            };
            services.iter().map(|replicas| (replicas.service().clone(), of_one(replicas))).collect()
        };
        for batch in batches {
            let before = together.services();
            writer.apply_all(batch.clone());
            for change in batch {
                other.apply(change);
            }
            prop_assert_eq!(facts(&together), facts(&apart));
            let now = together.services();
            let listed: HashSet<_> = now.iter().flat_map(|r| r.list()).map(|r| r.incarnation()).collect();
            for gone in before.iter().flat_map(|r| r.list()).filter(|r| !listed.contains(&r.incarnation())) {
                prop_assert_eq!(gone.lifecycle(), Lifecycle::Draining);
            }
        }
    }
}
