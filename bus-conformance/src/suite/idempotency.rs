//! Messages that come twice are handled once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bus_core::idempotency::MemoryIdempotencyStore;
use bus_core::{Bus, ConsumeContext, Endpoint, Idempotency, Policy, Retry};
use serde_json::json;
use uuid::Uuid;

use crate::support::contracts::{Answered, Ask, LAST, Ordered, Place};
use crate::support::fixture::{reason, serial};
use crate::support::{Gate, Outcome, Recorder, envelope, numbers, raw, with};
use crate::test_broker::TestBroker;

pub(super) fn once() -> Idempotency {
    Idempotency::new(MemoryIdempotencyStore::new())
}

/// Sends `Place` messages with a chosen id to an endpoint.
pub(super) struct Sender {
    pub(super) bus: Bus,
    pub(super) queue: String,
}

impl Sender {
    pub(super) async fn start(
        broker: &dyn TestBroker,
        set: impl FnOnce(Endpoint) -> Endpoint,
    ) -> Outcome<Self> {
        let queue = broker.name("once");
        let endpoint = set(Endpoint::new(&queue));
        let bus = broker.start(endpoint).await?;
        Ok(Self { bus, queue })
    }

    /// Starts a serial endpoint that handles each message once.
    async fn to(broker: &dyn TestBroker, seen: &Recorder<Place>) -> Outcome<Self> {
        let set = |endpoint: Endpoint| {
            let endpoint = endpoint.concurrency(1).idempotency(once());
            endpoint.consumer(seen.clone())
        };
        Self::start(broker, set).await
    }

    pub(super) async fn send(&self, number: u32, id: Uuid) -> Outcome {
        let address = format!("queue:{}", self.queue);
        self.bus
            .send_to(address, &Place { number })
            .message_id(id)
            .await?;
        Ok(())
    }

    /// Stops, and proves that everything was settled and nothing failed.
    pub(super) async fn stop_clean(self, broker: &dyn TestBroker) -> Outcome {
        self.bus.shutdown().await?;
        assert_eq!(broker.depth(&self.queue).await, Some(0));
        assert_eq!(
            broker
                .depth(&format!("{}_error", self.queue))
                .await
                .unwrap_or(0),
            0
        );
        Ok(())
    }
}

/// A message that comes again after it was handled is acknowledged and not handled
/// again.
async fn a_duplicate_is_not_handled_again(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Place>::new();
    let sender = Sender::to(broker, &seen).await?;
    let (id, other) = (Uuid::now_v7(), Uuid::now_v7());
    for id in [id, id, other, id] {
        sender.send(1, id).await?;
    }
    sender.send(LAST, Uuid::now_v7()).await?;
    let calls = seen.until_last().await;
    let ids: Vec<_> = calls
        .iter()
        .filter_map(ConsumeContext::message_id)
        .collect();
    assert_eq!(ids, [id, other]);
    sender.stop_clean(broker).await
}

/// Of duplicates that arrive together one runs; the others wait for it and are then
/// acknowledged.
async fn racing_duplicates_run_once(broker: &dyn TestBroker) -> Outcome {
    let gate = Gate::closed();
    let events = Recorder::<Ordered>::new();
    let publisher = with(
        gate.clone(),
        |gate, ctx: ConsumeContext<Place>| async move {
            gate.pass().await;
            let number = ctx.message().number;
            Ok(ctx.publish(&Ordered { number }).await?)
        },
    );
    let queue = broker.name("once");
    let racing = Endpoint::new(&queue).concurrency(8).idempotency(once());
    let bus = broker
        .bus()
        .endpoint(racing.consumer(publisher))
        .endpoint(serial(broker.name("events")).consumer(events.clone()))
        .start()
        .await?;
    let sender = Sender {
        bus: bus.clone(),
        queue: queue.clone(),
    };
    let (id, second) = (Uuid::now_v7(), Uuid::now_v7());
    for id in [id, id, id, id, second] {
        sender.send(if id == second { 2 } else { 1 }, id).await?;
    }
    // All five are with the endpoint: two at the gate, three behind the first one's claim.
    gate.holds(2).await;
    broker.until_depth(&queue, 0).await;
    gate.open();
    assert_eq!(numbers(&events.take(2).await), [1, 2]);
    sender.send(LAST, Uuid::now_v7()).await?;
    assert_eq!(events.until_last().await.len(), 0);
    assert_eq!(gate.most(), 2, "no duplicate came as far as the consumer");
    sender.stop_clean(broker).await
}

