//! Rate limits: messages for which it is too early wait where they are.

use std::time::{Duration, Instant};

use bus_core::error::LimitError;
use bus_core::{Bus, Endpoint, EndpointHandle, Policy, RateLimit};

use crate::support::contracts::Place;
use crate::support::fixture::{places, serial};
use crate::support::{Outcome, Recorder, numbers};
use crate::test_broker::TestBroker;

const HOUR: Duration = Duration::from_secs(3_600);

/// Starts an endpoint with this limit, and sends it messages.
async fn start(
    broker: &dyn TestBroker,
    seen: &Recorder<Place>,
    limit: RateLimit,
    count: u32,
) -> Outcome<(Bus, EndpointHandle)> {
    let queue = broker.name("limited");
    let endpoint = Endpoint::new(&queue)
        .concurrency(4)
        .policy(Policy::new().rate_limit(limit))
        .consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    places(&bus, &queue, 0..count).await?;
    let handle = bus.endpoint(&queue).ok_or("the endpoint is there")?;
    Ok((bus, handle))
}

/// Messages take the time that the rate says, and all of them come.
async fn messages_come_at_the_rate(broker: &dyn TestBroker) -> Outcome {
    let (seen, begin) = (Recorder::new(), Instant::now());
    let limit = RateLimit::per_second(50);
    let (bus, _) = start(broker, &seen, limit, 11).await?;
    let calls = seen.take(11).await;
    let taken = begin.elapsed();
    assert!(taken >= Duration::from_millis(200), "{taken:?}");
    assert_eq!(numbers(&calls), (0..11).collect::<Vec<_>>());
    bus.shutdown().await?;
    Ok(())
}

/// A burst comes at once; the others are not begun, and go back on a pause.
async fn what_is_too_early_is_not_begun(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::new();
    let limit = RateLimit::new(1, HOUR).burst(3);
    let (bus, endpoint) = start(broker, &seen, limit, 5).await?;
    seen.take(3).await;
    endpoint.pause().await;
    broker.until_depth(endpoint.control().name(), 2).await;
    assert_eq!(seen.calls(), 3);
    bus.shutdown().await?;
    Ok(())
}

/// Messages that fail count as those that succeed.
async fn failures_count(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::failing();
    let limit = RateLimit::new(1, HOUR).burst(2);
    let (bus, endpoint) = start(broker, &seen, limit, 4).await?;
    seen.take(2).await;
    endpoint.pause().await;
    let queue = endpoint.control().name().to_owned();
    broker.until_depth(&queue, 2).await;
    broker.until_depth(&format!("{queue}_error"), 2).await;
    bus.shutdown().await?;
    Ok(())
}

/// A limit that is changed, or lifted, holds for messages that wait.
async fn a_change_holds_for_those_that_wait(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::new();
    let (bus, endpoint) = start(broker, &seen, RateLimit::new(1, HOUR), 10).await?;
    seen.next().await;
    let control = endpoint.control();
    control.set_rate_limit(RateLimit::new(1, HOUR).burst(4))?;
    // One of the burst is used already.
    seen.take(3).await;
    let none = control.set_rate_limit(RateLimit::per_second(0));
    assert!(matches!(none, Err(LimitError::ZeroRate)), "{none:?}");
    control.lift_rate_limit();
    seen.take(6).await;
    bus.shutdown().await?;
    assert_eq!(seen.calls(), 10);
    Ok(())
}

/// A limited endpoint of concurrency 1 keeps the order of its queue.
async fn the_order_is_kept(broker: &dyn TestBroker) -> Outcome {
    let (queue, seen) = (broker.name("ordered"), Recorder::<Place>::new());
    let sender = broker.bus().start().await?;
    places(&sender, &queue, 0..40).await?;
    let limit = RateLimit::per_second(400);
    let endpoint = serial(&queue)
        .policy(Policy::new().prefetch(20).rate_limit(limit))
        .consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    let calls = seen.take(40).await;
    let order: Vec<_> = calls.iter().map(|call| call.message().number).collect();
    assert_eq!(order, (0..40).collect::<Vec<_>>());
    bus.shutdown().await?;
    sender.shutdown().await?;
    Ok(())
}

/// Limits that would let nothing through are mistakes.
async fn limits_that_cannot_work_are_mistakes(broker: &dyn TestBroker) -> Outcome {
    let limited = |name: &str, limit| {
        let endpoint = Endpoint::new(name).consumer(Recorder::<Place>::new());
        endpoint.policy(Policy::new().rate_limit(limit))
    };
    let bus = broker
        .bus()
        .endpoint(limited("none", RateLimit::per_second(0)))
        .endpoint(limited("no-burst", RateLimit::per_second(9).burst(0)))
        .endpoint(limited("no-time", RateLimit::new(9, Duration::ZERO)));
    let started = bus.start().await.err();
    let error = started.ok_or("they are mistakes")?.to_string();
    for expected in [
        "`none`: its rate limit lets no message through",
        "`no-burst`: its rate limit lets no message through",
        "`no-time`: the period of its rate limit is zero",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    Ok(())
}

behaviours! { rate_limits:
    messages_come_at_the_rate,
    what_is_too_early_is_not_begun,
    failures_count,
    a_change_holds_for_those_that_wait,
    the_order_is_kept,
    limits_that_cannot_work_are_mistakes,
}
