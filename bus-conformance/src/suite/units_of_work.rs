//! Units of work: an attempt counts as a whole, or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bus_core::consume::{UnitOfWork, consumers};
use bus_core::send::SealedMessage;
use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, Policy, Retry, queue};
use uuid::Uuid;

use super::idempotency::once;
use crate::support::contracts::{Answered, Ask, Cancelled, LAST, Ordered, Place};
use crate::support::fixture::{in_order, place, places, serial};
use crate::support::units::{Step, Units};
use crate::support::{Gate, Outcome, Recorder, numbers, with, within};
use crate::test_broker::TestBroker;

use Step::{Begun as Began, Commit, Dropped, RolledBack};

/// Publishes the number of its attempt, then ends as `outcome` says.
fn publisher(
    outcome: impl Fn(&ConsumeContext<Place>) -> ConsumeResult + Copy + Send + Sync + 'static,
) -> impl bus_core::Consumer<Place> {
    with(outcome, |outcome, ctx: ConsumeContext<Place>| async move {
        let number = ctx.attempt();
        ctx.publish(&Ordered { number }).await?;
        outcome(&ctx)
    })
}

/// An endpoint in a unit of work, and a receiver of what its consumer publishes.
struct Sent {
    bus: Bus,
    queue: String,
    ordered: Recorder<Ordered>,
}

impl Sent {
    async fn start(
        broker: &dyn TestBroker,
        set: impl FnOnce(Endpoint) -> Endpoint,
    ) -> Outcome<Self> {
        let queue = broker.name("unit");
        let ordered = Recorder::new();
        let bus = broker
            .bus()
            .endpoint(set(serial(&queue).without_subscriptions()))
            .endpoint(serial(broker.name("ordered")).consumer(ordered.clone()))
            .start()
            .await?;
        Ok(Self {
            bus,
            queue,
            ordered,
        })
    }

    /// Returns what was published before now; everything before must be settled.
    async fn published(&self) -> Outcome<Vec<u32>> {
        self.bus.publish(&Ordered { number: LAST }).await?;
        Ok(in_order(&self.ordered.until_last().await))
    }
}

/// Each attempt has work of its own, which is rolled back if it fails.
async fn each_attempt_has_work_of_its_own(broker: &dyn TestBroker) -> Outcome {
    let units = Units::new();
    let consumer = units.around(publisher(|ctx| match ctx.attempt() {
        3 => Ok(()),
        _ => Err("broken".into()),
    }));
    let sent = Sent::start(broker, |endpoint| {
        endpoint.retry(Retry::immediate(5)).consumer(consumer)
    })
    .await?;
    place(&sent.bus, &sent.queue, 1).await?;
    assert_eq!(sent.ordered.next().await.message().number, 3);
    assert_eq!(
        units.steps(),
        [
            Began(1),
            RolledBack,
            Began(2),
            RolledBack,
            Began(3),
            Commit(1)
        ]
    );
    assert_eq!(sent.published().await?, [0; 0]);
    sent.bus.shutdown().await?;
    Ok(())
}

/// A panic and the end of the timeout roll back, as an error does.
async fn a_panic_and_a_timeout_roll_back(broker: &dyn TestBroker) -> Outcome {
    let units = Units::new();
    let consumer = with((), |(), ctx: ConsumeContext<Place>| async move {
        ctx.publish(&Ordered { number: 1 }).await?;
        assert_ne!(ctx.message().number, 1, "as the test wants");
        if ctx.message().number == 2 {
            std::future::pending::<()>().await;
        }
        Ok(())
    });
    let sent = Sent::start(broker, |endpoint| {
        let brief = Policy::new().timeout(Duration::from_millis(30));
        endpoint.policy(brief).consumer(units.around(consumer))
    })
    .await?;
    places(&sent.bus, &sent.queue, [1, 2]).await?;
    broker
        .until_depth(&format!("{}_error", sent.queue), 2)
        .await;
    let steps = [Began(1), RolledBack, Began(1), RolledBack];
    assert_eq!(units.steps(), steps);
    assert_eq!(sent.published().await?, [0; 0]);
    sent.bus.shutdown().await?;
    Ok(())
}

