//! Claims on keys, and the store behind them: how long they last, and what happens while it is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus_core::{
    Begin, ConsumeContext, Consumed, Endpoint, Idempotency, IdempotencyStore,
    MemoryIdempotencyStore, Observer, StoreError, StoredReply, Token,
};
use futures_util::future::join_all;
use uuid::Uuid;

use super::idempotency::{Sender, once};
use crate::contracts::{LAST, Ordered, Place};
use crate::gate::Gate;
use crate::outcome::Outcome;
use crate::recorder::{Recorder, numbers, with};
use crate::stage::Stage;
use crate::wait::eventually;

/// Two endpoints that share a store each handle the message.
pub async fn endpoints_that_share_a_store_do_not_disturb_each_other(stage: &dyn Stage) -> Outcome {
    let (first, second) = (Recorder::<Ordered>::new(), Recorder::<Ordered>::new());
    let bus = stage
        .bus()
        .idempotency(once())
        .endpoint(
            Endpoint::new(stage.name("first"))
                .concurrency(1)
                .consumer(first.clone()),
        )
        .endpoint(
            Endpoint::new(stage.name("second"))
                .concurrency(1)
                .consumer(second.clone()),
        )
        .start()
        .await?;
    let id = Uuid::now_v7();
    for _ in 0..2 {
        bus.publish(&Ordered { number: 1 }).message_id(id).await?;
    }
    bus.publish(&Ordered { number: LAST }).await?;
    assert_eq!(numbers(&first.until_last().await), [1]);
    assert_eq!(numbers(&second.until_last().await), [1]);
    bus.shutdown().await?;
    Ok(())
}

