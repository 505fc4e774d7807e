//! Count of a message's redeliveries, also where the queue does not count.
//!
//! | queue | how often it handed the message out |
//! |---|---|
//! | quorum | header `x-delivery-count`; from RabbitMQ 4.3 on `x-acquired-count` (that one counts all) |
//! | stream | never: a stream is read, not consumed |
//! | classic, durable | `redelivered` says only that it was; counted by marks in `<queue>_redelivered` |
//! | classic, exclusive or transient | not counted: such a queue ends with its process, or its broker |
//!
//! Each mark is a persistent message with the key of what was redelivered. A new process reads all
//! of them once, and leaves them there.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use bus_core::topology::{Overflow, Queue, QueueKind, Topology};
use bus_core::transport::{Incoming, ListenSpec, TransportError};
use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel};
use tokio::sync::Mutex;

use crate::connection::Live;
use crate::convert::short;
use crate::error::failed;
use crate::topology;

/// Time for which a mark is kept (`x-message-ttl`).
///
/// Longer than the waits of a service manager between some ten restarts.
const KEEP_MARK: Duration = Duration::from_secs(6 * 60 * 60);

/// Time for which the queue of marks outlives the last look into it (`x-expires`).
const KEEP_QUEUE: Duration = Duration::from_secs(24 * 60 * 60);

/// Number of marks beyond which they mean many restarts, not one message.
const MAX_MARKS: u32 = 10_000;

/// Delivery mode of a message that survives a restart of the broker.
const PERSISTENT: u8 = 2;

/// Counts the redeliveries of one queue.
#[derive(Debug)]
pub(crate) enum Redeliveries {
    /// Counted by the queue itself, or never: a message cannot outlive the process.
    Counted,
    /// Counted by marks in a queue beside it, which outlives this process.
    ///
    /// A classic queue reports only that a message came back, so each time is marked.
    Marked(Box<Marks>),
}

/// Marks of one queue.
#[derive(Debug)]
pub(crate) struct Marks {
    queue: Queue,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Number of marks by message, once they were read.
    counts: Option<HashMap<String, u32>>,
    channel: Option<Channel>,
}

impl Redeliveries {
    /// Chooses the way to count by the kind of the queue that the endpoint declares.
    ///
    /// A queue that it does not declare is taken as one that counts, as no other queue is made
    /// beside what belongs to another service.
    pub(crate) fn of(spec: &ListenSpec) -> Self {
        let mut queues = spec.topology.queues.iter();
        let queue = queues.find(|queue| queue.name == spec.queue);
        match queue {
            Some(queue)
                if queue.kind == QueueKind::Classic && queue.durable && !queue.exclusive =>
            {
                Self::Marked(Box::new(Marks::new(&spec.queue)))
            }
            _ => Self::Counted,
        }
    }

    /// Counts how often this message was handed out before.
    ///
    /// Marks this time where the queue does not count.
    pub(crate) async fn count(
        &self,
        live: &Live,
        incoming: &Incoming,
    ) -> Result<u32, TransportError> {
        match self {
            Self::Counted => Ok(incoming.delivery_count.unwrap_or(0)),
            Self::Marked(marks) => marks.count(live, incoming).await,
        }
    }
}

impl Marks {
    fn new(queue: &str) -> Self {
        Self {
            queue: Queue {
                message_ttl: Some(KEEP_MARK),
                expires: Some(KEEP_QUEUE),
                max_length: Some(MAX_MARKS.into()),
                overflow: Some(Overflow::DropHead),
                ..Queue::classic(format!("{queue}_redelivered"))
            },
            state: Mutex::default(),
        }
    }

    /// Marks the message and counts its marks.
    ///
    /// The mark is confirmed before the message is handed out: a process that dies of it has
    /// counted it.
    async fn count(&self, live: &Live, incoming: &Incoming) -> Result<u32, TransportError> {
        let key = key(incoming);
        let mut state = self.state.lock().await;
        let channel = match state.channel.take() {
            Some(channel) if channel.status().connected() => channel,
            _ => self.open(live).await?,
        };
        state.channel = Some(channel.clone());
        if state.counts.is_none() {
            state.counts = Some(self.read(live).await?);
        }
        self.mark(&channel, &key).await?;
        let count = state.counts.get_or_insert_default().entry(key).or_default();
        *count += 1;
        Ok(*count)
    }

    /// Declares the queue of marks, and opens a channel in confirm mode.
    async fn open(&self, live: &Live) -> Result<Channel, TransportError> {
        let marks = Topology {
            queues: vec![self.queue.clone()],
            ..Topology::default()
        };
        topology::declare(live, &marks).await?;
        let channel = live.channel().await?;
        let confirming = channel.confirm_select(ConfirmSelectOptions::default());
        confirming.await.map_err(|error| self.failed(error))?;
        Ok(channel)
    }

    /// Reads every mark, and leaves them where they are.
    ///
    /// The channel is closed without an acknowledgement, so RabbitMQ puts them back. Two processes
    /// that read at the same time may each miss what the other one holds; a mark counts too little
    /// then, never too much.
    async fn read(&self, live: &Live) -> Result<HashMap<String, u32>, TransportError> {
        let channel = live.channel().await?;
        let name = short("queue name", &self.queue.name)?;
        let mut counts = HashMap::new();
        for _ in 0..MAX_MARKS {
            let got = channel.basic_get(name.clone(), BasicGetOptions::default());
            let Some(mark) = got.await.map_err(|error| self.failed(error))? else {
                break;
            };
            let key = String::from_utf8_lossy(&mark.data).into_owned();
            *counts.entry(key).or_default() += 1;
        }
        let closed = channel.close(200, "read".into()).await;
        closed.map_err(|error| self.failed(error))?;
        // The marks are back once the broker has answered a question that was asked after that.
        topology::queue_exists(live, &self.queue.name).await?;
        Ok(counts)
    }

    /// Writes a mark, and waits for its confirm.
    async fn mark(&self, channel: &Channel, key: &str) -> Result<(), TransportError> {
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
        let name = short("queue name", &self.queue.name)?;
        let options = BasicPublishOptions::default();
        let confirmed = async {
            let published =
                channel.basic_publish("".into(), name, options, key.as_bytes(), properties);
            published.await?.await
        };
        confirmed.await.map_err(|error| self.failed(error))?;
        Ok(())
    }

    fn failed(&self, error: lapin::Error) -> TransportError {
        failed(
            format_args!("queue `{}` cannot be used", self.queue.name),
            error,
        )
    }
}

/// Key that distinguishes messages: the message's id, else a hash of its body.
fn key(incoming: &Incoming) -> String {
    let content = || {
        let mut hasher = DefaultHasher::new();
        incoming.body.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    };
    incoming.identity().map_or_else(content, str::to_owned)
}
