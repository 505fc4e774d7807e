//! Taps and observers, which only listen.

use std::sync::{Arc, Mutex};

use bus_core::error::SendErrorKind;
use bus_core::message::{Envelope, Intent};
use bus_core::observe::{Consumed, Observer};
use bus_core::{ConsumeContext, ConsumeError, Endpoint, Policy, RawMessage, Retry};
use uuid::Uuid;

use super::requests::tell;
use crate::stage::Stage;
use crate::support::contracts::{Answered, Ask, LAST, Ordered, Place};
use crate::support::scene::{places, serial};
use crate::support::{Outcome, Recorder, numbers, with};

/// A tap gets an identical copy of what is sent and published to the endpoint; that
/// handles each once.
async fn a_tap_gets_an_identical_copy(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("tapped");
    let (placed, ordered) = (Recorder::<Place>::new(), Recorder::<Ordered>::new());
    let overheard = Recorder::<RawMessage>::new();
    let bus = stage
        .bus()
        .endpoint(
            Endpoint::new(&queue)
                .consumer(placed.clone())
                .consumer(ordered.clone()),
        )
        .endpoint(
            Endpoint::new(stage.name("tap"))
                .tap(&queue)
                .concurrency(1)
                .consume_any(overheard.clone()),
        )
        .start()
        .await?;
    bus.send_to(format!("queue:{queue}"), &Place { number: 1 })
        .header("Tenant", "north")
        .await?;
    bus.publish(&Ordered { number: 2 }).await?;
    let (place, order) = (placed.next().await, ordered.next().await);
    let copies = overheard.take(2).await;
    for (copy, original) in copies.iter().zip([place.incoming(), order.incoming()]) {
        assert_eq!(copy.incoming().body, original.body);
        assert_eq!(copy.incoming().headers, original.headers);
        assert_eq!(copy.incoming().message_id, original.message_id);
    }
    assert_eq!(copies[0].message().decode::<Place>()?.number, 1);
    bus.shutdown().await?;
    assert_eq!(
        (placed.calls(), ordered.calls(), overheard.calls()),
        (1, 1, 2)
    );
    Ok(())
}

/// A tap that responds, keeps how that was refused, and fails.
fn answering_tap(
    stage: &dyn Stage,
    queue: &str,
    refusals: &Arc<Mutex<Vec<SendErrorKind>>>,
) -> Endpoint {
    let answering = with(
        Arc::clone(refusals),
        |refusals, ctx: ConsumeContext<Ask>| async move {
            let answer = ctx.respond(&Answered { number: 666 }).await;
            let kind = answer.expect_err("a tap must not answer").kind();
            refusals.lock().expect("no panic").push(kind);
            Err("the tap is broken".into())
        },
    );
    Endpoint::new(stage.name("tap"))
        .tap(queue)
        .without_subscriptions()
        .consumer_of::<Ask>(answering)
}

/// A tap that fails or responds changes nothing: no reply, no fault.
async fn a_tap_answers_nobody_and_raises_no_fault(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("tapped");
    let refusals = Arc::new(Mutex::new(Vec::new()));
    let tap = answering_tap(stage, &queue, &refusals);
    let responder = Endpoint::new(&queue).without_subscriptions().consumer(tell);
    let bus = stage
        .bus()
        .endpoint(responder)
        .endpoint(tap)
        .start()
        .await?;
    let wire = stage.wire().await;
    let kept = wire.read(&format!("{}_error", stage.name("tap"))).await;
    let (inbox, faults) = (stage.name("inbox"), stage.name("faults"));
    let replies = wire.read(&inbox).await;
    wire.declare_queue(&faults).await;
    for number in 0..3 {
        bus.send_to(format!("queue:{queue}"), &Ask { number })
            .response_address(format!("queue:{inbox}"))
            .fault_address(format!("queue:{faults}"))
            .await?;
        // A fault would go out before the message is moved.
        let failed = kept.next().await;
        assert_eq!(
            failed.headers.text("MT-Fault-Message"),
            Some("the tap is broken")
        );
        let reply: serde_json::Value = serde_json::from_slice(&replies.next().await.body)?;
        assert_eq!(reply["message"]["number"], number, "{reply}");
    }
    bus.shutdown().await?;
    assert_eq!(stage.depth(&faults).await, Some(0));
    assert_eq!(stage.depth(&inbox).await, Some(0));
    assert_eq!(
        *refusals.lock().expect("no panic"),
        [SendErrorKind::Unsupported; 3]
    );
    wire.close().await;
    Ok(())
}

/// A message that is retried is overheard once.
async fn a_retried_message_is_overheard_once(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("tapped");
    let seen = Recorder::<Place>::deciding(|ctx| match ctx.attempt() {
        3 => Ok(()),
        _ => Err("broken".into()),
    });
    let overheard = Recorder::<Place>::new();
    let bus = stage
        .bus()
        .endpoint(
            serial(&queue)
                .retry(Retry::immediate(2))
                .consumer(seen.clone()),
        )
        .endpoint(
            Endpoint::new(stage.name("tap"))
                .tap(&queue)
                .concurrency(1)
                .without_subscriptions()
                .consumer(overheard.clone()),
        )
        .start()
        .await?;
    places(&bus, &queue, [1, LAST]).await?;
    seen.take(6).await;
    assert_eq!(numbers(&overheard.until_last().await), [1]);
    bus.shutdown().await?;
    Ok(())
}

/// The calls of an observer, in order.
#[derive(Clone, Debug, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, line: String) {
        self.0.lock().expect("no panic").push(line);
    }

    fn of(&self, topic: &str) -> Vec<String> {
        let lines = self.0.lock().expect("no panic");
        lines
            .iter()
            .filter(|line| line.starts_with(topic))
            .cloned()
            .collect()
    }
}

