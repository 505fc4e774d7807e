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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus_core::transport::{Acker, Delivery, ListenSpec, Receipt, Settlement, TransportError};
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use tokio::sync::watch;

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
    /// Clones of the consumer that no caller of `next` holds; all share its buffer.
    consumers: Mutex<Vec<Consumer>>,
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
        let what = format_args!("queue `{}` cannot be consumed", spec.queue).to_string();
        let channel = live.channel().await?;
        let qos = channel
            .basic_qos(spec.prefetch, BasicQosOptions { global: false })
            .await;
        qos.map_err(|error| failed(&what, error))?;
        let options = BasicConsumeOptions {
            exclusive: spec.exclusive,
            ..BasicConsumeOptions::default()
        };
        let queue = short("queue name", &spec.queue)?;
        let consumer = channel
            .basic_consume(queue, "".into(), options, arguments(spec, begin))
            .await
            .map_err(|error| failed(&what, error))?;
        let ended = Arc::new(watch::Sender::new(false));
        let settler = Settler::start(&channel, spec.prefetch, begin.is_some(), &ended);
        Ok(Arc::new(Self {
            channel,
            consumers: Mutex::new(vec![consumer]),
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
        let mut borrowed = self.borrow();
        let mut ended = self.ended.subscribe();
        // Deliveries left in the client of a channel that is gone are delivered again.
        if *ended.borrow_and_update() {
            return None;
        }
        let next = tokio::select! {
            biased;
            next = borrowed.consumer().next() => next,
            _ = ended.wait_for(|ended| *ended) => None,
        };
        if let Some(Ok(delivery)) = next {
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
        let mut borrowed = self.borrow();
        let cancel = self
            .channel
            .basic_cancel(borrowed.consumer().tag(), BasicCancelOptions::default());
        let cancelled = async { cancel.await.map_err(|error| failed("cancel", error)) };
        if let Err(error) = self.live.ask(cancelled).await {
            tracing::debug!(%error, "the subscription was over before it was cancelled");
        }
        while let Some(Some(Ok(delivery))) = borrowed.consumer().next().now_or_never() {
            self.settler
                .settle(delivery.delivery_tag.into(), Settlement::Requeue);
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

    /// Takes a clone of the consumer for one call of `next`.
    ///
    /// Several callers may wait at once, and the client's stream needs `&mut`. Clones share one
    /// buffer, so each delivery goes to one of them.
    fn borrow(&self) -> Borrowed<'_> {
        let mut idle = lock(&self.consumers);
        // The last one stays, to be cloned.
        let consumer = match idle.as_slice() {
            [only] => only.clone(),
            _ => idle.pop().expect("one is always left"),
        };
        Borrowed {
            subscription: self,
            consumer: Some(consumer),
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

/// Clone of the consumer that goes back when `next` ends or is cancelled.
struct Borrowed<'a> {
    subscription: &'a Subscription,
    consumer: Option<Consumer>,
}

impl Borrowed<'_> {
    fn consumer(&mut self) -> &mut Consumer {
        self.consumer.as_mut().expect("taken only by drop")
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        lock(&self.subscription.consumers).extend(self.consumer.take());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