/// Work that a stop cuts off is dropped, and its message comes again.
async fn a_stop_drops_the_work(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("unit");
    let (units, gate) = (Units::new(), Gate::closed());
    let stuck = with(gate.clone(), |gate, _: ConsumeContext<Place>| async move {
        gate.pass().await;
        Ok(())
    });
    let endpoint = Endpoint::new(&queue).consumer(units.around(stuck));
    let brief = broker.bus().stop_timeout(Duration::from_millis(50));
    let bus = brief.endpoint(endpoint).start().await?;
    place(&bus, &queue, 1).await?;
    gate.holds(1).await;
    let stopped = within("the stop", bus.shutdown()).await;
    stopped.expect_err("the consumer is cut off");
    broker.until_depth(&queue, 1).await;
    assert_eq!(units.steps(), [Began(1), Dropped]);
    Ok(())
}

/// A commit that fails is a failed attempt: nothing leaves, and it is retried.
async fn a_failed_commit_is_a_failed_attempt(broker: &dyn TestBroker) -> Outcome {
    let failures = AtomicU32::new(2);
    let units = Units::new().committing(move |sent| {
        let left = failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        match left {
            Ok(_) => Err("not committed".into()),
            Err(_) => Ok(sent),
        }
    });
    let sent = Sent::start(broker, |endpoint| {
        let endpoint = endpoint.retry(Retry::immediate(2));
        endpoint.consumer(units.around(publisher(|_| Ok(()))))
    })
    .await?;
    place(&sent.bus, &sent.queue, 1).await?;
    assert_eq!(sent.ordered.next().await.message().number, 3);
    assert_eq!(sent.published().await?, [0; 0]);
    let steps = [
        Began(1),
        Commit(1),
        Began(2),
        Commit(1),
        Began(3),
        Commit(1),
    ];
    assert_eq!(units.steps(), steps);
    sent.bus.shutdown().await?;
    Ok(())
}

/// Work that cannot begin fails the attempt, without a call of its consumer.
async fn work_that_cannot_begin_fails_the_attempt(broker: &dyn TestBroker) -> Outcome {
    let units = Units::new().beginning(|ctx| match ctx.attempt() {
        1 => Err("not begun".into()),
        2 => Ok(None),
        _ => panic!("as the test wants"),
    });
    let seen = Recorder::<Place>::deciding(|_| Err("broken".into()));
    let endpoint = |queue: &str| serial(queue).retry(Retry::immediate(5));
    let queue = broker.name("unit");
    let endpoint = endpoint(&queue).consumer(units.around(seen.clone()));
    let bus = broker.start(endpoint).await?;
    place(&bus, &queue, 1).await?;
    broker.until_depth(&format!("{queue}_error"), 1).await;
    assert_eq!(seen.next().await.attempt(), 2);
    assert_eq!(seen.calls(), 1);
    assert_eq!(units.steps(), [Began(1), Began(2), RolledBack, Began(3)]);
    bus.shutdown().await?;
    Ok(())
}

fn is_ordered(message: &SealedMessage) -> bool {
    let urn = message.envelope.message_type().unwrap_or_default();
    urn.ends_with(":Ordered")
}

/// The messages that a commit returns leave in its order; others do not leave.
async fn what_a_commit_returns_leaves_in_order(broker: &dyn TestBroker) -> Outcome {
    let end = broker.name("end");
    let units = Units::new().committing(|sent| {
        let kept = |message: &SealedMessage| is_ordered(message);
        Ok(sent
            .into_iter()
            .rev()
            .filter(|message| !kept(message))
            .collect())
    });
    let cancelled = Recorder::<Cancelled>::new();
    let consumer = with(end.clone(), |end, ctx: ConsumeContext<Place>| async move {
        for number in 1..=5 {
            ctx.publish(&Ordered { number }).await?;
            ctx.send_to(queue(end.clone()), &Cancelled { number })
                .await?;
        }
        Ok(())
    });
    let sent = Sent::start(broker, |endpoint| endpoint.consumer(units.around(consumer))).await?;
    let receiver = serial(&end).without_subscriptions();
    let receiver = broker.start(receiver.consumer(cancelled.clone())).await?;
    place(&sent.bus, &sent.queue, 1).await?;
    assert_eq!(in_order(&cancelled.take(5).await), [5, 4, 3, 2, 1]);
    assert_eq!(sent.published().await?, [0; 0]);
    sent.bus.shutdown().await?;
    receiver.shutdown().await?;
    Ok(())
}

