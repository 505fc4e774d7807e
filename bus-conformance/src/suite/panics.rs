//! Panics of what users write, beside and after their consumers: they cost one
//! message at most.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bus_core::error::SendErrorKind;
use bus_core::message::Intent;
use bus_core::observe::{
    ConsumeFault, EndpointChange, EndpointState, FaultPublished, Observer, PostConsume,
    PostReceive, PostSend, PreConsume, PreReceive, PreSend,
};
use bus_core::send::SendContext;
use bus_core::transport::{Outgoing, TransportError};
use bus_core::{BusBuilder, ConsumeContext};

use crate::support::contracts::{LAST, Place};
use crate::support::fixture::{places, reason, serial};
use crate::support::{Diary, Outcome, Recorder, Rig, eventually, numbers};
use crate::test_broker::TestBroker;

/// A consumer that fails with `error` but for the sentinel.
fn failing<E: Error + Send + Sync + 'static>(
    error: impl Fn() -> E + Send + Sync + 'static,
) -> Recorder<Place> {
    Recorder::deciding(
        move |ctx: &ConsumeContext<Place>| match ctx.message().number {
            LAST => Ok(()),
            _ => Err(error().into()),
        },
    )
}

/// Sends a message that fails and one that does not to an endpoint that handles one
/// at a time.
async fn one_fails(broker: &dyn TestBroker, bus: BusBuilder, seen: &Recorder<Place>) -> Outcome {
    let queue = broker.name("clumsy");
    let endpoint = serial(&queue).consumer(seen.clone());
    let bus = bus.endpoint(endpoint).start().await?;
    let wire = broker.wire().await;
    let errors = wire.read(&format!("{queue}_error")).await;
    places(&bus, &queue, [1, LAST]).await?;
    let failed = errors.next().await;
    let why = reason(&failed);
    assert!(!why.is_empty(), "{failed:?}");
    assert_eq!(seen.until_last().await.len(), 1);
    assert!(bus.health().is_healthy(), "{:?}", bus.health());
    bus.shutdown().await?;
    assert_eq!(broker.depth(&queue).await, Some(0));
    wire.close().await;
    Ok(())
}

/// A hook that panics refuses its message with the panic's text; the next one
/// leaves.
async fn a_hook_that_panics_refuses_its_message_alone(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Place>::new();
    let queue = broker.name("next");
    let clumsy = |context: &mut SendContext| {
        assert_ne!(context.priority, Some(9), "no such hurry");
        Ok(())
    };
    let endpoint = serial(&queue).consumer(seen.clone());
    let bus = broker.bus().on_send(clumsy).endpoint(endpoint);
    let bus = bus.start().await?;
    let address = format!("queue:{queue}");
    let sending = bus.send_to(address.as_str(), &Place { number: 1 });
    let error = sending.priority(9).await.expect_err("the hook panics");
    assert_eq!(error.kind(), SendErrorKind::Refused);
    assert!(error.to_string().contains("no such hurry"), "{error}");
    bus.send_to(address.as_str(), &Place { number: LAST })
        .await?;
    assert_eq!(seen.until_last().await.len(), 0);
    bus.shutdown().await?;
    Ok(())
}

/// A hook that panics for faults keeps no failed message from its error queue, and
/// no other one waiting.
async fn a_hook_that_panics_for_faults_holds_nothing_up(broker: &dyn TestBroker) -> Outcome {
    let clumsy = |context: &mut SendContext| {
        assert_ne!(context.intent, Intent::Fault, "faults have no tenant");
        Ok(())
    };
    let seen = failing(|| fmt::Error);
    let bus = broker.bus().on_send(clumsy);
    let queue = broker.name("asker");
    let address = format!("queue:{queue}");
    // With an address the fault is no publish: that is when the hook panics.
    let addressed = move |context: &mut SendContext| {
        if context.intent == Intent::Send {
            context.envelope.fault_address = Some(address.as_str().into());
        }
        Ok(())
    };
    one_fails(broker, bus.on_send(addressed), &seen).await
}

/// An error whose text or source panics fails its message like any other.
async fn an_error_that_panics_when_it_is_shown_is_set_aside(broker: &dyn TestBroker) -> Outcome {
    struct Unspeakable;
    impl fmt::Display for Unspeakable {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("no words");
        }
    }
    impl fmt::Debug for Unspeakable {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("no words");
        }
    }
    impl Error for Unspeakable {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            panic!("no source");
        }
    }
    one_fails(broker, broker.bus(), &failing(|| Unspeakable)).await
}

