//! Failed messages are tried again: when, how often, and what for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bus_core::error::FailureKind;
use bus_core::middleware::Jitter;
use bus_core::{ConsumeContext, ConsumeError, Endpoint, Fault, Policy, Retry, middleware};
use uuid::Uuid;

use crate::support::contracts::{LAST, Place};
use crate::support::fixture::{place, places, reason, serial};
use crate::support::{Gate, Outcome, Recorder, envelope, numbers, raw, with};
use crate::test_broker::TestBroker;

const MILLI: Duration = Duration::from_millis(1);

/// Runs one message that fails through an endpoint with this policy; the calls of
/// its consumer.
async fn attempts(
    broker: &dyn TestBroker,
    purpose: &str,
    retry: Retry,
    fail: impl Fn(&ConsumeContext<Place>) -> ConsumeError + Send + Sync + 'static,
) -> Outcome<Vec<ConsumeContext<Place>>> {
    let queue = broker.name(purpose);
    let seen = Recorder::<Place>::deciding(move |ctx| match ctx.message().number {
        LAST => Ok(()),
        _ => Err(fail(ctx)),
    });
    let endpoint = serial(&queue).retry(retry).consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    places(&bus, &queue, [1, LAST]).await?;
    let calls = seen.until_last().await;
    bus.shutdown().await?;
    assert_eq!(
        broker.depth(&format!("{queue}_error")).await,
        Some(1),
        "it failed for good"
    );
    Ok(calls)
}

/// An interval retry of limit 2 makes 3 attempts, numbered, and then no more.
async fn retries_are_counted_and_end(broker: &dyn TestBroker) -> Outcome {
    let calls = attempts(broker, "interval", Retry::interval(2, MILLI), |_| {
        "broken".into()
    })
    .await?;
    let order: Vec<_> = calls.iter().map(ConsumeContext::attempt).collect();
    assert_eq!(order, [1, 2, 3]);
    assert!(
        calls
            .windows(2)
            .all(|pair| pair[0].message_id() == pair[1].message_id())
    );
    Ok(())
}

/// Each kind of policy makes the attempts that its numbers say.
async fn every_policy_makes_its_attempts(broker: &dyn TestBroker) -> Outcome {
    let exponential = Retry::exponential(3, MILLI, 4 * MILLI);
    for (name, retry, expected) in [
        ("none", Retry::none(), 1),
        ("immediate", Retry::immediate(2), 3),
        ("interval", Retry::interval(1, MILLI), 2),
        ("intervals", Retry::intervals([MILLI, 2 * MILLI, MILLI]), 4),
        ("incremental", Retry::incremental(2, MILLI, MILLI), 3),
        ("exponential", exponential.clone(), 4),
        ("steady", exponential.jitter(Jitter::None), 4),
    ] {
        let calls = attempts(broker, name, retry, |_| "broken".into()).await?;
        assert_eq!(calls.len(), expected, "{name}");
    }
    Ok(())
}

/// A long row of immediate retries runs to its end.
async fn thousands_of_immediate_retries_run(broker: &dyn TestBroker) -> Outcome {
    let calls = attempts(broker, "many", Retry::immediate(5_000), |_| "broken".into()).await?;
    assert_eq!(calls.len(), 5_001);
    Ok(())
}

/// A message that succeeds at its second attempt is done: no fault, nothing in the
/// error queue.
async fn a_message_that_succeeds_at_last_is_done(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("flaky");
    let seen = Recorder::<Place>::deciding(|ctx| match ctx.attempt() {
        1 => Err("broken".into()),
        _ => Ok(()),
    });
    let endpoint = Endpoint::new(&queue)
        .retry(Retry::immediate(3))
        .consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    place(&bus, &queue, 1).await?;
    assert_eq!(
        seen.take(2).await.last().map(ConsumeContext::attempt),
        Some(2)
    );
    bus.shutdown().await?;
    assert_eq!(seen.calls(), 2);
    assert_eq!(broker.depth(&queue).await, Some(0));
    assert_eq!(
        broker.depth(&format!("{queue}_error")).await.unwrap_or(0),
        0
    );
    Ok(())
}

#[derive(Debug, thiserror::Error)]
#[error("the invoice is a duplicate")]
struct Duplicate;

