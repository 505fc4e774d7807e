//! The client alone, moving bytes that are encoded already.

use futures_util::future::join_all;
use futures_util::stream::{self, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    QueuePurgeOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};

use crate::figures::{Figures, Watch};
use crate::load::{Load, Share, Work, new_queue};

/// A message as it was sent by another process.
#[derive(Clone)]
pub(crate) struct Sample {
    /// Where it was published.
    pub(crate) exchange: ShortString,
    pub(crate) body: Vec<u8>,
    pub(crate) properties: BasicProperties,
}

pub(crate) async fn connect(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .expect("a broker");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

pub(crate) async fn confirming(url: &str) -> (Connection, Channel) {
    let (connection, channel) = connect(url).await;
    let options = ConfirmSelectOptions::default();
    channel.confirm_select(options).await.expect("confirms");
    (connection, channel)
}

pub(crate) async fn close(connection: Connection) {
    // The broker may be quicker than the answer to this.
    let _ = connection.close(200, "done".into()).await;
}

/// Takes one message out of a queue, to move the same bytes.
pub(crate) async fn sample(url: &str, queue: &str) -> Sample {
    let (connection, channel) = connect(url).await;
    let options = BasicGetOptions { no_ack: true };
    let message = channel.basic_get(queue.into(), options).await.expect("get");
    let message = message.expect("a message was published");
    let sample = Sample {
        exchange: message.exchange.clone(),
        body: message.data.clone(),
        properties: message.properties.clone(),
    };
    close(connection).await;
    sample
}

/// Takes all messages out of a queue.
pub(crate) async fn purge(url: &str, queue: &str) {
    let (connection, channel) = connect(url).await;
    let purged = channel.queue_purge(queue.into(), QueuePurgeOptions::default());
    purged.await.expect("purged");
    close(connection).await;
}

/// Publishes where the sample was published, with confirms, many in flight.
pub(crate) async fn publish(url: &str, load: Load, sample: &Sample, count: usize) -> Figures {
    let (connection, channel) = confirming(url).await;
    let beside = connection.create_channel().await.expect("a channel");
    let options = ConfirmSelectOptions::default();
    beside.confirm_select(options).await.expect("confirms");
    let watch = Watch::start();
    tokio::join!(
        publish_on(&channel, &load, sample, count),
        make_new_queues(&beside, sample, load.new_queues(count)),
    );
    let figures = watch.stop(count);
    close(connection).await;
    figures
}

/// Makes one queue after the other as the bus does, and sends the message to it.
async fn make_new_queues(channel: &Channel, sample: &Sample, count: usize) {
    for number in 0..count {
        let queue = ShortString::from(new_queue(number));
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let declared = channel.queue_declare(queue.clone(), options, FieldTable::default());
        declared.await.expect("declared");
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let (name, kind) = (queue.clone(), ExchangeKind::Fanout);
        let declared = channel.exchange_declare(name, kind, options, FieldTable::default());
        declared.await.expect("declared");
        let (name, options) = (queue.clone(), QueueBindOptions::default());
        let bound = channel.queue_bind(
            name,
            queue.clone(),
            "".into(),
            options,
            FieldTable::default(),
        );
        bound.await.expect("bound");
        let options = BasicPublishOptions::default();
        let properties = sample.properties.clone();
        let written = channel.basic_publish(queue, "".into(), options, &sample.body, properties);
        let confirm = written.await.expect("written").await.expect("confirmed");
        assert!(confirm.is_ack());
    }
}

/// Puts so many copies of a message into a queue.
pub(crate) async fn fill(url: &str, queue: &str, sample: &Sample, count: usize) {
    let (connection, channel) = confirming(url).await;
    let share = Share {
        count,
        in_flight: crate::load::IN_FLIGHT,
    };
    publish_share(
        channel,
        Way::Direct(queue.to_owned()),
        sample.clone(),
        share,
    )
    .await;
    close(connection).await;
}

async fn publish_on(channel: &Channel, load: &Load, sample: &Sample, count: usize) {
    let tasks = load.shares(count).into_iter().map(|share| {
        let (channel, sample) = (channel.clone(), sample.clone());
        tokio::spawn(publish_share(channel, Way::of(load), sample, share))
    });
    for task in join_all(tasks).await {
        task.expect("published");
    }
}

/// Through which exchanges messages go.
enum Way {
    /// The same as the sample, so that the broker has the same work.
    AsTheSample,
    /// The exchanges of the queues, in turn.
    Turns(Vec<String>),
    /// Into this queue, past all others.
    Direct(String),
}

impl Way {
    fn of(load: &Load) -> Self {
        match load.work {
            Work::Spread => Self::Turns(load.queue_names()),
            _ => Self::AsTheSample,
        }
    }

    /// Exchange and routing key of a message.
    fn address(&self, sample: &Sample, number: usize) -> (ShortString, ShortString) {
        match self {
            Self::AsTheSample => (sample.exchange.clone(), "".into()),
            Self::Turns(queues) => (queues[number % queues.len()].as_str().into(), "".into()),
            Self::Direct(queue) => ("".into(), queue.as_str().into()),
        }
    }
}

async fn publish_share(channel: Channel, way: Way, sample: Sample, share: Share) {
    let publish = |number: usize| {
        let (channel, sample) = (&channel, &sample);
        let (exchange, key) = way.address(sample, number);
        async move {
            let options = BasicPublishOptions::default();
            let properties = sample.properties.clone();
            let written = channel.basic_publish(exchange, key, options, &sample.body, properties);
            let confirm = written.await.expect("written").await.expect("confirmed");
            assert!(confirm.is_ack());
        }
    };
    let mut confirms = stream::iter(0..share.count)
        .map(publish)
        .buffer_unordered(share.in_flight);
    while confirms.next().await.is_some() {}
}

/// Consumes and acknowledges what is in a queue; acknowledges each message, or a batch at once. The watch runs from
/// the first message.
pub(crate) async fn consume(url: &str, load: Load, batch: usize, count: usize) -> Figures {
    let (connection, channel) = connect(url).await;
    let [queue] = load.queue_names().try_into().expect("one queue");
    let mut consumer = consumer(&channel, &queue, load.prefetch()).await;
    let held = match load.work {
        Work::ConsumeBesideHeld => Some(consumer.next().await.expect("a delivery").expect("whole")),
        _ => None,
    };
    let rest = count - usize::from(held.is_some());
    let watch = consume_on(channel, consumer, batch, rest).await;
    if let Some(held) = held {
        let acked = held.ack(BasicAckOptions::default());
        acked.await.expect("acknowledged");
    }
    let figures = watch.stop(count);
    close(connection).await;
    figures
}

pub(crate) async fn consumer(channel: &Channel, queue: &str, prefetch: u16) -> Consumer {
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

async fn consume_on(channel: Channel, mut consumer: Consumer, batch: usize, count: usize) -> Watch {
    let mut first = None;
    let mut waiting = FuturesUnordered::new();
    for handled in 1..=count {
        let delivery = consumer.next().await.expect("a delivery").expect("whole");
        first.get_or_insert_with(Watch::start);
        if handled % batch == 0 || handled == count {
            let multiple = batch > 1;
            waiting.push(channel.basic_ack(delivery.delivery_tag, BasicAckOptions { multiple }));
        }
        while let Some(Some(acked)) = waiting.next().now_or_never() {
            acked.expect("acknowledged");
        }
    }
    while let Some(acked) = waiting.next().await {
        acked.expect("acknowledged");
    }
    first.unwrap_or_else(Watch::start)
}

/// Publishes and consumes at the same time; each queue has a channel and a task of its own.
pub(crate) async fn end_to_end(url: &str, load: Load, sample: &Sample, count: usize) -> Figures {
    let (out, publishing) = confirming(url).await;
    let (back, _) = connect(url).await;
    let queues = load.queue_names();
    let mut tasks = Vec::new();
    for (index, queue) in queues.iter().enumerate() {
        let channel = back.create_channel().await.expect("a channel");
        let consumer = consumer(&channel, queue, load.prefetch()).await;
        // The first queues get one more where the number of queues does not divide the count.
        let part = (count + queues.len() - 1 - index) / queues.len();
        tasks.push(tokio::spawn(consume_on(channel, consumer, 1, part)));
    }
    let watch = Watch::start();
    publish_on(&publishing, &load, sample, count).await;
    for task in tasks {
        task.await.expect("consumed");
    }
    let figures = watch.stop(count);
    close(out).await;
    close(back).await;
    figures
}
