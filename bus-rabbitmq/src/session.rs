//! One subscription on one channel, and the acknowledgements of its deliveries.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bus_core::transport::{Acker, Delivery, ListenSpec, Receipt, Settlement, TransportError};
use futures_util::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use tokio::sync::{Notify, oneshot, watch};

use crate::acks::{AckWindow, Batch};
use crate::connection::Live;
use crate::convert::{incoming, short};
use crate::error::failed;
use crate::foreign::ForeignBytes;
use crate::stream::{Begin, StreamPosition};

/// How long an acknowledgement may wait for company.
const PATIENCE: Duration = Duration::from_millis(5);

/// How often a channel is looked at whose end no pull would notice, as all consumers are busy.
const LOOK: Duration = Duration::from_secs(1);

/// A channel, its consumer, and the task that acknowledges. Settlements of its deliveries reach this channel or none.
pub(crate) struct Session {
    channel: Channel,
    /// Clones of the consumer that no caller of `next` holds; all share its buffer.
    consumers: Mutex<Vec<Consumer>>,
    settler: Arc<Settler>,
    live: Arc<Live>,
    ended: Arc<watch::Sender<bool>>,
    foreign: ForeignBytes,
}

impl Session {
    /// Subscribes.
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
        let settler = Arc::new(Settler {
            channel: channel.clone(),
            state: Mutex::new(SettlerState {
                window: AckWindow::new(),
                written: Vec::new(),
                stream: begin.map(|_| StreamPosition::default()),
            }),
            wake: Notify::new(),
            prefetch: spec.prefetch,
            gone: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            ended: Arc::clone(&ended),
        });
        tokio::spawn(Arc::clone(&settler).run());
        Ok(Arc::new(Self {
            channel,
            consumers: Mutex::new(vec![consumer]),
            settler,
            foreign: ForeignBytes::new(&spec.queue, live.socket()),
            live,
            ended,
        }))
    }

    /// The next delivery; `None` when the subscription is over, by whoever's will. Cancel-safe.
    pub(crate) async fn next(&self) -> Option<Delivery> {
        let mut borrowed = self.borrow();
        let mut ended = self.ended.subscribe();
        // What is left in the client of a channel that is gone is delivered again.
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
        // Only one of the consumer's clones is told.
        self.ended.send_replace(true);
        None
    }

    fn hand_out(&self, delivery: lapin::message::Delivery) -> Delivery {
        let tag = delivery.delivery_tag;
        self.foreign.look(self.channel.id(), self.live.socket());
        let incoming = incoming(delivery);
        {
            let mut state = self.settler.state();
            state.window.handed_out(tag);
            if let Some(stream) = &mut state.stream {
                stream.handed_out(tag, &incoming);
            }
        }
        Delivery {
            incoming,
            receipt: Receipt::new(Arc::clone(&self.settler) as Arc<dyn Acker>, tag),
        }
    }

    /// The connection that it is on.
    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// The offset from which a stream has to be read again; `None` if nothing of it came, and for other queues.
    pub(crate) fn stream_position(&self) -> Option<u64> {
        self.settler.state().stream.as_ref()?.next()
    }

    /// Waits until the broker sends nothing more on it. Noticed also while all consumers are busy, so that none pulls.
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

    /// The same, as known now.
    pub(crate) fn has_ended(&self) -> bool {
        *self.ended.borrow() || !self.is_open()
    }

    /// Whether its channel is open, with a subscription or without one.
    pub(crate) fn is_open(&self) -> bool {
        self.channel.status().connected()
    }

    /// Ends the subscription and gives back what nobody pulled.
    pub(crate) async fn stop(&self) {
        self.ended.send_replace(true);
        self.settler.stopping.store(true, Ordering::Release);
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
                .settle(delivery.delivery_tag, Settlement::Requeue);
        }
    }

    /// Waits until every settlement is written, and closes the channel; what is unsettled goes back.
    pub(crate) async fn close(&self) {
        self.ended.send_replace(true);
        let closed = async {
            self.settler.flush().await;
            self.settler.gone.store(true, Ordering::Release);
            self.settler.wake.notify_one();
            let closed = self.channel.close(200, "closed".into()).await;
            closed.map_err(|error| failed("close", error))
        };
        if let Err(error) = self.live.ask(closed).await {
            tracing::debug!(%error, "the channel was gone before it was closed");
        }
    }

    fn borrow(&self) -> Borrowed<'_> {
        let mut idle = lock(&self.consumers);
        // The last one stays, to be cloned.
        let consumer = match idle.as_slice() {
            [only] => only.clone(),
            _ => idle.pop().expect("one is always left"),
        };
        Borrowed {
            session: self,
            consumer: Some(consumer),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.settler.gone.store(true, Ordering::Release);
        self.settler.wake.notify_one();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("channel", &self.channel.id())
            .finish_non_exhaustive()
    }
}