impl Observer for Diary {
    fn sent(&self, envelope: &Envelope, intent: Intent) {
        let urn = envelope
            .message_types
            .first()
            .map(AsRef::as_ref)
            .unwrap_or_default();
        self.note(format!("sent {intent:?} {urn}"));
    }

    fn consumed(&self, consumed: &Consumed<'_>) {
        let number = consumed
            .message
            .and_then(|message| message.downcast_ref::<Place>());
        self.note(format!("consumed {number:?} after {}", consumed.attempts));
    }

    fn faulted(&self, consumed: &Consumed<'_>, error: &ConsumeError) {
        self.note(format!("faulted {error} after {}", consumed.attempts));
    }
}

/// Observers are called once for each message that was sent, consumed or failed.
async fn observers_are_told_once(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("observed");
    let seen = Recorder::<Place>::deciding(|ctx| match ctx.message().number {
        1 => Ok(()),
        _ => Err("broken".into()),
    });
    let diary = Diary::default();
    let endpoint = serial(&queue)
        .retry(Retry::immediate(1))
        .policy(Policy::new().without_published_faults())
        .consumer(seen.clone());
    let bus = stage
        .bus()
        .observe(diary.clone())
        .endpoint(endpoint)
        .start()
        .await?;
    places(&bus, &queue, [1, 2]).await?;
    bus.publish(&Ordered { number: 3 }).await?;
    seen.take(3).await;
    bus.shutdown().await?;
    assert_eq!(
        diary.of("sent"),
        [
            "sent Send urn:message:Conformance:Place",
            "sent Send urn:message:Conformance:Place",
            "sent Publish urn:message:Conformance:Ordered"
        ]
    );
    assert_eq!(
        diary.of("consumed"),
        ["consumed Some(Place { number: 1 }) after 1"]
    );
    assert_eq!(diary.of("faulted"), ["faulted broken after 2"]);
    Ok(())
}

/// A message that was refused is not observed as sent.
async fn a_refused_message_is_not_observed_as_sent(stage: &dyn Stage) -> Outcome {
    let diary = Diary::default();
    let bus = stage.bus().observe(diary.clone()).start().await?;
    let refused = bus
        .send_to(
            format!("exchange:{}", stage.name("nowhere")),
            &Place { number: 1 },
        )
        .await;
    assert!(refused.is_err());
    bus.publish(&Ordered { number: 1 }).await?;
    assert_eq!(
        diary.of("sent"),
        ["sent Publish urn:message:Conformance:Ordered"]
    );
    bus.shutdown().await?;
    Ok(())
}

/// An observer that panics.
#[derive(Debug)]
struct Clumsy;
impl Observer for Clumsy {
    fn sent(&self, _: &Envelope, _: Intent) {
        panic!("clumsy");
    }
    fn consumed(&self, _: &Consumed<'_>) {
        panic!("clumsy");
    }
    fn faulted(&self, _: &Consumed<'_>, _: &ConsumeError) {
        panic!("clumsy");
    }
}

/// An observer that panics changes no outcome: publishing succeeds, and endpoints
/// go on.
async fn an_observer_that_panics_changes_nothing(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("observed");
    let seen = Recorder::<Place>::deciding(|ctx| match ctx.message().number % 2 {
        0 => Ok(()),
        _ => Err("broken".into()),
    });
    let endpoint = serial(&queue).consumer(seen.clone());
    let diary = Diary::default();
    let bus = stage
        .bus()
        .observe(Clumsy)
        .observe(diary.clone())
        .endpoint(endpoint)
        .start()
        .await?;
    places(&bus, &queue, 0..6).await?;
    assert_eq!(numbers(&seen.take(6).await), [0, 1, 2, 3, 4, 5]);
    bus.shutdown().await?;
    assert_eq!(
        diary.of("consumed").len(),
        3,
        "the next observer is called all the same"
    );
    assert_eq!(diary.of("faulted").len(), 3);
    assert_eq!(seen.calls(), 6, "no message came twice");
    assert_eq!(stage.depth(&queue).await, Some(0));
    assert_eq!(stage.depth(&format!("{queue}_error")).await, Some(3));
    Ok(())
}

/// A message id that an observer sees is the one that the consumer sees.
async fn observers_see_the_ids_that_travel(stage: &dyn Stage) -> Outcome {
    #[derive(Clone, Debug, Default)]
    struct Ids(Arc<Mutex<Vec<Option<Uuid>>>>);
    impl Observer for Ids {
        fn sent(&self, envelope: &Envelope, _: Intent) {
            self.0.lock().expect("no panic").push(envelope.message_id);
        }
        fn consumed(&self, consumed: &Consumed<'_>) {
            self.0
                .lock()
                .expect("no panic")
                .push(consumed.envelope.message_id);
        }
    }
    let ids = Ids::default();
    let seen = Recorder::<Ordered>::new();
    let endpoint = Endpoint::new(stage.name("observed")).consumer(seen.clone());
    let bus = stage
        .bus()
        .observe(ids.clone())
        .endpoint(endpoint)
        .start()
        .await?;
    bus.publish(&Ordered { number: 1 }).await?;
    let id = seen.next().await.message_id();
    assert!(id.is_some());
    bus.shutdown().await?;
    assert_eq!(*ids.0.lock().expect("no panic"), [id, id]);
    Ok(())
}

behaviours! { observing:
    a_tap_gets_an_identical_copy,
    a_tap_answers_nobody_and_raises_no_fault,
    a_retried_message_is_overheard_once,
    observers_are_told_once,
    a_refused_message_is_not_observed_as_sent,
    an_observer_that_panics_changes_nothing,
    observers_see_the_ids_that_travel,
}
