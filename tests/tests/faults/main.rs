//! RabbitMQ fails: connections are cut, confirms are lost, queues vanish, the broker dies. Nothing is lost.

mod consuming;
mod crashing;
mod dead_broker;
mod delaying;
mod deleting;
mod foreign_bytes;
mod lost_connections;
mod moved;
mod publishing;
mod redelivered;
mod refusing;
mod requests;
mod streams;
mod waiting;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus_core::error::SendErrorKind;
use bus_core::topology::{Binding, Exchange, Node, Queue, QueueKind, Topology};
use bus_core::transport::{Health, ListenSpec};
use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, Policy};
use bus_rabbitmq::RabbitMq;
use bus_tests::contracts::{Answered, Ask, Cancelled, Ordered, Place};
use bus_tests::{Broker, Gate, Proxy, Recorder, Setup, eventually, with, within};
use futures_util::future::join_all;
use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use uuid::Uuid;

/// Listens to a queue behind the exchange of its name, without an endpoint.
fn spec(queue: &str, kind: QueueKind) -> ListenSpec {
    let topology = Topology {
        exchanges: vec![Exchange::fanout(queue)],
        queues: vec![Queue {
            kind,
            ..Queue::classic(queue)
        }],
        bindings: vec![Binding::new(queue, Node::Queue(queue.to_owned()))],
    };
    ListenSpec {
        queue: queue.to_owned(),
        topology: Arc::new(topology),
        prefetch: 10,
        priority: None,
        exclusive: false,
        stream_offset: None,
    }
}

/// How often each number arrived.
#[derive(Clone, Debug, Default)]
struct Ledger(Arc<Mutex<BTreeMap<u32, usize>>>);

impl Ledger {
    fn note(&self, number: u32) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(number).or_default() += 1;
    }

    fn counts(&self) -> BTreeMap<u32, usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until all of `0..count` were there.
    async fn is_complete(&self, count: u32) {
        let all = count as usize;
        let what = format!("{all} messages arrive, or more");
        eventually(&what, async || self.len() >= all).await;
    }

    fn endpoint(&self, queue: &str) -> Endpoint {
        Endpoint::new(queue).without_subscriptions().consumer(with(
            self.clone(),
            async |ledger: Ledger, ctx: ConsumeContext<Place>| -> ConsumeResult {
                ledger.note(ctx.message().number);
                Ok(())
            },
        ))
    }
}

fn unique(purpose: &str) -> String {
    format!("{purpose}-{}", Uuid::new_v4().simple())
}

fn address(queue: &str) -> String {
    format!("queue:{queue}")
}

/// Comes back quickly, so that tests do.
fn quick(url: &str) -> RabbitMq {
    RabbitMq::new(url).reconnect_backoff(Duration::from_millis(50), Duration::from_millis(500))
}

/// The broker of the tests that need small limits: 16 KiB for a frame, 100 kB for a message.
async fn narrow() -> &'static Broker {
    static NARROW: OnceCell<Broker> = OnceCell::const_new();
    let setup = Setup {
        config: "frame_max = 16384\nmax_message_size = 100000\n".to_owned(),
        ..Setup::default()
    };
    NARROW
        .get_or_init(async || Broker::configured(&setup).await)
        .await
}

async fn proxy() -> Proxy {
    Proxy::start(Broker::shared().await.host()).await
}

async fn client(url: &str) -> Channel {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .expect("the broker is up");
    connection.create_channel().await.expect("a channel")
}

/// How many messages are ready in a queue, and how many consumers it has.
async fn look(channel: &Channel, queue: &str) -> (u32, u32) {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let found = channel
        .queue_declare(queue.into(), passive, FieldTable::default())
        .await
        .expect("the queue is there");
    (found.message_count(), found.consumer_count())
}

/// How many messages wait in a queue of the shared broker; none if it is not there yet.
async fn waiting(queue: &str) -> u32 {
    let channel = client(Broker::shared().await.url()).await;
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let found = channel
        .queue_declare(queue.into(), passive, FieldTable::default())
        .await;
    found.map_or(0, |queue| queue.message_count())
}

/// Waits for a task that a fault may have stopped for ever.
async fn finished(task: tokio::task::JoinHandle<()>) {
    let finished = tokio::time::timeout(Duration::from_secs(120), task).await;
    finished.expect("the senders end").expect("no panic");
}

/// Sends 0, 1, 2, … to a queue, many at a time, until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    next: Arc<AtomicU32>,
    senders: JoinSet<()>,
}

impl Load {
    fn start(bus: &Bus, queue: &str) -> Self {
        let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut senders = JoinSet::new();
        for _ in 0..50 {
            let (bus, to) = (bus.clone(), address(queue));
            let (stop, next) = (Arc::clone(&stop), Arc::<AtomicU32>::clone(&next));
            senders.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let sent = bus.send_to(to.as_str(), &Place { number }).await;
                    sent.expect("confirmed within its deadline");
                }
            });
        }
        Self {
            stop,
            next,
            senders,
        }
    }

    /// How many messages are confirmed, once the last one is.
    async fn stop(mut self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        let ended = async {
            while let Some(sender) = self.senders.join_next().await {
                sender.expect("no panic");
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(120), ended).await;
        ended.expect("the senders end");
        self.next.load(Ordering::Relaxed)
    }
}

/// Sends `numbers` to a queue, many at a time, each until it is confirmed.
async fn send_all(bus: &Bus, queue: &str, numbers: std::ops::Range<u32>) {
    let mut tasks = JoinSet::new();
    let next = Arc::new(AtomicUsize::new(numbers.start as usize));
    for _ in 0..50 {
        let (bus, to, next) = (bus.clone(), address(queue), Arc::clone(&next));
        let end = numbers.end;
        tasks.spawn(async move {
            loop {
                let number = u32::try_from(next.fetch_add(1, Ordering::Relaxed)).expect("few");
                if number >= end {
                    return;
                }
                let sent = bus.send_to(to.as_str(), &Place { number }).await;
                sent.expect("confirmed within its deadline");
            }
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.expect("no panic");
    }
}