/// Nothing leaves before the commit, also on an endpoint without an outbox.
async fn nothing_leaves_before_the_commit(broker: &dyn TestBroker) -> Outcome {
    for outbox in [true, false] {
        let gate = Gate::closed();
        let units = Units::new().behind(&gate);
        let sent = Sent::start(broker, |endpoint| {
            let endpoint = endpoint.consumer(units.around(publisher(|_| Ok(()))));
            if outbox {
                return endpoint;
            }
            endpoint.policy(Policy::new().without_outbox())
        })
        .await?;
        place(&sent.bus, &sent.queue, 1).await?;
        gate.holds(1).await;
        assert_eq!(sent.published().await?, [0; 0]);
        gate.open();
        assert_eq!(sent.ordered.next().await.message().number, 1);
        sent.bus.shutdown().await?;
    }
    Ok(())
}

/// An idempotency store around the unit still keeps the replies that leave.
async fn an_idempotency_store_keeps_what_leaves_of_a_unit(broker: &dyn TestBroker) -> Outcome {
    let (asked, units) = (Recorder::<Ask>::new(), Units::new());
    let answer = asked.then(|ctx| async move {
        let number = ctx.message().number;
        Ok(ctx.respond(&Answered { number }).await?)
    });
    let queue = broker.name("unit");
    let endpoint = serial(&queue)
        .policy(Policy::new().without_outbox())
        .idempotency(once())
        .consumer(units.around(answer));
    let server = broker.start(endpoint).await?;
    let client = broker.bus().start().await?;
    let id = Uuid::now_v7();
    for _ in 0..2 {
        let request = client
            .request::<Answered>(&Ask { number: 7 })
            .message_id(id);
        let reply = request.to(bus_core::queue(queue.clone())).await?;
        assert_eq!(reply.number, 7);
    }
    assert_eq!(asked.calls(), 1);
    assert_eq!(units.steps(), [Began(1), Commit(1)]);
    server.shutdown().await?;
    client.shutdown().await?;
    Ok(())
}

/// Consumers of two messages in one unit of work.
struct Both {
    units: Units,
    seen: Recorder<Place>,
}

#[consumers]
impl Both {
    async fn place(&self, ctx: ConsumeContext<Place>) -> ConsumeResult {
        ctx.extension::<Units>().ok_or("no unit")?;
        self.seen.note(&ctx);
        Ok(())
    }

    async fn cancel(&self, ctx: ConsumeContext<Cancelled>) -> ConsumeResult {
        ctx.extension::<Units>().ok_or("no unit")?;
        Ok(())
    }

    fn unit_of_work(&self) -> Arc<dyn UnitOfWork> {
        Arc::new(self.units.clone())
    }
}

/// Consumers on one instance, and shared ones, bring their unit too.
async fn shared_consumers_bring_their_unit(broker: &dyn TestBroker) -> Outcome {
    let (units, seen) = (Units::new(), Recorder::new());
    let both = Arc::new(Both {
        units: units.clone(),
        seen: seen.clone(),
    });
    let queue = broker.name("unit");
    let bus = broker.start(serial(&queue).consumers(both)).await?;
    bus.send_to(bus_core::queue(queue.clone()), &Cancelled { number: 1 })
        .await?;
    place(&bus, &queue, LAST).await?;
    assert_eq!(numbers(&seen.take(1).await), [LAST]);
    let steps = [Began(1), Commit(0), Began(1), Commit(0)];
    assert_eq!(units.until(4).await, steps);
    bus.shutdown().await?;
    Ok(())
}

behaviours! { units_of_work:
    each_attempt_has_work_of_its_own,
    a_panic_and_a_timeout_roll_back,
    a_stop_drops_the_work,
    a_failed_commit_is_a_failed_attempt,
    work_that_cannot_begin_fails_the_attempt,
    what_a_commit_returns_leaves_in_order,
    nothing_leaves_before_the_commit,
    an_idempotency_store_keeps_what_leaves_of_a_unit,
    shared_consumers_bring_their_unit,
}
