//! Partitions: messages of one key, one after the other, beside those of others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bus_core::message::HeaderValue;
use bus_core::{ConsumeContext, Consumer, Endpoint, Policy, Retry};

use crate::stage::Stage;
use crate::support::contracts::{Cancelled, Ordered, Place};
use crate::support::scene::{Scene, in_order, place, places, reason};
use crate::support::{Gate, Outcome, Recorder, with};

/// Ten messages after each other have one key.
fn by_tens() -> Policy {
    Policy::new()
        .prefetch(20)
        .partition_by(|place: &Place| place.number / 10)
}

/// Lets the messages below 10 wait at one gate, the others at the next.
fn waits(seen: &Recorder<Place>, gates: [&Gate; 2]) -> impl Consumer<Place> + use<> {
    let gates = gates.map(Gate::clone);
    seen.then(move |ctx: ConsumeContext<Place>| {
        let gate = gates[usize::from(ctx.message().number >= 10)].clone();
        async move {
            gate.pass().await;
            Ok(())
        }
    })
}

/// Messages of one key never run at once, and keep the order of the queue.
async fn each_key_keeps_its_order(stage: &dyn Stage) -> Outcome {
    const COUNT: u32 = 120;
    let queue = stage.name("keys");
    let seen = Recorder::<Place>::new();
    let running = Arc::new(Mutex::new(HashMap::<u32, u32>::new()));
    let overlaps = Arc::new(Mutex::new(Vec::new()));
    let consumer = {
        let (running, overlaps) = (Arc::clone(&running), Arc::clone(&overlaps));
        seen.then(move |ctx: ConsumeContext<Place>| {
            let (running, overlaps) = (Arc::clone(&running), Arc::clone(&overlaps));
            async move {
                let (number, key) = (ctx.message().number, ctx.message().number % 3);
                let other = running.lock().expect("no panic").insert(key, number);
                if let Some(other) = other {
                    overlaps.lock().expect("no panic").push((other, number));
                }
                tokio::task::yield_now().await;
                running.lock().expect("no panic").remove(&key);
                Ok(())
            }
        })
    };
    let endpoint = Endpoint::new(&queue).concurrency(8).consumer(consumer);
    let keys = Policy::new()
        .prefetch(50)
        .partition_by(|place: &Place| place.number % 3);
    let bus = stage.start(endpoint.policy(keys)).await?;
    places(&bus, &queue, 0..COUNT).await?;
    let order = in_order(&seen.take(COUNT as usize).await);
    for key in 0..3 {
        let of_key = order.iter().copied().filter(|number| number % 3 == key);
        assert!(of_key.is_sorted(), "{order:?}");
    }
    bus.shutdown().await?;
    assert_eq!(*overlaps.lock().expect("no panic"), []);
    Ok(())
}

/// A message that waits for its key holds no slot: those of another key run.
async fn one_that_waits_holds_no_slot(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("slots");
    let (seen, one, other) = (Recorder::new(), Gate::closed(), Gate::closed());
    let endpoint = Endpoint::new(&queue)
        .concurrency(2)
        .policy(by_tens())
        .consumer(waits(&seen, [&one, &other]));
    let bus = stage.start(endpoint).await?;
    places(&bus, &queue, 0..8).await?;
    place(&bus, &queue, 10).await?;
    one.holds(1).await;
    other.holds(1).await;
    stage.until_depth(&queue, 0).await;
    assert_eq!((one.waiting(), other.waiting()), (1, 1));
    one.open();
    other.open();
    seen.take(9).await;
    bus.shutdown().await?;
    assert_eq!(one.most(), 1);
    Ok(())
}

/// Keys do not lift the limit of the endpoint.
async fn the_concurrency_holds_over_all_keys(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("limited");
    let (seen, gate) = (Recorder::new(), Gate::closed());
    let endpoint = Endpoint::new(&queue)
        .concurrency(3)
        .policy(by_tens())
        .consumer(waits(&seen, [&gate, &gate]));
    let bus = stage.start(endpoint).await?;
    places(&bus, &queue, (0..10).map(|key| key * 10)).await?;
    gate.holds(3).await;
    stage.until_depth(&queue, 0).await;
    assert_eq!(gate.waiting(), 3);
    gate.open();
    seen.take(10).await;
    bus.shutdown().await?;
    assert_eq!(gate.most(), 3);
    Ok(())
}

/// Messages without a key run beside each other.
async fn messages_without_a_key_run_at_once(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("keyless");
    let (seen, gate) = (Recorder::new(), Gate::closed());
    let tenant = |ctx: &ConsumeContext| {
        let tenant = ctx.header("Tenant").and_then(HeaderValue::as_str);
        tenant.map(str::to_owned)
    };
    let endpoint = Endpoint::new(&queue)
        .concurrency(4)
        .policy(Policy::new().partition(tenant))
        .consumer(waits(&seen, [&gate, &gate]));
    let bus = stage.start(endpoint).await?;
    for number in [0, 1] {
        bus.send_to(format!("queue:{queue}"), &Place { number })
            .header("Tenant", "north")
            .await?;
    }
    places(&bus, &queue, [2, 3, 4]).await?;
    gate.holds(4).await;
    let mut order = in_order(&seen.take(4).await);
    order.sort_unstable();
    assert_eq!(order, [0, 2, 3, 4]);
    gate.open();
    assert_eq!(seen.next().await.message().number, 1);
    bus.shutdown().await?;
    Ok(())
}