/// Two instances that share a store handle a message once between them; observers can tell the duplicates.
pub async fn instances_that_share_a_store_handle_a_message_once(stage: &dyn Stage) -> Outcome {
    #[derive(Clone, Debug, Default)]
    struct Count {
        handled: Arc<AtomicU32>,
        duplicates: Arc<AtomicU32>,
    }
    impl Observer for Count {
        fn consumed(&self, consumed: &Consumed<'_>) {
            let count = if consumed.duplicate {
                &self.duplicates
            } else {
                &self.handled
            };
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
    let store: Arc<dyn IdempotencyStore> = Arc::new(MemoryIdempotencyStore::new());
    let (seen, count) = (Recorder::<Place>::new(), Count::default());
    let queue = stage.name("once");
    let mut buses = Vec::new();
    for _ in 0..2 {
        let endpoint = Endpoint::new(&queue)
            .idempotency(Arc::clone(&store))
            .consumer(seen.clone());
        buses.push(
            stage
                .bus()
                .observe(count.clone())
                .endpoint(endpoint)
                .start()
                .await?,
        );
    }
    let ids: Vec<_> = (0..20).map(|_| Uuid::now_v7()).collect();
    let sends = ids.iter().chain(&ids).map(|id| {
        buses[0]
            .send_to(format!("queue:{queue}"), &Place { number: 1 })
            .message_id(*id)
            .into_future()
    });
    for outcome in join_all(sends).await {
        outcome?;
    }
    let read = |count: &AtomicU32| count.load(Ordering::SeqCst);
    eventually("all are done", || async {
        read(&count.handled) + read(&count.duplicates) == 40
    })
    .await;
    assert_eq!(
        (read(&count.handled), read(&count.duplicates), seen.calls()),
        (20, 20, 20)
    );
    for bus in buses {
        bus.shutdown().await?;
    }
    assert_eq!(stage.depth(&queue).await, Some(0));
    Ok(())
}

/// ID-09: what was handled is forgotten in time, and then handled again.
pub async fn a_handled_message_is_forgotten_in_time(stage: &dyn Stage) -> Outcome {
    let store = Arc::new(MemoryIdempotencyStore::new());
    let seen = Recorder::<Place>::new();
    let brief = Idempotency::shared(Arc::clone(&store) as _).keep(Duration::from_millis(50));
    let sender = Sender::start(stage, |endpoint| {
        endpoint.idempotency(brief).consumer(seen.clone())
    })
    .await?;
    let id = Uuid::now_v7();
    sender.send(1, id).await?;
    seen.next().await;
    eventually("the key is done and forgotten", || async {
        store.is_empty()
    })
    .await;
    sender.send(1, id).await?;
    seen.next().await;
    sender.stop_clean(stage).await
}

/// A claim is prolonged while its consumer runs, however much longer than the lease that takes.
pub async fn a_claim_lasts_as_long_as_its_consumer(stage: &dyn Stage) -> Outcome {
    let store = Arc::new(Counting::default());
    let gate = Gate::closed();
    let seen = Recorder::<Place>::new();
    let short = Idempotency::shared(Arc::clone(&store) as _).lease(Duration::from_millis(1500));
    let slow = with(
        (seen.clone(), gate.clone()),
        |(seen, gate), ctx: ConsumeContext<Place>| async move {
            seen.note(&ctx);
            gate.pass().await;
            Ok(())
        },
    );
    let sender = Sender::start(stage, |endpoint| {
        endpoint.concurrency(4).idempotency(short).consumer(slow)
    })
    .await?;
    let id = Uuid::now_v7();
    for _ in 0..2 {
        sender.send(1, id).await?;
    }
    gate.holds(1).await;
    // Five thirds of the lease: without prolonging, the duplicate would have got in.
    eventually("the claim is prolonged", || async {
        store.extended.load(Ordering::SeqCst) >= 5
    })
    .await;
    assert_eq!(gate.waiting(), 1);
    gate.open();
    sender.stop_clean(stage).await?;
    assert_eq!(seen.calls(), 1);
    Ok(())
}

/// ID-03: while the store fails nothing is handled and nothing is lost; when it heals the message is handled.
pub async fn a_store_that_fails_is_waited_for(stage: &dyn Stage) -> Outcome {
    let store = Arc::new(Counting::default());
    store.broken.store(true, Ordering::SeqCst);
    let seen = Recorder::<Place>::new();
    let shared = Idempotency::shared(Arc::clone(&store) as _);
    let sender = Sender::start(stage, |endpoint| {
        endpoint.idempotency(shared).consumer(seen.clone())
    })
    .await?;
    sender.send(1, Uuid::now_v7()).await?;
    eventually("the store was asked again", || async {
        store.begun.load(Ordering::SeqCst) >= 3
    })
    .await;
    assert_eq!(seen.calls(), 0);
    store.broken.store(false, Ordering::SeqCst);
    assert_eq!(seen.next().await.message().number, 1);
    sender.stop_clean(stage).await?;
    assert_eq!(seen.calls(), 1);
    Ok(())
}

/// A store that counts, and that can be broken.
#[derive(Debug, Default)]
struct Counting {
    inner: MemoryIdempotencyStore,
    broken: AtomicBool,
    begun: AtomicU32,
    extended: AtomicU32,
}

#[async_trait]
impl IdempotencyStore for Counting {
    async fn begin(
        &self,
        key: &str,
        fingerprint: Uuid,
        lease: Duration,
    ) -> Result<Begin, StoreError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        if self.broken.load(Ordering::SeqCst) {
            return Err(StoreError::new("out of order"));
        }
        self.inner.begin(key, fingerprint, lease).await
    }

    async fn extend(&self, token: &Token, lease: Duration) -> Result<bool, StoreError> {
        self.extended.fetch_add(1, Ordering::SeqCst);
        self.inner.extend(token, lease).await
    }

    async fn complete(
        &self,
        token: &Token,
        replies: Vec<StoredReply>,
        keep: Duration,
    ) -> Result<bool, StoreError> {
        self.inner.complete(token, replies, keep).await
    }

    async fn release(&self, token: &Token) -> Result<(), StoreError> {
        self.inner.release(token).await
    }
}
