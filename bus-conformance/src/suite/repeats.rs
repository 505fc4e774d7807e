//! Attempts that are no failures of their message, and run again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bus_core::{ConsumeContext, ConsumeError, Endpoint, Retry};

use crate::support::contracts::Place;
use crate::support::fixture::{place, places, reason};
use crate::support::units::{Step, Units};
use crate::support::{Gate, Outcome, Recorder, eventually, numbers, with, within};
use crate::test_broker::TestBroker;

/// A consumer that fails with the error of `error`, so many times.
fn failing(times: u32, error: fn() -> ConsumeError) -> Recorder<Place> {
    let left = AtomicU32::new(times);
    Recorder::deciding(move |_| {
        let left = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        left.map_or(Ok(()), |_| Err(error()))
    })
}

fn away() -> ConsumeError {
    ConsumeError::unavailable("the database is away")
}

fn conflict() -> ConsumeError {
    ConsumeError::conflict("another transaction was first")
}

fn attempts(calls: &[ConsumeContext<Place>]) -> Vec<u32> {
    calls.iter().map(ConsumeContext::attempt).collect()
}

/// A message waits in place for what its consumer needs, and the health says so.
async fn a_message_waits_for_what_its_consumer_needs(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("waiting");
    let seen = failing(2, away);
    let endpoint = Endpoint::new(&queue).consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    place(&bus, &queue, 1).await?;
    seen.next().await;
    eventually("the health says so", || async {
        let health = bus.health();
        let reason = health.endpoints[0].reason.as_deref();
        !health.is_healthy() && reason.is_some_and(|reason| reason.contains("database is away"))
    })
    .await;
    for call in seen.take(2).await {
        assert_eq!((call.attempt(), call.redelivered()), (1, false));
    }
    eventually("all is well", || async { bus.health().is_healthy() }).await;
    bus.shutdown().await?;
    assert_eq!(broker.depth(&queue).await, Some(0));
    assert_eq!(
        broker.depth(&format!("{queue}_error")).await.unwrap_or(0),
        0
    );
    Ok(())
}

/// A message that waits holds no slot, and goes back if its endpoint stops.
async fn a_message_that_waits_lets_others_run(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("waiting");
    let (seen, gate) = (Recorder::<Place>::new(), Gate::closed());
    let endpoint = Endpoint::new(&queue).concurrency(2).consumer(with(
        (seen.clone(), gate.clone()),
        |(seen, gate): (Recorder<Place>, Gate), ctx: ConsumeContext<Place>| async move {
            seen.note(&ctx);
            if ctx.message().number == 0 {
                return Err(away());
            }
            gate.pass().await;
            Ok(())
        },
    ));
    let bus = broker.start(endpoint).await?;
    place(&bus, &queue, 0).await?;
    assert_eq!(seen.next().await.message().number, 0);
    places(&bus, &queue, 1..=2).await?;
    gate.holds(2).await;
    gate.open();
    within("the stop", bus.shutdown()).await?;
    broker.until_depth(&queue, 1).await;
    assert_eq!(
        broker.depth(&format!("{queue}_error")).await.unwrap_or(0),
        0
    );
    Ok(())
}

/// A conflict runs the same attempt again, in work of its own, and is no retry.
async fn a_conflict_runs_the_attempt_again(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("conflicting");
    let (seen, units) = (failing(3, conflict), Units::new());
    let endpoint = Endpoint::new(&queue).consumer(units.around(seen.clone()));
    let bus = broker.start(endpoint).await?;
    place(&bus, &queue, 1).await?;
    assert_eq!(attempts(&seen.take(4).await), [1, 1, 1, 1]);
    let failed = [Step::Begun(1), Step::RolledBack];
    let last = [Step::Begun(1), Step::Commit(0)];
    let steps = [failed, failed, failed, last].concat();
    assert_eq!(units.until(8).await, steps);
    bus.shutdown().await?;
    assert_eq!(
        broker.depth(&format!("{queue}_error")).await.unwrap_or(0),
        0
    );
    Ok(())
}

/// A conflict that does not end is a failure, which is retried as any other.
async fn a_conflict_without_end_is_a_failure(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("conflicting");
    let seen = failing(u32::MAX, conflict);
    let endpoint = Endpoint::new(&queue).retry(Retry::immediate(1));
    let bus = broker.start(endpoint.consumer(seen.clone())).await?;
    let wire = broker.wire().await;
    let errors = wire.read(&format!("{queue}_error")).await;
    place(&bus, &queue, 1).await?;
    let failed = errors.next().await;
    assert_eq!(reason(&failed), "another transaction was first");
    let attempts = attempts(&seen.take(22).await);
    assert_eq!(attempts, [[1; 11], [2; 11]].concat());
    assert_eq!(seen.calls(), 22);
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// A commit that runs into another one is a conflict too.
async fn a_commit_may_run_into_another(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("conflicting");
    let (seen, first) = (Recorder::<Place>::new(), Arc::new(AtomicBool::new(true)));
    let units = Units::new().committing(move |sent| {
        if first.swap(false, Ordering::SeqCst) {
            return Err(conflict());
        }
        Ok(sent)
    });
    let endpoint = Endpoint::new(&queue).consumer(units.around(seen.clone()));
    let bus = broker.start(endpoint).await?;
    place(&bus, &queue, 1).await?;
    let calls = seen.take(2).await;
    assert_eq!(
        (attempts(&calls), numbers(&calls)),
        (vec![1, 1], vec![1, 1])
    );
    bus.shutdown().await?;
    Ok(())
}

behaviours! { repeats:
    a_message_waits_for_what_its_consumer_needs,
    a_message_that_waits_lets_others_run,
    a_conflict_runs_the_attempt_again,
    a_conflict_without_end_is_a_failure,
    a_commit_may_run_into_another,
}
