//! Messages that are delivered later, and messages that are cancelled before.

use std::time::{Duration, SystemTime};

use bus_core::ConsumeContext;
use bus_core::transport::ScheduleToken;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::support::contracts::{LAST, Ordered, Place};
use crate::support::fixture::{place, serial};
use crate::support::{Outcome, Recorder, numbers, with};
use crate::test_broker::TestBroker;

/// Wait of a message that a test cancels before.
const LATER: Duration = Duration::from_secs(2);

/// A message with a token that is cancelled before it is due is never delivered.
async fn a_cancelled_message_is_never_delivered(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let endpoint = serial(broker.name("later")).consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    let (cancelled, kept) = (ScheduleToken::new(), ScheduleToken::from(Uuid::now_v7()));
    for (number, token) in [(1, cancelled), (2, kept)] {
        let sending = bus.publish(&Ordered { number }).schedule_token(token);
        sending.deliver_in(LATER).await?;
    }
    let last = Ordered { number: LAST };
    bus.publish(&last).deliver_in(LATER * 2).await?;
    assert!(bus.cancel(cancelled).await?, "it waits");
    assert!(!bus.cancel(cancelled).await?, "it waits no longer");
    assert_eq!(numbers(&seen.until_last().await), [2]);
    bus.shutdown().await?;
    Ok(())
}

/// A token of a message that was delivered, or of none, cancels nothing.
async fn what_does_not_wait_cannot_be_cancelled(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let endpoint = serial(broker.name("sooner")).consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    let (early, plain) = (ScheduleToken::new(), ScheduleToken::new());
    let first = bus.publish(&Ordered { number: 1 }).schedule_token(early);
    first.deliver_in(Duration::from_millis(1)).await?;
    let second = bus.publish(&Ordered { number: 2 });
    second.schedule_token(plain).await?;
    assert_eq!(numbers(&seen.take(2).await), [1, 2]);
    for token in [early, plain, ScheduleToken::new()] {
        assert!(!bus.cancel(token).await?);
    }
    bus.shutdown().await?;
    Ok(())
}

/// A message comes when it is due, not before, and later than one without a delay.
async fn a_delayed_message_comes_when_it_is_due(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let endpoint = serial(broker.name("due")).consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    let (delay, began) = (Duration::from_secs(1), Instant::now());
    bus.publish(&Ordered { number: 1 })
        .deliver_in(delay)
        .await?;
    bus.publish(&Ordered { number: 2 }).await?;
    assert_eq!(seen.next().await.message().number, 2);
    assert_eq!(seen.next().await.message().number, 1);
    assert!(began.elapsed() >= delay, "after {:?}", began.elapsed());
    bus.shutdown().await?;
    Ok(())
}

/// A time that is past is now.
async fn a_time_in_the_past_is_now(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let endpoint = serial(broker.name("past")).consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    let past = bus.publish(&Ordered { number: 1 });
    past.deliver_at(SystemTime::UNIX_EPOCH).await?;
    bus.publish(&Ordered { number: LAST }).await?;
    assert_eq!(numbers(&seen.until_last().await), [1]);
    bus.shutdown().await?;
    Ok(())
}

/// A delay counts from the call: the wait in an outbox is part of it.
async fn a_delay_counts_from_the_call(broker: &dyn TestBroker) -> Outcome {
    let (queue, seen) = (broker.name("sender"), Recorder::<Ordered>::new());
    let sender = with((), |(), ctx: ConsumeContext<Place>| async move {
        let delay = Duration::from_millis(200);
        let first = ctx.publish(&Ordered { number: 1 }).deliver_in(delay);
        first.await?;
        sleep_until(Instant::now() + delay).await;
        Ok(ctx.publish(&Ordered { number: LAST }).await?)
    });
    let bus = broker
        .bus()
        .endpoint(serial(&queue).consumer(sender))
        .endpoint(serial(broker.name("seen")).consumer(seen.clone()))
        .start()
        .await?;
    place(&bus, &queue, 1).await?;
    assert_eq!(
        numbers(&seen.until_last().await),
        [1],
        "it is due at the flush"
    );
    bus.shutdown().await?;
    Ok(())
}

behaviours! { scheduling:
    a_cancelled_message_is_never_delivered needs CancelScheduled & DelayedDelivery,
    what_does_not_wait_cannot_be_cancelled needs CancelScheduled & DelayedDelivery,
    a_delayed_message_comes_when_it_is_due needs DelayedDelivery,
    a_time_in_the_past_is_now needs DelayedDelivery,
    a_delay_counts_from_the_call needs DelayedDelivery,
}
