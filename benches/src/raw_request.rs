//! The client alone, asking and answering.

use std::collections::HashMap;
use std::time::Instant;

use futures_util::stream::{self, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::sync::{mpsc, oneshot};

use crate::figures::{Figures, Watch};
use crate::load::{IN_FLIGHT, Load};
use crate::raw::{Sample, close, connect, consumer};

const QUESTIONS: &str = "raw-questions";
const ANSWERS: &str = "raw-answers";

/// Asks and answers, so many at once; question and answer are the sample.
pub(crate) async fn request(url: &str, load: Load, sample: Sample, count: usize) -> Figures {
    let (out, asking) = connect(url).await;
    let (back, answering) = connect(url).await;
    // As ours: the questions survive the broker, the answers do not.
    let questions = declared(&answering, QUESTIONS, true).await;
    let answers = declared(&asking, ANSWERS, false).await;
    let responder = tokio::spawn(respond(answering, questions, sample.clone()));
    let (register, pending) = mpsc::unbounded_channel();
    let dispatcher = tokio::spawn(dispatch(asking.clone(), answers, pending));
    let watch = Watch::start();
    let ask = |number: usize| {
        let (asking, register, sample) = (&asking, &register, &sample);
        async move {
            let started = Instant::now();
            let (answered, answer) = oneshot::channel();
            register.send((number, answered)).expect("registered");
            let properties = sample.properties.clone().with_reply_to(ANSWERS.into());
            let properties = properties.with_correlation_id(number.to_string().into());
            let options = BasicPublishOptions::default();
            asking
                .basic_publish(
                    "".into(),
                    QUESTIONS.into(),
                    options,
                    &sample.body,
                    properties,
                )
                .await
                .expect("written");
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
    close(out).await;
    close(back).await;
    figures
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

async fn respond(channel: Channel, mut questions: Consumer, sample: Sample) {
    let answer = |question: Delivery| {
        let (channel, sample) = (&channel, &sample);
        async move {
            let id = question.properties.correlation_id().clone().expect("an id");
            let to = question.properties.reply_to().clone().expect("an address");
            let properties = sample.properties.clone().with_correlation_id(id);
            let options = BasicPublishOptions::default();
            let answer = channel.basic_publish("".into(), to, options, &sample.body, properties);
            answer.await.expect("written");
            let ack = channel.basic_ack(question.delivery_tag, BasicAckOptions::default());
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
            // Whoever asked waits until it is answered.
            let _ = answered.send(());
        }
        acks.push(channel.basic_ack(answer.delivery_tag, BasicAckOptions::default()));
        while let Some(Some(_)) = acks.next().now_or_never() {}
    }
}
