//! Handles that only send.

use std::sync::{Arc, Mutex};

use bus_core::error::SendErrorKind;
use bus_core::send::{Dispatch, SealedMessage};
use bus_core::{ConsumeContext, Endpoint, SendError, async_trait};

use crate::support::contracts::{Ordered, Place};
use crate::support::fixture::{in_order, place, serial};
use crate::support::{Gate, Outcome, Recorder, with};
use crate::test_broker::TestBroker;

/// Keeps what is sent.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<SealedMessage>>);

impl Kept {
    fn take(&self) -> Vec<SealedMessage> {
        std::mem::take(&mut self.0.lock().expect("no panic"))
    }
}

#[async_trait]
impl Dispatch for Kept {
    async fn dispatch(self: Arc<Self>, sealed: SealedMessage) -> Result<(), SendError> {
        self.0.lock().expect("no panic").push(sealed);
        Ok(())
    }
}

/// A sender publishes, and sends by route and by address, as its bus does.
async fn a_sender_sends_as_its_bus_does(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("sent");
    let (events, commands) = (Recorder::<Ordered>::new(), Recorder::<Place>::new());
    let endpoint = serial(&queue)
        .consumer(events.clone())
        .consumer(commands.clone());
    let address = format!("queue:{queue}");
    let bus = broker
        .bus()
        .route::<Place>(&*address)
        .endpoint(endpoint)
        .start()
        .await?;
    let sender = bus.sender();
    sender.publish(&Ordered { number: 1 }).await?;
    let more = [Ordered { number: 2 }, Ordered { number: 3 }];
    for published in sender.publish_all(&more).await {
        published?;
    }
    sender.send(&Place { number: 4 }).await?;
    sender.send_to(&*address, &Place { number: 5 }).await?;
    assert_eq!(in_order(&events.take(3).await), [1, 2, 3]);
    assert_eq!(in_order(&commands.take(2).await), [4, 5]);
    bus.shutdown().await?;
    Ok(())
}

/// A sender fails once its bus is shut down.
async fn a_sender_fails_once_its_bus_is_shut_down(broker: &dyn TestBroker) -> Outcome {
    let bus = broker.bus().start().await?;
    let sender = bus.sender();
    sender.publish(&Ordered { number: 1 }).await?;
    bus.shutdown().await?;
    let late = sender.publish(&Ordered { number: 2 }).await;
    let error = late.expect_err("the bus is shut down");
    assert_eq!(error.kind(), SendErrorKind::Closed, "{error}");
    Ok(())
}

/// A sender does not keep the endpoints of a bus that is dropped, and still sends.
async fn a_sender_keeps_no_endpoint(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("kept");
    let gate = Gate::closed();
    let waiting = with(gate.clone(), |gate, _: ConsumeContext<Place>| async move {
        gate.pass().await;
        Ok(())
    });
    let bus = broker.start(serial(&queue).consumer(waiting)).await?;
    let sender = bus.sender();
    place(&bus, &queue, 1).await?;
    gate.holds(1).await;
    drop(bus);
    gate.holds(0).await;
    broker.until_depth(&queue, 1).await;
    sender
        .send_to(format!("queue:{queue}"), &Place { number: 2 })
        .await?;
    broker.until_depth(&queue, 2).await;
    Ok(())
}

/// Messages that another receiver keeps are sent by `forward` alone, with their ids
/// and in order.
async fn what_is_kept_can_be_forwarded(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let endpoint = serial(broker.name("forwarded")).consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    let (sender, kept) = (bus.sender(), Arc::new(Kept::default()));
    let keeping = sender.with_dispatch(Arc::clone(&kept) as _);
    for number in 1..=3 {
        keeping.publish(&Ordered { number }).await?;
    }
    sender.publish(&Ordered { number: 4 }).await?;
    assert_eq!(seen.next().await.message().number, 4, "the others are kept");
    let mut kept = kept.take();
    let ids: Vec<_> = kept.iter().map(|one| one.envelope.message_id).collect();
    sender.forward(kept.remove(0)).await?;
    for forwarded in sender.forward_all(kept).await {
        forwarded?;
    }
    let forwarded = seen.take(3).await;
    assert_eq!(in_order(&forwarded), [1, 2, 3]);
    let arrived: Vec<_> = forwarded.iter().map(ConsumeContext::message_id).collect();
    assert_eq!(arrived, ids);
    bus.shutdown().await?;
    Ok(())
}

/// A sender given to a consumer of another bus sends there.
async fn a_sender_connects_one_bus_to_another(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let there = Endpoint::new(broker.name("there")).consumer(seen.clone());
    let there = broker.start(there).await?;
    let bridge = with(
        there.sender(),
        |sender, ctx: ConsumeContext<Place>| async move {
            let number = ctx.message().number;
            Ok(sender.publish(&Ordered { number }).await?)
        },
    );
    let queue = broker.name("here");
    let here = broker.start(Endpoint::new(&queue).consumer(bridge)).await?;
    place(&here, &queue, 7).await?;
    assert_eq!(seen.next().await.message().number, 7);
    here.shutdown().await?;
    there.shutdown().await?;
    Ok(())
}

behaviours! { senders:
    a_sender_sends_as_its_bus_does,
    a_sender_fails_once_its_bus_is_shut_down,
    a_sender_keeps_no_endpoint,
    what_is_kept_can_be_forwarded,
    a_sender_connects_one_bus_to_another,
}
