//! The handle that services hold: publish, send, request, stop.

pub(crate) mod builder;
mod connection;
mod endpoint_handle;
mod preparing;
mod refused_names;
mod requirements;
mod start;
pub(crate) mod stop;
pub(crate) mod validation;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::background::Services;
use crate::error::{SendError, StopTimeout};
use crate::message::Message;
use crate::observe::BusHealth;
use crate::observe::health::worse;
use crate::receive::{EndpointRunner, GOODBYE};
use crate::request::{Asked, Reply, Requesting, Requests};
use crate::send::{Outbound, Sender, Sending};
use crate::transport::backoff::from_now;
use crate::transport::{Address, Health, InvalidAddress, ScheduleToken, Transport};
pub use endpoint_handle::EndpointHandle;
use stop::{Ending, Stop};

/// A handle to a running bus.
///
/// Clones share the bus. Dropping the last one without [`shutdown`](Self::shutdown) stops its
/// endpoints, and their messages go back to the queues; its background services are aborted.
///
/// ```
/// use bus_core::{Bus, Message, SendError};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize, Message)]
/// #[message("Invoicing:InvoiceCreated")]
/// struct InvoiceCreated { number: String }
///
/// async fn announce(bus: &Bus, number: &str) -> Result<(), SendError> {
///     bus.publish(&InvoiceCreated { number: number.into() }).header("Tenant", "north").await
/// }
/// ```
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) sender: Sender,
    pub(crate) requests: Arc<Requests>,
    pub(crate) runners: Vec<Arc<EndpointRunner>>,
    pub(crate) background: Services,
    pub(crate) cancel: watch::Sender<bool>,
    pub(crate) stop_timeout: Duration,
    pub(crate) stop: Stop,
}

/// Time limit for the transport to end its connections.
const DISCONNECT: Duration = Duration::from_secs(10);

/// Ends the connections, without waiting long for a broker that is silent.
async fn disconnect(transport: &dyn Transport) {
    if timeout(DISCONNECT, transport.close()).await.is_err() {
        tracing::warn!("the broker does not answer; its connections are left behind");
    }
}

impl Bus {
    pub(crate) fn new(inner: Inner) -> Self {
        let outbound = &inner.outbound;
        connection::report(&outbound.transport, outbound.observers.clone());
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Publishes an event to every endpoint subscribed to `E`.
    ///
    /// Nothing is sent before it is awaited. Without any subscriber, the event is dropped and the
    /// outcome is `Ok`.
    pub fn publish<E: Message>(&self, event: &E) -> Sending {
        self.inner.sender.publish(event)
    }

    /// Publishes many events, pipelined.
    ///
    /// Returns the outcome of each, in order; the failure of one does not end the others.
    pub async fn publish_all<'a, E: Message>(
        &self,
        events: impl IntoIterator<Item = &'a E>,
    ) -> Vec<Result<(), SendError>> {
        self.inner.sender.publish_all(events).await
    }

    /// Sends a command to the address of its [`route`](crate::BusBuilder::route).
    ///
    /// Nothing is sent before it is awaited. Without a route, it fails with
    /// [`NoRoute`](crate::error::SendErrorKind::NoRoute).
    pub fn send<C: Message>(&self, command: &C) -> Sending {
        self.inner.sender.send(command)
    }

    /// Sends a command to an address: `queue:name`, `exchange:name` or a full one.
    ///
    /// Nothing is sent before it is awaited. An address that cannot be read fails with
    /// [`NoRoute`](crate::error::SendErrorKind::NoRoute). A missing queue of a queue address is
    /// declared, durable and classic.
    pub fn send_to<C: Message, A: TryInto<Address, Error: Into<InvalidAddress>>>(
        &self,
        address: A,
        command: &C,
    ) -> Sending {
        self.inner.sender.send_to(address, command)
    }

    /// Returns a handle for code that only sends.
    ///
    /// Unlike a clone of the bus, it does not keep the endpoints of the bus alive.
    pub fn sender(&self) -> Sender {
        self.inner.sender.clone()
    }

