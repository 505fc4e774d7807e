//! Kill switches: an endpoint whose messages fail pauses, and tries again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bus_core::observe::EndpointState;
use bus_core::{
    Bus, ConsumeContext, ConsumeError, Consumer, Endpoint, EndpointHandle, KillSwitch, Policy,
    Retry,
};

use crate::support::contracts::Place;
use crate::support::fixture::{in_order, places, serial};
use crate::support::{Gate, Outcome, Recorder, becomes, with};
use crate::test_broker::TestBroker;

const MILLI: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// A switch that trips at the fourth of four failures.
fn sensitive() -> KillSwitch {
    let switch = KillSwitch::new().activation(4).threshold(0.5);
    switch.restart(HOUR, HOUR)
}

/// A consumer that fails until it is repaired.
#[derive(Clone, Default)]
struct Broken {
    is_repaired: Arc<AtomicBool>,
    seen: Recorder<Place>,
}

impl Broken {
    fn repair(&self) {
        self.is_repaired.store(true, Ordering::SeqCst);
    }
}

impl Consumer<Place> for Broken {
    async fn consume(&self, ctx: ConsumeContext<Place>) -> Result<(), ConsumeError> {
        self.seen.note(&ctx);
        if self.is_repaired.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err("it is broken".into())
    }
}

/// Starts an endpoint that handles one message at a time, and sends it messages.
async fn start(
    broker: &dyn TestBroker,
    consumer: impl Consumer<Place>,
    switch: KillSwitch,
    count: u32,
) -> Outcome<(Bus, EndpointHandle)> {
    let queue = broker.name("switched");
    let endpoint = serial(&queue)
        .policy(Policy::new().kill_switch(switch))
        .consumer(consumer);
    let bus = broker.start(endpoint).await?;
    places(&bus, &queue, 0..count).await?;
    let handle = bus.endpoint(&queue).ok_or("the endpoint is there")?;
    Ok((bus, handle))
}

async fn until(endpoint: &EndpointHandle, state: EndpointState) {
    let health = || async { endpoint.health().state };
    becomes("the state of the endpoint", &state, health).await;
}

/// Too many failures pause the endpoint; the rest stays in the queue.
async fn too_many_failures_pause_the_endpoint(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::failing();
    let (bus, endpoint) = start(broker, seen.clone(), sensitive(), 7).await?;
    until(&endpoint, EndpointState::Tripped).await;
    let queue = endpoint.control().name().to_owned();
    broker.until_depth(&queue, 3).await;
    broker.until_depth(&format!("{queue}_error"), 4).await;
    let health = endpoint.health();
    let reason = health.reason.clone().unwrap_or_default();
    assert!(reason.contains("4 of 4 messages failed"), "{reason}");
    assert!(reason.contains("broken"), "{reason}");
    let until = health.until.ok_or("it has an end")?;
    assert!(until.duration_since(health.since)? > HOUR / 2);
    let bus_health = bus.health();
    assert!(!bus_health.is_healthy() && bus_health.is_ready());
    bus.shutdown().await?;
    assert_eq!(seen.calls(), 4);
    Ok(())
}

/// A share of failures below the threshold does not pause the endpoint.
async fn few_failures_do_not(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::deciding(
        |ctx: &ConsumeContext<Place>| match ctx.message().number % 4 {
            3 => Err("every fourth".into()),
            _ => Ok(()),
        },
    );
    let (bus, endpoint) = start(broker, seen.clone(), sensitive(), 40).await?;
    assert_eq!(seen.take(40).await.len(), 40);
    assert_eq!(endpoint.health().state, EndpointState::Running);
    bus.shutdown().await?;
    Ok(())
}

/// Errors that do not count, and retries, do not pause the endpoint.
async fn what_does_not_count_does_not_pause(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::deciding(
        |ctx: &ConsumeContext<Place>| match ctx.message().number % 2 {
            0 => Err(ConsumeError::permanent("a bad value")),
            _ if ctx.attempt() < 3 => Err("not yet".into()),
            _ => Ok(()),
        },
    );
    let queue = broker.name("tolerant");
    let switch = sensitive().when(|error| !error.is_permanent());
    let endpoint = serial(&queue)
        .retry(Retry::immediate(2))
        .policy(Policy::new().kill_switch(switch))
        .consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    places(&bus, &queue, 0..20).await?;
    assert_eq!(seen.take(40).await.len(), 40);
    let endpoint = bus.endpoint(&queue).ok_or("the endpoint is there")?;
    assert_eq!(endpoint.health().state, EndpointState::Running);
    bus.shutdown().await?;
    Ok(())
}

