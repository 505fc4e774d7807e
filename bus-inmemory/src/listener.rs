//! Consumer, seen from the endpoint that pulls.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bus_core::transport::{
    Acker, Delivery, ListenSpec, Listener, Receipt, Settlement, Tag, TransportError,
};
use tokio::sync::Notify;
use tokio::task::coop::consume_budget;

use crate::broker::{Broker, ConnectionId, Consumer, ConsumerId, Message, Name, State, errors};

/// One subscription to a queue.
pub(crate) struct MemoryListener {
    channel: Arc<Channel>,
    signal: Arc<Notify>,
}

/// Handle of a consumer of a broker, which settles for it.
struct Channel {
    broker: Arc<Broker>,
    queue: Name,
    consumer: ConsumerId,
}

/// Result of a pull.
enum Pulled {
    Message {
        tag: u64,
        message: Arc<Message>,
        redelivered: bool,
        delivery_count: Option<u32>,
    },
    Nothing,
    Ended,
}

impl MemoryListener {
    pub(crate) fn open(
        broker: &Arc<Broker>,
        connection: ConnectionId,
        spec: &ListenSpec,
    ) -> Result<Self, TransportError> {
        let (queue, consumer, signal) = broker.with(|state| state.subscribe(connection, spec))?;
        let channel = Channel {
            broker: Arc::clone(broker),
            queue,
            consumer,
        };
        Ok(Self {
            channel: Arc::new(channel),
            signal,
        })
    }

    fn acker(&self) -> Arc<dyn Acker> {
        Arc::clone(&self.channel) as Arc<dyn Acker>
    }
}

impl Channel {
    fn pull(&self) -> Pulled {
        self.broker
            .with(|state| state.pull(&self.queue, self.consumer))
    }

    fn close(&self) {
        self.broker.with(|state| {
            state.change(&self.queue, |queue, flow| queue.remove(self.consumer, flow))
        });
    }
}

#[async_trait]
impl Listener for MemoryListener {
    async fn next(&self) -> Option<Result<Delivery, TransportError>> {
        // A full queue must not keep its consumer from ever letting others run.
        consume_budget().await;
        loop {
            // Created before looking: a message that comes in between is not missed.
            let news = self.signal.notified();
            match self.channel.pull() {
                Pulled::Message {
                    tag,
                    message,
                    redelivered,
                    delivery_count,
                } => {
                    // From here to the return there is no await: a delivery that was pulled has a
                    // receipt.
                    let receipt = Receipt::new(self.acker(), tag);
                    let mut incoming = message.content.clone();
                    incoming.redelivered = redelivered;
                    incoming.delivery_count = delivery_count;
                    return Some(Ok(Delivery { incoming, receipt }));
                }
                Pulled::Ended => return None,
                Pulled::Nothing => news.await,
            }
        }
    }

    async fn set_prefetch(&self, count: u16) -> Result<(), TransportError> {
        let Channel {
            broker,
            queue,
            consumer,
        } = &*self.channel;
        broker.with(|state| {
            state.change(queue, |queue, flow| {
                queue.set_prefetch(*consumer, count, flow);
            })
        });
        Ok(())
    }

    async fn stop(&self) {
        let Channel {
            broker,
            queue,
            consumer,
        } = &*self.channel;
        broker.with(|state| state.change(queue, |queue, flow| queue.unsubscribe(*consumer, flow)));
    }

    async fn close(&self) {
        self.channel.close();
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        self.channel.close();
    }
}

impl Acker for Channel {
    fn settle(&self, tag: Tag, settlement: Settlement) {
        // Ours are numbers.
        let Some(tag) = tag.number() else { return };
        self.broker.with(|state| {
            let entry = state.change(&self.queue, |queue, flow| {
                queue.settle(self.consumer, tag, settlement, flow)
            });
            match (settlement, entry.flatten()) {
                (Settlement::Ack, Some(entry)) => state.repeat(&self.queue, entry),
                (Settlement::Defer(time), Some(entry)) => state.defer(&self.queue, entry, time),
                _ => {}
            }
        });
    }
}

impl State {
    fn subscribe(
        &mut self,
        connection: ConnectionId,
        spec: &ListenSpec,
    ) -> Result<(Name, ConsumerId, Arc<Notify>), TransportError> {
        self.connection(connection)?;
        if spec.stream_offset.is_some() {
            return Err(errors::no_streams(&spec.queue));
        }
        if !self.queues.contains_key(spec.queue.as_str()) {
            self.declare(connection, &spec.topology)?;
        }
        let queue = self.queues.get(spec.queue.as_str());
        let queue = queue.ok_or_else(|| errors::no_queue(&spec.queue))?;
        if queue.owner.is_some_and(|owner| owner != connection) {
            return Err(errors::locked(&spec.queue));
        }
        let name = Arc::clone(&queue.name);
        let id = self.next_consumer();
        let mut consumer = Consumer::new(id, connection, spec.prefetch);
        consumer.priority = spec.priority.unwrap_or(0);
        consumer.exclusive = spec.exclusive;
        let signal = consumer.signal();
        self.change(&name, |queue, flow| queue.subscribe(consumer, flow))
            .unwrap_or(Ok(()))?;
        Ok((name, id, signal))
    }

    fn pull(&mut self, queue: &str, id: ConsumerId) -> Pulled {
        let Some(queue) = self.queues.get_mut(queue) else {
            return Pulled::Ended;
        };
        let counts = queue.settings.quorum;
        let Some(consumer) = queue.consumers.get(id).filter(|one| one.subscribed) else {
            return Pulled::Ended;
        };
        consumer
            .pull()
            .map_or(Pulled::Nothing, |(tag, entry)| Pulled::Message {
                tag,
                message: Arc::clone(&entry.message),
                redelivered: entry.redelivered,
                delivery_count: counts.then_some(entry.returns),
            })
    }
}

impl fmt::Debug for MemoryListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.channel.fmt(f)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryListener")
            .field("queue", &self.queue)
            .field("consumer", &self.consumer)
            .finish_non_exhaustive()
    }
}