/// Messages of several types that have one key go one after the other.
async fn a_key_holds_over_all_types(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("types");
    let gate = Gate::closed();
    let policy = Policy::new()
        .partition_by(|place: &Ordered| place.number)
        .partition_by(|cancelled: &Cancelled| cancelled.number);
    let endpoint = Endpoint::new(&queue)
        .concurrency(4)
        .policy(policy)
        .consumer(with(
            gate.clone(),
            |gate, _: ConsumeContext<Ordered>| async move {
                gate.pass().await;
                Ok(())
            },
        ))
        .consumer(with(
            gate.clone(),
            |gate, _: ConsumeContext<Cancelled>| async move {
                gate.pass().await;
                Ok(())
            },
        ));
    let bus = stage.start(endpoint).await?;
    let address = format!("queue:{queue}");
    bus.send_to(address.as_str(), &Ordered { number: 1 })
        .await?;
    bus.send_to(address.as_str(), &Cancelled { number: 1 })
        .await?;
    bus.send_to(address.as_str(), &Cancelled { number: 2 })
        .await?;
    gate.holds(2).await;
    stage.until_depth(&queue, 0).await;
    assert_eq!(gate.waiting(), 2, "the second of key 1 waits");
    gate.open();
    bus.shutdown().await?;
    Ok(())
}

/// A message that is tried again keeps those of its key behind it.
async fn retries_keep_the_order_of_a_key(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("retried");
    let seen = Recorder::deciding(|ctx: &ConsumeContext<Place>| {
        if ctx.message().number == 0 && ctx.attempt() < 3 {
            return Err("not yet".into());
        }
        Ok(())
    });
    let endpoint = Endpoint::new(&queue)
        .concurrency(4)
        .retry(Retry::immediate(5))
        .policy(by_tens())
        .consumer(seen.clone());
    let sender = stage.bus().start().await?;
    places(&sender, &queue, [0, 1, 2]).await?;
    let bus = stage.start(endpoint).await?;
    assert_eq!(in_order(&seen.take(5).await), [0, 0, 0, 1, 2]);
    bus.shutdown().await?;
    sender.shutdown().await?;
    Ok(())
}

/// A message that fails for good lets the next one of its key run.
async fn a_failure_does_not_end_a_key(stage: &dyn Stage) -> Outcome {
    let seen = Recorder::deciding(|ctx: &ConsumeContext<Place>| match ctx.message().number {
        0 => Err("broken".into()),
        _ => Ok(()),
    });
    let set = |endpoint: Endpoint| endpoint.concurrency(4).policy(by_tens());
    let scene = Scene::start(stage, seen, set).await?;
    for number in [0, 1] {
        scene.send(&Place { number }).await?;
    }
    assert_eq!(in_order(&scene.seen.take(2).await), [0, 1]);
    assert_eq!(reason(&scene.errors.next().await), "broken");
    scene.stop().await
}

/// A key that panics fails its message, and no other.
async fn a_key_that_panics_fails_its_message(stage: &dyn Stage) -> Outcome {
    let keys = Policy::new().partition_by(|place: &Place| {
        assert_ne!(place.number, 0, "no key for this one");
        place.number
    });
    let set = |endpoint: Endpoint| endpoint.concurrency(4).policy(keys);
    let scene = Scene::start(stage, Recorder::<Place>::new(), set).await?;
    for number in [0, 1] {
        scene.send(&Place { number }).await?;
    }
    assert_eq!(scene.seen.next().await.message().number, 1);
    let failed = scene.errors.next().await;
    assert!(
        reason(&failed).contains("no key for this one"),
        "{failed:?}"
    );
    scene.stop().await
}

/// Messages that wait for their key go back on a pause, and come in order again.
async fn those_that_wait_go_back_on_a_pause(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("pausing");
    let (seen, gate) = (Recorder::new(), Gate::closed());
    let endpoint = Endpoint::new(&queue)
        .concurrency(4)
        .policy(by_tens())
        .consumer(waits(&seen, [&gate, &gate]));
    let bus = stage.start(endpoint).await?;
    places(&bus, &queue, 0..5).await?;
    gate.holds(1).await;
    stage.until_depth(&queue, 0).await;
    let handle = bus.endpoint(&queue).ok_or("the endpoint is there")?;
    let pausing = tokio::spawn({
        let handle = handle.clone();
        async move { handle.pause().await }
    });
    stage.until_depth(&queue, 4).await;
    gate.open();
    pausing.await?;
    assert_eq!(seen.calls(), 1);
    handle.resume().await?;
    assert_eq!(in_order(&seen.take(5).await), [0, 1, 2, 3, 4]);
    bus.shutdown().await?;
    Ok(())
}

/// An endpoint that acknowledges first cannot let messages wait for a key.
async fn at_most_once_has_no_keys(stage: &dyn Stage) -> Outcome {
    let endpoint = Endpoint::new(stage.name("lossy"))
        .policy(by_tens())
        .at_most_once()
        .consumer(Recorder::<Place>::new());
    let error = stage.start(endpoint).await.err().ok_or("it is a mistake")?;
    assert!(error.to_string().contains("partition"), "{error}");
    Ok(())
}

behaviours! { partitions:
    each_key_keeps_its_order,
    one_that_waits_holds_no_slot,
    the_concurrency_holds_over_all_keys,
    messages_without_a_key_run_at_once,
    a_key_holds_over_all_types,
    retries_keep_the_order_of_a_key,
    a_failure_does_not_end_a_key,
    a_key_that_panics_fails_its_message,
    those_that_wait_go_back_on_a_pause,
    at_most_once_has_no_keys,
}
