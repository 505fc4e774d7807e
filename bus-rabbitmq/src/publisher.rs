//! One confirm channel and the task that owns it: writes in order, many at a time, and knows the fate of each message.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus_core::transport::{Backoff, Outgoing, TransportError};
use futures_util::TryFutureExt;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Error};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::connection::{Link, Live};
use crate::convert::confirmed;
use crate::declared::{Declared, declare};
use crate::error::{closed, failed};
use crate::flight::Flight;
use crate::job::{Job, Parts};
use crate::refusal::Refusal;
use crate::slots::Slots;

/// How exactly deadlines are kept.
const TICK: Duration = Duration::from_millis(50);

/// After so many closed channels a message is taken for the cause.
const MAX_REFUSALS: u32 = 3;

/// Takes messages from many tasks and gives each its outcome.
pub(crate) struct Publisher {
    inbox: mpsc::UnboundedSender<Order>,
    marks: AtomicU64,
}

/// Resolves to what became of a message.
pub(crate) type Outcome = oneshot::Receiver<Result<(), TransportError>>;

enum Order {
    Publish(Box<Job>),
    Close(oneshot::Sender<()>),
}

impl Publisher {
    pub(crate) fn start(link: Arc<Link>, window: usize) -> Self {
        let (inbox, orders) = mpsc::unbounded_channel();
        let lane = Lane {
            link,
            window,
            orders,
            waiting: VecDeque::new(),
            flight: Flight::default(),
            declared: Declared::default(),
            closing: None,
        };
        tokio::spawn(lane.run());
        Self {
            inbox,
            marks: AtomicU64::new(1),
        }
    }

    /// Makes a message ready to be handed over, and gives what resolves to its outcome: `Ok` when the broker has confirmed
    /// it. An outcome that never comes means that the publisher was closed.
    pub(crate) fn prepare(
        &self,
        outgoing: Outgoing,
    ) -> Result<(Box<Job>, Outcome), TransportError> {
        let (done, outcome) = oneshot::channel();
        let mark = self.marks.fetch_add(1, Ordering::Relaxed);
        Ok((Box::new(Job::new(outgoing, mark, done)?), outcome))
    }

    pub(crate) fn hand_over(&self, job: Box<Job>) -> Result<(), TransportError> {
        self.inbox.send(Order::Publish(job)).map_err(|_| closed())
    }