/// A message that failed is handled when it comes again; only success is
/// remembered.
async fn a_failed_message_may_come_again(broker: &dyn TestBroker) -> Outcome {
    let tries = Arc::new(AtomicU32::new(0));
    let seen = Recorder::<Place>::deciding(move |_| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => Err("broken".into()),
        _ => Ok(()),
    });
    let sender = Sender::to(broker, &seen).await?;
    let wire = broker.wire().await;
    let errors = wire.read(&format!("{}_error", sender.queue)).await;
    let id = Uuid::now_v7();
    sender.send(1, id).await?;
    errors.next().await;
    for _ in 0..2 {
        sender.send(1, id).await?;
    }
    sender.send(LAST, Uuid::now_v7()).await?;
    assert_eq!(
        numbers(&seen.until_last().await),
        [1, 1],
        "the failure, then the success"
    );
    sender.stop_clean(broker).await?;
    wire.close().await;
    Ok(())
}

/// Retries of one delivery do not count as duplicates.
async fn a_retry_is_no_duplicate(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Place>::deciding(|ctx| match ctx.attempt() {
        3 => Ok(()),
        _ => Err("broken".into()),
    });
    let sender = Sender::start(broker, |endpoint| {
        endpoint
            .retry(Retry::immediate(2))
            .idempotency(once())
            .consumer(seen.clone())
    })
    .await?;
    sender.send(1, Uuid::now_v7()).await?;
    assert_eq!(seen.take(3).await.len(), 3);
    sender.stop_clean(broker).await
}

/// A business key identifies duplicates that have different ids.
async fn a_business_key_finds_duplicates_with_different_ids(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Place>::new();
    let by_number = once().by(|command: &Place| command.number.to_string());
    let sender = Sender::start(broker, |endpoint| {
        endpoint
            .concurrency(1)
            .idempotency(by_number)
            .consumer(seen.clone())
    })
    .await?;
    for number in [1, 1, 2, 1, LAST] {
        sender.send(number, Uuid::now_v7()).await?;
    }
    assert_eq!(numbers(&seen.until_last().await), [1, 2]);
    sender.stop_clean(broker).await
}

/// The header `Idempotency-Key` names the key of a message.
async fn a_header_may_name_the_key(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Place>::new();
    let sender = Sender::to(broker, &seen).await?;
    let address = format!("queue:{}", sender.queue);
    for (key, number) in [("a", 1), ("a", 1), ("b", 1), ("c", LAST)] {
        let sending = sender.bus.send_to(address.as_str(), &Place { number });
        sending.header("Idempotency-Key", key).await?;
    }
    assert_eq!(numbers(&seen.until_last().await), [1, 1]);
    sender.stop_clean(broker).await
}

/// The key of a message is not that of what its consumer sends: two commands of one
/// message are both handled.
async fn a_key_belongs_to_one_message(broker: &dyn TestBroker) -> Outcome {
    let back_office = broker.name("back-office");
    let fanning_out = with(
        back_office.clone(),
        |back_office, ctx: ConsumeContext<Place>| async move {
            for _ in 0..2 {
                ctx.send_to(format!("queue:{back_office}"), &Ordered { number: 1 })
                    .await?;
            }
            Ok(())
        },
    );
    let seen = Recorder::<Ordered>::new();
    let (queue, keyed) = (broker.name("front"), once());
    let bus = broker
        .bus()
        .endpoint(Endpoint::new(&queue).consumer(fanning_out))
        .endpoint(
            Endpoint::new(&back_office)
                .without_subscriptions()
                .idempotency(keyed)
                .consumer(seen.clone()),
        )
        .start()
        .await?;
    bus.send_to(format!("queue:{queue}"), &Place { number: 1 })
        .header("Idempotency-Key", "k")
        .header("Tenant", "north")
        .await?;
    for call in seen.take(2).await {
        assert_eq!(call.headers().text("Idempotency-Key"), None);
        assert_eq!(call.headers().text("Tenant"), Some("north"));
    }
    bus.shutdown().await?;
    assert_eq!(broker.depth(&back_office).await, Some(0));
    Ok(())
}

