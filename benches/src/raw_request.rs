//! The client alone, asking and answering.

use std::collections::HashMap;
use std::time::Instant;

use futures_util::stream::{self, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer, PublisherConfirm};
use tokio::sync::{mpsc, oneshot};

use crate::figures::{Figures, Watch};
use crate::load::{IN_FLIGHT, Load};
use crate::raw::{Sample, close, confirming, connect, consumer};

const QUESTIONS: &str = "raw-questions";
const ANSWERS: &str = "raw-answers";

/// What a side does for safety.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// Writes on the connection that it reads from, without waiting for a confirm.
    Bare,
    /// As the bus: connections of its own to publish on, confirms, an error for what no queue takes, and a question is
    /// acknowledged when its answer is confirmed.
    AsTheBus,
}

impl Care {
    fn options(self) -> BasicPublishOptions {
        BasicPublishOptions {
            mandatory: self == Self::AsTheBus,
            ..BasicPublishOptions::default()
        }
    }
}

/// A side: what it reads from, and what it writes on.
struct Side {
    connections: Vec<Connection>,
    reading: Channel,
    writing: Channel,
}

impl Side {
    async fn open(url: &str, care: Care) -> Self {
        let (connection, reading) = connect(url).await;
        if care == Care::Bare {
            let writing = reading.clone();
            let connections = vec![connection];
            return Self {
                connections,
                reading,
                writing,
            };
        }
        let (other, writing) = confirming(url).await;
        Self {
            connections: vec![connection, other],
            reading,
            writing,
        }
    }
}

/// Asks and answers, so many at once; question and answer are the sample.
pub(crate) async fn request(
    url: &str,
    load: Load,
    care: Care,
    sample: Sample,
    count: usize,
) -> Figures {
    let client = Side::open(url, care).await;
    let server = Side::open(url, care).await;
    // As ours: the questions survive the broker, the answers do not.
    let questions = declared(&server.reading, QUESTIONS, true).await;
    let answers = declared(&client.reading, ANSWERS, false).await;
    let channels = (server.reading, server.writing);
    let responder = tokio::spawn(respond(channels, care, questions, sample.clone()));
    let (register, pending) = mpsc::unbounded_channel();
    let dispatcher = tokio::spawn(dispatch(client.reading, answers, pending));
    let (keep, kept) = mpsc::unbounded_channel();
    let confirms = tokio::spawn(confirmed(kept));
    let watch = Watch::start();
    let ask = |number: usize| {
        let (asking, register, keep) = (&client.writing, &register, &keep);
        let sample = &sample;
        async move {
            let started = Instant::now();
            let (answered, answer) = oneshot::channel();
            register.send((number, answered)).expect("registered");
            let properties = sample.properties.clone().with_reply_to(ANSWERS.into());
            let properties = properties.with_correlation_id(number.to_string().into());
            let written = asking.basic_publish(
                "".into(),
                QUESTIONS.into(),
                care.options(),
                &sample.body,
                properties,
            );
            let confirm = written.await.expect("written");
            assert!(keep.send(confirm).is_ok(), "it is kept");
            answer.await.expect("answered");
            started.elapsed()
        }
    };
    let asked = stream::iter(0..count)
        .map(ask)
        .buffer_unordered(load.asking);
    let figures = watch.stop_with(asked.collect().await);
    responder.abort();
    dispatcher.abort();
    confirms.abort();
    for connection in client.connections.into_iter().chain(server.connections) {
        close(connection).await;
    }
    figures
}

/// Awaits confirms for those who wait for an answer: one that is dropped would stay with the client.
async fn confirmed(mut kept: mpsc::UnboundedReceiver<PublisherConfirm>) {
    let mut confirms = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(confirm) = kept.recv() => confirms.push(confirm),
            Some(confirmed) = confirms.next() => assert!(!confirmed.expect("confirmed").is_nack()),
            else => return,
        }
    }
}

async fn declared(channel: &Channel, name: &str, durable: bool) -> Consumer {
    let declare = QueueDeclareOptions {
        durable,
        exclusive: !durable,
        ..QueueDeclareOptions::default()
    };
    let queue = channel.queue_declare(name.into(), declare, FieldTable::default());
    queue.await.expect("a queue");
    let prefetch = u16::try_from(IN_FLIGHT).expect("it fits");
    consumer(channel, name, prefetch).await
}

async fn respond(
    (reading, writing): (Channel, Channel),
    care: Care,
    mut questions: Consumer,
    sample: Sample,
) {
    let answer = |question: Delivery| {
        let (reading, writing, sample) = (&reading, &writing, &sample);
        async move {
            let id = question.properties.correlation_id().clone().expect("an id");
            let to = question.properties.reply_to().clone().expect("an address");
            let properties = sample.properties.clone().with_correlation_id(id);
            let options = care.options();
            let answer = writing.basic_publish("".into(), to, options, &sample.body, properties);
            // Without confirms it is there at once.
            let confirmed = answer.await.expect("written").await.expect("confirmed");
            assert!(!confirmed.is_nack());
            let ack = reading.basic_ack(question.delivery_tag, BasicAckOptions::default());
            ack.await.expect("acknowledged");
        }
    };
    let mut answers = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(Ok(question)) = questions.next() => answers.push(answer(question)),
            Some(()) = answers.next() => {}
            else => return,
        }
    }
}

type Pending = mpsc::UnboundedReceiver<(usize, oneshot::Sender<()>)>;

async fn dispatch(channel: Channel, mut answers: Consumer, mut pending: Pending) {
    let mut waiting = HashMap::new();
    let mut acks = FuturesUnordered::new();
    while let Some(Ok(answer)) = answers.next().await {
        while let Ok((number, answered)) = pending.try_recv() {
            waiting.insert(number, answered);
        }
        let id = answer.properties.correlation_id().as_ref();
        let number = id.map(ShortString::as_str).and_then(|id| id.parse().ok());
        let number: usize = number.expect("an id of ours");
        if let Some(answered) = waiting.remove(&number) {
            // The requester waits until it is answered.
            let _ = answered.send(());
        }
        acks.push(channel.basic_ack(answer.delivery_tag, BasicAckOptions::default()));
        while let Some(Some(_)) = acks.next().now_or_never() {}
    }
}
