//! The client alone, moving bytes that are encoded already.

use std::collections::HashMap;
use std::time::Instant;

use futures_util::stream::{self, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use tokio::sync::{mpsc, oneshot};

use crate::figures::{Figures, Watch};
use crate::load::IN_FLIGHT;

/// A message as the bus sends it.
pub(crate) struct Sample {
    body: Vec<u8>,
    properties: BasicProperties,
}

pub(crate) async fn connect(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .expect("a broker");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

/// Takes one message out of a queue, to move the same bytes.
pub(crate) async fn sample(url: &str, queue: &str) -> Sample {
    let (_connection, channel) = connect(url).await;
    let options = BasicGetOptions { no_ack: true };
    let message = channel.basic_get(queue.into(), options).await.expect("get");
    let message = message.expect("a message was published");
    Sample {
        body: message.data.clone(),
        properties: message.properties.clone(),
    }
}

/// Publishes with confirms, many in flight.
pub(crate) async fn publish(url: &str, exchange: &str, sample: &Sample, count: usize) -> Figures {
    let (connection, channel) = connect(url).await;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("confirms");
    let watch = Watch::start();
    publish_on(&channel, exchange, sample, count).await;
    let figures = watch.stop(count);
    let _ = connection.close(200, "done".into()).await;
    figures
}

async fn publish_on(channel: &Channel, exchange: &str, sample: &Sample, count: usize) {
    let publish = |_| async {
        let options = BasicPublishOptions::default();
        let properties = sample.properties.clone();
        let written = channel
            .basic_publish(
                exchange.into(),
                "".into(),
                options,
                &sample.body,
                properties,
            )
            .await;
        assert!(written.expect("written").await.expect("confirmed").is_ack());
    };
    let mut confirms = stream::iter(0..count)
        .map(publish)
        .buffer_unordered(IN_FLIGHT);
    while confirms.next().await.is_some() {}
}

/// How a raw consumer acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acks {
    Each,
    Every(u64),
}

/// Consumes and acknowledges what is in a queue.
pub(crate) async fn consume(url: &str, queue: &str, count: usize, acks: Acks) -> Figures {
    let (connection, channel) = connect(url).await;
    let watch = Watch::start();
    let consumer = consumer(&channel, queue).await;
    consume_on(&channel, consumer, count, acks).await;
    let figures = watch.stop(count);
    let _ = connection.close(200, "done".into()).await;
    figures
}

async fn consumer(channel: &Channel, queue: &str) -> Consumer {
    let prefetch = u16::try_from(IN_FLIGHT).expect("it fits");
    channel
        .basic_qos(prefetch, BasicQosOptions::default())
        .await
        .expect("prefetch");
    channel
        .basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("a consumer")
}

async fn consume_on(channel: &Channel, mut consumer: Consumer, count: usize, acks: Acks) {
    let mut waiting = FuturesUnordered::new();
    for handled in 1..=count {
        let delivery = consumer.next().await.expect("a delivery").expect("whole");
        let tag = delivery.delivery_tag;
        let due = match acks {
            Acks::Each => true,
            Acks::Every(batch) => tag % batch == 0 || handled == count,
        };
        if due {
            let multiple = acks != Acks::Each;
            waiting.push(channel.basic_ack(tag, BasicAckOptions { multiple }));
        }
        while let Some(Some(acked)) = waiting.next().now_or_never() {
            acked.expect("acknowledged");
        }
    }
    while let Some(acked) = waiting.next().await {
        acked.expect("acknowledged");
    }
}

/// Publishes and consumes at the same time.
pub(crate) async fn end_to_end(
    url: &str,
    queue: &str,
    exchange: &str,
    sample: &Sample,
    count: usize,
) -> Figures {
    let (out, publishing) = connect(url).await;
    let (back, consuming) = connect(url).await;
    publishing
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("confirms");
    let consumer = consumer(&consuming, queue).await;
    let task = tokio::spawn(async move {
        consume_on(&consuming, consumer, count, Acks::Each).await;
    });
    let watch = Watch::start();
    publish_on(&publishing, exchange, sample, count).await;
    task.await.expect("consumed");
    let figures = watch.stop(count);
    for connection in [out, back] {
        let _ = connection.close(200, "done".into()).await;
    }
    figures
}

/// Asks and answers, so many at once.
pub(crate) async fn request(url: &str, count: usize, in_flight: usize) -> Figures {
    let (out, asking) = connect(url).await;
    let (back, answering) = connect(url).await;
    // As ours: the questions survive the broker, the answers do not.
    let declared = |channel: Channel, name: &'static str, durable| async move {
        let declare = QueueDeclareOptions {
            durable,
            exclusive: !durable,
            ..QueueDeclareOptions::default()
        };
        let queue = channel.queue_declare(name.into(), declare, FieldTable::default());
        queue.await.expect("a queue");
        consumer(&channel, name).await
    };
    let questions = declared(answering.clone(), "raw-questions", true).await;
    let answers = declared(asking.clone(), "raw-answers", false).await;
    let responder = tokio::spawn(respond(answering, questions));
    let (register, pending) = mpsc::unbounded_channel();
    let dispatcher = tokio::spawn(dispatch(asking.clone(), answers, pending));
    let watch = Watch::start();
    let ask = |number: usize| {
        let (asking, register) = (asking.clone(), register.clone());
        async move {
            let started = Instant::now();
            let id = number.to_string();
            let (answered, answer) = oneshot::channel();
            register.send((id.clone(), answered)).expect("registered");
            let properties = BasicProperties::default()
                .with_delivery_mode(2)
                .with_correlation_id(id.into())
                .with_reply_to("raw-answers".into());
            let options = BasicPublishOptions::default();
            asking
                .basic_publish(
                    "".into(),
                    "raw-questions".into(),
                    options,
                    b"{}",
                    properties,
                )
                .await
                .expect("written");
            answer.await.expect("answered");
            started.elapsed()
        }
    };
    let asked = stream::iter(0..count).map(ask).buffer_unordered(in_flight);
    let latencies: Vec<_> = asked.collect().await;
    let mut figures = watch.stop(count);
    figures.latency = crate::bus::middle(latencies);
    responder.abort();
    dispatcher.abort();
    for connection in [out, back] {
        let _ = connection.close(200, "done".into()).await;
    }
    figures
}

