//! Stops, pauses and their like, dropped, under way at once, or with something that
//! does not answer: none hangs.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use bus_core::observe::EndpointState;
use bus_core::topology::Topology;
use bus_core::transport::{Health, TransportError, TransportErrorKind};
use bus_core::{Bus, BusBuilder, ConsumeContext, Endpoint};
use tokio::time::timeout;

use crate::support::contracts::{Ordered, Place};
use crate::support::fixture::{place, serial};
use crate::support::{Gate, Outcome, Recorder, Rig, eventually, with, within};
use crate::test_broker::TestBroker;

/// Consumers here have this long to end.
const STOP_TIMEOUT: Duration = Duration::from_millis(100);

/// Starts a bus with an endpoint that handles one at a time, and sends it one
/// message, which stands at the gate.
async fn stuck(
    broker: &dyn TestBroker,
    bus: BusBuilder,
    gate: &Gate,
) -> Outcome<(Bus, String, Recorder<Place>)> {
    let queue = broker.name("stuck");
    let seen = Recorder::<Place>::new();
    let consumer = with(
        (gate.clone(), seen.clone()),
        |(gate, seen), ctx: ConsumeContext<Place>| async move {
            gate.pass().await;
            seen.note(&ctx);
            Ok(())
        },
    );
    let endpoint = serial(&queue).consumer(consumer);
    let bus = bus.endpoint(endpoint).start().await?;
    place(&bus, &queue, 1).await?;
    gate.holds(1).await;
    Ok((bus, queue, seen))
}

/// A pause that waits for a consumer does not hold up the stop, which cuts that one
/// off.
async fn a_pause_under_way_does_not_hold_up_the_stop(broker: &dyn TestBroker) -> Outcome {
    let gate = Gate::closed();
    let brief = broker.bus().stop_timeout(STOP_TIMEOUT);
    let (bus, queue, _) = stuck(broker, brief, &gate).await?;
    let endpoint = bus.endpoint(&queue).ok_or("the endpoint is there")?;
    let pausing = tokio::spawn({
        let endpoint = endpoint.clone();
        async move { endpoint.pause().await }
    });
    eventually("the pause is under way", || async {
        !endpoint.is_running()
    })
    .await;
    let stopped = within("the stop", bus.shutdown()).await;
    stopped.expect_err("the consumer is cut off");
    assert_eq!(gate.waiting(), 0, "its future is gone");
    within("the pause", pausing).await?;
    let error = endpoint.resume().await.expect_err("the bus is stopped");
    assert_eq!(error.kind(), TransportErrorKind::Closed);
    broker.until_depth(&queue, 1).await;
    Ok(())
}

/// What a consumer that was cut off has left behind, such as a task, sends nothing
/// through its context: the message is handled again.
async fn the_context_of_a_consumer_that_was_cut_off_sends_nothing(
    broker: &dyn TestBroker,
) -> Outcome {
    let queue = broker.name("stuck");
    let (gate, contexts) = (Gate::closed(), Recorder::<Place>::new());
    let consumer = with(
        (gate.clone(), contexts.clone()),
        |(gate, contexts), ctx: ConsumeContext<Place>| async move {
            contexts.note(&ctx);
            gate.pass().await;
            Ok(())
        },
    );
    let brief = broker.bus().stop_timeout(STOP_TIMEOUT);
    let bus = brief.endpoint(serial(&queue).consumer(consumer));
    let bus = bus.start().await?;
    place(&bus, &queue, 1).await?;
    let left = contexts.next().await;
    let stopped = within("the stop", bus.shutdown()).await;
    stopped.expect_err("the consumer is cut off");
    let late = left.publish(&Ordered { number: 1 }).await;
    let error = late.expect_err("its outbox is closed");
    assert!(error.to_string().contains("has ended"), "{error}");
    broker.until_depth(&queue, 1).await;
    Ok(())
}

