//! Foreign messages that fail: what is in the error queue is what came.

use lapin::BasicProperties;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicPublishOptions};
use lapin::types::{AMQPValue, DecimalValue};

use super::*;

async fn failing(queue: &str) -> Bus {
    Bus::builder(quick(Broker::shared().await.url()))
        .endpoint(Endpoint::new(queue).without_subscriptions().consumer(
            async |_: ConsumeContext<Ordered>| -> ConsumeResult { Err("never works".into()) },
        ))
        .start()
        .await
        .expect("the broker is up")
}

async fn first_of(queue: &str) -> lapin::message::BasicGetMessage {
    let channel = client(Broker::shared().await.url()).await;
    eventually("the message was moved", async || waiting(queue).await > 0).await;
    let got = channel
        .basic_get(queue.into(), BasicGetOptions::default())
        .await;
    let got = got.expect("the queue is there").expect("a message");
    got.ack(BasicAckOptions::default())
        .await
        .expect("an open channel");
    got
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_property_of_a_foreign_message_is_in_the_error_queue() {
    let queue = unique("foreign-properties");
    let bus = failing(&queue).await;
    let mut headers = FieldTable::default();
    for (name, value) in [
        ("s", AMQPValue::ShortInt(1)),
        ("B", AMQPValue::ShortShortUInt(2)),
        ("l", AMQPValue::LongLongInt(3)),
        ("f", AMQPValue::Float(0.5)),
        (
            "D",
            AMQPValue::DecimalValue(DecimalValue {
                scale: 2,
                value: 129,
            }),
        ),
        ("x", AMQPValue::ByteArray(b"bytes".to_vec().into())),
        ("Case", AMQPValue::LongInt(4)),
        ("case", AMQPValue::LongInt(5)),
    ] {
        headers.insert(name.into(), value);
    }
    let sent = BasicProperties::default()
        .with_content_type("application/vnd.masstransit+json".into())
        .with_content_encoding("utf-8".into())
        .with_type("order.created".into())
        .with_timestamp(1_770_000_000)
        .with_app_id("legacy".into())
        .with_reply_to("replies-of-legacy".into())
        .with_user_id("guest".into())
        .with_headers(headers.clone());
    let channel = client(Broker::shared().await.url()).await;
    let published = channel.basic_publish(
        "".into(),
        queue.as_str().into(),
        BasicPublishOptions::default(),
        b"{}",
        sent.clone(),
    );
    published.await.unwrap();
    let moved = first_of(&format!("{queue}_error")).await;
    assert_eq!(moved.data, b"{}");
    let kept = &moved.properties;
    assert_eq!(kept.content_encoding(), sent.content_encoding());
    assert_eq!(kept.kind(), sent.kind());
    assert_eq!(kept.timestamp(), sent.timestamp());
    assert_eq!(kept.app_id(), sent.app_id());
    assert_eq!(kept.reply_to(), sent.reply_to());
    // The broker takes the id of the user who is logged in only.
    assert_eq!(kept.user_id(), &None);
    let kept = kept.headers().clone().unwrap_or_default();
    for (name, value) in headers.inner() {
        assert_eq!(kept.inner().get(name.as_str()), Some(value), "{name}");
    }
    assert!(kept.inner().contains_key("MT-Fault-Message"));
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_fill_a_small_frame_are_cut_so_that_the_message_is_kept() {
    let broker = narrow().await;
    let queue = unique("small-frame");
    let bus = Bus::builder(quick(broker.url())).endpoint(
        Endpoint::new(&queue).without_subscriptions().consumer(
            async |_: ConsumeContext<Ordered>| -> ConsumeResult { Err("never works".into()) },
        ),
    );
    let bus = bus.start().await.unwrap();
    let mut headers = FieldTable::default();
    let large = vec![b'x'; 16_000];
    headers.insert("large".into(), AMQPValue::LongString(large.into()));
    headers.insert("small".into(), AMQPValue::LongString("kept".into()));
    let channel = client(broker.url()).await;
    let published = channel.basic_publish(
        "".into(),
        queue.as_str().into(),
        BasicPublishOptions::default(),
        b"{}",
        BasicProperties::default().with_headers(headers),
    );
    published.await.unwrap();
    let errors = format!("{queue}_error");
    let moved = bus_tests::until("the message was moved", async || {
        let channel = client(broker.url()).await;
        let got = channel.basic_get(errors.as_str().into(), BasicGetOptions::default());
        // The queue is made by the first failure.
        got.await.ok().flatten()
    })
    .await;
    let kept = moved.properties.headers().clone().unwrap_or_default();
    let kept = kept.inner();
    assert!(kept.contains_key("small") && !kept.contains_key("large"));
    assert!(kept.contains_key("MT-Fault-HeadersCut"));
    bus.shutdown().await.unwrap();
}
