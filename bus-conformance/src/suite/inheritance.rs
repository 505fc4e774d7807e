//! Base contracts, aliases and generic contracts: which type reaches which
//! consumer.

use bus_core::{Endpoint, Fault, Message};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::support::fixture::serial;
use crate::support::{Outcome, Recorder};
use crate::test_broker::TestBroker;

/// Contracts of one shape; these keep their own exchanges, so each message names
/// its test in `run`.
macro_rules! contracts {
    ($($name:ident = $wire:literal $(, $option:ident($($value:literal),+))*;)+) => {
        $(
            #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Message)]
            #[message($wire $(, $option($($value),+))*)]
            struct $name {
                run: Uuid,
                last: bool,
            }

            impl Run for $name {
                fn of(run: Uuid) -> Self {
                    Self { run, last: false }
                }
                fn last(run: Uuid) -> Self {
                    Self { run, last: true }
                }
                fn run(&self) -> (Uuid, bool) {
                    (self.run, self.last)
                }
            }
        )+
    };
}

trait Run: Message {
    fn of(run: Uuid) -> Self;
    fn last(run: Uuid) -> Self;
    fn run(&self) -> (Uuid, bool);
}

contracts! {
    Event = "Conformance.Bases:Event";
    Mid = "Conformance.Bases:Mid", implements("Conformance.Bases:Event");
    LeafA = "Conformance.Bases:LeafA", implements("Conformance.Bases:Mid", "Conformance.Bases:Event");
    LeafB = "Conformance.Bases:LeafB", implements("Conformance.Bases:Mid", "Conformance.Bases:Event");
    Audited = "Conformance.Bases:Audited";
    Billed = "Conformance.Bases:Billed", implements("Conformance.Bases:Audited", "Conformance.Bases:Priced");
    Priced = "Conformance.Bases:Priced";
    Renamed = "Conformance.Bases:Renamed", alias("Conformance.Bases:OldName");
    OldName = "Conformance.Bases:OldName";
}

/// Counts the messages of this run that came before its sentinel.
async fn count<M: Run>(seen: &Recorder<M>, run: Uuid) -> usize {
    let mut count = 0;
    loop {
        let (of, last) = seen.next().await.message().run();
        match (of == run, last) {
            (true, true) => return count,
            (true, false) => count += 1,
            (false, _) => {}
        }
    }
}

fn endpoint<M: Run>(broker: &dyn TestBroker, name: &str) -> (Endpoint, Recorder<M>) {
    let seen = Recorder::<M>::new();
    let endpoint = serial(broker.name(name)).consumer(seen.clone());
    (endpoint, seen)
}

/// Through a diamond of base contracts each message arrives once at each level.
async fn a_base_contract_gets_each_derived_message_once(broker: &dyn TestBroker) -> Outcome {
    let (base, bases) = endpoint::<Event>(broker, "base");
    let (mid, mids) = endpoint::<Mid>(broker, "mid");
    let (leaf, leaves) = endpoint::<LeafA>(broker, "leaf");
    let bus = broker
        .bus()
        .endpoint(base)
        .endpoint(mid)
        .endpoint(leaf)
        .start()
        .await?;
    let run = Uuid::now_v7();
    bus.publish(&LeafA::of(run)).await?;
    bus.publish(&LeafB::of(run)).await?;
    bus.publish(&LeafA::last(run)).await?;
    assert_eq!(count(&bases, run).await, 2);
    assert_eq!(count(&mids, run).await, 2);
    assert_eq!(count(&leaves, run).await, 1);
    bus.shutdown().await?;
    Ok(())
}

/// An endpoint that consumes a type and its base runs only the consumer of the more
/// specific type.
async fn the_most_specific_consumer_of_an_endpoint_runs(broker: &dyn TestBroker) -> Outcome {
    let (events, leaves) = (Recorder::<Event>::new(), Recorder::<LeafA>::new());
    let endpoint = serial(broker.name("both"))
        .consumer(events.clone())
        .consumer(leaves.clone());
    let bus = broker.start(endpoint).await?;
    let run = Uuid::now_v7();
    bus.publish(&LeafA::of(run)).await?;
    bus.publish(&LeafB::of(run)).await?;
    bus.publish(&LeafA::last(run)).await?;
    bus.publish(&LeafB::last(run)).await?;
    assert_eq!(
        count(&leaves, run).await,
        1,
        "LeafA has a consumer of its own"
    );
    assert_eq!(
        count(&events, run).await,
        1,
        "only LeafB is left for the base"
    );
    bus.shutdown().await?;
    Ok(())
}

