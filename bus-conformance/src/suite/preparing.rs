//! Stores of endpoints are prepared before the bus declares or consumes anything.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bus_core::consume::{Begun, UnitOfWork, Work};
use bus_core::error::BoxError;
use bus_core::send::SealedMessage;
use bus_core::{
    ConsumeContext, ConsumeResult, Consumer, Endpoint, Idempotency, Policy, StartError, async_trait,
};

use super::background::Noted;
use crate::support::contracts::Place;
use crate::support::counting_store::CountingStore;
use crate::support::fixture::{place, serial};
use crate::support::scripted::{Log, noting};
use crate::support::{Outcome, Recorder};
use crate::test_broker::TestBroker;

type Prepare = fn() -> Result<(), BoxError>;

/// A unit of work that notes for which endpoint it is prepared.
#[derive(Clone)]
struct Prepared {
    log: Log,
    prepare: Prepare,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepared")
    }
}

#[async_trait]
impl UnitOfWork for Prepared {
    async fn prepare(&self, endpoint: &str, concurrency: usize) -> Result<(), BoxError> {
        self.log.note(format!("{endpoint}, {concurrency} at once"));
        (self.prepare)()
    }

    async fn begin(&self, _: &ConsumeContext) -> ConsumeResult<Begun> {
        Ok(Begun::work(Plain))
    }
}

/// Work that adds nothing to its attempt.
struct Plain;

#[async_trait]
impl Work for Plain {
    async fn commit(
        self: Box<Self>,
        sent: Vec<SealedMessage>,
    ) -> ConsumeResult<Vec<SealedMessage>> {
        Ok(sent)
    }
}

/// A consumer that records, in such a unit.
struct InUnit {
    seen: Recorder<Place>,
    unit: Prepared,
}

impl Consumer<Place> for InUnit {
    async fn consume(&self, ctx: ConsumeContext<Place>) -> ConsumeResult {
        self.seen.consume(ctx).await
    }

    fn unit_of_work(&self) -> Option<Arc<dyn UnitOfWork>> {
        Some(Arc::new(self.unit.clone()))
    }
}

/// Expects that a bus with this endpoint does not start, and declares nothing.
async fn expect_no_start(
    broker: &dyn TestBroker,
    rig: &Arc<Noted>,
    why: &str,
    set: impl FnOnce(Endpoint) -> Endpoint,
) {
    let queue = broker.name("never");
    let endpoint = set(serial(&queue));
    let started = broker.rigged(rig).endpoint(endpoint).start().await;
    let Err(error @ StartError::Store { .. }) = started else {
        panic!("the bus must not start: {started:?}");
    };
    let text = error.to_string();
    assert!(text.contains(&queue) && text.contains(why), "{text}");
    let events = rig.log.events();
    assert!(!events.contains(&"declared".to_owned()), "{events:?}");
}

/// Stores and units are prepared after the services, before anything is declared.
async fn stores_are_prepared_before_anything_is_declared(broker: &dyn TestBroker) -> Outcome {
    let (rig, store) = (Arc::new(Noted::default()), Arc::<CountingStore>::default());
    let (queue, seen) = (broker.name("prepared"), Recorder::new());
    let unit = Prepared {
        log: rig.log.clone(),
        prepare: || Ok(()),
    };
    let endpoint = Endpoint::new(&queue)
        .concurrency(3)
        .idempotency(Idempotency::shared(store.clone()))
        .consumer(InUnit {
            seen: seen.clone(),
            unit,
        });
    let bus = broker
        .rigged(&rig)
        .endpoint(endpoint)
        .background(noting("relay", &rig.log))
        .start()
        .await?;
    let events = rig.log.events();
    let prepared = format!("{queue}, 3 at once");
    assert_eq!(events[..3], ["relay is prepared", &prepared, "declared"]);
    assert_eq!(store.prepared.load(Ordering::SeqCst), 1);
    place(&bus, &queue, 1).await?;
    assert_eq!(seen.next().await.message().number, 1);
    bus.shutdown().await?;
    Ok(())
}

/// A store or a unit of work that cannot be prepared ends the start.
async fn a_store_that_cannot_be_prepared_ends_the_start(broker: &dyn TestBroker) -> Outcome {
    let store = Arc::new(CountingStore {
        unprepared: AtomicBool::new(true),
        ..CountingStore::default()
    });
    let rig = Arc::new(Noted::default());
    expect_no_start(broker, &rig, "out of order", |endpoint| {
        let endpoint = endpoint.idempotency(Idempotency::shared(store));
        endpoint.consumer(Recorder::<Place>::new())
    })
    .await;
    let outcomes: [(Prepare, &str); 2] = [
        (|| Err("there is no table".into()), "there is no table"),
        (|| panic!("no table at all"), "no table at all"),
    ];
    for (prepare, why) in outcomes {
        let (log, seen) = (rig.log.clone(), Recorder::new());
        let unit = Prepared { log, prepare };
        let consumer = InUnit { seen, unit };
        expect_no_start(broker, &rig, why, |endpoint| endpoint.consumer(consumer)).await;
    }
    Ok(())
}

/// The store of the bus is not prepared for an endpoint that does not use it.
async fn a_store_that_is_not_used_is_not_prepared(broker: &dyn TestBroker) -> Outcome {
    let store = Arc::<CountingStore>::default();
    let endpoint = serial(broker.name("once"))
        .at_most_once()
        .consumer(Recorder::<Place>::new());
    let bus = broker
        .bus()
        .policy(Policy::new().idempotency(Idempotency::shared(store.clone())))
        .endpoint(endpoint)
        .start()
        .await?;
    assert_eq!(store.prepared.load(Ordering::SeqCst), 0);
    bus.shutdown().await?;
    Ok(())
}

behaviours! { preparing:
    stores_are_prepared_before_anything_is_declared,
    a_store_that_cannot_be_prepared_ends_the_start,
    a_store_that_is_not_used_is_not_prepared,
}
