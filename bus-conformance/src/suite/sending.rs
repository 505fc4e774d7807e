//! Sending: where commands go, and what travels with them.

use std::time::Duration;

use bus_core::send::SendContext;
use bus_core::topology::Queue;
use bus_core::{ConsumeContext, Endpoint, Policy};
use uuid::Uuid;

use crate::support::contracts::{LAST, Ordered, Place, Shipped};
use crate::support::fixture::{in_order, place, serial};
use crate::support::{Outcome, Recorder, envelope, numbers, raw};
use crate::test_broker::TestBroker;

/// A command goes to the queue of its route and nowhere else.
async fn a_command_goes_where_its_route_says(broker: &dyn TestBroker) -> Outcome {
    let (here, there) = (Recorder::<Place>::new(), Recorder::<Place>::new());
    let endpoint =
        |name: &str, seen: &Recorder<Place>| serial(broker.name(name)).consumer(seen.clone());
    let bus = broker
        .bus()
        .route::<Place>(format!("queue:{}", broker.name("here")))
        .endpoint(endpoint("here", &here))
        .endpoint(endpoint("there", &there))
        .start()
        .await?;
    bus.send(&Place { number: 1 }).await?;
    bus.send_to(
        format!("queue:{}", broker.name("there")),
        &Place { number: LAST },
    )
    .await?;
    assert_eq!(here.next().await.message().number, 1);
    assert_eq!(there.until_last().await.len(), 0);
    bus.shutdown().await?;
    Ok(())
}

/// A command to a queue that is not there yet waits in it for its consumer.
async fn a_command_waits_for_an_endpoint_that_comes_later(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("later");
    let sender = broker.bus().start().await?;
    place(&sender, &queue, 1).await?;
    assert_eq!(broker.depth(&queue).await, Some(1));
    let seen = Recorder::<Place>::new();
    let endpoint = Endpoint::new(&queue).consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    assert_eq!(seen.next().await.message().number, 1);
    bus.shutdown().await?;
    sender.shutdown().await?;
    Ok(())
}

/// A message that waited longer than its time to live is dropped; others are not.
async fn an_expired_message_is_not_consumed(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("short");
    let address = format!("queue:{queue}");
    let seen = Recorder::<Place>::new();
    let endpoint = || serial(&queue).consumer(seen.clone());
    broker.bus().endpoint(endpoint()).deploy_topology().await?;
    let sender = broker.bus().start().await?;
    sender
        .send_to(address.as_str(), &Place { number: 1 })
        .ttl(Duration::from_millis(50))
        .await?;
    broker.until_depth(&queue, 0).await;
    sender
        .send_to(address.as_str(), &Place { number: 2 })
        .ttl(Duration::from_secs(600))
        .await?;
    sender
        .send_to(address.as_str(), &Place { number: LAST })
        .await?;
    let bus = broker.start(endpoint()).await?;
    let calls = seen.until_last().await;
    assert_eq!(numbers(&calls), [2]);
    assert!(calls[0].envelope().expiration_time > calls[0].envelope().sent_time);
    bus.shutdown().await?;
    sender.shutdown().await?;
    Ok(())
}

/// A queue with priorities serves higher ones first.
async fn higher_priorities_are_served_first(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("urgent");
    let seen = Recorder::<Place>::new();
    let endpoint = || {
        Endpoint::on(Queue::classic(&queue).max_priority(5))
            .concurrency(1)
            .policy(Policy::new().prefetch(1))
            .consumer(seen.clone())
    };
    broker.bus().endpoint(endpoint()).deploy_topology().await?;
    let sender = broker.bus().start().await?;
    for number in [1, 5, 3, 0, 4] {
        let priority = u8::try_from(number)?;
        sender
            .send_to(format!("queue:{queue}"), &Place { number })
            .priority(priority)
            .await?;
    }
    let bus = broker.start(endpoint()).await?;
    let calls = seen.take(5).await;
    let order = in_order(&calls);
    assert_eq!(order, [5, 4, 3, 1, 0]);
    assert_eq!(calls[0].incoming().priority, Some(5));
    bus.shutdown().await?;
    sender.shutdown().await?;
    Ok(())
}

/// Messages are written to disk unless their sender says otherwise.
async fn messages_are_durable_unless_transient(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let endpoint = serial(broker.name("kept")).consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    bus.publish(&Ordered { number: 1 }).await?;
    bus.publish(&Ordered { number: 2 }).transient().await?;
    let calls = seen.take(2).await;
    for call in calls {
        assert_eq!(call.incoming().durable, call.message().number == 1);
    }
    bus.shutdown().await?;
    Ok(())
}

/// The correlation id comes from the contract's member, unless the sender names
/// another.
async fn the_correlation_id_comes_from_the_contract(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Shipped>::new();
    let endpoint = serial(broker.name("shipped")).consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    let (order, other, id) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    bus.publish(&Shipped { order }).await?;
    bus.publish(&Shipped { order })
        .correlation_id(other)
        .message_id(id)
        .await?;
    let calls = seen.take(2).await;
    let correlation: Vec<_> = calls.iter().map(ConsumeContext::correlation_id).collect();
    assert!(correlation.contains(&Some(order)) && correlation.contains(&Some(other)));
    let with_id = calls
        .iter()
        .find(|call| call.correlation_id() == Some(other));
    let with_id = with_id.expect("found above");
    assert_eq!(with_id.message_id(), Some(id));
    assert_eq!(with_id.incoming().message_id, Some(id.to_string()));
    assert_eq!(with_id.incoming().correlation_id, Some(other.to_string()));
    bus.shutdown().await?;
    Ok(())
}