/// The endpoint goes on by itself: on trial at first, then as before.
async fn the_endpoint_goes_on_by_itself(broker: &dyn TestBroker) -> Outcome {
    let consumer = Broken::default();
    let switch = sensitive().restart(50 * MILLI, 50 * MILLI);
    let (bus, endpoint) = start(broker, consumer.clone(), switch, 4).await?;
    assert_eq!(in_order(&consumer.seen.take(4).await), [0, 1, 2, 3]);
    consumer.repair();
    let queue = endpoint.control().name().to_owned();
    places(&bus, &queue, 4..24).await?;
    assert_eq!(
        in_order(&consumer.seen.take(20).await),
        (4..24).collect::<Vec<_>>()
    );
    until(&endpoint, EndpointState::Running).await;
    bus.shutdown().await?;
    assert_eq!(broker.depth(&queue).await, Some(0));
    Ok(())
}

/// Each failure on trial trips the switch again, and costs one message.
async fn a_failure_on_trial_trips_it_again(broker: &dyn TestBroker) -> Outcome {
    let consumer = Broken::default();
    let switch = sensitive().restart(MILLI, MILLI);
    let (bus, endpoint) = start(broker, consumer.clone(), switch, 7).await?;
    let queue = endpoint.control().name().to_owned();
    broker.until_depth(&format!("{queue}_error"), 7).await;
    endpoint.pause().await;
    assert_eq!(consumer.seen.calls(), 7);
    bus.shutdown().await?;
    Ok(())
}

/// On trial one message at a time is handled; afterwards, as many as before.
async fn a_trial_handles_one_at_a_time(broker: &dyn TestBroker) -> Outcome {
    let (queue, gate) = (broker.name("trial"), Gate::closed());
    let consumer = with(
        gate.clone(),
        |gate, ctx: ConsumeContext<Place>| async move {
            if ctx.message().number < 4 {
                return Err("it is broken".into());
            }
            gate.pass().await;
            Ok(())
        },
    );
    let endpoint = Endpoint::new(&queue)
        .concurrency(4)
        .policy(Policy::new().kill_switch(sensitive()))
        .consumer(consumer);
    let bus = broker.start(endpoint).await?;
    let endpoint = bus.endpoint(&queue).ok_or("the endpoint is there")?;
    places(&bus, &queue, 0..4).await?;
    until(&endpoint, EndpointState::Tripped).await;
    places(&bus, &queue, 4..11).await?;
    endpoint.resume().await?;
    gate.holds(1).await;
    broker.until_prefetched(&queue).await;
    let health = endpoint.health();
    assert_eq!(health.state, EndpointState::Degraded, "{health:?}");
    assert_eq!((gate.waiting(), endpoint.concurrency()), (1, 4));
    gate.open();
    places(&bus, &queue, 11..20).await?;
    until(&endpoint, EndpointState::Running).await;
    bus.shutdown().await?;
    Ok(())
}

/// A pause that was asked for holds after the switch would have ended its own.
async fn a_longer_pause_holds(broker: &dyn TestBroker) -> Outcome {
    let consumer = Broken::default();
    let (bus, endpoint) = start(broker, consumer.clone(), sensitive(), 6).await?;
    until(&endpoint, EndpointState::Tripped).await;
    endpoint.pause().await;
    assert_eq!(endpoint.health().state, EndpointState::Paused);
    consumer.repair();
    endpoint.resume().await?;
    assert_eq!(in_order(&consumer.seen.take(6).await), [0, 1, 2, 3, 4, 5]);
    bus.shutdown().await?;
    Ok(())
}

/// Settings with which a switch could never trip, or never pause, are mistakes.
async fn settings_that_cannot_work_are_mistakes(broker: &dyn TestBroker) -> Outcome {
    let switched = |name: &str, switch| {
        let endpoint = Endpoint::new(name).consumer(Recorder::<Place>::new());
        endpoint.policy(Policy::new().kill_switch(switch))
    };
    let bus = broker
        .bus()
        .endpoint(switched("eager", KillSwitch::new().activation(0)))
        .endpoint(switched("deaf", KillSwitch::new().threshold(1.5)))
        .endpoint(switched("odd", KillSwitch::new().threshold(f64::NAN)))
        .endpoint(switched("hasty", KillSwitch::new().period(Duration::ZERO)))
        .endpoint(switched(
            "restless",
            sensitive().restart(Duration::ZERO, HOUR),
        ));
    let started = bus.start().await.err();
    let error = started.ok_or("they are mistakes")?.to_string();
    for expected in [
        "`eager`: its kill switch has an activation of 0",
        "`deaf`: its kill switch has a threshold of 1.5",
        "`odd`: its kill switch has a threshold of NaN",
        "`hasty`: its kill switch has a time of zero",
        "`restless`: its kill switch has a time of zero",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    Ok(())
}

behaviours! { kill_switches:
    too_many_failures_pause_the_endpoint,
    few_failures_do_not,
    what_does_not_count_does_not_pause,
    the_endpoint_goes_on_by_itself,
    a_failure_on_trial_trips_it_again,
    a_trial_handles_one_at_a_time,
    a_longer_pause_holds,
    settings_that_cannot_work_are_mistakes,
}
