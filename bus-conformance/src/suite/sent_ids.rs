//! A consumer that runs again sends the same messages again, and what can be
//! refused is refused before anything leaves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bus_core::error::SendErrorKind;
use bus_core::idempotency::MemoryIdempotencyStore;
use bus_core::transport::Capability;
use bus_core::{ConsumeContext, ConsumeResult};
use uuid::Uuid;

use crate::support::contracts::{Answered, LAST, Ordered, Place};
use crate::support::fixture::{places, serial};
use crate::support::{Outcome, Recorder, numbers, with};
use crate::test_broker::TestBroker;

/// The ids of what a consumer sends are the same when its message comes again, and
/// differ from each other.
async fn a_message_that_comes_again_sends_the_same_ids(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("sender");
    let seen = Recorder::<Ordered>::new();
    let sends = async |ctx: ConsumeContext<Place>| {
        for number in [1, 2] {
            ctx.publish(&Ordered { number }).await?;
        }
        ctx.publish(&Answered { number: 3 }).await?;
        ConsumeResult::Ok(())
    };
    let bus = broker
        .bus()
        .endpoint(serial(&queue).consumer(sends))
        .endpoint(serial(broker.name("seen")).consumer(seen.clone()))
        .start()
        .await?;
    let (twice, other) = (Uuid::now_v7(), Uuid::now_v7());
    for id in [twice, twice, other] {
        let sent = bus.send_to(format!("queue:{queue}"), &Place { number: 7 });
        sent.message_id(id).await?;
    }
    let calls = seen.take(6).await;
    let ids: Vec<_> = calls
        .iter()
        .filter_map(ConsumeContext::message_id)
        .collect();
    assert_eq!(ids.len(), 6);
    assert_eq!(ids[..2], ids[2..4], "the same message");
    let different: BTreeSet<_> = ids[2..].iter().collect();
    assert_eq!(different.len(), 4, "another number, another message");
    bus.shutdown().await?;
    Ok(())
}

/// An endpoint that knows ids handles once what an endpoint before it has sent
/// twice, even where the second run wrote something else into it.
async fn a_duplicate_is_recognized_over_two_hops(broker: &dyn TestBroker) -> Outcome {
    let (first, second) = (broker.name("first"), broker.name("second"));
    let (to, runs) = (format!("queue:{second}"), Arc::new(AtomicU32::new(0)));
    let forwards = with(
        (to, Arc::clone(&runs)),
        async |(to, runs): (String, Arc<AtomicU32>), ctx: ConsumeContext<Place>| {
            let number = match ctx.message().number {
                LAST => LAST,
                _ => runs.fetch_add(1, Ordering::SeqCst),
            };
            ctx.send_to(to.as_str(), &Place { number }).await?;
            Ok(())
        },
    );
    let seen = Recorder::<Place>::new();
    let bus = broker
        .bus()
        .endpoint(serial(&first).without_subscriptions().consumer(forwards))
        .endpoint(
            serial(&second)
                .without_subscriptions()
                .idempotency(MemoryIdempotencyStore::new())
                .consumer(seen.clone()),
        )
        .start()
        .await?;
    let id = Uuid::now_v7();
    for (id, number) in [(id, 1), (id, 1), (Uuid::now_v7(), LAST)] {
        let sent = bus.send_to(format!("queue:{first}"), &Place { number });
        sent.message_id(id).await?;
    }
    assert_eq!(numbers(&seen.until_last().await), [0]);
    assert_eq!(runs.load(Ordering::SeqCst), 2, "the first hop ran twice");
    bus.shutdown().await?;
    Ok(())
}

/// A send that can never succeed fails where it is made, in the consumer; what was
/// sent before it does not leave.
async fn what_cannot_be_sent_is_refused_before_anything_leaves(broker: &dyn TestBroker) -> Outcome {
    let (queue, missing) = (broker.name("sender"), broker.name("missing"));
    let seen = Recorder::<Ordered>::new();
    let sends = with(
        format!("exchange:{missing}"),
        async |missing: String, ctx: ConsumeContext<Place>| {
            let number = ctx.message().number;
            ctx.publish(&Ordered { number }).await?;
            if number != LAST {
                let sent = ctx.send_to(missing.as_str(), &Place { number }).await;
                let error = sent.expect_err("there is no such exchange");
                assert_eq!(error.kind(), SendErrorKind::Unroutable, "{error}");
                return Err(error.into());
            }
            Ok(())
        },
    );
    let bus = broker
        .bus()
        .endpoint(serial(&queue).without_subscriptions().consumer(sends))
        .endpoint(serial(broker.name("seen")).consumer(seen.clone()))
        .start()
        .await?;
    places(&bus, &queue, [1, LAST]).await?;
    assert_eq!(seen.until_last().await.len(), 0);
    bus.shutdown().await?;
    Ok(())
}

/// A delay is refused at the call on a transport that has none.
async fn a_delay_that_cannot_be_kept_is_refused_at_once(broker: &dyn TestBroker) -> Outcome {
    let can_delay = broker
        .transport()
        .capabilities()
        .has(Capability::DelayedDelivery);
    let bus = broker.bus().start().await?;
    let sent = bus.publish(&Ordered { number: 1 });
    let outcome = sent.deliver_in(Duration::from_millis(1)).await;
    let refused = outcome.err().map(|error| error.kind());
    let expected = (!can_delay).then_some(SendErrorKind::Unsupported);
    assert_eq!(refused, expected);
    bus.shutdown().await?;
    Ok(())
}

behaviours! { sent_ids:
    a_message_that_comes_again_sends_the_same_ids,
    a_duplicate_is_recognized_over_two_hops,
    what_cannot_be_sent_is_refused_before_anything_leaves,
    a_delay_that_cannot_be_kept_is_refused_at_once,
}