/// A caller that stops waiting for a pause changes nothing: what runs is done in
/// peace, and nothing more is taken.
async fn a_pause_that_is_not_awaited_goes_on(broker: &dyn TestBroker) -> Outcome {
    let gate = Gate::closed();
    let (bus, queue, seen) = stuck(broker, broker.bus(), &gate).await?;
    let endpoint = bus.endpoint(&queue).ok_or("the endpoint is there")?;
    let dropped = timeout(Duration::from_millis(50), endpoint.pause()).await;
    dropped.expect_err("the consumer still runs");
    assert_eq!(gate.waiting(), 1, "it was not cut off");
    place(&bus, &queue, 2).await?;
    gate.open();
    assert_eq!(seen.next().await.message().number, 1);
    within("the pause", endpoint.pause()).await;
    assert_eq!(broker.depth(&queue).await, Some(1), "the next one waits");
    endpoint.resume().await?;
    let next = seen.next().await;
    assert_eq!((next.message().number, seen.calls()), (2, 2));
    bus.shutdown().await?;
    assert_eq!(broker.depth(&queue).await, Some(0));
    Ok(())
}

/// A queue that cannot be consumed from some moment on, and counts how often it is
/// declared.
#[derive(Default)]
struct Deaf {
    is_on: AtomicBool,
    asked: AtomicU32,
    declared: Mutex<Vec<String>>,
}

#[async_trait]
impl Rig for Deaf {
    async fn declare(&self, topology: &Topology) -> Result<(), TransportError> {
        let queues = topology.queues.iter().map(|queue| queue.name.clone());
        self.declared.lock().expect("no panic").extend(queues);
        Ok(())
    }

