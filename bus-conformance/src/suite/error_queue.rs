//! Failed messages themselves: kept as they came, with the reasons.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus_core::message::HeaderValue;
use bus_core::observe::EndpointState;
use bus_core::transport::{Incoming, Outgoing, TransportError, TransportErrorKind};
use bus_core::{Bus, ConsumeContext, Endpoint, Policy, Retry};
use uuid::Uuid;

use super::faults::{json, text};
use crate::support::contracts::{LAST, Ordered, Place};
use crate::support::fixture::{Fixture, place, places, serial};
use crate::support::{Outcome, Recorder, Rig, eventually, numbers, raw, within};
use crate::test_broker::TestBroker;

/// A failed message lies in the error queue as it came: body, ids and addresses.
async fn a_failed_message_is_kept_as_it_came(broker: &dyn TestBroker) -> Outcome {
    let failing = Fixture::<Place>::failing(broker).await?;
    let (id, correlation) = (Uuid::now_v7(), Uuid::now_v7());
    failing
        .bus
        .send_to(failing.address(), &Place { number: 1 })
        .message_id(id)
        .correlation_id(correlation)
        .response_address(format!("queue:{}", broker.name("replies")))
        .fault_address(format!("queue:{}", broker.name("faults")))
        .header("Tenant", "north")
        .await?;
    let sent = failing.seen.next().await;
    let failed = failing.errors.next().await;
    assert_eq!(failed.body, sent.incoming().body);
    assert_eq!(failed.content_type, sent.incoming().content_type);
    assert_eq!(failed.message_id, Some(id.to_string()));
    assert_eq!(failed.correlation_id, Some(correlation.to_string()));
    assert_eq!(text(&failed, "Tenant"), "north");
    let envelope = json(&failed)?;
    for (member, name) in [
        ("destinationAddress", failing.queue.clone()),
        ("responseAddress", broker.name("replies")),
        ("faultAddress", broker.name("faults")),
    ] {
        assert!(
            envelope[member]
                .as_str()
                .is_some_and(|address| address.contains(&name)),
            "{envelope}"
        );
    }
    assert_eq!(envelope["correlationId"], correlation.to_string());
    failing.stop().await
}

/// Headers of the kept message say what failed, where, when, and in which process.
async fn headers_of_the_kept_message_say_why(broker: &dyn TestBroker) -> Outcome {
    let fail =
        Recorder::<Place>::deciding(|_| Err("12x".parse::<u32>().expect_err("no number").into()));
    let retry = |endpoint: Endpoint| endpoint.retry(Retry::immediate(2));
    let failing = Fixture::start(broker, fail, retry).await?;
    failing
        .bus
        .send_to(failing.address(), &Place { number: 1 })
        .await?;
    let failed = failing.errors.next().await;
    assert_eq!(text(&failed, "MT-Reason"), "fault");
    assert!(text(&failed, "MT-Fault-ExceptionType").ends_with("ParseIntError"));
    assert_eq!(
        text(&failed, "MT-Fault-Message"),
        "invalid digit found in string"
    );
    assert!(text(&failed, "MT-Fault-InputAddress").ends_with(&failing.queue));
    assert!(text(&failed, "MT-Fault-Timestamp").contains('T'));
    assert!(text(&failed, "MT-Fault-ConsumerType").contains("Recorder"));
    assert_eq!(text(&failed, "MT-Fault-MessageType"), "Conformance.Place");
    assert_eq!(
        failed
            .headers
            .get("MT-Fault-RetryCount")
            .and_then(HeaderValue::as_i64),
        Some(2)
    );
    for name in [
        "MachineName",
        "ProcessName",
        "ProcessId",
        "Assembly",
        "OperatingSystemVersion",
    ] {
        assert!(!text(&failed, &format!("MT-Host-{name}")).is_empty());
    }
    failing.stop().await
}

/// Once the message is in the error queue it is nowhere else.
async fn a_failed_message_is_in_one_place(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("broken");
    let seen = Recorder::<Place>::failing();
    let bus = broker
        .start(Endpoint::new(&queue).consumer(seen.clone()))
        .await?;
    places(&bus, &queue, 0..10).await?;
    seen.take(10).await;
    bus.shutdown().await?;
    broker.until_depth(&queue, 0).await;
    assert_eq!(broker.depth(&format!("{queue}_error")).await, Some(10));
    assert_eq!(seen.calls(), 10);
    Ok(())
}

