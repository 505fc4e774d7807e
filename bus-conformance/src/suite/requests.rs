//! Requests and their replies.

use std::sync::Arc;
use std::time::Duration;

use bus_core::request::OneOf2;
use bus_core::{Bus, ConsumeContext, Endpoint, Policy};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::support::contracts::{Answered, Ask, Declined, Ordered};
use crate::support::fixture::serial;
use crate::support::{Gate, Outcome, Recorder, envelope, eventually, with};
use crate::test_broker::TestBroker;

/// Long enough never to end a request that is answered.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn tell(ctx: ConsumeContext<Ask>) -> bus_core::ConsumeResult {
    let number = ctx.message().number;
    Ok(ctx
        .respond(&Answered { number })
        .header("Tenant", "north")
        .await?)
}

/// An endpoint that answers `Ask` with `Answered`.
pub(super) async fn responder(broker: &dyn TestBroker) -> Outcome<Bus> {
    let endpoint = Endpoint::new(broker.name("responder")).consumer(tell);
    Ok(broker.start(endpoint).await?)
}

/// The same, which notes what it is asked.
fn noting_responder(broker: &dyn TestBroker, seen: &Recorder<Ask>) -> Endpoint {
    Endpoint::new(broker.name("responder"))
        .consumer(seen.then(|ctx: ConsumeContext<Ask>| async move { tell(ctx).await }))
}

async fn nothing_pending(bus: &Bus) {
    eventually("no request is pending", || async {
        bus.pending_requests() == 0
    })
    .await;
}

/// A reply carries the ids of its request and its own headers.
async fn a_reply_carries_the_ids_of_its_request(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ask>::new();
    let endpoint = noting_responder(broker, &seen);
    let server = broker.start(endpoint).await?;
    let client = broker.bus().start().await?;
    let reply = client
        .request::<Answered>(&Ask { number: 7 })
        .deadline(PATIENCE)
        .response()
        .await?;
    assert_eq!(reply.message().number, 7);
    assert_eq!(reply.headers().text("Tenant"), Some("north"));
    let request = seen.next().await;
    assert!(request.envelope().request_id.is_some());
    assert_eq!(reply.envelope().request_id, request.envelope().request_id);
    assert_eq!(reply.envelope().conversation_id, request.conversation_id());
    assert_eq!(client.pending_requests(), 0);
    client.shutdown().await?;
    server.shutdown().await?;
    Ok(())
}

/// A request survives the broker, as other messages do, unless the requester says
/// otherwise.
async fn a_request_is_durable_unless_transient(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ask>::new();
    let endpoint = noting_responder(broker, &seen);
    let bus = broker.start(endpoint).await?;
    let ask = |number| bus.request::<Answered>(&Ask { number }).deadline(PATIENCE);
    ask(1).response().await?;
    assert!(seen.next().await.incoming().durable);
    ask(2).transient().response().await?;
    assert!(!seen.next().await.incoming().durable);
    bus.shutdown().await?;
    Ok(())
}

/// A request goes to the configured route, or to the address that the requester
/// names.
async fn a_request_goes_where_it_is_addressed(broker: &dyn TestBroker) -> Outcome {
    let answer = |number: u32| {
        with((), move |(), ctx: ConsumeContext<Ask>| async move {
            Ok(ctx.respond(&Answered { number }).await?)
        })
    };
    let endpoint = |name: &str, number| {
        Endpoint::new(broker.name(name))
            .without_subscriptions()
            .consumer(answer(number))
    };
    let bus = broker
        .bus()
        .route::<Ask>(format!("queue:{}", broker.name("routed")))
        .endpoint(endpoint("routed", 1))
        .endpoint(endpoint("named", 2))
        .start()
        .await?;
    let routed: Answered = bus.request(&Ask { number: 0 }).deadline(PATIENCE).await?;
    assert_eq!(routed.number, 1);
    let address = format!("queue:{}", broker.name("named"));
    let named: Answered = bus
        .request(&Ask { number: 0 })
        .to(address)
        .deadline(PATIENCE)
        .await?;
    assert_eq!(named.number, 2);
    bus.shutdown().await?;
    Ok(())
}