    /// Waits until everything that was handed over has its outcome; takes nothing more.
    pub(crate) async fn close(&self) {
        let (closed, done) = oneshot::channel();
        if self.inbox.send(Order::Close(closed)).is_ok() {
            // An error means that the task is gone already.
            let _ = done.await;
        }
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}

/// The task behind a [`Publisher`].
struct Lane {
    link: Arc<Link>,
    window: usize,
    orders: mpsc::UnboundedReceiver<Order>,
    /// Not written yet, in order.
    waiting: VecDeque<Box<Job>>,
    flight: Flight,
    declared: Declared,
    closing: Option<oneshot::Sender<()>>,
}

/// Why a channel is used no more.
enum End {
    /// It, or its connection, is gone.
    Lost(Option<Error>),
    /// There is nothing left to do, nor will there be.
    Closed,
}

impl Lane {
    async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(2));
        while let Some(live) = self.connected().await {
            let end = match live.ask(open(&live)).await {
                Ok(channel) => self.publish_on(&live, &channel, &mut backoff).await,
                Err(error) => {
                    tracing::debug!(%error, "no channel to publish on");
                    End::Lost(None)
                }
            };
            match end {
                End::Closed => break,
                End::Lost(cause) => {
                    self.link.suspect();
                    self.recover(cause.as_ref());
                    self.pause(&mut backoff).await;
                }
            }
        }
        self.orders.close();
        while let Some(order) = self.orders.recv().await {
            self.take(order);
        }
        let jobs = self.flight.abandon().chain(self.waiting.drain(..));
        jobs.for_each(|job| job.finish(Err(closed())));
        if let Some(done) = self.closing.take() {
            let _ = done.send(());
        }
    }

    /// The connection, waited for; meanwhile messages are taken and their deadlines kept. `None` when it is over.
    async fn connected(&mut self) -> Option<Arc<Live>> {
        let link = Arc::clone(&self.link);
        let up = link.up();
        tokio::pin!(up);
        let mut tick = ticks();
        loop {
            if self.closing.is_some() && (self.is_idle() || link.down().is_some()) {
                return None;
            }
            tokio::select! {
                biased;
                live = &mut up => return live.ok(),
                order = self.orders.recv() => self.take(order?),
                _ = tick.tick(), if !self.is_idle() => self.expire(None),
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.flight.is_empty()
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Publish(job) => self.waiting.extend(self.flight.adopt(job)),
            Order::Close(done) => self.closing = Some(done),
        }
    }

    async fn publish_on(&mut self, live: &Live, channel: &Channel, backoff: &mut Backoff) -> End {
        let mut confirms = Slots::new();
        let mut blocked = live.blocked();
        let mut tick = ticks();
        let lost = live.lost();
        tokio::pin!(lost);
        loop {
            while self.flight.len() < self.window && blocked.borrow_and_update().is_none() {
                let Some(job) = self.waiting.pop_front() else {
                    break;
                };
                match self.ready(live, job).await {
                    Ready::Write(job) => {
                        if let Some(publish) = self.write(channel, job) {
                            confirms.push(publish);
                        }
                    }
                    Ready::Dropped => {}
                    Ready::Lost => return End::Lost(self.round(None, &mut confirms)),
                }
            }
            if self.closing.is_some() && self.is_idle() {
                return End::Closed;
            }
            tokio::select! {
                biased;
                Some(first) = confirms.next(), if !confirms.is_empty() => {
                    if let Some(error) = self.round(Some(first), &mut confirms) {
                        return End::Lost(Some(error));
                    }
                    backoff.reset();
                }
                order = self.orders.recv() => {
                    let Some(order) = order else { return End::Closed };
                    self.take(order);
                    while let Ok(order) = self.orders.try_recv() {
                        self.take(order);
                    }
                }
                () = &mut lost => {
                    return End::Lost(self.round(None, &mut confirms));
                }
                _ = blocked.changed() => {}
                _ = tick.tick(), if !self.is_idle() => self.expire(blocked_reason(&blocked).as_deref()),
            }
        }
    }

    /// Declares what the message needs, once for each exchange or queue.
    async fn ready(&mut self, live: &Live, job: Box<Job>) -> Ready {
        if !job.is_wanted() {
            return Ready::Dropped;
        }
        let target = &job.outgoing.target;
        if self.declared.knows(target) {
            return Ready::Write(job);
        }
        let deadline = job.outgoing.deadline.unwrap_or_else(far_future);
        match tokio::time::timeout_at(deadline, live.ask(declare(live, target))).await {
            Ok(Ok(())) => {
                self.declared.add(target);
                Ready::Write(job)
            }
            Ok(Err(error)) if error.kind().is_transient() => {
                tracing::debug!(%error, "a declaration did not get through");
                self.waiting.push_front(job);
                Ready::Lost
            }
            Ok(Err(error)) => {
                job.finish(Err(error));
                Ready::Dropped
            }
            Err(_) => {
                let error = job.not_sent("the broker did not answer a declaration");
                job.finish(Err(error));
                Ready::Dropped
            }
        }
    }

    /// Hands a message to the client. Its bytes are queued at the first poll, so in this order.
    fn write<'a>(
        &mut self,
        channel: &'a Channel,
        mut job: Box<Job>,
    ) -> Option<impl Future<Output = (u64, Result<Confirmation, Error>)> + use<'a>> {
        let parts = match job.take_parts() {
            Ok(parts) => parts,
            Err(error) => {
                job.finish(Err(error));
                return None;
            }
        };
        let body = job.outgoing.body.clone();
        let options = BasicPublishOptions {
            mandatory: job.outgoing.mandatory,
            ..BasicPublishOptions::default()
        };
        let order = self.flight.insert(job);
        Some(async move {
            // Taken apart in here: what a future captures and hands on lies in it twice.
            let Parts {
                exchange,
                routing_key,
                properties,
            } = *parts;
            let written = channel.basic_publish(exchange, routing_key, options, &body, properties);
            let confirmed = written.and_then(std::convert::identity);
            (order, confirmed.await)
        })
    }

    /// Takes all confirms that the client has. An error means that the channel is lost; the broker's own word for it, if
    /// there is one.
    fn round<F: Future<Output = (u64, Result<Confirmation, Error>)>>(
        &mut self,
        mut next: Option<F::Output>,
        confirms: &mut Slots<F>,
    ) -> Option<Error> {
        let mut cause: Option<Error> = None;
        loop {
            match next {
                Some((order, Ok(confirmation))) => {
                    self.flight.confirm(order, confirmed(confirmation));
                }
                Some((_, Err(error))) if cause.as_ref().and_then(Refusal::of).is_none() => {
                    cause = Some(error);
                }
                Some((_, Err(_))) | None => {}
            }
            next = confirms.take_ready();
            if next.is_none() {
                break;
            }
        }
        self.flight.end_round();
        cause
    }

    /// What was on its way goes again on the next channel, but for what closed this one.
    fn recover(&mut self, cause: Option<&Error>) {
        self.declared = Declared::default();
        let refusal = cause.and_then(Refusal::of);
        let mut again = VecDeque::new();
        for mut job in self.flight.abandon() {
            let Some(refusal) = &refusal else {
                again.push_back(job);
                continue;
            };
            job.refusals += 1;
            if refusal.is_about(&job) || job.refusals >= MAX_REFUSALS {
                let error = refusal.error(&job);
                job.finish(Err(error));
            } else {
                again.push_back(job);
            }
        }
        again.append(&mut self.waiting);
        self.waiting = again;
    }

    /// A pause in which deadlines are kept.
    async fn pause(&mut self, backoff: &mut Backoff) {
        self.expire(None);
        backoff.wait().await;
        self.expire(None);
    }

    fn expire(&mut self, blocked: Option<&str>) {
        let now = Instant::now();
        self.flight.expire(now);
        if !self.waiting.iter().any(|job| job.is_due(now)) {
            return;
        }
        let down = self.link.down();
        let why = blocked
            .or(down.as_deref())
            .unwrap_or("too many messages wait for their confirm");
        let waiting = std::mem::take(&mut self.waiting);
        for job in waiting {
            if job.is_due(now) {
                let error = job.not_sent(why);
                job.finish(Err(error));
            } else {
                self.waiting.push_back(job);
            }
        }
    }
}

enum Ready {
    Write(Box<Job>),
    Dropped,
    Lost,
}

async fn open(live: &Live) -> Result<Channel, TransportError> {
    let channel = live.channel().await?;
    let confirming = channel
        .confirm_select(ConfirmSelectOptions::default())
        .await;
    confirming.map_err(|error| failed("publisher confirms cannot be switched on", error))?;
    Ok(channel)
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn blocked_reason(blocked: &watch::Receiver<Option<String>>) -> Option<String> {
    let reason = blocked.borrow();
    reason
        .as_ref()
        .map(|reason| format!("RabbitMQ takes no messages: {reason}"))
}

fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(60 * 60)
}