/// Hooks see everything that leaves, in order, and add what travels with it.
async fn hooks_run_for_everything_that_leaves(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Place>::new();
    let queue = broker.name("hooked");
    let hook = |name: &'static str| {
        move |context: &mut SendContext| {
            let before = context.envelope.headers.text("Path").unwrap_or_default();
            let path = format!("{before}/{name}");
            context.envelope.headers.insert("Path", path);
            Ok(())
        }
    };
    let bus = broker
        .bus()
        .on_send(hook("first"))
        .on_send(hook("second"))
        .endpoint(Endpoint::new(&queue).consumer(seen.clone()))
        .start()
        .await?;
    place(&bus, &queue, 1).await?;
    assert_eq!(
        seen.next().await.headers().text("Path"),
        Some("/first/second")
    );
    bus.shutdown().await?;
    Ok(())
}

/// Nothing leaves when a sending is dropped; one that is kept may be awaited by
/// another task.
async fn a_sending_leaves_only_when_awaited(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let endpoint = serial(broker.name("lazy")).consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    drop(bus.publish(&Ordered { number: 1 }));
    let kept = bus.publish(&Ordered { number: 2 });
    tokio::spawn(kept.into_future()).await??;
    bus.publish(&Ordered { number: LAST }).await?;
    assert_eq!(numbers(&seen.until_last().await), [2]);
    bus.shutdown().await?;
    Ok(())
}

/// Header names and values in any script arrive byte for byte.
async fn headers_arrive_in_any_script(broker: &dyn TestBroker) -> Outcome {
    let texts = [
        "♥",
        "ɤϡ֎ᾣ",
        "🚌💨",
        "漢字かな",
        "தமிழ்",
        "e\u{301}\u{302}",
        " padded ",
        "a\tb",
        "\"'\\",
    ];
    let seen = Recorder::<Ordered>::new();
    let endpoint = Endpoint::new(broker.name("scripts")).consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    let event = Ordered { number: 1 };
    let sending = bus.publish(&event);
    texts
        .iter()
        .fold(sending, |sending, text| {
            sending.header(format!("X-{text}"), *text)
        })
        .await?;
    let call = seen.next().await;
    for text in texts {
        assert_eq!(call.headers().text(&format!("X-{text}")), Some(text));
    }
    bus.shutdown().await?;
    Ok(())
}

/// Headers keep their kind: numbers, truth values, lists and maps.
async fn headers_keep_their_kind(broker: &dyn TestBroker) -> Outcome {
    use bus_core::message::HeaderValue as Value;
    let list = vec![Value::Int(1), "two".into(), Value::Null];
    let map = [("inner".to_owned(), Value::List(list.clone()))]
        .into_iter()
        .collect();
    let values = [
        ("Int", Value::Int(-7)),
        ("Large", Value::Int(i64::MAX)),
        ("Float", Value::Float(0.1)),
        ("Yes", Value::Bool(true)),
        ("No", Value::Bool(false)),
        ("List", Value::List(list)),
        ("Map", Value::Map(map)),
    ];
    let seen = Recorder::<Ordered>::new();
    let endpoint = Endpoint::new(broker.name("kinds")).consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    let event = Ordered { number: 1 };
    values
        .iter()
        .fold(bus.publish(&event), |sending, (name, value)| {
            sending.header(*name, value.clone())
        })
        .await?;
    let call = seen.next().await;
    for (name, value) in values {
        assert_eq!(call.header(name), Some(&value), "{name}");
    }
    bus.shutdown().await?;
    Ok(())
}

/// The smallest foreign envelope is consumed: type and message, nothing else.
async fn the_smallest_envelope_is_consumed(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Place>::new();
    let queue = broker.name("foreign");
    let bus = broker
        .start(Endpoint::new(&queue).consumer(seen.clone()))
        .await?;
    let wire = broker.wire().await;
    wire.send(envelope::<Place>(
        &queue,
        &serde_json::json!({ "number": 1 }),
    ))
    .await;
    let call = seen.next().await;
    assert_eq!(call.message().number, 1);
    assert_eq!((call.message_id(), call.conversation_id()), (None, None));
    let mut unlabelled = envelope::<Place>(&queue, &serde_json::json!({ "number": 2 }));
    unlabelled.content_type = None;
    wire.send(raw(&queue, unlabelled.body)).await;
    assert_eq!(seen.next().await.message().number, 2);
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// Names of queues in any script work, and so do addresses with them.
async fn queue_names_may_be_in_any_script(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("größe-注文.v2");
    let seen = Recorder::<Place>::failing();
    let bus = broker
        .start(Endpoint::new(&queue).consumer(seen.clone()))
        .await?;
    let wire = broker.wire().await;
    let errors = wire.read(&format!("{queue}_error")).await;
    place(&bus, &queue, 1).await?;
    let full = seen
        .next()
        .await
        .envelope()
        .destination_address
        .clone()
        .unwrap_or_default();
    assert!(full.is_ascii(), "an address travels escaped: {full}");
    errors.next().await;
    bus.send_to(full, &Place { number: 2 }).await?;
    assert_eq!(seen.next().await.message().number, 2);
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

behaviours! { sending:
    a_command_goes_where_its_route_says,
    a_command_waits_for_an_endpoint_that_comes_later,
    an_expired_message_is_not_consumed needs MessageTtl,
    higher_priorities_are_served_first needs Priorities,
    messages_are_durable_unless_transient,
    the_correlation_id_comes_from_the_contract,
    hooks_run_for_everything_that_leaves,
    a_sending_leaves_only_when_awaited,
    headers_arrive_in_any_script,
    headers_keep_their_kind,
    the_smallest_envelope_is_consumed,
    queue_names_may_be_in_any_script,
}
