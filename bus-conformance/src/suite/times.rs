//! Durations at their ends: `Duration::MAX` means without end wherever a time is
//! asked for.

use std::time::Duration;

use bus_core::idempotency::MemoryIdempotencyStore;
use bus_core::topology::Queue;
use bus_core::{BusBuilder, ConsumeContext, Endpoint, Idempotency, Policy};
use uuid::Uuid;

use crate::support::contracts::{Answered, Ask, LAST, Place};
use crate::test_broker::TestBroker;

use crate::support::{Outcome, Recorder, numbers, with};

/// A bus that never gives up, and remembers everything.
fn endless(broker: &dyn TestBroker) -> BusBuilder {
    let once = Idempotency::new(MemoryIdempotencyStore::new());
    broker
        .bus()
        .start_timeout(Duration::MAX)
        .stop_timeout(Duration::MAX)
        .deadline(Duration::MAX)
        .policy(Policy::new().timeout(Duration::MAX))
        .policy(Policy::new().idempotency(once.lease(Duration::MAX).keep(Duration::MAX)))
}

/// Settings without end disturb neither what succeeds, nor what fails, nor what
/// comes twice, nor the stop.
async fn settings_may_be_without_end(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("endless");
    let seen = Recorder::<Place>::deciding(|ctx| match ctx.message().number {
        1 => Err("broken".into()),
        _ => Ok(()),
    });
    let endpoint = Endpoint::on(Queue::classic(&queue).message_ttl(Duration::MAX))
        .concurrency(1)
        .consumer(seen.clone());
    let bus = endless(broker).endpoint(endpoint).start().await?;
    let id = Uuid::now_v7();
    for number in [1, 2, 2, LAST] {
        let sending = bus.send_to(format!("queue:{queue}"), &Place { number });
        let own = if number == 2 { id } else { Uuid::now_v7() };
        sending.message_id(own).await?;
    }
    assert_eq!(numbers(&seen.until_last().await), [1, 2]);
    bus.shutdown().await?;
    assert_eq!(broker.depth(&queue).await, Some(0));
    assert_eq!(broker.depth(&format!("{queue}_error")).await, Some(1));
    Ok(())
}

/// A message may have all the time there is, to leave, to arrive, and to be
/// answered.
async fn a_message_may_have_all_the_time_there_is(broker: &dyn TestBroker) -> Outcome {
    let (queue, asked) = (broker.name("endless"), broker.name("asked"));
    let seen = Recorder::<Place>::new();
    let answering = with((), |(), ctx: ConsumeContext<Ask>| async move {
        Ok(ctx.respond(&Answered { number: 7 }).await?)
    });
    let bus = broker
        .bus()
        .endpoint(Endpoint::new(&queue).consumer(seen.clone()))
        .endpoint(Endpoint::new(&asked).consumer(answering))
        .start()
        .await?;
    let sending = bus.send_to(format!("queue:{queue}"), &Place { number: 1 });
    sending.deadline(Duration::MAX).ttl(Duration::MAX).await?;
    let call = seen.next().await;
    assert_eq!(call.envelope().expiration_time, None);
    let asking = bus.request::<Answered>(&Ask { number: 1 });
    let told = asking
        .to(format!("queue:{asked}"))
        .deadline(Duration::MAX)
        .await?;
    assert_eq!(told.number, 7);
    bus.shutdown().await?;
    Ok(())
}

behaviours! { times:
    settings_may_be_without_end needs MessageTtl,
    a_message_may_have_all_the_time_there_is,
}