    /// Cancels the messages with this token that wait to be delivered.
    ///
    /// Returns `true` if one was removed; `false` if none waits: it was delivered, is being
    /// delivered now, or is unknown. A message that an outbox holds still is unknown.
    ///
    /// # Errors
    /// [`Unsupported`](crate::error::SendErrorKind::Unsupported) where the transport cannot cancel
    /// and the bus has no [scheduler](crate::BusBuilder::scheduler); after an error of the
    /// connection, the message may wait still.
    ///
    /// ```
    /// use std::time::Duration;
    /// use bus_core::transport::ScheduleToken;
    /// use bus_core::{Bus, Message, SendError};
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Serialize, Deserialize, Message)]
    /// #[message("Invoicing:RemindCustomer")]
    /// struct RemindCustomer { number: String }
    ///
    /// async fn remind(bus: &Bus, reminder: &RemindCustomer) -> Result<ScheduleToken, SendError> {
    ///     let token = ScheduleToken::new();
    ///     let week = Duration::from_secs(7 * 24 * 3600);
    ///     bus.publish(reminder).deliver_in(week).schedule_token(token).await?;
    ///     Ok(token)
    /// }
    ///
    /// async fn paid(bus: &Bus, reminder: ScheduleToken) -> Result<bool, SendError> {
    ///     bus.cancel(reminder).await
    /// }
    /// ```
    pub async fn cancel(&self, token: ScheduleToken) -> Result<bool, SendError> {
        self.inner.outbound.cancel(token).await
    }

    /// Sends a request and awaits its reply.
    ///
    /// The reply is a document for a query, or a reply to a command. The request goes to the
    /// address of its [`route`](crate::BusBuilder::route), else to the endpoints subscribed to its
    /// type. Default deadline: that of the bus.
    pub fn request<R: Reply>(&self, query: &impl Message) -> Requesting<R> {
        let outbound = &self.inner.outbound;
        Sending::new(
            outbound.request(query, None),
            Arc::clone(outbound),
            Asked::of(&self.inner.requests),
        )
    }

    /// Returns the endpoint of this name, to pause it or change its limits.
    ///
    /// `None` if the bus has no endpoint of this name.
    pub fn endpoint(&self, name: &str) -> Option<EndpointHandle> {
        let runner = self
            .inner
            .runners
            .iter()
            .find(|runner| runner.name() == name)?;
        Some(EndpointHandle::new(runner))
    }

    /// Returns the number of requests that wait for their reply.
    pub fn pending_requests(&self) -> usize {
        self.inner.requests.pending()
    }

    /// Returns the health of the bus and of its parts, as currently known.
    pub fn health(&self) -> BusHealth {
        let transport = if self.inner.stop.is_over() {
            Health::Down("the bus is shut down".into())
        } else {
            let replies = self.inner.requests.trouble();
            worse(
                self.inner.outbound.transport.health(),
                replies.map_or(Health::Up, Health::Degraded),
            )
        };
        let runners = self.inner.runners.iter();
        let endpoints = runners.map(|runner| runner.health()).collect();
        let background = self.inner.background.health();
        BusHealth::new(transport, endpoints, background, self.inner.stop.is_over())
    }

    /// Stops the bus, and waits until it has stopped.
    ///
    /// Endpoints take no more messages, running consumers finish and may still publish and respond,
    /// then the background services end, the last one first, then the reply queue is closed, then
    /// the connections. All of it takes the stop timeout and some seconds at most, also when a
    /// consumer blocks its thread or the broker does not answer; only where the runtime lost its
    /// timers with that thread, it waits for the consumer (see
    /// [`Consumer::consume`](crate::Consumer::consume)).
    ///
    /// May be called several times, also at once: each call awaits the one outcome. A caller that
    /// stops waiting changes nothing; the stop goes on. A consumer may stop its bus if it spawns
    /// the call; one that awaits it waits for itself, until the stop timeout cuts it off.
    ///
    /// # Errors
    /// [`StopTimeout`] if consumers or background services were still running after the stop
    /// timeout (default 30 s). Consumers were cancelled, and their messages are back in the queues;
    /// background services were aborted.
    pub async fn shutdown(&self) -> Result<(), StopTimeout> {
        let inner = &self.inner;
        if inner.stop.begin() {
            let inner = Arc::clone(inner);
            tokio::spawn(async move {
                let ending = Ending {
                    stop: &inner.stop,
                    stop_timeout: inner.stop_timeout,
                };
                let outcome = inner.end().await;
                inner.stop.end(outcome);
                drop(ending);
            });
        }
        inner.stop.outcome().await
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints: Vec<_> = self
            .inner
            .runners
            .iter()
            .map(|runner| runner.name())
            .collect();
        f.debug_struct("Bus")
            .field("address", &self.inner.outbound.source())
            .field("endpoints", &endpoints)
            .finish()
    }
}

impl Inner {
    /// Stops everything, in order.
    async fn end(&self) -> Result<(), StopTimeout> {
        let outcome = self.end_work().await;
        disconnect(&*self.outbound.transport).await;
        outcome
    }

    /// Stops all that runs on the connections, in order.
    async fn end_work(&self) -> Result<(), StopTimeout> {
        let deadline = from_now(self.stop_timeout);
        let stops = self
            .runners
            .iter()
            .map(|runner| runner.stop(self.stop_timeout, &self.cancel));
        let consumers_ended = join_all(stops).await.into_iter().all(|in_time| in_time);
        let services = self.background.stop(deadline).await;
        let _ = timeout(GOODBYE, self.requests.close()).await;
        if consumers_ended && services.is_empty() {
            return Ok(());
        }
        Err(StopTimeout {
            after: self.stop_timeout,
            consumers: !consumers_ended,
            services,
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.stop.has_begun() {
            tracing::warn!(
                "a bus is dropped without shutdown; messages that are being consumed go back to their queues, and background \
                 services are aborted"
            );
        }
        // A pause under way would keep them.
        self.runners.iter().for_each(|runner| runner.abandon());
    }
}