/// Of many requests at once each gets its own reply, in any order.
async fn parallel_requests_get_their_own_replies(broker: &dyn TestBroker) -> Outcome {
    const COUNT: u32 = 40;
    let asked: Arc<Mutex<Vec<ConsumeContext<Ask>>>> = Arc::default();
    let gate = Gate::closed();
    let endpoint = Endpoint::new(broker.name("responder"))
        .concurrency(COUNT as usize)
        .policy(Policy::new().without_outbox())
        .consumer(with(
            (Arc::clone(&asked), gate.clone()),
            |(asked, gate), ctx: ConsumeContext<Ask>| async move {
                asked.lock().await.push(ctx);
                gate.pass().await;
                // The first to come answers the last that asked.
                let last = asked.lock().await.pop().ok_or("no request arrived")?;
                let number = last.message().number * 2;
                Ok(last.respond(&Answered { number }).await?)
            },
        ));
    let bus = broker.start(endpoint).await?;
    let requests = (0..COUNT).map(|number| {
        bus.request::<Answered>(&Ask { number })
            .deadline(PATIENCE)
            .into_future()
    });
    let release = async {
        gate.holds(COUNT as usize).await;
        assert_eq!(bus.pending_requests(), COUNT as usize);
        gate.open();
    };
    let (replies, ()) = tokio::join!(join_all(requests), release);
    for (number, reply) in (0..COUNT).zip(replies) {
        assert_eq!(reply?.number, number * 2);
    }
    assert_eq!(bus.pending_requests(), 0);
    bus.shutdown().await?;
    Ok(())
}

/// A requester that is dropped stops waiting, and its late reply does no harm.
async fn a_dropped_request_is_forgotten(broker: &dyn TestBroker) -> Outcome {
    let gate = Gate::closed();
    let endpoint = Endpoint::new(broker.name("responder")).consumer(with(
        gate.clone(),
        |gate, ctx: ConsumeContext<Ask>| async move {
            if ctx.message().number == 1 {
                gate.pass().await;
            }
            tell(ctx).await
        },
    ));
    let bus = broker.start(endpoint).await?;
    let request = tokio::spawn(bus.request::<Answered>(&Ask { number: 1 }).into_future());
    gate.holds(1).await;
    assert_eq!(bus.pending_requests(), 1);
    request.abort();
    assert!(request.await.is_err_and(|error| error.is_cancelled()));
    nothing_pending(&bus).await;
    gate.open();
    let next: Answered = bus.request(&Ask { number: 2 }).deadline(PATIENCE).await?;
    assert_eq!(next.number, 2);
    bus.shutdown().await?;
    assert_eq!(
        broker
            .depth(&format!("{}_error", broker.name("responder")))
            .await
            .unwrap_or(0),
        0
    );
    Ok(())
}

/// A requester that accepts two types gets whichever the responder chose.
async fn either_of_two_replies_is_accepted(broker: &dyn TestBroker) -> Outcome {
    let endpoint = Endpoint::new(broker.name("responder")).consumer(with(
        (),
        |(), ctx: ConsumeContext<Ask>| async move {
            let number = ctx.message().number;
            if number == 1 {
                ctx.respond(&Answered { number }).await?;
            } else {
                ctx.respond(&Declined { number }).await?;
            }
            Ok(())
        },
    ));
    let bus = broker.start(endpoint).await?;
    let first: OneOf2<Answered, Declined> =
        bus.request(&Ask { number: 1 }).deadline(PATIENCE).await?;
    assert_eq!(first, OneOf2::First(Answered { number: 1 }));
    let second: OneOf2<Answered, Declined> =
        bus.request(&Ask { number: 2 }).deadline(PATIENCE).await?;
    assert_eq!(second, OneOf2::Second(Declined { number: 2 }));
    bus.shutdown().await?;
    Ok(())
}

/// A consumer may ask while it consumes, also at concurrency 1; the conversation
/// goes on.
async fn a_consumer_may_ask_while_it_consumes(broker: &dyn TestBroker) -> Outcome {
    let inner = Recorder::<Ask>::new();
    let relay = serial(broker.name("relay")).consumer(with(
        (),
        |(), ctx: ConsumeContext<Ordered>| async move {
            let number = ctx.message().number;
            let told: Answered = ctx.request(&Ask { number }).deadline(PATIENCE).await?;
            Ok(ctx
                .respond(&Answered {
                    number: told.number + 1,
                })
                .await?)
        },
    ));
    let responder = serial(broker.name("responder"))
        .consumer(inner.then(|ctx: ConsumeContext<Ask>| async move { tell(ctx).await }));
    let bus = broker
        .bus()
        .endpoint(relay)
        .endpoint(responder)
        .start()
        .await?;
    let outer = bus
        .request::<Answered>(&Ordered { number: 1 })
        .deadline(PATIENCE)
        .response()
        .await?;
    assert_eq!(outer.message().number, 2);
    let asked = inner.next().await;
    assert!(asked.conversation_id().is_some());
    assert_eq!(asked.conversation_id(), outer.envelope().conversation_id);
    assert_ne!(asked.envelope().request_id, outer.envelope().request_id);
    bus.shutdown().await?;
    Ok(())
}