/// An endpoint may drop what failed; the message is done all the same.
async fn failed_messages_may_be_discarded(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("careless");
    let seen = Recorder::<Place>::failing();
    let endpoint = serial(&queue)
        .policy(Policy::new().discard_faulted())
        .consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    places(&bus, &queue, [1, 2]).await?;
    assert_eq!(numbers(&seen.take(2).await), [1, 2]);
    bus.shutdown().await?;
    assert_eq!(broker.depth(&queue).await, Some(0));
    assert_eq!(
        broker.depth(&format!("{queue}_error")).await.unwrap_or(0),
        0
    );
    Ok(())
}

/// An endpoint on the error queue consumes what failed, typed, with the reasons,
/// and hears no new events.
async fn an_error_queue_may_have_a_consumer(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("orders");
    let (seen, repaired) = (Recorder::<Ordered>::failing(), Recorder::<Ordered>::new());
    let bus = broker
        .bus()
        .endpoint(serial(&queue).consumer(seen.clone()))
        .endpoint(
            Endpoint::new(format!("{queue}_error"))
                .concurrency(1)
                .without_subscriptions()
                .consumer(repaired.clone()),
        )
        .start()
        .await?;
    for number in [1, LAST] {
        bus.publish(&Ordered { number }).await?;
    }
    let calls = repaired.until_last().await;
    assert_eq!(
        numbers(&calls),
        [1],
        "one copy from the error queue, none by subscription"
    );
    assert_eq!(calls[0].headers().text("MT-Reason"), Some("fault"));
    assert_eq!(calls[0].headers().text("MT-Fault-Message"), Some("broken"));
    assert_eq!(calls[0].message_id(), seen.next().await.message_id());
    bus.shutdown().await?;
    Ok(())
}

/// A message with a time to live stays in the error queue for good.
async fn a_kept_message_does_not_expire(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("broken");
    let seen = Recorder::<Place>::failing();
    let bus = broker
        .start(Endpoint::new(&queue).consumer(seen.clone()))
        .await?;
    let ttl = Duration::from_secs(600);
    bus.send_to(format!("queue:{queue}"), &Place { number: 1 })
        .ttl(ttl)
        .await?;
    let call = seen.next().await;
    assert_eq!(
        call.incoming().ttl,
        Some(ttl),
        "it came with a time to live"
    );
    bus.shutdown().await?;
    let wire = broker.wire().await;
    let failed = wire.read(&format!("{queue}_error")).await.next().await;
    assert_eq!(failed.ttl, None);
    wire.close().await;
    Ok(())
}

/// A message moved back from the error queue is consumed as if it were new, and
/// reasons do not pile up.
async fn a_message_moved_back_is_consumed_as_new(broker: &dyn TestBroker) -> Outcome {
    let retry = |endpoint: Endpoint| endpoint.retry(Retry::immediate(1));
    let failing = Fixture::<Place>::start(broker, Recorder::failing(), retry).await?;
    failing
        .bus
        .send_to(failing.address(), &Place { number: 1 })
        .header("Tenant", "north")
        .await?;
    let first = failing.errors.next().await;
    let mut again = raw(&failing.queue, first.body.clone());
    again.content_type = first.content_type.clone().map(Into::into);
    again.message_id = first.message_id.clone();
    again.headers = first.headers.clone();
    again
        .headers
        .insert("MT-Fault-StackTrace", "of an earlier failure");
    failing.wire.send(again).await;
    let second = failing.errors.next().await;
    let attempts: Vec<_> = failing
        .seen
        .take(4)
        .await
        .iter()
        .map(ConsumeContext::attempt)
        .collect();
    assert_eq!(attempts, [1, 2, 1, 2]);
    assert_eq!(second.body, first.body);
    let names = |incoming: &Incoming| -> Vec<String> {
        incoming
            .headers
            .iter()
            .map(|(name, _)| name.to_owned())
            .collect()
    };
    assert_eq!(names(&second), names(&first));
    assert!(text(&second, "MT-Fault-Timestamp") >= text(&first, "MT-Fault-Timestamp"));
    failing.stop().await
}

/// An error text of any length is cut, not refused by the broker.
async fn a_very_long_error_text_is_cut(broker: &dyn TestBroker) -> Outcome {
    let fail = Recorder::<Place>::deciding(|_| Err("ä".repeat(1_000_000).into()));
    let failing = Fixture::start(broker, fail, |endpoint| endpoint).await?;
    failing
        .bus
        .send_to(failing.address(), &Place { number: 1 })
        .await?;
    let failed = failing.errors.next().await;
    assert_eq!(text(&failed, "MT-Fault-Message").chars().count(), 2048);
    failing.stop().await
}

