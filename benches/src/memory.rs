//! The in-memory transport, beside the same envelopes over a channel.

use bus_core::codec::Codec;
use bus_core::codec::{decode_message, encode_message};
use bus_core::message::Envelope;
use bus_core::transport::Incoming;
use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, Message};
use bus_inmemory::InMemory;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::bus::Counter;
use crate::figures::{Figures, Watch};
use crate::load::IN_FLIGHT;
use crate::message::OrderPlaced;

pub(crate) async fn bus(count: usize) -> Figures {
    let counter = Counter::expecting(count);
    let counting = counter.clone();
    let consume = move |_: ConsumeContext<OrderPlaced>| {
        counting.count();
        std::future::ready(ConsumeResult::Ok(()))
    };
    let bus = Bus::builder(InMemory::new())
        .endpoint(Endpoint::new("orders").concurrency(64).consumer(consume))
        .start()
        .await
        .expect("the bus starts");
    let watch = Watch::start();
    let publish = |number| {
        let bus = &bus;
        async move {
            let order = OrderPlaced::new(number, 0);
            bus.publish(&order).await.expect("sent");
        }
    };
    let mut sent = stream::iter(0..count as u64)
        .map(publish)
        .buffer_unordered(IN_FLIGHT);
    while sent.next().await.is_some() {}
    counter.complete().await;
    let figures = watch.stop(count);
    bus.shutdown().await.expect("stopped");
    figures
}

/// The same envelope, written and read, over a channel between two tasks.
pub(crate) async fn channel(count: usize) -> Figures {
    let (sender, mut receiver) = mpsc::channel::<Incoming>(IN_FLIGHT);
    let watch = Watch::start();
    let receiving = tokio::spawn(async move {
        let mut sum = 0u64;
        while let Some(incoming) = receiver.recv().await {
            let envelope = Codec::MassTransit.decode(&incoming).expect("an envelope");
            let order: OrderPlaced = decode_message(&envelope.message).expect("an order");
            sum += order.number;
        }
        sum
    });
    for number in 0..count as u64 {
        let encoded = Codec::MassTransit.encode(&envelope(number));
        let incoming = Incoming {
            body: encoded.body,
            headers: encoded.headers,
            ..Incoming::default()
        };
        sender.send(incoming).await.expect("received");
    }
    drop(sender);
    let sum = receiving.await.expect("received");
    assert!(count < 2 || sum > 0);
    watch.stop(count)
}

fn envelope(number: u64) -> Envelope {
    Envelope {
        message_id: Some(Uuid::now_v7()),
        conversation_id: Some(Uuid::now_v7()),
        message_types: vec![OrderPlaced::message_type().urn().into()].into(),
        message: encode_message(&OrderPlaced::new(number, 0)).expect("JSON"),
        host: Some(bus_core::codec::HostInfo::current_json().clone()),
        ..Envelope::default()
    }
}
