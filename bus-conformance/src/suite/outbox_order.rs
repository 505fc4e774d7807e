//! Order of what a consumer sends, also where some of it has to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use bus_core::transport::{Outgoing, TransportError, TransportErrorKind};
use bus_core::{ConsumeContext, Endpoint};

use crate::support::contracts::{Cancelled, Place};
use crate::support::fixture::{in_order, place, serial};
use crate::support::{Outcome, Recorder, Rig, with};
use crate::test_broker::TestBroker;

/// More messages than a task may send before the runtime interrupts it.
const MANY: u32 = 1000;

/// Messages leave in the order in which the consumer sent them.
async fn messages_leave_in_order(broker: &dyn TestBroker) -> Outcome {
    let (queue, end) = (broker.name("sender"), broker.name("end"));
    let seen = Recorder::<Cancelled>::new();
    let many = with(end.clone(), |end, ctx: ConsumeContext<Place>| async move {
        for number in 0..MANY {
            ctx.send_to(format!("queue:{end}"), &Cancelled { number })
                .await?;
        }
        Ok(())
    });
    let bus = broker
        .bus()
        .endpoint(Endpoint::new(&queue).consumer(many))
        .endpoint(serial(&end).without_subscriptions().consumer(seen.clone()))
        .start()
        .await?;
    place(&bus, &queue, 1).await?;
    let order = in_order(&seen.take(MANY as usize).await);
    assert_eq!(order, (0..MANY).collect::<Vec<_>>());
    bus.shutdown().await?;
    Ok(())
}

/// That holds also for what goes to exchanges of several kinds, once they are known
/// to be there.
async fn messages_to_several_exchanges_leave_in_order(broker: &dyn TestBroker) -> Outcome {
    let (queue, end) = (broker.name("sender"), broker.name("end"));
    let seen = Recorder::<Cancelled>::new();
    let many = with(end.clone(), |end, ctx: ConsumeContext<Place>| async move {
        for number in 0..99 {
            let message = &Cancelled { number };
            match number % 3 {
                0 => ctx.publish(message).await?,
                1 => ctx.send_to(format!("exchange:{end}"), message).await?,
                _ => ctx.send_to(format!("queue:{end}"), message).await?,
            }
        }
        Ok(())
    });
    let bus = broker
        .bus()
        .endpoint(Endpoint::new(&queue).consumer(many))
        .endpoint(serial(&end).consumer(seen.clone()))
        .start()
        .await?;
    let known = Cancelled { number: 0 };
    bus.publish(&known).await?;
    bus.send_to(format!("exchange:{end}"), &known).await?;
    bus.send_to(format!("queue:{end}"), &known).await?;
    seen.take(3).await;
    place(&bus, &queue, 1).await?;
    let expected: Vec<_> = (0..99).collect();
    let order = seen.take(99).await;
    let order = in_order(&order);
    assert_eq!(order, expected);
    bus.shutdown().await?;
    Ok(())
}

/// A rig on which one queue is full at first.
struct Full {
    queue: String,
    sends: AtomicU32,
}

#[async_trait]
impl Rig for Full {
    async fn send(&self, outgoing: &Outgoing) -> Result<(), TransportError> {
        // All of the first round, and the first of the second one.
        let here = outgoing.target.name() == self.queue;
        if here && self.sends.fetch_add(1, Ordering::SeqCst) < 4 {
            return Err(TransportError::new(TransportErrorKind::Nacked, "full"));
        }
        Ok(())
    }
}

/// Messages to one target that the broker refuses for a while leave in order when
/// it takes them.
async fn refused_messages_do_not_overtake_each_other(broker: &dyn TestBroker) -> Outcome {
    let (queue, end) = (broker.name("sender"), broker.name("end"));
    let rig = Arc::new(Full {
        queue: end.clone(),
        sends: AtomicU32::new(0),
    });
    let cancelled = Recorder::<Cancelled>::new();
    let three = with(end.clone(), |end, ctx: ConsumeContext<Place>| async move {
        for number in 1..=3 {
            ctx.send_to(format!("queue:{end}"), &Cancelled { number })
                .await?;
        }
        Ok(())
    });
    let bus = broker
        .rigged(&rig)
        .endpoint(Endpoint::new(&queue).consumer(three))
        .endpoint(
            serial(&end)
                .without_subscriptions()
                .consumer(cancelled.clone()),
        )
        .start()
        .await?;
    place(&bus, &queue, 1).await?;
    let calls = cancelled.take(3).await;
    let order = in_order(&calls);
    assert_eq!(order, [1, 2, 3]);
    bus.shutdown().await?;
    Ok(())
}

behaviours! { outbox_order:
    messages_leave_in_order,
    messages_to_several_exchanges_leave_in_order,
    refused_messages_do_not_overtake_each_other,
}