/// A clone of the consumer that goes back when `next` ends, also when it is cancelled.
struct Borrowed<'a> {
    session: &'a Session,
    consumer: Option<Consumer>,
}

impl Borrowed<'_> {
    fn consumer(&mut self) -> &mut Consumer {
        self.consumer.as_mut().expect("taken only by drop")
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        lock(&self.session.consumers).extend(self.consumer.take());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

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

/// Tells the broker what became of deliveries: many at once where that is safe.
struct Settler {
    channel: Channel,
    state: Mutex<SettlerState>,
    wake: Notify,
    prefetch: u16,
    gone: AtomicBool,
    stopping: AtomicBool,
    ended: Arc<watch::Sender<bool>>,
}

struct SettlerState {
    window: AckWindow,
    /// Who waits until the broker knows of everything settled so far.
    written: Vec<oneshot::Sender<bool>>,
    /// Streams only.
    stream: Option<StreamPosition>,
}

impl SettlerState {
    fn advance(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.settled_below(self.window.settled_below());
        }
    }
}

impl Settler {
    /// A stream takes nothing back: what goes back is read again from there on, with what came after it.
    fn read_again(&self) {
        if !self.stopping.load(Ordering::Acquire) {
            self.ended.send_replace(true);
        }
    }

    fn state(&self) -> MutexGuard<'_, SettlerState> {
        lock(&self.state)
    }

    /// So many settlements are told without waiting for more.
    fn enough(&self) -> usize {
        usize::from(self.prefetch / 4).max(1)
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire) || !self.channel.status().connected()
    }

    async fn run(self: Arc<Self>) {
        loop {
            self.wake.notified().await;
            self.gather().await;
            let (batch, written) = {
                let mut state = self.state();
                (state.window.take(), std::mem::take(&mut state.written))
            };
            let told = self.tell(batch).await.is_ok();
            if !written.is_empty() {
                let known = told && self.synchronize().await.is_ok();
                for waiter in written {
                    // A waiter that is gone does not care.
                    let _ = waiter.send(known);
                }
            }
            if self.is_gone() {
                // Nothing more can be told; the broker gives back what it was not told of.
                self.ended.send_replace(true);
                self.state().written.clear();
                return;
            }
        }
    }

    /// Waits a little for more, unless there is enough, or nothing more will come.
    async fn gather(&self) {
        let ready = || {
            let state = self.state();
            !state.written.is_empty()
                || state.window.pending() >= self.enough()
                || state.window.is_idle()
                || self.is_gone()
        };
        let more = async {
            while !ready() {
                self.wake.notified().await;
            }
        };
        // Time being up is the other way to be ready.
        let _ = tokio::time::timeout(PATIENCE, more).await;
    }

    async fn tell(&self, batch: Batch) -> Result<(), lapin::Error> {
        let requeue = BasicNackOptions {
            requeue: true,
            ..BasicNackOptions::default()
        };
        let back = batch.requeue.into_iter();
        let back = back.map(|tag| self.channel.basic_nack(tag, requeue));
        futures_util::future::try_join_all(back).await?;
        if let Some(tag) = batch.up_to {
            let multiple = BasicAckOptions { multiple: true };
            self.channel.basic_ack(tag, multiple).await?;
        }
        let one = BasicAckOptions::default();
        let singles = batch
            .single
            .into_iter()
            .map(|tag| self.channel.basic_ack(tag, one));
        futures_util::future::try_join_all(singles).await?;
        Ok(())
    }

    /// Waits until the broker has processed what was written. It answers no acknowledgement, but what is asked after it:
    /// here for the setting that it has already.
    async fn synchronize(&self) -> Result<(), lapin::Error> {
        let options = BasicQosOptions { global: false };
        self.channel.basic_qos(self.prefetch, options).await
    }

    /// Waits until the broker knows of everything settled so far, or cannot be told.
    async fn flush(&self) -> bool {
        let written = {
            let mut state = self.state();
            if self.is_gone() {
                return false;
            }
            let (sender, receiver) = oneshot::channel();
            state.written.push(sender);
            receiver
        };
        self.wake.notify_one();
        written.await.unwrap_or(false)
    }
}

#[async_trait]
impl Acker for Settler {
    fn settle(&self, tag: u64, settlement: Settlement) {
        let wake = {
            let mut state = self.state();
            match settlement {
                Settlement::Ack => state.window.ack(tag),
                Settlement::Requeue if state.stream.is_some() => return self.read_again(),
                Settlement::Requeue => state.window.requeue(tag),
            }
            state.advance();
            let pending = state.window.pending();
            pending == 1 || pending >= self.enough() || state.window.is_idle()
        };
        if wake {
            self.wake.notify_one();
        }
    }

    async fn acknowledge(&self, tag: u64) -> bool {
        self.settle(tag, Settlement::Ack);
        self.flush().await
    }
}

impl fmt::Debug for Settler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settler")
            .field("channel", &self.channel.id())
            .finish_non_exhaustive()
    }
}