    async fn listen(&self, _: &str) -> Result<(), TransportError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.is_on.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

impl Deaf {
    /// Starts a bus, pauses its endpoint, and resumes that in a task, which never
    /// succeeds.
    async fn resuming(self: &Arc<Self>, broker: &dyn TestBroker) -> Outcome<Resuming> {
        let queue = broker.name("deaf");
        let endpoint = Endpoint::new(&queue).consumer(Recorder::<Place>::new());
        let bus = broker.rigged(self).endpoint(endpoint).start().await?;
        let endpoint = bus.endpoint(&queue).ok_or("the endpoint is there")?;
        endpoint.pause().await;
        self.is_on.store(true, Ordering::SeqCst);
        let task = tokio::spawn({
            let endpoint = endpoint.clone();
            async move { endpoint.resume().await }
        });
        eventually("the broker is asked", || async {
            self.asked.load(Ordering::SeqCst) == 2
        })
        .await;
        Ok(Resuming {
            bus,
            endpoint,
            task,
        })
    }
}

struct Resuming {
    bus: Bus,
    endpoint: bus_core::EndpointHandle,
    task: tokio::task::JoinHandle<Result<(), TransportError>>,
}

/// A resume that waits for the broker does not hold up the stop, and ends with it.
async fn a_resume_under_way_does_not_hold_up_the_stop(broker: &dyn TestBroker) -> Outcome {
    let Resuming { bus, task, .. } = Arc::new(Deaf::default()).resuming(broker).await?;
    within("the stop", bus.shutdown()).await?;
    let error = within("the resume", task).await?.expect_err("stopped");
    assert_eq!(error.kind(), TransportErrorKind::Closed);
    Ok(())
}

/// A pause ends a resume that waits for the broker; the next resume succeeds when
/// the broker is there.
async fn a_pause_ends_a_resume_under_way(broker: &dyn TestBroker) -> Outcome {
    let rig = Arc::new(Deaf::default());
    let Resuming {
        bus,
        endpoint,
        task,
    } = rig.resuming(broker).await?;
    within("the pause", endpoint.pause()).await;
    let error = within("the resume", task).await?.expect_err("paused");
    assert!(error.to_string().contains("paused"), "{error}");
    rig.is_on.store(false, Ordering::SeqCst);
    endpoint.resume().await?;
    assert!(bus.health().is_healthy());
    bus.shutdown().await?;
    Ok(())
}

/// A resume that is dropped leaves the endpoint paused, and may be tried again.
async fn a_resume_that_is_not_awaited_may_be_tried_again(broker: &dyn TestBroker) -> Outcome {
    let rig = Arc::new(Deaf::default());
    let Resuming {
        bus,
        endpoint,
        task,
    } = rig.resuming(broker).await?;
    task.abort();
    let paused = || async { endpoint.health().state == EndpointState::Paused };
    eventually("it is paused again", paused).await;
    rig.is_on.store(false, Ordering::SeqCst);
    rig.declared.lock().expect("no panic").clear();
    endpoint.resume().await?;
    let declared = rig.declared.lock().expect("no panic").clone();
    assert_eq!(declared, [broker.name("deaf")]);
    bus.shutdown().await?;
    Ok(())
}

/// A caller that stops waiting for the stop changes nothing: consumers end in
/// peace, and the next call awaits the same.
async fn a_stop_that_is_not_awaited_goes_on(broker: &dyn TestBroker) -> Outcome {
    let gate = Gate::closed();
    let (bus, queue, seen) = stuck(broker, broker.bus(), &gate).await?;
    let dropped = timeout(Duration::from_millis(50), bus.shutdown()).await;
    dropped.expect_err("the consumer still runs");
    assert_eq!(gate.waiting(), 1, "it was not cut off");
    gate.open();
    within("the same stop", bus.shutdown()).await?;
    assert_eq!(seen.calls(), 1);
    assert_eq!(broker.depth(&queue).await, Some(0));
    assert!(matches!(bus.health().transport, Health::Down(_)));
    Ok(())
}

/// A stop that was late is late for all callers, also later ones.
async fn all_callers_get_the_same_outcome(broker: &dyn TestBroker) -> Outcome {
    let brief = broker.bus().stop_timeout(STOP_TIMEOUT);
    let (bus, ..) = stuck(broker, brief, &Gate::closed()).await?;
    let dropped = timeout(Duration::from_millis(10), bus.shutdown()).await;
    dropped.expect_err("the consumer still runs");
    let (one, other) = tokio::join!(bus.shutdown(), bus.shutdown());
    for outcome in [one, other, bus.shutdown().await] {
        outcome.expect_err("the consumer was cut off");
    }
    Ok(())
}

/// Starts a bus whose only consumer stops it as `stop` does, and sends it a
/// message.
async fn stopped_from_within<Fut>(
    broker: &dyn TestBroker,
    stop: impl Fn(Bus) -> Fut + Clone + Send + Sync + 'static,
) -> Outcome<(Bus, String)>
where
    Fut: Future<Output = bus_core::ConsumeResult> + Send + 'static,
{
    let queue = broker.name("last");
    let own = Arc::new(OnceLock::<Bus>::new());
    let consumer = with(
        (Arc::clone(&own), stop),
        |(own, stop), _: ConsumeContext<Place>| async move {
            let bus = own.get().cloned().ok_or("not started")?;
            stop(bus).await
        },
    );
    let bus = broker.bus().stop_timeout(Duration::from_millis(500));
    let endpoint = Endpoint::new(&queue).consumer(consumer);
    let bus = bus.endpoint(endpoint).start().await?;
    let _ = own.set(bus.clone());
    place(&bus, &queue, 1).await?;
    let down = || async { matches!(bus.health().transport, Health::Down(_)) };
    eventually("the bus is stopped", down).await;
    Ok((bus, queue))
}

/// A consumer may stop its bus, if it does not wait for that.
async fn a_consumer_may_stop_its_bus(broker: &dyn TestBroker) -> Outcome {
    let spawns = |bus: Bus| async move {
        tokio::spawn(async move { bus.shutdown().await });
        Ok(())
    };
    let (bus, queue) = stopped_from_within(broker, spawns).await?;
    bus.shutdown().await?;
    assert_eq!(broker.depth(&queue).await, Some(0), "its message is done");
    Ok(())
}

/// A consumer that awaits the stop of its own bus is cut off; the stop goes on to
/// its end.
async fn a_consumer_that_awaits_its_own_stop_is_cut_off(broker: &dyn TestBroker) -> Outcome {
    let awaits = |bus: Bus| async move { Ok(bus.shutdown().await?) };
    let (bus, queue) = stopped_from_within(broker, awaits).await?;
    bus.shutdown().await.expect_err("it was cut off");
    broker.until_depth(&queue, 1).await;
    Ok(())
}

/// Takes from the worker of the caller what the rest of the runtime needs, as the
/// caller is about to block it.
///
/// A worker of tokio that has waited for timers and sockets keeps that duty while it polls a task,
/// until another one wakes up; and no other takes the task that it would run next. Blocked at that
/// moment it stops every timer, those of the test among them. The first task moves what would run
/// next to where others find it, the second wakes another worker.
fn hand_over_the_runtime() {
    for _ in 0..2 {
        tokio::spawn(async {});
    }
}

/// A consumer that blocks its thread does not hold up the stop.
async fn a_consumer_that_blocks_its_thread_is_left_behind(broker: &dyn TestBroker) -> Outcome {
    let (blocks, blocked) = mpsc::channel::<()>();
    let blocked = Arc::new(Mutex::new(blocked));
    let begun = Gate::closed();
    let blocking = with(
        (blocked, begun.clone()),
        |(blocked, begun), _: ConsumeContext<Place>| async move {
            begun.open();
            hand_over_the_runtime();
            let blocked = blocked.lock().map_err(|_| "poisoned")?;
            // Ends when the test drops its end.
            let _ = blocked.recv();
            Ok(())
        },
    );
    let queue = broker.name("blocked");
    let endpoint = serial(&queue).consumer(blocking);
    let bus = broker.bus().stop_timeout(STOP_TIMEOUT).endpoint(endpoint);
    let bus = bus.start().await?;
    place(&bus, &queue, 1).await?;
    within("the consumer runs", begun.pass()).await;
    let stopped = within("the stop", bus.shutdown()).await;
    stopped.expect_err("it still runs");
    drop(blocks);
    broker.until_depth(&queue, 1).await;
    Ok(())
}

/// A broker that no longer answers does not hold up the stop.
async fn a_broker_that_does_not_answer_is_left_behind(broker: &dyn TestBroker) -> Outcome {
    struct Frozen;
    #[async_trait]
    impl Rig for Frozen {
        async fn leave(&self) {
            std::future::pending::<()>().await;
        }
        async fn close(&self) {
            std::future::pending::<()>().await;
        }
    }
    let frozen = broker.rigged(&Arc::new(Frozen)).stop_timeout(STOP_TIMEOUT);
    let endpoint = Endpoint::new(broker.name("frozen")).consumer(Recorder::<Place>::new());
    let bus = frozen.endpoint(endpoint).start().await?;
    let _ = within("the stop", bus.shutdown()).await;
    assert!(!bus.health().is_healthy());
    Ok(())
}

behaviours! { stopping:
    a_pause_under_way_does_not_hold_up_the_stop,
    the_context_of_a_consumer_that_was_cut_off_sends_nothing,
    a_pause_that_is_not_awaited_goes_on,
    a_resume_under_way_does_not_hold_up_the_stop,
    a_pause_ends_a_resume_under_way,
    a_resume_that_is_not_awaited_may_be_tried_again,
    a_stop_that_is_not_awaited_goes_on,
    all_callers_get_the_same_outcome,
    a_consumer_may_stop_its_bus,
    a_consumer_that_awaits_its_own_stop_is_cut_off,
    a_consumer_that_blocks_its_thread_is_left_behind,
    a_broker_that_does_not_answer_is_left_behind,
}
