//! Kinds of queues and their limits.

use std::time::Duration;

use bus_core::error::SendErrorKind;
use bus_core::topology::{Exchange, Overflow, Presence, Queue, Topology};
use bus_core::transport::TransportErrorKind;
use bus_core::{Endpoint, Retry};

use crate::support::contracts::{LAST, Ordered, Place};
use crate::support::fixture::{in_order, place, places};
use crate::support::{Outcome, Recorder, numbers, within};
use crate::test_broker::TestBroker;

/// A queue that is full and refuses gives its sender an error; room again, and it
/// takes the next.
///
/// The transport may try until the deadline.
async fn a_full_queue_refuses_its_sender(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("full");
    let seen = Recorder::<Place>::new();
    let endpoint = || {
        Endpoint::on(Queue::classic(&queue).max_length(1, Overflow::RejectPublish))
            .consumer(seen.clone())
    };
    broker.bus().endpoint(endpoint()).deploy_topology().await?;
    let sender = broker.bus().start().await?;
    let address = format!("queue:{queue}");
    sender
        .send_to(address.as_str(), &Place { number: 1 })
        .await?;
    let refused = sender
        .send_to(address.as_str(), &Place { number: 2 })
        .deadline(Duration::from_millis(500));
    let error = refused.await.expect_err("the queue is full");
    assert_eq!(error.kind(), SendErrorKind::Nacked, "{error}");
    assert!(error.is_transient());
    let bus = broker.start(endpoint()).await?;
    assert_eq!(seen.next().await.message().number, 1);
    sender
        .send_to(address.as_str(), &Place { number: 3 })
        .await?;
    assert_eq!(seen.next().await.message().number, 3);
    bus.shutdown().await?;
    sender.shutdown().await?;
    Ok(())
}

/// A queue that drops its oldest messages when it is full keeps the newest ones.
async fn a_full_queue_may_drop_its_oldest(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("sliding");
    let seen = Recorder::<Place>::new();
    let endpoint = || {
        Endpoint::on(Queue::classic(&queue).max_length(2, Overflow::DropHead))
            .concurrency(1)
            .consumer(seen.clone())
    };
    broker.bus().endpoint(endpoint()).deploy_topology().await?;
    let sender = broker.bus().start().await?;
    places(&sender, &queue, 0..5).await?;
    assert_eq!(broker.depth(&queue).await, Some(2));
    let bus = broker.start(endpoint()).await?;
    let order = in_order(&seen.take(2).await);
    assert_eq!(order, [3, 4]);
    bus.shutdown().await?;
    sender.shutdown().await?;
    Ok(())
}

/// A queue may bound how long its messages wait.
async fn a_queue_may_bound_how_long_messages_wait(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("fresh");
    let seen = Recorder::<Place>::new();
    let endpoint = || {
        Endpoint::on(Queue::classic(&queue).message_ttl(Duration::from_millis(50)))
            .concurrency(1)
            .consumer(seen.clone())
    };
    broker.bus().endpoint(endpoint()).deploy_topology().await?;
    let sender = broker.bus().start().await?;
    place(&sender, &queue, 1).await?;
    broker.until_depth(&queue, 0).await;
    let bus = broker.start(endpoint()).await?;
    place(&sender, &queue, LAST).await?;
    assert_eq!(seen.until_last().await.len(), 0);
    bus.shutdown().await?;
    sender.shutdown().await?;
    Ok(())
}

/// Quorum queues, with and without the safe arguments, work like classic ones:
/// retries, error queue, and all.
async fn quorum_queues_work_like_classic_ones(broker: &dyn TestBroker) -> Outcome {
    let wire = broker.wire().await;
    for (name, kind) in [
        ("quorum", Queue::quorum as fn(String) -> Queue),
        ("plain", Queue::plain_quorum),
    ] {
        let queue = broker.name(name);
        let seen = Recorder::<Place>::deciding(|ctx| match ctx.message().number {
            1 => Err("broken".into()),
            _ => Ok(()),
        });
        let endpoint = Endpoint::on(kind(queue.clone()))
            .concurrency(1)
            .retry(Retry::immediate(1))
            .consumer(seen.clone());
        let bus = broker.start(endpoint).await?;
        places(&bus, &queue, 0..3).await?;
        assert_eq!(numbers(&seen.take(4).await), [0, 1, 1, 2]);
        bus.shutdown().await?;
        let errors = wire.read_existing(&format!("{queue}_error")).await;
        let kept = errors.next().await;
        assert_eq!(kept.headers.text("MT-Fault-Message"), Some("broken"));
        broker.until_depth(&queue, 0).await;
    }
    wire.close().await;
    Ok(())
}

/// A bus may make all of its queues quorum queues, except those that cannot be.
async fn a_bus_may_prefer_quorum_queues(broker: &dyn TestBroker) -> Outcome {
    let (durable, temporary, urgent) = (
        Recorder::<Ordered>::new(),
        Recorder::<Ordered>::new(),
        Recorder::<Ordered>::new(),
    );
    let bus = broker
        .bus()
        .quorum()
        .endpoint(Endpoint::new(broker.name("durable")).consumer(durable.clone()))
        .endpoint(Endpoint::per_instance(&broker.name("temporary")).consumer(temporary.clone()))
        .endpoint(
            Endpoint::on(Queue::classic(broker.name("urgent")).max_priority(3))
                .consumer(urgent.clone()),
        )
        .start()
        .await?;
    bus.publish(&Ordered { number: 1 }).await?;
    for seen in [durable, temporary, urgent] {
        assert_eq!(seen.next().await.message().number, 1);
    }
    bus.shutdown().await?;
    Ok(())
}

/// An entity that must exist and is missing is an error, and is not declared.
async fn what_must_exist_is_not_declared(broker: &dyn TestBroker) -> Outcome {
    let name = broker.name("foreign");
    let transport = broker.transport();
    within("a connection", transport.connect()).await?;
    let queue = Queue {
        presence: Presence::Existing,
        ..Queue::classic(&name)
    };
    let exchange = Exchange {
        presence: Presence::Existing,
        ..Exchange::fanout(&name)
    };
    let of_queue = Topology {
        queues: vec![queue],
        ..Topology::default()
    };
    let of_exchange = Topology {
        exchanges: vec![exchange],
        ..Topology::default()
    };
    for topology in [of_queue, of_exchange] {
        let missed = within("the answer", transport.declare(&topology)).await;
        let error = missed.expect_err("it is missing");
        assert_eq!(error.kind(), TransportErrorKind::Unroutable, "{error}");
    }
    assert_eq!(broker.depth(&name).await, None);
    transport.close().await;
    Ok(())
}

behaviours! { queues:
    what_must_exist_is_not_declared,
    a_full_queue_refuses_its_sender needs QueueLimits,
    a_full_queue_may_drop_its_oldest needs QueueLimits,
    a_queue_may_bound_how_long_messages_wait needs MessageTtl,
    quorum_queues_work_like_classic_ones needs QuorumQueues,
    a_bus_may_prefer_quorum_queues needs QuorumQueues & Priorities,
}