async fn respond(channel: Channel, mut questions: Consumer) {
    let mut waiting = FuturesUnordered::new();
    while let Some(Ok(question)) = questions.next().await {
        let id = question.properties.correlation_id().clone().expect("an id");
        let to = question.properties.reply_to().clone().expect("an address");
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_correlation_id(id);
        let channel = channel.clone();
        waiting.push(async move {
            let options = BasicPublishOptions::default();
            let answer = channel.basic_publish("".into(), to, options, b"{}", properties);
            answer.await.expect("written");
            let ack = channel.basic_ack(question.delivery_tag, BasicAckOptions::default());
            ack.await.expect("acknowledged");
        });
        while let Some(Some(())) = waiting.next().now_or_never() {}
    }
}

type Pending = mpsc::UnboundedReceiver<(String, oneshot::Sender<()>)>;

async fn dispatch(channel: Channel, mut answers: Consumer, mut pending: Pending) {
    let mut waiting = HashMap::new();
    let mut acks = FuturesUnordered::new();
    while let Some(Ok(answer)) = answers.next().await {
        while let Ok((id, answered)) = pending.try_recv() {
            waiting.insert(id, answered);
        }
        let id = answer.properties.correlation_id().clone().expect("an id");
        if let Some(answered) = waiting.remove(id.as_str()) {
            let _ = answered.send(());
        }
        let (channel, tag) = (channel.clone(), answer.delivery_tag);
        acks.push(async move { channel.basic_ack(tag, BasicAckOptions::default()).await });
        while let Some(Some(_)) = acks.next().now_or_never() {}
    }
}