/// An event that a responder publishes carries no request id; its reply does.
async fn only_the_reply_carries_the_request_id(broker: &dyn TestBroker) -> Outcome {
    let events = Recorder::<Ordered>::new();
    let responder = Endpoint::new(broker.name("responder")).consumer(with(
        (),
        |(), ctx: ConsumeContext<Ask>| async move {
            ctx.publish(&Ordered {
                number: ctx.message().number,
            })
            .await?;
            tell(ctx).await
        },
    ));
    let events_endpoint = Endpoint::new(broker.name("events")).consumer(events.clone());
    let bus = broker
        .bus()
        .endpoint(responder)
        .endpoint(events_endpoint)
        .start()
        .await?;
    let reply = bus
        .request::<Answered>(&Ask { number: 1 })
        .deadline(PATIENCE)
        .response()
        .await?;
    assert!(reply.envelope().request_id.is_some());
    let event = events.next().await;
    assert_eq!(event.envelope().request_id, None);
    assert_eq!(event.envelope().response_address, None);
    bus.shutdown().await?;
    Ok(())
}

/// Of several processes that ask the same service, each gets its own replies.
async fn only_the_requester_gets_the_reply(broker: &dyn TestBroker) -> Outcome {
    let server = responder(broker).await?;
    let (first, second) = (broker.bus().start().await?, broker.bus().start().await?);
    let ask = |bus: &Bus, number| {
        let request = bus.request::<Answered>(&Ask { number }).deadline(PATIENCE);
        async move { request.await.map(|told| (number, told.number)) }
    };
    let requests =
        (0..20).map(|number| ask(if number % 2 == 0 { &first } else { &second }, number));
    for outcome in join_all(requests).await {
        let (asked, told) = outcome?;
        assert_eq!(asked, told);
    }
    for bus in [first, second, server] {
        bus.shutdown().await?;
    }
    Ok(())
}

/// A message that names no response address has its answer published.
async fn an_answer_without_an_address_is_published(broker: &dyn TestBroker) -> Outcome {
    let told = Recorder::<Answered>::new();
    let bus = broker
        .bus()
        .endpoint(Endpoint::new(broker.name("responder")).consumer(tell))
        .endpoint(Endpoint::new(broker.name("listener")).consumer(told.clone()))
        .start()
        .await?;
    bus.publish(&Ask { number: 5 }).await?;
    assert_eq!(told.next().await.message().number, 5);
    bus.shutdown().await?;
    Ok(())
}

/// A request with an expiration is answered, with or without times to live.
async fn a_request_with_an_expiration_is_answered(broker: &dyn TestBroker) -> Outcome {
    let server = responder(broker).await?;
    let wire = broker.wire().await;
    let asking = broker.name("asking");
    let replies = wire.read(&asking).await;
    let mut request = envelope::<Ask>(&broker.name("responder"), &json!({ "number": 7 }));
    let mut body: Value = serde_json::from_slice(&request.body)?;
    body["requestId"] = Uuid::now_v7().to_string().into();
    body["responseAddress"] = format!("queue:{asking}").into();
    body["expirationTime"] = "2200-01-01T00:00:00Z".into();
    request.body = body.to_string().into();
    wire.send(request).await;
    let reply: Value = serde_json::from_slice(&replies.next().await.body)?;
    assert_eq!(reply["message"]["number"], 7, "{reply}");
    server.shutdown().await?;
    wire.close().await;
    Ok(())
}

behaviours! { requests:
    a_reply_carries_the_ids_of_its_request,
    a_request_with_an_expiration_is_answered,
    a_request_is_durable_unless_transient,
    a_request_goes_where_it_is_addressed,
    parallel_requests_get_their_own_replies,
    a_dropped_request_is_forgotten,
    either_of_two_replies_is_accepted,
    a_consumer_may_ask_while_it_consumes,
    only_the_reply_carries_the_request_id,
    only_the_requester_gets_the_reply,
    an_answer_without_an_address_is_published,
}
