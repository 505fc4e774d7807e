//! One subscription on one channel.
//!
//! ```text
//!  open: channel.open ─► basic.qos ─► basic.consume
//!                                         │
//!            next ◄── deliveries ◄────────┤
//!                                         ├─ ended: basic.cancel, channel or connection lost
//!  stop: basic.cancel, what was not       │
//!        pulled is requeued ──────────────┤
//!  close: settlements written ─► channel.close; what is unsettled goes back
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bus_core::topology::QueueKind;
use bus_core::transport::{Acker, Delivery, ListenSpec, Receipt, Settlement, TransportError};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use tokio::sync::watch;

use super::deliveries::Deliveries;
use super::settler::Settler;
use super::stream::Begin;
use crate::connection::{ForeignBytes, Live};
use crate::convert::{incoming, short};
use crate::error::failed;

/// Interval at which a channel is checked for its end.
///
/// No pull would notice the end while all consumers are busy.
const LOOK: Duration = Duration::from_secs(1);

/// Channel, its consumer, and the task that acknowledges.
///
/// Settlements of its deliveries reach this channel or none. RabbitMQ delivers at most the prefetch
/// of unsettled messages to it, which also bounds what the client buffers.
pub(crate) struct Subscription {
    channel: Channel,
    deliveries: Deliveries,
    settler: Arc<Settler>,
    live: Arc<Live>,
    /// `true` once nothing more is handed out; never `false` again.
    ended: Arc<watch::Sender<bool>>,
    foreign: ForeignBytes,
}

impl Subscription {
    /// Subscribes to the queue; `begin` is the position in a stream.
    ///
    /// The prefetch is set before the consumer exists, as the broker delivers from the moment on at
    /// which it does.
    pub(crate) async fn open(
        live: Arc<Live>,
        spec: &ListenSpec,
        begin: Option<Begin>,
    ) -> Result<Arc<Self>, TransportError> {
        let channel = live.channel().await?;
        set_qos(&channel, spec).await?;
        let consumer = consume(&channel, spec, begin).await?;
        let ended = Arc::new(watch::Sender::new(false));
        let settler = Settler::start(&channel, spec.prefetch, begin.is_some(), &ended);
        Ok(Arc::new(Self {
            channel,
            deliveries: Deliveries::of(consumer),
            settler,
            foreign: ForeignBytes::new(&spec.queue, live.socket()),
            live,
            ended,
        }))
    }

    /// Waits for the next delivery; `None` when the subscription is over.
    ///
    /// The subscription may be ended from either side. Cancel-safe.
    pub(crate) async fn next(&self) -> Option<Delivery> {
        let mut ended = self.ended.subscribe();
        // Deliveries left in the client of a channel that is gone are delivered again.
        if *ended.borrow_and_update() {
            return None;
        }
        let next = tokio::select! {
            biased;
            next = self.deliveries.next() => next,
            _ = ended.wait_for(|ended| *ended) => None,
        };
        if let Some(delivery) = next {
            return Some(self.hand_out(delivery));
        }
        // Only one of the consumer's clones is notified.
        self.ended.send_replace(true);
        None
    }

    /// Wraps a delivery, and notes that it has to be settled.
    fn hand_out(&self, delivery: lapin::message::Delivery) -> Delivery {
        let tag = delivery.delivery_tag;
        self.foreign.look(self.channel.id(), self.live.socket());
        let incoming = incoming(delivery);
        self.settler.handed_out(tag, &incoming);
        Delivery {
            incoming,
            receipt: Receipt::new(Arc::clone(&self.settler) as Arc<dyn Acker>, tag),
        }
    }

    /// Connection of the subscription.
    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Offset from which a stream has to be read again.
    ///
    /// `None` if nothing of it came, and for other queues.
    pub(crate) fn stream_position(&self) -> Option<u64> {
        self.settler.stream_position()
    }

    /// Waits until the broker sends nothing more on this subscription.
    ///
    /// The end is noticed also while all consumers are busy, so that none pulls.
    pub(crate) async fn ended(&self) {
        let mut ended = self.ended.subscribe();
        let closed = async {
            while self.channel.status().connected() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            // The sender lives as long as `self`.
            _ = ended.wait_for(|ended| *ended) => {}
            () = self.live.lost() => {}
            () = closed => {}
        }
        self.ended.send_replace(true);
    }

    /// Returns `true` if the subscription is known to have ended.
    pub(crate) fn has_ended(&self) -> bool {
        *self.ended.borrow() || !self.is_open()
    }

    /// Returns `true` if the channel is open, with a subscription or without one.
    pub(crate) fn is_open(&self) -> bool {
        self.channel.status().connected()
    }

    /// Ends the subscription and gives back the messages that were not pulled.
    ///
    /// They go back before the channel is closed, so that other consumers need not wait for the
    /// deliveries that are still handled here.
    pub(crate) async fn stop(&self) {
        self.ended.send_replace(true);
        self.settler.stop();
        // A consumer that is being replaced is followed by another one, which must not be missed.
        let _qos = self.settler.qos().await;
        if let Err(error) = self.live.ask(self.cancel()).await {
            tracing::debug!(%error, "the subscription was over before it was cancelled");
        }
        while let Some(delivery) = self.deliveries.next_here() {
            self.settler
                .settle(delivery.delivery_tag.into(), Settlement::Requeue);
        }
    }

