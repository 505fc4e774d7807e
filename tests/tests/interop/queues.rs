//! Commands sent to a queue, whoever declared it, whatever its kind.

use std::collections::BTreeSet;

use bus_core::Endpoint;
use bus_core::topology::Queue;
use bus_tests::Recorder;
use bus_tests::acme::OrderShipped;
use bus_tests::peer::Command;
use uuid::Uuid;

use crate::support::{Host, Sent, assert_alike, shipped};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_sends_to_a_queue_before_and_after_dotnet_declares_it() {
    let host = Host::new().await;
    let bus = host.bus().await;
    let first = shipped("before");
    bus.send_to("queue:mt-shipped", &first).await.unwrap();
    let peer = host.peer(&["mt-shipped"]).await;
    assert_eq!(
        peer.consumed("mt-shipped").await.message::<OrderShipped>(),
        first
    );

    let sent = Sent::default();
    let later = host.builder().observe(sent.clone()).start().await.unwrap();
    let second = shipped("after");
    later.send_to("queue:mt-shipped", &second).await.unwrap();
    let consumed = peer.consumed("mt-shipped").await;
    assert_eq!(consumed.message::<OrderShipped>(), second);
    assert_alike(&sent.only(), &consumed);
    assert_eq!(
        consumed.destination_address,
        Some(host.address("mt-shipped?bind=true"))
    );
    bus.shutdown().await.unwrap();
    later.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dotnet_sends_to_a_queue_before_and_after_rust_declares_it() {
    let host = Host::new().await;
    let peer = host.peer(&[]).await;
    let (first, second) = (shipped("before"), shipped("after"));
    let send = |order| Command::send("queue:rs-shipped", "OrderShipped", order);
    peer.does(send(&first)).await;
    let recorder = Recorder::<OrderShipped>::new();
    let bus = host
        .serve(Endpoint::new("rs-shipped").consumer(recorder.clone()))
        .await;
    assert_eq!(*recorder.next().await.message(), first);

    let message_id = Uuid::new_v4();
    peer.does(send(&second).with("messageId", message_id.to_string()))
        .await;
    let ctx = recorder.next().await;
    assert_eq!(*ctx.message(), second);
    let envelope = ctx.envelope();
    assert_eq!(envelope.message_id, Some(message_id));
    assert_eq!(envelope.correlation_id, Some(second.correlation_id));
    assert!(envelope.conversation_id.is_some());
    assert_eq!((envelope.request_id, envelope.initiator_id), (None, None));
    assert_eq!(envelope.source_address, Some(peer.address().await));
    assert_eq!(
        envelope.destination_address,
        Some(host.address("rs-shipped?bind=true"))
    );
    assert_eq!(
        (&envelope.response_address, &envelope.fault_address),
        (&None, &None)
    );
    assert!(envelope.headers.is_empty(), "{:?}", envelope.headers);
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_reaches_a_quorum_queue_of_dotnet_by_every_address() {
    let host = Host::new().await;
    let peer = host.peer(&["mt-quorum"]).await;
    let bus = host.bus().await;
    for to in ["queue:mt-quorum", "exchange:mt-quorum"] {
        let message = shipped(to);
        bus.send_to(to, &message).await.unwrap();
        let consumed = peer.consumed("mt-quorum").await;
        assert_eq!(consumed.message::<OrderShipped>(), message);
    }
    let message = shipped("published");
    bus.publish(&message).await.unwrap();
    assert_eq!(
        peer.consumed("mt-quorum").await.message::<OrderShipped>(),
        message
    );
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dotnet_reaches_a_quorum_queue_of_rust_by_its_exchange() {
    let host = Host::new().await;
    let peer = host.peer(&[]).await;
    let recorder = Recorder::<OrderShipped>::new();
    let endpoint = Endpoint::on(Queue::quorum("rs-quorum"));
    let bus = host.serve(endpoint.consumer(recorder.clone())).await;
    let sent = shipped("sent");
    peer.does(Command::send("exchange:rs-quorum", "OrderShipped", &sent))
        .await;
    let ctx = recorder.next().await;
    assert_eq!(*ctx.message(), sent);
    assert_eq!(
        ctx.envelope().destination_address,
        Some(host.address("rs-quorum"))
    );
    let published = shipped("published");
    peer.does(Command::publish("OrderShipped", &published))
        .await;
    assert_eq!(*recorder.next().await.message(), published);
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_quorum_queue_is_handed_over_in_both_directions() {
    let host = Host::new().await;
    let recorder = Recorder::<OrderShipped>::new();
    let ours = || {
        let endpoint = Endpoint::on(Queue::plain_quorum("mt-quorum"));
        host.serve(endpoint.consumer(recorder.clone()))
    };
    let sender = host.bus().await;
    ours().await.shutdown().await.unwrap();
    let to_dotnet = shipped("declared by rust");
    sender
        .send_to("exchange:mt-quorum", &to_dotnet)
        .await
        .unwrap();
    let peer = host.peer(&["mt-quorum"]).await;
    assert_eq!(
        peer.consumed("mt-quorum").await.message::<OrderShipped>(),
        to_dotnet
    );
    peer.stop().await;
    let to_rust = shipped("left by dotnet");
    sender
        .send_to("exchange:mt-quorum", &to_rust)
        .await
        .unwrap();
    let bus = ours().await;
    assert_eq!(*recorder.next().await.message(), to_rust);
    bus.shutdown().await.unwrap();
    sender.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_of_both_sides_compete_for_one_queue() {
    const COUNT: usize = 200;
    let host = Host::new().await;
    let peer = host.peer(&["mt-shipped"]).await;
    let recorder = Recorder::<OrderShipped>::new();
    let bus = host
        .serve(Endpoint::new("mt-shipped").consumer(recorder.clone()))
        .await;
    let events: Vec<_> = (0..COUNT)
        .map(|number| shipped(&number.to_string()))
        .collect();
    for published in bus.publish_all(&events).await {
        published.unwrap();
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    while ours.len() + theirs.len() < COUNT {
        tokio::select! {
            ctx = recorder.next() => ours.push(ctx.message().order_number.clone()),
            consumed = peer.consumed("mt-shipped") => theirs.push(consumed.message::<OrderShipped>().order_number),
        }
    }
    assert!(!ours.is_empty() && !theirs.is_empty());
    let all: BTreeSet<_> = ours.into_iter().chain(theirs).collect();
    assert_eq!(all.len(), COUNT, "each of them once");
    bus.shutdown().await.unwrap();
}
