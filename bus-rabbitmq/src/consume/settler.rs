//! Settlements of one channel's deliveries, on their way to the broker.
//!
//! A settlement is a note in the [`AckWindow`]; the task of the settler sends what has gathered:
//!
//! ```text
//!  settle ──► AckWindow ──► gather: until enough, idle, or 5 ms ──► basic.nack, basic.ack
//!  flush  ──► waiter ─────────────────────────────────────────────► basic.qos ──► qos-ok ──► waiter
//! ```
//!
//! AMQP answers no acknowledgement. One that is lost with its connection means that the message is
//! delivered again.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bus_core::transport::{Acker, Incoming, Settlement, Tag, TransportError, TransportErrorKind};
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicQosOptions};
use tokio::sync::{Notify, oneshot, watch};

use super::ack_window::{AckWindow, Batch};
use super::stream::StreamPosition;

/// Time for which an acknowledgement may wait for others.
const PATIENCE: Duration = Duration::from_millis(5);

/// Sends settlements of deliveries to the broker: many at once where that is safe.
///
/// One `basic.ack` with `multiple` costs the client as much as one for a single message.
pub(crate) struct Settler {
    channel: Channel,
    state: Mutex<SettlerState>,
    wake: Notify,
    /// Prefetch of the channel; locked by what sets it for the broker.
    qos: tokio::sync::Mutex<u16>,
    enough: AtomicUsize,
    /// `true` once nothing more is sent.
    gone: AtomicBool,
    /// `true` once a stream is not to be read again.
    stopping: AtomicBool,
    /// End of the subscription, shared with it.
    ended: Arc<watch::Sender<bool>>,
}

/// Settlements and waiters that the task has not taken yet.
struct SettlerState {
    window: AckWindow,
    /// Waiters for the moment when the broker knows of everything settled so far.
    written: Vec<oneshot::Sender<bool>>,
    /// Position in the stream; `None` for other queues.
    stream: Option<StreamPosition>,
}

impl SettlerState {
    /// Moves the position in the stream to the lowest offset that is not settled.
    fn advance(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.settled_below(self.window.settled_below());
        }
    }
}

impl Settler {
    /// Ends the subscription of a stream, unless it is being stopped.
    ///
    /// A stream takes nothing back: a requeued message is read again by the next subscription, with
    /// those that came after it.
    fn read_again(&self) {
        if !self.stopping.load(Ordering::Acquire) {
            self.ended.send_replace(true);
        }
    }

    /// Begins to send the settlements of one channel's deliveries to the broker.
    ///
    /// `ended` is set when nothing more can be sent, and when a stream has to be read again.
    pub(crate) fn start(
        channel: &Channel,
        prefetch: u16,
        is_stream: bool,
        ended: &Arc<watch::Sender<bool>>,
    ) -> Arc<Self> {
        let settler = Arc::new(Self {
            channel: channel.clone(),
            state: Mutex::new(SettlerState {
                window: AckWindow::new(),
                written: Vec::new(),
                stream: is_stream.then(StreamPosition::default),
            }),
            wake: Notify::new(),
            qos: tokio::sync::Mutex::new(prefetch),
            enough: AtomicUsize::new(enough(prefetch)),
            gone: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            ended: Arc::clone(ended),
        });
        tokio::spawn(Arc::clone(&settler).run());
        settler
    }

    /// Notes that a delivery was handed out.
    pub(crate) fn handed_out(&self, tag: u64, incoming: &Incoming) {
        let mut state = self.state();
        state.window.handed_out(tag);
        if let Some(stream) = &mut state.stream {
            stream.handed_out(tag, incoming);
        }
    }

    /// Offset from which a stream has to be read again.
    ///
    /// `None` if nothing of it came, and for other queues.
    pub(crate) fn stream_position(&self) -> Option<u64> {
        self.state().stream.as_ref()?.next()
    }

    /// Excludes deliveries that go back from now on from being read again.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Stops sending settlements.
    pub(crate) fn end(&self) {
        self.gone.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, SettlerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of settlements that are sent without waiting for more.
    fn enough(&self) -> usize {
        self.enough.load(Ordering::Relaxed)
    }

    /// Waits for the right to set the prefetch of the channel.
    pub(crate) async fn qos(&self) -> Qos<'_> {
        Qos {
            prefetch: self.qos.lock().await,
            enough: &self.enough,
        }
    }

    /// Returns `true` if no settlement can reach the broker any more.
    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire) || !self.channel.status().connected()
    }

    /// Sends what was settled, round by round, until the channel is gone.
    ///
    /// Waiters that join during a round belong to the next: only that one sends their settlements.
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
                // Nothing more can be sent; the broker gives back the deliveries whose settlements
                // it lacks.
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

    /// Writes a batch: first what goes back, then what is acknowledged.
    ///
    /// An acknowledgement of many would take in a tag that is to go back, so the order matters.
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

    /// Waits until the broker has processed everything that was written.
    ///
    /// It answers no acknowledgement, but it answers a question that is asked after it: here for
    /// the setting that it has already.
    async fn synchronize(&self) -> Result<(), lapin::Error> {
        let prefetch = self.qos.lock().await;
        let options = BasicQosOptions { global: false };
        self.channel.basic_qos(*prefetch, options).await
    }

    /// Waits until the broker knows of everything settled so far.
    ///
    /// Returns `false` if the channel is gone before that.
    pub(crate) async fn flush(&self) -> bool {
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

/// The right to set the prefetch of a channel.
pub(crate) struct Qos<'a> {
    prefetch: tokio::sync::MutexGuard<'a, u16>,
    enough: &'a AtomicUsize,
}

impl Qos<'_> {
    pub(crate) fn prefetch(&self) -> u16 {
        *self.prefetch
    }

    /// Notes the prefetch that the channel gets.
    pub(crate) fn note(&mut self, prefetch: u16) {
        *self.prefetch = prefetch;
        self.enough.store(enough(prefetch), Ordering::Relaxed);
    }
}

fn enough(prefetch: u16) -> usize {
    usize::from(prefetch / 4).max(1)
}

#[async_trait]
impl Acker for Settler {
    fn settle(&self, tag: Tag, settlement: Settlement) {
        // Ours are numbers.
        let Some(tag) = tag.number() else { return };
        let wake = {
            let mut state = self.state();
            match settlement {
                Settlement::Ack => state.window.ack(tag),
                _ if state.stream.is_some() => return self.read_again(),
                _ => state.window.requeue(tag),
            }
            state.advance();
            let pending = state.window.pending();
            pending == 1 || pending >= self.enough() || state.window.is_idle()
        };
        if wake {
            self.wake.notify_one();
        }
    }

    async fn acknowledge(&self, tag: Tag) -> Result<(), TransportError> {
        self.settle(tag, Settlement::Ack);
        if self.flush().await {
            return Ok(());
        }
        let reason = "the channel of the delivery is gone";
        Err(TransportError::new(TransportErrorKind::Unreachable, reason))
    }
}

impl fmt::Debug for Settler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settler")
            .field("channel", &self.channel.id())
            .finish_non_exhaustive()
    }
}