/// An error that is its own source fails its message like any other.
async fn an_error_without_a_first_cause_is_set_aside(broker: &dyn TestBroker) -> Outcome {
    #[derive(Debug)]
    struct Circular;
    impl fmt::Display for Circular {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("turtles")
        }
    }
    impl Error for Circular {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self)
        }
    }
    one_fails(broker, broker.bus(), &failing(|| Circular)).await
}

/// A panic while a message is moved puts that message off; health names it, and the
/// others go on.
async fn a_panic_outside_of_consumers_puts_its_message_off(broker: &dyn TestBroker) -> Outcome {
    struct Clumsy(AtomicBool);
    #[async_trait]
    impl Rig for Clumsy {
        async fn send(&self, outgoing: &Outgoing) -> Result<(), TransportError> {
            let moves = outgoing.target.name().ends_with("_error");
            assert!(!moves || self.0.load(Ordering::SeqCst), "dropped it");
            Ok(())
        }
    }
    let rig = Arc::new(Clumsy(AtomicBool::new(false)));
    let seen = failing(|| fmt::Error);
    let queue = broker.name("clumsy");
    let endpoint = serial(&queue).consumer(seen.clone());
    let bus = broker.rigged(&rig).endpoint(endpoint).start().await?;
    places(&bus, &queue, [1, LAST]).await?;
    assert_eq!(seen.until_last().await.len(), 1, "the next one is handled");
    let health = bus.health().endpoints.remove(0);
    assert_eq!(health.state, EndpointState::Degraded);
    let reason = health.reason.unwrap_or_default();
    assert!(reason.contains("dropped it"), "{reason}");
    rig.0.store(true, Ordering::SeqCst);
    assert!(seen.next().await.redelivered(), "it comes again");
    broker.until_depth(&format!("{queue}_error"), 1).await;
    eventually("all is well", || async { bus.health().is_healthy() }).await;
    bus.shutdown().await?;
    Ok(())
}

/// An observer that panics changes no outcome, and endpoints go on.
async fn an_observer_that_panics_changes_nothing(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("observed");
    let seen = Recorder::<Place>::deciding(|ctx| match ctx.message().number % 2 {
        0 => Ok(()),
        _ => Err("broken".into()),
    });
    let endpoint = serial(&queue).consumer(seen.clone());
    let diary = Diary::default();
    let bus = broker
        .bus()
        .observe(Clumsy)
        .observe(diary.clone())
        .endpoint(endpoint)
        .start()
        .await?;
    places(&bus, &queue, 0..6).await?;
    assert_eq!(numbers(&seen.take(6).await), [0, 1, 2, 3, 4, 5]);
    bus.shutdown().await?;
    let ended = diary.of("ended").into_iter();
    let (handled, faulted): (Vec<_>, Vec<_>) = ended.partition(|line| line.contains("handled"));
    assert_eq!(
        (handled.len(), faulted.len()),
        (3, 3),
        "the next observer is called all the same"
    );
    assert_eq!(seen.calls(), 6, "no message came twice");
    assert_eq!(broker.depth(&queue).await, Some(0));
    assert_eq!(broker.depth(&format!("{queue}_error")).await, Some(3));
    Ok(())
}

#[derive(Debug)]
struct Clumsy;

impl Observer for Clumsy {
    fn pre_send(&self, _: &PreSend<'_>) {
        panic!("clumsy");
    }

    fn post_send(&self, _: &PostSend<'_>) {
        panic!("clumsy");
    }

    fn pre_receive(&self, _: &PreReceive<'_>) {
        panic!("clumsy");
    }

    fn post_receive(&self, _: &PostReceive<'_>) {
        panic!("clumsy");
    }

    fn pre_consume(&self, _: &PreConsume<'_>) {
        panic!("clumsy");
    }

    fn post_consume(&self, _: &PostConsume<'_>) {
        panic!("clumsy");
    }

    fn consume_fault(&self, _: &ConsumeFault<'_>) {
        panic!("clumsy");
    }

    fn fault_published(&self, _: &FaultPublished<'_>) {
        panic!("clumsy");
    }

    fn endpoint_changed(&self, _: &EndpointChange<'_>) {
        panic!("clumsy");
    }
}

behaviours! { panics:
    an_observer_that_panics_changes_nothing,
    a_hook_that_panics_refuses_its_message_alone,
    a_hook_that_panics_for_faults_holds_nothing_up,
    an_error_that_panics_when_it_is_shown_is_set_aside,
    an_error_without_a_first_cause_is_set_aside,
    a_panic_outside_of_consumers_puts_its_message_off,
}
