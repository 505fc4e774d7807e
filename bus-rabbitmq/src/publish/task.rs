//! The task that owns a confirm channel.
//!
//! It joins what decides ([`Schedule`], plain data) and what acts (the client's channel, and
//! [`Background`]).
//!
//! ```text
//!  run ──► wait for a connection ◄───────────────────────────┐
//!               │ up                                         │ connection lost
//!               ▼                                            │
//!         serve: open a confirm channel ◄─────────┐          │
//!               │ confirm.select-ok               │ channel  │
//!               ▼                                 │ closed   │
//!         publish_on: write · confirm · expire ───┴──► last_words ──► Schedule::recover
//! ```
//!
//! In each of these states messages are taken and deadlines are kept: a sender never waits longer
//! than its deadline, be the broker away, silent or blocked (`connection.blocked`).

use std::sync::Arc;
use std::time::Duration;

use bus_core::transport::Backoff;
use futures_util::{FutureExt, TryFutureExt};
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation, Error};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::background::{Background, Done};
use super::confirm_channel::{open, watched};
use super::future_pool::FuturePool;
use super::pending::{Parts, PendingPublish, Standing};
use super::refusal::Refusal;
use super::schedule::Schedule;
use crate::connection::{Link, Live};
use crate::convert::{confirmed, fits_frame};
use crate::topology::KnownQueues;

/// Precision with which deadlines are kept.
const TICK: Duration = Duration::from_millis(50);

/// Client's time to release what was on its way on a lost channel.
///
/// The confirms that it still has count, as each is one message that need not be sent twice.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Request of the task's callers.
pub(crate) enum Command {
    Publish(Box<PendingPublish>),
    Close(Closing),
}

/// End of a task, once every message has its outcome, or at a time.
pub(crate) struct Closing {
    pub(crate) until: Instant,
    /// Sender for the number of messages without an outcome.
    pub(crate) left: oneshot::Sender<usize>,
}

/// Task behind a [`Publisher`](crate::publish::Publisher).
pub(crate) struct PublishTask {
    link: Arc<Link>,
    orders: mpsc::UnboundedReceiver<Command>,
    schedule: Schedule,
    /// Lock of the one channel of the connection whose suspects may be sent.
    solitude: Arc<Mutex<()>>,
    /// Held lock, from the first suspect that may be sent until none is left.
    alone: Option<OwnedMutexGuard<()>>,
    /// Outlives the connections, as a queue may be deleted while there is none.
    queues: KnownQueues,
    closing: Option<Closing>,
}

impl PublishTask {
    pub(crate) fn new(
        link: Arc<Link>,
        window: usize,
        orders: mpsc::UnboundedReceiver<Command>,
        solitude: Arc<Mutex<()>>,
        queues: KnownQueues,
    ) -> Self {
        Self {
            link,
            orders,
            schedule: Schedule::new(window),
            solitude,
            alone: None,
            queues,
            closing: None,
        }
    }

    /// Publishes until the publisher is closed or dropped, or the link is closed.
    ///
    /// Messages without an outcome end with an error then, among them those that are still in the
    /// queue.
    pub(crate) async fn run(mut self) {
        let link = Arc::clone(&self.link);
        while let Some(Ok(live)) = self.meanwhile(None, link.up()).await {
            if self.serve(&live).await.is_none() {
                break;
            }
            self.schedule.disconnect();
        }
        self.orders.close();
        while let Some(order) = self.orders.recv().await {
            self.take(order);
        }
        let left = self.schedule.close();
        if let Some(closing) = self.closing.take() {
            // The caller may have stopped waiting.
            let _ = closing.left.send(left);
        }
    }

    /// Returns `true` if the task is closing, and has no work or no time left.
    fn is_over(&self) -> bool {
        let closing = self.closing.as_ref();
        closing.is_some_and(|it| self.schedule.is_idle() || it.until <= Instant::now())
    }

