use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::change::{Change, Sighting};
use crate::provider::{Provider, ProviderKind};
use crate::registry::fixtures::{gateway, running, spec};
use crate::replica::{Lifecycle, ReplicaSpec};

#[test]
fn who_retires_goes_with_its_last_request_unless_it_is_named_again() {
    let (registry, mut writer) = gateway(&[1]);
    let list = || registry.replicas("gateway").unwrap();
    let replica = Arc::clone(&list().list()[0]);
    let retire = Change::Retire { provider: Provider::DOCKER, id: replica.id().clone() };
    replica.in_flight_cell().fetch_add(1, Ordering::SeqCst);
    assert!(writer.apply(retire.clone()) && !writer.apply(retire.clone()));
    writer.remove_retired();
    assert_eq!((list().list().len(), replica.lifecycle()), (1, Lifecycle::Draining));
    assert!(writer.apply(running(spec("gateway", 1))) && !writer.apply(running(spec("gateway", 1))));
    assert_eq!((replica.lifecycle(), writer.has_retiring()), (Lifecycle::Running, false));
    assert!(Arc::ptr_eq(&replica, &list().list()[0]));

    replica.in_flight_cell().fetch_sub(1, Ordering::SeqCst);
    writer.remove_retired();
    assert_eq!(list().list().len(), 1, "it is named");
    let version = *registry.watch().borrow();
    assert!(writer.apply(retire.clone()));
    writer.remove_retired();
    assert_eq!((list().list().len(), writer.has_retiring()), (0, false));
    assert_eq!(*registry.watch().borrow(), version + 2, "those who watch heard of both");
    assert!(!writer.apply(retire), "it is gone");
}

#[test]
fn who_retires_by_one_provider_and_is_named_by_another_stays_as_it_is() {
    let (registry, mut writer) = gateway(&[1]);
    let replica = Arc::clone(&registry.replicas("gateway").unwrap().list()[0]);
    let swarm = Provider::only(ProviderKind::Swarm);
    writer.apply(running(ReplicaSpec { provider: swarm.clone(), ..spec("gateway", 1) }));
    writer.apply(Change::Retire { provider: swarm, id: replica.id().clone() });
    writer.remove_retired();
    let now = Arc::clone(&registry.replicas("gateway").unwrap().list()[0]);
    assert_eq!((now.incarnation(), now.lifecycle()), (replica.incarnation(), Lifecycle::Running));
}

#[test]
fn who_retires_and_is_named_by_another_provider_goes_on_with_what_it_has() {
    let (registry, mut writer) = gateway(&[1]);
    let replica = || Arc::clone(&registry.replicas("gateway").unwrap().list()[0]);
    let before = replica();
    before.in_flight_cell().fetch_add(1, Ordering::SeqCst);
    let retire = |provider| Change::Retire { provider, id: before.id().clone() };
    let seen_by = |provider: &Provider, lifecycle| {
        let spec = ReplicaSpec { provider: provider.clone(), ..spec("gateway", 1) };
        Change::Upsert { replica: Box::new(Sighting { spec, lifecycle }) }
    };
    // One that is believed before the first, and one that is not.
    let others = [ProviderKind::Swarm, ProviderKind::Static].map(Provider::only);
    assert!(others[0] < Provider::DOCKER && Provider::DOCKER < others[1]);
    for other in &others {
        writer.apply(retire(Provider::DOCKER));
        assert_eq!(replica().lifecycle(), Lifecycle::Draining);
        assert!(writer.apply(seen_by(other, Lifecycle::Running)));
        assert_eq!((replica().incarnation(), replica().lifecycle()), (before.incarnation(), Lifecycle::Running));
        assert_eq!((replica().spec().provider.clone(), writer.has_retiring()), (other.clone(), false));
        assert!(replica().is_pickable());
        // What the first said is forgotten.
        assert!(!writer.apply(Change::Remove { provider: Provider::DOCKER, id: before.id().clone() }));
        writer.apply(seen_by(&Provider::DOCKER, Lifecycle::Running));
        writer.apply(retire(other.clone()));
        assert_eq!((replica().incarnation(), replica().lifecycle()), (before.incarnation(), Lifecycle::Running));
    }
    // Who says that it stops is believed.
    writer.apply(retire(Provider::DOCKER));
    writer.apply(seen_by(&others[0], Lifecycle::Draining));
    writer.remove_retired();
    assert_eq!((replica().lifecycle(), writer.has_retiring()), (Lifecycle::Draining, false));
}