/// A key that comes with another message is a permanent failure that says so.
async fn a_key_with_other_content_is_an_error(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Place>::new();
    let sender = Sender::start(broker, |endpoint| {
        endpoint
            .concurrency(1)
            .retry(Retry::immediate(5))
            .idempotency(once())
            .consumer(seen.clone())
    })
    .await?;
    let wire = broker.wire().await;
    let errors = wire.read(&format!("{}_error", sender.queue)).await;
    let address = format!("queue:{}", sender.queue);
    for number in [1, 2] {
        let sending = sender.bus.send_to(address.as_str(), &Place { number });
        sending.header("Idempotency-Key", "used-twice").await?;
    }
    let failed = errors.next().await;
    let reason = reason(&failed);
    assert!(
        reason.contains("other content") && reason.contains("used-twice"),
        "{reason}"
    );
    assert_eq!(seen.calls(), 1);
    sender.stop_clean(broker).await?;
    wire.close().await;
    Ok(())
}

/// Messages without an id are no duplicates of one another.
async fn messages_without_an_id_are_all_handled(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Place>::new();
    let sender = Sender::start(broker, |endpoint| {
        endpoint.idempotency(once()).consumer(seen.clone())
    })
    .await?;
    let wire = broker.wire().await;
    for _ in 0..3 {
        let body = envelope::<Place>(&sender.queue, &json!({ "number": 1 })).body;
        wire.send(raw(&sender.queue, body)).await;
    }
    assert_eq!(numbers(&seen.take(3).await), [1, 1, 1]);
    sender.stop_clean(broker).await?;
    wire.close().await;
    Ok(())
}

/// A duplicate request is answered with the reply of the first one, at its own
/// address and request id.
async fn a_duplicate_request_gets_the_stored_reply(broker: &dyn TestBroker) -> Outcome {
    let asked = Recorder::<Ask>::new();
    let queue = broker.name("once");
    let count = Arc::new(AtomicU32::new(100));
    let responder = with(
        (asked.clone(), count),
        |(asked, count), ctx: ConsumeContext<Ask>| async move {
            asked.note(&ctx);
            let number = count.fetch_add(1, Ordering::SeqCst);
            Ok(ctx
                .respond(&Answered { number })
                .header("Tenant", "north")
                .await?)
        },
    );
    let by_number = once().by(|request: &Ask| request.number.to_string());
    let endpoint = Endpoint::new(&queue)
        .idempotency(by_number)
        .consumer(responder);
    let server = broker.start(endpoint).await?;
    let clients = [broker.bus().start().await?, broker.bus().start().await?];
    for client in &clients {
        let reply = client
            .request::<Answered>(&Ask { number: 7 })
            .to(format!("queue:{queue}"))
            .response()
            .await?;
        assert_eq!(reply.message().number, 100);
        assert_eq!(reply.headers().text("Tenant"), Some("north"));
    }
    assert_eq!(asked.calls(), 1);
    for bus in clients.into_iter().chain([server]) {
        bus.shutdown().await?;
    }
    Ok(())
}

/// An endpoint may do without the idempotency of its bus.
async fn an_endpoint_may_do_without_idempotency(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Place>::new();
    let queue = broker.name("often");
    let endpoint = serial(&queue)
        .policy(Policy::new().without_idempotency())
        .consumer(seen.clone());
    let policy = Policy::new().idempotency(once());
    let bus = broker
        .bus()
        .policy(policy)
        .endpoint(endpoint)
        .start()
        .await?;
    let sender = Sender { bus, queue };
    let id = Uuid::now_v7();
    for _ in 0..2 {
        sender.send(1, id).await?;
    }
    for call in seen.take(2).await {
        assert_eq!(call.message_id(), Some(id));
    }
    sender.stop_clean(broker).await
}

behaviours! { idempotency:
    a_duplicate_is_not_handled_again,
    racing_duplicates_run_once,
    a_failed_message_may_come_again,
    a_retry_is_no_duplicate,
    a_business_key_finds_duplicates_with_different_ids,
    a_header_may_name_the_key,
    a_key_belongs_to_one_message,
    a_key_with_other_content_is_an_error,
    messages_without_an_id_are_all_handled,
    a_duplicate_request_gets_the_stored_reply,
    an_endpoint_may_do_without_idempotency,
}