    /// Publishes on one connection until it is lost; `None` when the task is over.
    ///
    /// A channel that the broker closes because of a message (404, 403, 406: a channel exception of
    /// AMQP) costs its messages a new channel only. If the culprit was found, that one is opened at
    /// once. Else the next ones come with growing waits, from 20 ms to 2 s, as the cause may last.
    async fn serve(&mut self, live: &Arc<Live>) -> Option<()> {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(2));
        let (solitude, queues) = (Arc::clone(&self.solitude), self.queues.clone());
        let mut background = Background::new(Arc::clone(live), solitude, queues);
        while live.lost().now_or_never().is_none() {
            let opened = self.meanwhile(Some(live), live.ask(open(live))).await?;
            let cause = match opened {
                Ok(channel) => {
                    self.publish_on(&channel, &mut background, &mut backoff)
                        .await?
                }
                Err(error) => {
                    tracing::debug!(%error, "no channel to publish on");
                    None
                }
            };
            self.link.suspect();
            let refusal = cause.as_ref().and_then(Refusal::of);
            if self.schedule.recover(refusal.as_ref()) {
                backoff.reset();
            } else {
                self.meanwhile(Some(live), backoff.wait()).await?;
            }
        }
        Some(())
    }

    /// Waits for another future; `None` when the task is over.
    ///
    /// Meanwhile, messages are taken and deadlines kept. A task that is closing waits for no
    /// connection that is down: nothing could be confirmed any more.
    async fn meanwhile<T>(
        &mut self,
        live: Option<&Live>,
        other: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::pin!(other);
        let mut tick = ticks();
        loop {
            if self.is_over() || self.closing.is_some() && self.link.down().is_some() {
                return None;
            }
            tokio::select! {
                biased;
                output = &mut other => return Some(output),
                _ = tick.tick(), if !self.schedule.is_idle() => self.expire(live),
                order = self.orders.recv() => self.take(order?),
            }
        }
    }

    fn take(&mut self, order: Command) {
        match order {
            Command::Publish(pending) => self.schedule.take(pending),
            Command::Close(closing) => self.closing = Some(closing),
        }
    }

    /// Publishes until the channel is lost; `None` when the task is over.
    ///
    /// Returns the broker's reason for the loss, if there is one. While the broker blocks the
    /// connection (`connection.blocked`, an alarm of memory or disk space) nothing is written:
    /// RabbitMQ would read none of it, and what was written could not be taken back at its
    /// deadline.
    async fn publish_on(
        &mut self,
        channel: &Channel,
        background: &mut Background,
        backoff: &mut Backoff,
    ) -> Option<Option<Error>> {
        let live = Arc::clone(background.live());
        let mut confirms = FuturePool::new();
        let mut blocked = live.blocked();
        let mut tick = ticks();
        let lost = live.lost();
        tokio::pin!(lost);
        loop {
            while blocked.borrow_and_update().is_none()
                && let Some(pending) = self.schedule.next()
            {
                confirms.extend(self.write(channel, pending, background));
            }
            self.start_background_tasks(background);
            if self.is_over() {
                return None;
            }
            tokio::select! {
                // Under load there is always a confirm or a message, so rare events come first.
                biased;
                _ = tick.tick(), if !self.schedule.is_idle() => self.expire(Some(&live)),
                Some(done) = background.next(), if !background.is_empty() => self.done(done),
                Some(first) = confirms.next(), if !confirms.is_empty() => {
                    if let Some(error) = self.round(first, &mut confirms) {
                        return self.last_words(&live, Some(error), confirms).await;
                    }
                    backoff.reset();
                }
                order = self.orders.recv() => {
                    self.take(order?);
                    while let Ok(order) = self.orders.try_recv() {
                        self.take(order);
                    }
                }
                () = &mut lost => return self.last_words(&live, None, confirms).await,
                _ = blocked.changed() => {}
            }
        }
    }

    /// Starts what the schedule asks for, and gives up a lock that it needs no longer.
    fn start_background_tasks(&mut self, background: &Background) {
        for background_task in self.schedule.background_tasks() {
            background.begin(background_task);
        }
        if self.schedule.is_idle() {
            self.schedule.gate.leave_solitude();
        }
        if !self.schedule.gate.needs_solitude() {
            self.alone = None;
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Declared(route, outcome) => self.schedule.declared(route, outcome),
            Done::Rested(route, backoff) => self.schedule.rested(route, backoff),
            Done::Read(order) => self.schedule.clear(order),
            Done::Alone(alone) => {
                self.alone = Some(alone);
                self.schedule.gate.is_alone();
            }
            Done::Nothing => {}
        }
    }

    /// Hands a message to the client; `None` if this connection cannot carry it.
    ///
    /// The bytes are queued at the first poll of the future, so in the order of the calls. The
    /// headers of a message travel in one frame: RabbitMQ closes the connection of a frame that is
    /// longer than the negotiated `frame_max` (501, `FRAME_ERROR`), so such a message ends here
    /// with `TooLarge`.
    fn write<'a>(
        &mut self,
        channel: &'a Channel,
        mut pending: Box<PendingPublish>,
        background: &Background,
    ) -> Option<impl Future<Output = (u64, Result<Confirmation, Error>)> + use<'a>> {
        let most = background.live().most_headers();
        let parts = pending.take_parts().and_then(|parts| {
            fits_frame(parts.header_size, most)?;
            Ok(parts)
        });
        let parts = match parts {
            Ok(parts) => parts,
            Err(error) => {
                pending.finish(Err(error));
                return None;
            }
        };
        let body = pending.outgoing.body.clone();
        let options = BasicPublishOptions {
            mandatory: pending.outgoing.mandatory,
            ..BasicPublishOptions::default()
        };
        let is_suspect = matches!(pending.standing, Standing::Suspect(_));
        let order = self.schedule.depart(pending);
        let read = is_suspect.then(|| background.wait_until_read(order));
        Some(async move {
            // Destructured in here: a value that a future captures and passes on lies in it twice.
            let Parts {
                exchange,
                routing_key,
                properties,
                ..
            } = *parts;
            let written = channel.basic_publish(exchange, routing_key, options, &body, properties);
            let confirmed = match read {
                None => written.and_then(std::convert::identity).await,
                Some(read) => Box::pin(written.and_then(|it| watched(channel, it, read))).await,
            };
            (order, confirmed)
        })
    }

    /// Takes all confirms that the client has; returns an error on a lost channel.
    ///
    /// The error is the broker's own reason, if there is one.
    fn round<F: Future<Output = (u64, Result<Confirmation, Error>)>>(
        &mut self,
        first: F::Output,
        confirms: &mut FuturePool<F>,
    ) -> Option<Error> {
        let mut cause = None;
        let mut next = Some(first);
        while let Some((order, outcome)) = next {
            self.take_confirm(order, outcome, &mut cause);
            next = confirms.take_ready();
        }
        self.schedule.end_round();
        cause
    }

    /// Takes the outcome of one publish, or the reason for which its channel is lost.
    ///
    /// Of several errors the one that says why the broker refused a message is kept: the client
    /// reports the loss of the connection for the others.
    fn take_confirm(
        &mut self,
        order: u64,
        outcome: Result<Confirmation, Error>,
        cause: &mut Option<Error>,
    ) {
        match outcome {
            Ok(confirmation) => self.schedule.confirm(order, confirmed(confirmation)),
            Err(error) if cause.as_ref().and_then(Refusal::of).is_none() => *cause = Some(error),
            Err(_) => {}
        }
    }

    /// Waits until the client has released a channel; `None` when the task is over.
    ///
    /// The client still writes what it has. Returns the broker's reason for the loss, if there is
    /// one.
    async fn last_words<F: Future<Output = (u64, Result<Confirmation, Error>)>>(
        &mut self,
        live: &Live,
        mut cause: Option<Error>,
        mut confirms: FuturePool<F>,
    ) -> Option<Option<Error>> {
        while let Some((order, outcome)) = confirms.take_ready() {
            self.take_confirm(order, outcome, &mut cause);
        }
        let mut outcomes = Vec::new();
        let all = async {
            while let Some(outcome) = confirms.next().await {
                outcomes.push(outcome);
            }
        };
        // Bounded, as the client may leave a request without an answer.
        let _ = self.meanwhile(Some(live), timeout(LAST_WORDS, all)).await?;
        for (order, outcome) in outcomes {
            self.take_confirm(order, outcome, &mut cause);
        }
        self.schedule.end_round();
        Some(cause)
    }

    /// Ends the messages whose deadline has passed, with the reason for the wait.
    fn expire(&mut self, live: Option<&Live>) {
        let blocked = live.and_then(|live| live.blocked().borrow().clone());
        let blocked = blocked.map(|reason| format!("RabbitMQ takes no messages: {reason}"));
        let why = blocked.or_else(|| self.link.down());
        self.schedule.expire(why.as_deref());
    }
}

/// Creates the timer of the deadlines; a late tick does not cause several at once.
fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