/// A consumer of a base sees which type was published.
async fn a_consumer_of_a_base_sees_the_published_type(broker: &dyn TestBroker) -> Outcome {
    let (base, bases) = endpoint::<Event>(broker, "base");
    let bus = broker.start(base).await?;
    let run = Uuid::now_v7();
    bus.publish(&LeafB::of(run)).await?;
    let call = loop {
        let call = bases.next().await;
        if call.message().run == run {
            break call;
        }
    };
    let types: Vec<_> = call
        .envelope()
        .message_types
        .iter()
        .map(AsRef::as_ref)
        .collect();
    assert_eq!(
        types,
        [
            "urn:message:Conformance.Bases:LeafB",
            "urn:message:Conformance.Bases:Mid",
            "urn:message:Conformance.Bases:Event"
        ]
    );
    bus.shutdown().await?;
    Ok(())
}

/// A subscriber of a derived type does not get its base.
async fn a_derived_subscription_does_not_get_the_base(broker: &dyn TestBroker) -> Outcome {
    let (leaf, leaves) = endpoint::<LeafA>(broker, "leaf");
    let bus = broker.start(leaf).await?;
    let run = Uuid::now_v7();
    bus.publish(&Event::of(run)).await?;
    bus.publish(&Mid::of(run)).await?;
    bus.publish(&LeafB::of(run)).await?;
    bus.publish(&LeafA::last(run)).await?;
    assert_eq!(count(&leaves, run).await, 0);
    bus.shutdown().await?;
    Ok(())
}

/// An event that fulfils two unrelated contracts reaches the consumers of both,
/// once each.
async fn unrelated_base_contracts_both_get_the_message(broker: &dyn TestBroker) -> Outcome {
    let (audit, audited) = endpoint::<Audited>(broker, "audit");
    let (price, priced) = endpoint::<Priced>(broker, "price");
    let bus = broker.bus().endpoint(audit).endpoint(price).start().await?;
    let run = Uuid::now_v7();
    bus.publish(&Billed::of(run)).await?;
    bus.publish(&Billed::last(run)).await?;
    assert_eq!(count(&audited, run).await, 1);
    assert_eq!(count(&priced, run).await, 1);
    bus.shutdown().await?;
    Ok(())
}

/// A subscriber of a base hears every publisher of what is derived from it.
async fn a_base_hears_all_publishers(broker: &dyn TestBroker) -> Outcome {
    let (base, bases) = endpoint::<Event>(broker, "base");
    let subscriber = broker.start(base).await?;
    let (first, second) = (broker.bus().start().await?, broker.bus().start().await?);
    let run = Uuid::now_v7();
    first.publish(&LeafA::of(run)).await?;
    second.publish(&LeafB::of(run)).await?;
    subscriber.publish(&Event::last(run)).await?;
    assert_eq!(count(&bases, run).await, 2);
    for bus in [first, second, subscriber] {
        bus.shutdown().await?;
    }
    Ok(())
}

/// A second version that fulfils the first reaches subscribers of either, each with
/// its own view.
async fn a_new_version_reaches_subscribers_of_the_old_one(broker: &dyn TestBroker) -> Outcome {
    #[derive(Debug, Serialize, Deserialize, Message)]
    #[message("Conformance.Versions:Placed")]
    struct Placed {
        run: Uuid,
    }
    #[derive(Debug, Serialize, Deserialize, Message)]
    #[message(
        "Conformance.Versions:PlacedTwo",
        implements("Conformance.Versions:Placed")
    )]
    struct PlacedTwo {
        run: Uuid,
        reason: String,
    }
    let (old, new) = (Recorder::<Placed>::new(), Recorder::<PlacedTwo>::new());
    let bus = broker
        .bus()
        .endpoint(Endpoint::new(broker.name("old")).consumer(old.clone()))
        .endpoint(Endpoint::new(broker.name("new")).consumer(new.clone()))
        .start()
        .await?;
    let run = Uuid::now_v7();
    let reason = "gift".to_owned();
    bus.publish(&PlacedTwo { run, reason }).await?;
    while old.next().await.message().run != run {}
    loop {
        let call = new.next().await;
        if call.message().run == run {
            assert_eq!(call.message().reason, "gift");
            break;
        }
    }
    bus.shutdown().await?;
    Ok(())
}

