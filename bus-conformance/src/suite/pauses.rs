//! Pauses that are asked for: from inside of an endpoint, and for a time.

use std::time::Duration;

use bus_core::observe::EndpointState;
use bus_core::transport::TransportErrorKind;
use bus_core::{Bus, ConsumeContext, Consumer, EndpointHandle, Policy};
use futures_util::FutureExt;

use crate::support::contracts::Place;
use crate::support::fixture::{in_order, places, serial};
use crate::support::{Gate, Outcome, Recorder, eventually};
use crate::test_broker::TestBroker;

const HOUR: Duration = Duration::from_secs(3_600);

/// Pauses the endpoint at message 0.
fn pausing<P>(seen: &Recorder<Place>, pause: P) -> impl Consumer<Place> + use<P>
where
    P: Fn(&ConsumeContext<Place>) + Send + Sync + 'static,
{
    seen.then(move |ctx: ConsumeContext<Place>| {
        if ctx.message().number == 0 {
            pause(&ctx);
        }
        async { Ok(()) }
    })
}

fn handle(bus: &Bus, queue: &str) -> Outcome<EndpointHandle> {
    Ok(bus.endpoint(queue).ok_or("the endpoint is there")?)
}

async fn until_paused(endpoint: &EndpointHandle) {
    eventually("the endpoint is paused", || async {
        endpoint.health().state == EndpointState::Paused
    })
    .await;
}

/// A consumer pauses its own endpoint: no other message begins.
async fn a_consumer_pauses_its_own_endpoint(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("pausing");
    let seen = Recorder::new();
    let sender = broker.bus().start().await?;
    places(&sender, &queue, 0..3).await?;
    let endpoint = serial(&queue).consumer(pausing(&seen, |ctx| {
        ctx.endpoint_control().by("the breaker").pause();
    }));
    let bus = broker.start(endpoint).await?;
    let endpoint = handle(&bus, &queue)?;
    until_paused(&endpoint).await;
    broker.until_depth(&queue, 2).await;
    assert_eq!(seen.calls(), 1);
    let health = endpoint.health();
    assert_eq!(health.reason.as_deref(), Some("paused by the breaker"));
    assert_eq!(health.until, None);
    assert!(bus.health().is_healthy() && endpoint.control().is_paused());
    endpoint.resume().await?;
    assert!(endpoint.is_running());
    assert_eq!(in_order(&seen.take(3).await), [0, 1, 2]);
    bus.shutdown().await?;
    sender.shutdown().await?;
    assert_eq!(seen.calls(), 3);
    Ok(())
}

/// Messages that were handed out and have not begun go back; those that run go on.
async fn what_has_not_begun_goes_back(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("pausing");
    let (seen, gate) = (Recorder::<Place>::new(), Gate::closed());
    let consumer = {
        let gate = gate.clone();
        seen.then(move |ctx: ConsumeContext<Place>| {
            let gate = gate.clone();
            async move {
                ctx.endpoint_control().pause();
                gate.pass().await;
                Ok(())
            }
        })
    };
    let sender = broker.bus().start().await?;
    places(&sender, &queue, 0..5).await?;
    let endpoint = serial(&queue)
        .policy(Policy::new().prefetch(10))
        .consumer(consumer);
    let bus = broker.start(endpoint).await?;
    let endpoint = handle(&bus, &queue)?;
    gate.holds(1).await;
    broker.until_depth(&queue, 4).await;
    assert_eq!(endpoint.health().state, EndpointState::Pausing);
    gate.open();
    until_paused(&endpoint).await;
    assert_eq!((broker.depth(&queue).await, seen.calls()), (Some(4), 1));
    bus.shutdown().await?;
    sender.shutdown().await?;
    Ok(())
}

/// A pause for a time ends by itself.
async fn a_pause_for_a_time_ends_by_itself(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("resting");
    let seen = Recorder::new();
    let sender = broker.bus().start().await?;
    places(&sender, &queue, 0..3).await?;
    let endpoint = serial(&queue).consumer(pausing(&seen, |ctx| {
        ctx.endpoint_control().pause_for(Duration::from_millis(50));
    }));
    let bus = broker.start(endpoint).await?;
    assert_eq!(in_order(&seen.take(3).await), [0, 1, 2]);
    let endpoint = handle(&bus, &queue)?;
    eventually("the endpoint runs", || async { endpoint.is_running() }).await;
    assert!(!endpoint.control().is_paused());
    bus.shutdown().await?;
    sender.shutdown().await?;
    Ok(())
}

/// Of several pauses the longest holds, and its end is known.
async fn the_longest_of_several_pauses_holds(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("resting");
    let bus = broker
        .start(serial(&queue).consumer(Recorder::<Place>::new()))
        .await?;
    let endpoint = handle(&bus, &queue)?;
    let by = |name: &str| endpoint.control().by(name);
    by("one").pause_for(HOUR);
    by("another").pause_for(Duration::from_millis(1));
    until_paused(&endpoint).await;
    let health = endpoint.health();
    assert_eq!(health.reason.as_deref(), Some("paused by one"));
    let until = health.until.ok_or("it has an end")?;
    let rests = until.duration_since(health.since)?;
    assert!(rests <= HOUR && rests > HOUR / 2, "{rests:?}");
    endpoint.pause().await;
    assert_eq!(endpoint.health().until, None, "until it is resumed");
    bus.shutdown().await?;
    Ok(())
}