/// A message whose headers leave no room for the reasons is kept all the same: its
/// body whole, and what it lost named.
async fn a_message_with_huge_headers_is_kept(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("broken");
    let seen = Recorder::<Place>::new();
    let endpoint = serial(&queue).consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    let wire = broker.wire().await;
    let errors = wire.read(&format!("{queue}_error")).await;
    let mut huge = raw(&queue, "{ not json");
    huge.headers.insert("blob", "x".repeat(122_500));
    huge.headers.insert("small", "kept");
    wire.send(huge).await;
    place(&bus, &queue, LAST).await?;
    assert_eq!(seen.until_last().await.len(), 0);
    let kept = errors.next().await;
    assert_eq!(kept.body.as_ref(), b"{ not json");
    assert_eq!(kept.headers.text("small"), Some("kept"));
    assert_eq!(kept.headers.text("MT-Reason"), Some("fault"));
    let note = kept.headers.text("MT-Fault-HeadersCut");
    assert!(
        kept.headers.contains("blob") || note.is_some_and(|note| note.starts_with("blob (")),
        "{note:?}"
    );
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// An error queue that takes nothing for a reason that does not pass by itself.
#[derive(Default)]
struct Forbidden(AtomicBool);

#[async_trait]
impl Rig for Forbidden {
    async fn send(&self, outgoing: &Outgoing) -> Result<(), TransportError> {
        if outgoing.target.name().ends_with("_error") && !self.0.load(Ordering::SeqCst) {
            let kind = TransportErrorKind::AccessRefused;
            return Err(TransportError::new(kind, "no permission to write"));
        }
        Ok(())
    }
}

/// Sends four messages that fail and one that does not, to two slots, and waits for
/// the latter.
async fn four_stick(broker: &dyn TestBroker, rig: &Arc<Forbidden>) -> Outcome<(Bus, String)> {
    let queue = broker.name("broken");
    let seen = Recorder::<Place>::deciding(|ctx| match ctx.message().number {
        LAST => Ok(()),
        _ => Err("broken".into()),
    });
    let endpoint = Endpoint::new(&queue)
        .concurrency(2)
        .policy(Policy::new().prefetch(20));
    let bus = broker.rigged(rig).endpoint(endpoint.consumer(seen.clone()));
    let bus = bus.start().await?;
    places(&bus, &queue, [1, 2, 3, 4, LAST]).await?;
    seen.take(5).await;
    let told = || async {
        let health = bus.health().endpoints.remove(0);
        let text = format!("4 messages cannot be moved to `{queue}_error`: no permission");
        health.state == EndpointState::Degraded
            && health.reason.is_some_and(|why| why.contains(&text))
    };
    eventually("health names the queue and the reason", told).await;
    Ok((bus, queue))
}

/// Messages that cannot be moved hold up no other, show in health, and are moved
/// later.
async fn messages_that_cannot_be_moved_hold_up_nothing_else(broker: &dyn TestBroker) -> Outcome {
    let rig = Arc::new(Forbidden::default());
    let (bus, queue) = four_stick(broker, &rig).await?;
    rig.0.store(true, Ordering::SeqCst);
    broker.until_depth(&format!("{queue}_error"), 4).await;
    eventually("all is well", || async { bus.health().is_healthy() }).await;
    bus.shutdown().await?;
    assert_eq!(broker.depth(&queue).await, Some(0));
    Ok(())
}

/// Messages that cannot be moved hold up neither a pause nor the stop: they go back
/// to their queue.
async fn messages_that_cannot_be_moved_go_back_at_the_end(broker: &dyn TestBroker) -> Outcome {
    let (bus, queue) = four_stick(broker, &Arc::default()).await?;
    let endpoint = bus.endpoint(&queue).ok_or("the endpoint is there")?;
    within("the pause", endpoint.pause()).await;
    broker.until_depth(&queue, 4).await;
    endpoint.resume().await?;
    eventually("they stick again", || async {
        !bus.health().is_healthy() && broker.depth(&queue).await == Some(0)
    })
    .await;
    within("the stop", bus.shutdown()).await?;
    broker.until_depth(&queue, 4).await;
    Ok(())
}

behaviours! { error_queue:
    a_failed_message_is_kept_as_it_came,
    headers_of_the_kept_message_say_why,
    a_failed_message_is_in_one_place,
    failed_messages_may_be_discarded,
    an_error_queue_may_have_a_consumer,
    a_kept_message_does_not_expire needs MessageTtl,
    a_message_moved_back_is_consumed_as_new,
    a_very_long_error_text_is_cut,
    a_message_with_huge_headers_is_kept,
    messages_that_cannot_be_moved_hold_up_nothing_else,
    messages_that_cannot_be_moved_go_back_at_the_end,
}