    async fn cancel(&self) -> Result<(), TransportError> {
        let tag = self.deliveries.tag();
        let cancelled = self
            .channel
            .basic_cancel(tag, BasicCancelOptions::default());
        cancelled.await.map_err(|error| failed("cancel", error))
    }

    /// Subscribes anew on the same channel, where deliveries can still be settled.
    ///
    /// RabbitMQ applies a prefetch to new consumers only. The former one is cancelled before, so
    /// that the order is kept. A failure ends the subscription.
    pub(crate) async fn set_prefetch(&self, spec: &ListenSpec) {
        let mut qos = self.settler.qos().await;
        if *self.ended.borrow() || qos.prefetch() == spec.prefetch {
            return;
        }
        qos.note(spec.prefetch);
        self.deliveries.expect_another();
        let again = async {
            self.cancel().await?;
            set_qos(&self.channel, spec).await?;
            consume(&self.channel, spec, None).await
        };
        match self.live.ask(again).await {
            Ok(consumer) => self.deliveries.go_on_with(consumer),
            Err(error) => {
                tracing::warn!(queue = spec.queue, %error, "the queue is subscribed again, for another prefetch");
                self.ended.send_replace(true);
            }
        }
    }

    /// Waits until every settlement is written, and closes the channel.
    ///
    /// Unsettled deliveries go back: RabbitMQ requeues them when the channel is closed, and marks
    /// them as redelivered.
    pub(crate) async fn close(&self) {
        self.ended.send_replace(true);
        let closed = async {
            self.settler.flush().await;
            self.settler.end();
            let closed = self.channel.close(200, "closed".into()).await;
            closed.map_err(|error| failed("close", error))
        };
        if let Err(error) = self.live.ask(closed).await {
            tracing::debug!(%error, "the channel was gone before it was closed");
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.settler.end();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("channel", &self.channel.id())
            .finish_non_exhaustive()
    }
}

/// Returns the reason for which a queue cannot be subscribed anew, if any.
pub(super) fn fixed_prefetch(spec: &ListenSpec) -> Option<String> {
    let name = &spec.queue;
    let mut queues = spec.topology.queues.iter();
    let queue = queues.find(|queue| queue.name == *name)?;
    if queue.kind == QueueKind::Stream {
        return Some(format!(
            "the prefetch of stream `{name}` is fixed: what is unsettled would be read again"
        ));
    }
    queue.auto_delete.then(|| {
        format!("the prefetch of queue `{name}` is fixed: without a consumer it is deleted")
    })
}

async fn set_qos(channel: &Channel, spec: &ListenSpec) -> Result<(), TransportError> {
    let options = BasicQosOptions { global: false };
    let set = channel.basic_qos(spec.prefetch, options).await;
    set.map_err(|error| failed(unconsumed(spec), error))
}

async fn consume(
    channel: &Channel,
    spec: &ListenSpec,
    begin: Option<Begin>,
) -> Result<Consumer, TransportError> {
    let options = BasicConsumeOptions {
        exclusive: spec.exclusive,
        ..BasicConsumeOptions::default()
    };
    let queue = short("queue name", &spec.queue)?;
    channel
        .basic_consume(queue, "".into(), options, arguments(spec, begin))
        .await
        .map_err(|error| failed(unconsumed(spec), error))
}

fn unconsumed(spec: &ListenSpec) -> String {
    format!("queue `{}` cannot be consumed", spec.queue)
}

/// Makes the arguments of `basic.consume`.
///
/// `x-priority`: RabbitMQ delivers to consumers of lower priority only while the others are at
/// their prefetch. `x-stream-offset`: the begin in a stream.
fn arguments(spec: &ListenSpec, begin: Option<Begin>) -> FieldTable {
    let mut arguments = FieldTable::default();
    if let Some(priority) = spec.priority {
        arguments.insert("x-priority".into(), AMQPValue::LongInt(priority));
    }
    if let Some(begin) = begin {
        arguments.insert("x-stream-offset".into(), begin.argument());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use bus_core::topology::{Queue, Topology};

    use super::*;

    fn spec(queue: Queue) -> ListenSpec {
        let mut topology = Topology::default();
        let name = queue.name.clone();
        topology.queues.push(queue);
        ListenSpec {
            queue: name,
            topology: Arc::new(topology),
            prefetch: 1,
            priority: None,
            exclusive: false,
            stream_offset: None,
        }
    }

    #[test]
    fn queues_that_bear_no_gap_have_a_fixed_prefetch() {
        let mut auto_delete = Queue::classic("orders");
        auto_delete.auto_delete = true;
        for fixed in [auto_delete, Queue::stream("orders")] {
            let reason = fixed_prefetch(&spec(fixed)).unwrap_or_default();
            assert!(reason.contains("`orders`"), "{reason}");
        }
        for queue in [Queue::classic("orders"), Queue::temporary("orders")] {
            assert_eq!(fixed_prefetch(&spec(queue)), None);
        }
    }
}
