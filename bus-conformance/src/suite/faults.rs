//! Fault messages: their content, and their receivers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus_core::error::ReceiveFault;
use bus_core::transport::{Incoming, Outgoing, TransportError, TransportErrorKind};
use bus_core::{ConsumeContext, ConsumeError, Endpoint, Fault, Message, Policy, middleware};
use serde_json::Value;
use uuid::Uuid;

use crate::support::contracts::{LAST, Place};
use crate::support::fixture::{Fixture, place, serial};
use crate::support::{Outcome, Recorder, Rig, eventually, raw, within};
use crate::test_broker::TestBroker;

pub(super) fn json(incoming: &Incoming) -> Outcome<Value> {
    Ok(serde_json::from_slice(&incoming.body)?)
}

pub(super) fn text<'a>(incoming: &'a Incoming, header: &str) -> &'a str {
    incoming
        .headers
        .text(header)
        .unwrap_or_else(|| panic!("{header} is missing"))
}

/// Waits for the fault of a message, past those of other tests.
pub(super) async fn fault_of<M: Message>(
    faults: &Recorder<Fault<M>>,
    id: Uuid,
) -> ConsumeContext<Fault<M>> {
    loop {
        let call = faults.next().await;
        if call.message().faulted_message_id == Some(id) {
            return call;
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the invoice was not stored")]
struct NotStored(#[source] std::num::ParseIntError);

/// A fault names the message that failed, and why, with the causes of the error.
async fn a_fault_says_what_failed_and_why(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Place>::deciding(|_| {
        Err(NotStored("12x".parse::<u32>().expect_err("no number")).into())
    });
    let faults = Recorder::<Fault<Place>>::new();
    let queue = broker.name("broken");
    let bus = broker
        .bus()
        .endpoint(Endpoint::new(&queue).consumer(seen.clone()))
        .endpoint(Endpoint::new(broker.name("faults")).consumer(faults.clone()))
        .start()
        .await?;
    let id = Uuid::now_v7();
    bus.send_to(format!("queue:{queue}"), &Place { number: 7 })
        .message_id(id)
        .await?;
    let call = fault_of(&faults, id).await;
    let fault = call.message();
    assert_eq!(fault.message, Some(Place { number: 7 }));
    assert_eq!(fault.exceptions.len(), 1);
    let error = &fault.exceptions[0];
    assert!(error.exception_type.ends_with("NotStored"), "{error:?}");
    assert_eq!(error.message, "the invoice was not stored");
    let cause = error.inner_exception.as_ref().expect("a cause");
    assert_eq!(cause.message, "invalid digit found in string");
    let types = fault.fault_message_types.as_deref().unwrap_or_default();
    assert_eq!(types, ["urn:message:Conformance:Place"]);
    let host = fault.host.as_ref().expect("a host");
    assert!(host.process_id.is_some());
    let failed = seen.next().await;
    assert_eq!(call.conversation_id(), failed.conversation_id());
    bus.shutdown().await?;
    Ok(())
}

/// A fault goes to the fault address, else to the response address, and is then not
/// published.
async fn a_fault_goes_to_its_address(broker: &dyn TestBroker) -> Outcome {
    let failing = Fixture::<Place>::failing(broker).await?;
    let (faults, replies) = (broker.name("faults"), broker.name("replies"));
    let published = Recorder::<Fault<Place>>::new();
    let listener = serial(broker.name("published")).consumer(published.clone());
    let listening = broker.start(listener).await?;
    let (fault_reader, reply_reader) = (
        failing.wire.read(&faults).await,
        failing.wire.read(&replies).await,
    );
    let place = || failing.bus.send_to(failing.address(), &Place { number: 1 });
    let send = || place().response_address(format!("queue:{replies}"));
    let (to_fault, to_reply, to_all) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    send()
        .message_id(to_fault)
        .fault_address(format!("queue:{faults}"))
        .await?;
    send().message_id(to_reply).request_id(to_reply).await?;
    place().message_id(to_all).await?;
    let fault = json(&fault_reader.next().await)?;
    assert_eq!(fault["message"]["faultedMessageId"], to_fault.to_string());
    let reply = json(&reply_reader.next().await)?;
    assert_eq!(reply["message"]["faultedMessageId"], to_reply.to_string());
    assert_eq!(reply["requestId"], to_reply.to_string());
    loop {
        let id = published.next().await.message().faulted_message_id;
        assert!(
            id != Some(to_fault) && id != Some(to_reply),
            "addressed faults are not published"
        );
        if id == Some(to_all) {
            break;
        }
    }
    listening.shutdown().await?;
    failing.stop().await
}

/// An endpoint may publish no faults; the error queue is still used, and addressed
/// faults still go.
async fn faults_need_not_be_published(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Place>::failing();
    let quiet = |endpoint: Endpoint| endpoint.policy(Policy::new().without_published_faults());
    let quiet = Fixture::start(broker, seen, quiet).await?;
    let loud_queue = broker.name("loud");
    let faults = Recorder::<Fault<Place>>::new();
    let others = broker
        .bus()
        .endpoint(Endpoint::new(&loud_queue).consumer(Recorder::<Place>::failing()))
        .endpoint(serial(broker.name("faults")).consumer(faults.clone()))
        .start()
        .await?;
    let (silent, addressed, loud) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let inbox = broker.name("inbox");
    let reader = quiet.wire.read(&inbox).await;
    let send = |number| quiet.bus.send_to(quiet.address(), &Place { number });
    send(1).message_id(silent).await?;
    quiet.errors.next().await;
    send(2)
        .message_id(addressed)
        .fault_address(format!("queue:{inbox}"))
        .await?;
    let fault = json(&reader.next().await)?;
    assert_eq!(fault["message"]["faultedMessageId"], addressed.to_string());
    others
        .send_to(format!("queue:{loud_queue}"), &Place { number: 3 })
        .message_id(loud)
        .await?;
    loop {
        let id = faults.next().await.message().faulted_message_id;
        assert_ne!(id, Some(silent));
        if id == Some(loud) {
            break;
        }
    }
    others.shutdown().await?;
    quiet.stop().await
}

/// A consumer of faults that fails raises no further fault; the fault lies in its
/// error queue.
async fn a_failing_fault_consumer_raises_no_fault(broker: &dyn TestBroker) -> Outcome {
    let (queue, fault_queue) = (broker.name("broken"), broker.name("faults"));
    let inbox = broker.name("inbox");
    let fault_consumer = Recorder::<Fault<Place>>::failing();
    let faulty = serial(&fault_queue).without_subscriptions();
    let bus = broker
        .bus()
        .endpoint(serial(&queue).consumer(Recorder::<Place>::failing()))
        .endpoint(faulty.consumer(fault_consumer.clone()))
        .start()
        .await?;
    let wire = broker.wire().await;
    let kept = wire.read(&format!("{fault_queue}_error")).await;
    let faults_of_faults = wire.read(&inbox).await;
    let send = |fault_address: &str| {
        bus.send_to(format!("queue:{queue}"), &Place { number: 1 })
            .fault_address(format!("queue:{fault_address}"))
    };
    send(&fault_queue).await?;
    let failed = kept.next().await;
    let mut addressed = json(&failed)?;
    let urn = addressed["messageType"][0].as_str().unwrap_or_default();
    assert!(urn.contains("Fault[["), "{addressed}");
    // Once more, now with an address to which a fault of the fault would go; then a fault that does
    // go there.
    addressed["faultAddress"] = format!("queue:{inbox}").into();
    let mut again = raw(&fault_queue, addressed.to_string());
    again.content_type = failed.content_type.map(Into::into);
    wire.send(again).await;
    kept.next().await;
    send(&inbox).await?;
    let first = json(&faults_of_faults.next().await)?;
    let urn = "urn:message:MassTransit:Fault[[Conformance:Place]]";
    assert_eq!(first["messageType"][0], urn);
    assert_eq!(fault_consumer.calls(), 2);
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// A message that cannot even be read raises a fault that says so, with the media
/// type it claimed.
async fn a_message_that_cannot_be_read_raises_a_receive_fault(broker: &dyn TestBroker) -> Outcome {
    let failing = Fixture::<Place>::failing(broker).await?;
    let faults = Recorder::<ReceiveFault>::new();
    let listener = Endpoint::new(broker.name("faults")).consumer(faults.clone());
    let listening = broker.start(listener).await?;
    // The media type is free text after `;`, so that this test knows its own.
    let claimed = format!("application/vnd.masstransit+json;test={}", broker.id());
    let mut garbage = raw(&failing.queue, "{ not json");
    garbage.content_type = Some(claimed.clone().into());
    failing.wire.send(garbage).await;
    let fault = loop {
        let call = faults.next().await;
        if call.message().content_type.as_deref() == Some(&claimed) {
            break call;
        }
    };
    let reason = &fault.message().exceptions[0].message;
    assert!(reason.contains("not JSON"), "{reason}");
    assert_eq!(failing.errors.next().await.body.as_ref(), b"{ not json");
    assert_eq!(failing.seen.calls(), 0);
    listening.shutdown().await?;
    failing.stop().await
}

/// A middleware that fails is a failure of the message like any other.
async fn a_failing_middleware_fails_the_message(broker: &dyn TestBroker) -> Outcome {
    let refuse = |endpoint: Endpoint| {
        endpoint.policy(Policy::new().middleware(middleware::from_fn(|_, _| async {
            Err(ConsumeError::permanent("not on Sundays"))
        })))
    };
    let failing = Fixture::<Place>::start(broker, Recorder::new(), refuse).await?;
    failing
        .bus
        .send_to(failing.address(), &Place { number: 1 })
        .await?;
    let failed = failing.errors.next().await;
    assert_eq!(text(&failed, "MT-Fault-Message"), "not on Sundays");
    assert_eq!(failing.seen.calls(), 0);
    failing.stop().await
}

/// A message that fails twice, as its first failure was not acknowledged, raises
/// one fault twice; one that was moved back to be tried again raises another.
async fn a_fault_is_the_same_until_its_message_was_moved_back(broker: &dyn TestBroker) -> Outcome {
    let failing = Fixture::<Place>::failing(broker).await?;
    let address = broker.name("answered");
    let told = failing.wire.read(&address).await;
    let id = Uuid::now_v7();
    let mut faults = Vec::new();
    for number in 0..3 {
        if number < 2 {
            let sending = failing.bus.send_to(failing.address(), &Place { number: 1 });
            let sending = sending.message_id(id);
            sending.fault_address(format!("queue:{address}")).await?;
        }
        let fault = json(&told.next().await)?;
        assert_eq!(fault["messageId"], fault["message"]["faultId"]);
        faults.push(fault["messageId"].clone());
        let failed = failing.errors.next().await;
        if number == 1 {
            let mut again = raw(&failing.queue, failed.body);
            again.content_type = failed.content_type.map(Into::into);
            again.headers = failed.headers;
            failing.wire.send(again).await;
        }
    }
    assert_eq!(faults[0], faults[1]);
    assert_ne!(faults[1], faults[2]);
    failing.stop().await
}

/// A fault that cannot be delivered does not keep its message from the error queue,
/// nor others from being handled.
async fn a_fault_that_cannot_be_delivered_holds_nothing_up(broker: &dyn TestBroker) -> Outcome {
    struct Stuck(String);
    #[async_trait]
    impl Rig for Stuck {
        async fn send(&self, outgoing: &Outgoing) -> Result<(), TransportError> {
            if outgoing.target.name() == self.0 {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    }
    let (queue, stuck) = (broker.name("broken"), broker.name("stuck"));
    let seen = Recorder::<Place>::deciding(|ctx| match ctx.message().number {
        LAST => Ok(()),
        _ => Err("broken".into()),
    });
    let bus = broker
        .rigged(&Arc::new(Stuck(stuck.clone())))
        .deadline(Duration::from_secs(2))
        .endpoint(serial(&queue).consumer(seen.clone()))
        .start()
        .await?;
    let wire = broker.wire().await;
    let errors = wire.read(&format!("{queue}_error")).await;
    let sending = bus.send_to(format!("queue:{queue}"), &Place { number: 1 });
    sending.fault_address(format!("queue:{stuck}")).await?;
    place(&bus, &queue, LAST).await?;
    errors.next().await;
    assert_eq!(seen.until_last().await.len(), 1);
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// A fault that cannot be delivered does not hold up the stop.
async fn a_stop_does_not_wait_for_a_fault(broker: &dyn TestBroker) -> Outcome {
    struct Away(AtomicU32);
    #[async_trait]
    impl Rig for Away {
        async fn send(&self, outgoing: &Outgoing) -> Result<(), TransportError> {
            if outgoing.target.name().starts_with("MassTransit") {
                self.0.fetch_add(1, Ordering::SeqCst);
                let kind = TransportErrorKind::Unreachable;
                return Err(TransportError::new(kind, "the broker is away"));
            }
            Ok(())
        }
    }
    let (queue, rig) = (broker.name("broken"), Arc::new(Away(AtomicU32::new(0))));
    let bus = broker
        .rigged(&rig)
        .deadline(Duration::MAX)
        .stop_timeout(Duration::from_millis(100))
        .endpoint(Endpoint::new(&queue).consumer(Recorder::<Place>::failing()))
        .start()
        .await?;
    place(&bus, &queue, 1).await?;
    eventually("the fault is tried", || async {
        rig.0.load(Ordering::SeqCst) > 1
    })
    .await;
    within("the stop", bus.shutdown()).await.ok();
    assert_eq!(broker.depth(&queue).await, Some(0));
    assert_eq!(broker.depth(&format!("{queue}_error")).await, Some(1));
    Ok(())
}

behaviours! { faults:
    a_fault_is_the_same_until_its_message_was_moved_back,
    a_fault_says_what_failed_and_why,
    a_fault_goes_to_its_address,
    faults_need_not_be_published,
    a_failing_fault_consumer_raises_no_fault,
    a_message_that_cannot_be_read_raises_a_receive_fault,
    a_failing_middleware_fails_the_message,
    a_fault_that_cannot_be_delivered_holds_nothing_up,
    a_stop_does_not_wait_for_a_fault,
}