/// A consumer of a renamed contract also gets what is published under the old name;
/// publishing uses the new one.
async fn an_alias_is_still_accepted(broker: &dyn TestBroker) -> Outcome {
    let (renamed, seen) = endpoint::<Renamed>(broker, "renamed");
    let (old, olds) = endpoint::<OldName>(broker, "old");
    let bus = broker.bus().endpoint(renamed).endpoint(old).start().await?;
    let run = Uuid::now_v7();
    bus.publish(&OldName::of(run)).await?;
    bus.publish(&Renamed::of(run)).await?;
    bus.publish(&OldName::last(run)).await?;
    assert_eq!(count(&seen, run).await, 2);
    assert_eq!(
        count(&olds, run).await,
        1,
        "the new name must not reach the old one"
    );
    bus.shutdown().await?;
    Ok(())
}

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Conformance.Bases:Changed")]
struct Changed<T> {
    run: Uuid,
    last: bool,
    after: Option<T>,
}
impl<T: Message> Run for Changed<T> {
    fn of(run: Uuid) -> Self {
        Self {
            run,
            last: false,
            after: None,
        }
    }
    fn last(run: Uuid) -> Self {
        Self {
            run,
            last: true,
            after: None,
        }
    }
    fn run(&self) -> (Uuid, bool) {
        (self.run, self.last)
    }
}

/// Generic contracts with different arguments are different contracts.
async fn generic_contracts_differ_by_their_arguments(broker: &dyn TestBroker) -> Outcome {
    let (a, of_a) = endpoint::<Changed<LeafA>>(broker, "a");
    let (b, of_b) = endpoint::<Changed<Changed<LeafA>>>(broker, "b");
    let bus = broker.bus().endpoint(a).endpoint(b).start().await?;
    let run = Uuid::now_v7();
    bus.publish(&Changed::<LeafA>::of(run)).await?;
    bus.publish(&Changed::<LeafA>::of(run)).await?;
    bus.publish(&Changed::<Changed<LeafA>>::of(run)).await?;
    bus.publish(&Changed::<LeafA>::last(run)).await?;
    bus.publish(&Changed::<Changed<LeafA>>::last(run)).await?;
    assert_eq!(count(&of_a, run).await, 2);
    assert_eq!(count(&of_b, run).await, 1);
    bus.shutdown().await?;
    Ok(())
}

/// The fault of a derived message reaches those who consume faults of its base.
async fn a_fault_of_a_derived_message_is_one_of_its_base(broker: &dyn TestBroker) -> Outcome {
    let faults = Recorder::<Fault<Event>>::new();
    let bus = broker
        .bus()
        .endpoint(Endpoint::new(broker.name("leaf")).consumer(Recorder::<LeafA>::failing()))
        .endpoint(Endpoint::new(broker.name("faults")).consumer(faults.clone()))
        .start()
        .await?;
    let run = Uuid::now_v7();
    bus.publish(&LeafA::of(run)).await?;
    loop {
        let call = faults.next().await;
        if call
            .message()
            .message
            .as_ref()
            .is_some_and(|event| event.run == run)
        {
            break;
        }
    }
    bus.shutdown().await?;
    Ok(())
}

behaviours! { inheritance:
    a_base_contract_gets_each_derived_message_once,
    the_most_specific_consumer_of_an_endpoint_runs,
    a_consumer_of_a_base_sees_the_published_type,
    a_derived_subscription_does_not_get_the_base,
    unrelated_base_contracts_both_get_the_message,
    a_base_hears_all_publishers,
    a_new_version_reaches_subscribers_of_the_old_one,
    an_alias_is_still_accepted,
    generic_contracts_differ_by_their_arguments,
    a_fault_of_a_derived_message_is_one_of_its_base,
}