/// A resume ends all pauses, whether it is awaited or only asked for.
async fn a_resume_ends_all_pauses(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("resuming");
    let seen = Recorder::<Place>::new();
    let bus = broker.start(serial(&queue).consumer(seen.clone())).await?;
    let endpoint = handle(&bus, &queue)?;
    for number in 0..6 {
        endpoint.control().pause_for(HOUR);
        endpoint.control().pause();
        if number % 3 > 0 {
            until_paused(&endpoint).await;
        }
        if number % 2 == 0 {
            endpoint.resume().await?;
            assert!(endpoint.is_running());
        } else {
            endpoint.control().resume();
        }
        places(&bus, &queue, [number]).await?;
        assert_eq!(seen.next().await.message().number, number);
        assert!(!endpoint.control().is_paused());
    }
    bus.shutdown().await?;
    Ok(())
}

/// A control that is kept outlives its bus, and changes nothing then.
async fn a_control_outlives_its_bus(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("kept");
    let seen = Recorder::<Place>::new();
    let bus = broker.start(serial(&queue).consumer(seen.clone())).await?;
    places(&bus, &queue, [1]).await?;
    let control = seen.next().await.endpoint_control();
    assert_eq!(control.name(), queue);
    bus.shutdown().await?;
    control.pause_for(Duration::from_millis(1));
    control.resume();
    let stopped = handle(&bus, &queue)?.health();
    assert_eq!(
        (stopped.state, stopped.until),
        (EndpointState::Stopped, None)
    );
    Ok(())
}

/// An endpoint that starts paused has its queue, and takes messages when resumed.
async fn an_endpoint_may_start_paused(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("sleeping");
    let seen = Recorder::<Place>::new();
    let endpoint = serial(&queue)
        .policy(Policy::new().start_paused())
        .consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    let endpoint = handle(&bus, &queue)?;
    assert_eq!(endpoint.health().state, EndpointState::Paused);
    assert!(bus.health().is_ready());
    for number in [1, 2] {
        bus.publish(&Place { number }).await?;
    }
    broker.until_depth(&queue, 2).await;
    assert_eq!(seen.calls(), 0);
    endpoint.resume().await?;
    assert_eq!(in_order(&seen.take(2).await), [1, 2]);
    bus.shutdown().await?;
    Ok(())
}

/// A consumer that holds its message at a gate.
fn held(seen: &Recorder<Place>, gate: &Gate) -> impl Consumer<Place> + use<> {
    let gate = gate.clone();
    seen.then(move |_: ConsumeContext<Place>| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            Ok(())
        }
    })
}

/// A pause that is asked for while a resume waits for running consumers holds.
async fn a_pause_holds_against_a_resume_that_waits(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("overtaken");
    let (seen, gate) = (Recorder::<Place>::new(), Gate::closed());
    let endpoint = serial(&queue).consumer(held(&seen, &gate));
    let bus = broker.start(endpoint).await?;
    let endpoint = handle(&bus, &queue)?;
    places(&bus, &queue, [1]).await?;
    gate.holds(1).await;
    endpoint.control().pause();
    let mut resuming = Box::pin(endpoint.resume());
    let at_once = resuming.as_mut().now_or_never();
    assert!(at_once.is_none(), "a consumer runs still");
    endpoint.control().pause();
    gate.open();
    let overtaken = resuming.await.err().ok_or("it was paused again")?;
    assert_eq!(overtaken.kind(), TransportErrorKind::Closed);
    until_paused(&endpoint).await;
    places(&bus, &queue, [2]).await?;
    broker.until_depth(&queue, 1).await;
    assert_eq!(seen.calls(), 1);
    endpoint.resume().await?;
    assert_eq!(in_order(&seen.take(2).await), [1, 2]);
    bus.shutdown().await?;
    Ok(())
}

/// A resume whose caller stops waiting leaves an endpoint that can be paused.
async fn a_resume_may_be_given_up(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("given-up");
    let (seen, gate) = (Recorder::<Place>::new(), Gate::closed());
    let endpoint = serial(&queue).consumer(held(&seen, &gate));
    let bus = broker.start(endpoint).await?;
    let endpoint = handle(&bus, &queue)?;
    places(&bus, &queue, [1]).await?;
    gate.holds(1).await;
    endpoint.control().pause();
    let given_up = endpoint.resume().now_or_never();
    assert!(given_up.is_none(), "a consumer runs still");
    endpoint.control().pause();
    gate.open();
    until_paused(&endpoint).await;
    endpoint.resume().await?;
    places(&bus, &queue, [2]).await?;
    assert_eq!(in_order(&seen.take(2).await), [1, 2]);
    bus.shutdown().await?;
    Ok(())
}

behaviours! { pauses:
    a_consumer_pauses_its_own_endpoint,
    what_has_not_begun_goes_back,
    a_pause_for_a_time_ends_by_itself,
    the_longest_of_several_pauses_holds,
    a_resume_ends_all_pauses,
    a_pause_holds_against_a_resume_that_waits,
    a_resume_may_be_given_up,
    a_control_outlives_its_bus,
    an_endpoint_may_start_paused,
}