#[derive(Debug, thiserror::Error)]
#[error("the invoice was not stored")]
struct NotStored(#[source] Duplicate);

/// An ignored error is not retried, also where it is the cause of another; unlisted
/// errors are.
async fn ignored_errors_are_not_retried(broker: &dyn TestBroker) -> Outcome {
    let retry = || Retry::immediate(2).ignore::<Duplicate>();
    let plain = attempts(broker, "plain", retry(), |_| Duplicate.into()).await?;
    assert_eq!(plain.len(), 1);
    let wrapped = attempts(broker, "wrapped", retry(), |_| NotStored(Duplicate).into()).await?;
    assert_eq!(wrapped.len(), 1);
    let other = attempts(broker, "other", retry(), |_| "another".into()).await?;
    assert_eq!(other.len(), 3);
    Ok(())
}

/// A policy for one error retries nothing else.
async fn only_listed_errors_are_retried(broker: &dyn TestBroker) -> Outcome {
    let retry = || Retry::immediate(2).only::<Duplicate>();
    let listed = attempts(broker, "listed", retry(), |_| NotStored(Duplicate).into()).await?;
    assert_eq!(listed.len(), 3);
    let other = attempts(broker, "other", retry(), |_| "another".into()).await?;
    assert_eq!(other.len(), 1);
    Ok(())
}

/// The filter is asked after each attempt.
async fn the_filter_is_asked_after_each_attempt(broker: &dyn TestBroker) -> Outcome {
    let retry = Retry::immediate(5).when(|error| error.to_string() != "hopeless");
    let calls = attempts(broker, "flips", retry, |ctx| match ctx.attempt() {
        1 => "try again".into(),
        _ => "hopeless".into(),
    });
    assert_eq!(calls.await?.len(), 2);
    Ok(())
}

/// A permanent error is not retried.
async fn a_permanent_error_is_not_retried(broker: &dyn TestBroker) -> Outcome {
    let fail = |_: &ConsumeContext<Place>| ConsumeError::permanent("the number is taken");
    let calls = attempts(broker, "permanent", Retry::immediate(5), fail).await?;
    assert_eq!(calls.len(), 1);
    Ok(())
}

/// A panic is caught and not retried; the endpoint goes on.
async fn a_panic_is_a_failure_and_the_endpoint_goes_on(broker: &dyn TestBroker) -> Outcome {
    let calls = attempts(broker, "panics", Retry::immediate(5), |_| {
        panic!("out of paper")
    })
    .await?;
    assert_eq!(calls.len(), 1);
    let wire = broker.wire().await;
    let failed = wire
        .read(&format!("{}_error", broker.name("panics")))
        .await
        .next()
        .await;
    let text = reason(&failed).to_owned();
    assert!(text.contains("out of paper"), "{text}");
    wire.close().await;
    Ok(())
}

/// An attempt that takes too long ends, counts as failed, and is retried.
async fn an_attempt_that_takes_too_long_is_retried(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("slow");
    let stuck = Gate::closed();
    let seen = Recorder::<Place>::new();
    let endpoint = Endpoint::new(&queue)
        .policy(Policy::new().timeout(Duration::from_millis(30)))
        .retry(Retry::immediate(1).when(|error| error.kind() == FailureKind::TimedOut))
        .consumer(with(
            (seen.clone(), stuck.clone()),
            |(seen, stuck), ctx: ConsumeContext<Place>| async move {
                seen.note(&ctx);
                stuck.pass().await;
                Ok(())
            },
        ));
    let bus = broker.start(endpoint).await?;
    let wire = broker.wire().await;
    let errors = wire.read(&format!("{queue}_error")).await;
    place(&bus, &queue, 1).await?;
    let failed = errors.next().await;
    let text = reason(&failed).to_owned();
    assert!(text.contains("timeout of 30ms"), "{text}");
    assert_eq!(seen.calls(), 2);
    stuck.holds(0).await;
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// Every attempt sees the original message, and so does the error queue.
async fn every_attempt_sees_the_original_message(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("original");
    let seen = Recorder::<Place>::failing();
    let endpoint = Endpoint::new(&queue)
        .retry(Retry::immediate(2))
        .consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    let wire = broker.wire().await;
    let errors = wire.read(&format!("{queue}_error")).await;
    bus.send_to(format!("queue:{queue}"), &Place { number: 1 })
        .header("Tenant", "north")
        .await?;
    let failed = errors.next().await;
    for call in seen.take(3).await {
        assert_eq!(call.message().number, 1);
        assert_eq!(call.headers().text("Tenant"), Some("north"));
        assert_eq!(call.incoming().body, failed.body);
        assert!(!call.headers().contains("MT-Fault-RetryCount"));
    }
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// A foreign message without ids or headers is retried like any other.
async fn a_foreign_message_without_ids_is_retried(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("bare");
    let seen = Recorder::<Place>::deciding(|ctx| match ctx.attempt() {
        1 => Err("broken".into()),
        _ => Ok(()),
    });
    let endpoint = Endpoint::new(&queue)
        .retry(Retry::immediate(1))
        .consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    let wire = broker.wire().await;
    let body = envelope::<Place>(&queue, &serde_json::json!({ "number": 1 })).body;
    wire.send(raw(&queue, body)).await;
    assert_eq!(seen.take(2).await[1].attempt(), 2);
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// The policy of an endpoint wins over that of its bus.
async fn the_policy_of_the_endpoint_wins(broker: &dyn TestBroker) -> Outcome {
    let (own, general) = (Recorder::<Place>::failing(), Recorder::<Place>::failing());
    let (first, second) = (broker.name("own"), broker.name("general"));
    let bus = broker
        .bus()
        .policy(Policy::new().retry(Retry::immediate(3)))
        .endpoint(
            Endpoint::new(&first)
                .retry(Retry::none())
                .consumer(own.clone()),
        )
        .endpoint(Endpoint::new(&second).consumer(general.clone()))
        .start()
        .await?;
    let wire = broker.wire().await;
    for queue in [&first, &second] {
        let errors = wire.read(&format!("{queue}_error")).await;
        place(&bus, queue, 1).await?;
        errors.next().await;
    }
    assert_eq!((own.calls(), general.calls()), (1, 4));
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// Middleware around the delivery runs once, middleware around attempts at each of
/// them.
async fn middleware_runs_around_the_delivery_or_each_attempt(broker: &dyn TestBroker) -> Outcome {
    let counted = |count: &Arc<AtomicU32>| {
        let count = Arc::clone(count);
        middleware::from_fn(move |ctx: ConsumeContext, next: bus_core::Next| {
            count.fetch_add(1, Ordering::SeqCst);
            async move { next.run(ctx).await }
        })
    };
    let (around, inside) = (Arc::default(), Arc::default());
    let seen = Recorder::<Place>::deciding(|ctx| match ctx.attempt() {
        3 => Ok(()),
        _ => Err("broken".into()),
    });
    let queue = broker.name("layers");
    let endpoint = Endpoint::new(&queue)
        .policy(Policy::new().around_attempt(counted(&inside)))
        .policy(Policy::new().middleware(counted(&around)))
        .retry(Retry::immediate(5))
        .consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    place(&bus, &queue, 1).await?;
    assert_eq!(numbers(&seen.take(3).await), [1, 1, 1]);
    bus.shutdown().await?;
    assert_eq!(around.load(Ordering::SeqCst), 1);
    assert_eq!(inside.load(Ordering::SeqCst), 3);
    Ok(())
}

/// A message that was retried causes one fault.
async fn a_retried_message_raises_one_fault(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("broken");
    let seen = Recorder::<Place>::failing();
    let faults = Recorder::<Fault<Place>>::new();
    let bus = broker
        .bus()
        .endpoint(
            serial(&queue)
                .retry(Retry::immediate(5))
                .consumer(seen.clone()),
        )
        .endpoint(serial(broker.name("faults")).consumer(faults.clone()))
        .start()
        .await?;
    let ids = [Uuid::now_v7(), Uuid::now_v7()];
    for id in ids {
        bus.send_to(format!("queue:{queue}"), &Place { number: 1 })
            .message_id(id)
            .await?;
    }
    let mut told = Vec::new();
    while told.last() != Some(&ids[1]) {
        let id = faults.next().await.message().faulted_message_id;
        told.extend(id.filter(|id| ids.contains(id)));
    }
    assert_eq!(told, ids);
    assert_eq!(seen.calls(), 12);
    bus.shutdown().await?;
    Ok(())
}

behaviours! { retrying:
    retries_are_counted_and_end,
    every_policy_makes_its_attempts,
    thousands_of_immediate_retries_run,
    a_message_that_succeeds_at_last_is_done,
    ignored_errors_are_not_retried,
    only_listed_errors_are_retried,
    the_filter_is_asked_after_each_attempt,
    a_permanent_error_is_not_retried,
    a_panic_is_a_failure_and_the_endpoint_goes_on,
    an_attempt_that_takes_too_long_is_retried,
    every_attempt_sees_the_original_message,
    a_foreign_message_without_ids_is_retried,
    the_policy_of_the_endpoint_wins,
    middleware_runs_around_the_delivery_or_each_attempt,
    a_retried_message_raises_one_fault,
}
