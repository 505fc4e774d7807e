//! Interface to a broker: declare, send, listen, settle.
//!
//! Moves bytes and headers; nothing here reads an envelope.

pub(crate) mod address;
pub(crate) mod backoff;
mod capabilities;
mod delivery;
mod error;
mod message;
mod name;
mod reply_inbox;
mod schedule_token;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use tokio::sync::watch;

pub(crate) use address::Address;
pub use address::InvalidAddress;
pub use backoff::Backoff;
pub use capabilities::{Capabilities, Capability};
pub use delivery::{Acker, Delivery, Receipt, Settlement, Tag};
pub use error::{TransportError, TransportErrorKind};
pub use message::{Incoming, Original, Outgoing, Target};
pub use name::InvalidName;
pub use reply_inbox::ReplyInbox;
pub use schedule_token::{InvalidScheduleToken, ScheduleToken};

use crate::message::MessageType;
use crate::topology::Topology;

/// A broker, as the framework sees it.
///
/// An implementation moves bodies byte for byte, keeps headers and properties, and owns everything
/// about connections: it reconnects by itself, declares again what it needs, and resumes its
/// listeners.
///
/// A transport that wraps another one changes its behaviour, here to see what a service does when
/// its messages get lost. It forwards also the methods with a default that the other one may have
/// replaced, those of names above all:
///
/// ```
/// use std::borrow::Cow;
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use bus_core::async_trait;
/// use bus_core::message::MessageType;
/// use bus_core::topology::Topology;
/// use bus_core::transport::{Capabilities, Health, InvalidName, ListenSpec, Listener, Outgoing, ReplyInbox, ScheduleToken, Transport, TransportError, TransportErrorKind};
///
/// /// Refuses every third message.
/// #[derive(Debug)]
/// struct Flaky<T> { inner: T, count: AtomicU32 }
///
/// #[async_trait]
/// impl<T: Transport> Transport for Flaky<T> {
///     async fn send(&self, outgoing: Outgoing) -> Result<(), TransportError> {
///         if self.count.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
///             return Err(TransportError::new(TransportErrorKind::Nacked, "every third message is refused"));
///         }
///         self.inner.send(outgoing).await
///     }
///     async fn connect(&self) -> Result<(), TransportError> { self.inner.connect().await }
///     async fn declare(&self, topology: &Topology) -> Result<(), TransportError> { self.inner.declare(topology).await }
///     async fn listen(&self, spec: ListenSpec) -> Result<Arc<dyn Listener>, TransportError> {
///         self.inner.listen(spec).await
///     }
///     async fn cancel(&self, token: ScheduleToken) -> Result<bool, TransportError> { self.inner.cancel(token).await }
///     fn base_address(&self) -> String { self.inner.base_address() }
///     fn entity_name(&self, of: &MessageType) -> Cow<'_, str> { self.inner.entity_name(of) }
///     fn check_name(&self, name: &str) -> Result<(), InvalidName> { self.inner.check_name(name) }
///     fn reply_inbox(&self, name: &str) -> ReplyInbox { self.inner.reply_inbox(name) }
///     fn capabilities(&self) -> Capabilities { self.inner.capabilities() }
///     fn health(&self) -> Health { self.inner.health() }
///     async fn close(&self) { self.inner.close().await }
/// }
/// ```
#[async_trait]
pub trait Transport: Send + Sync + fmt::Debug + 'static {
    /// Connects; waits for a broker that is not up yet, and logs what it waits for.
    ///
    /// Cancel-safe: the caller bounds the wait. Calling it again on a connected transport does
    /// nothing.
    ///
    /// # Errors
    /// Returned at once for what waiting cannot change: wrong credentials, an unknown virtual host,
    /// a missing permission.
    async fn connect(&self) -> Result<(), TransportError>;

    /// Declares entities: exchanges, then queues, then bindings.
    ///
    /// Declaring twice changes nothing. [`Presence`](crate::topology::Presence) says what
    /// holds for an entity that exists already, and is no argument to compare.
    ///
    /// # Errors
    /// [`TransportErrorKind::Mismatch`] for an entity that exists with other arguments,
    /// [`TransportErrorKind::Unroutable`] for a missing one that must exist.
    async fn declare(&self, topology: &Topology) -> Result<(), TransportError>;

    /// Sends one message; `Ok` means that the broker owns it.
    ///
    /// Waits while the broker is away, at most until [`Outgoing::deadline`]; may try again until
    /// then what the broker refuses for now. Safe to call from many tasks at once, and fastest so.
    /// A caller that drops the future does not know whether the message was sent.
    ///
    /// # Errors
    /// An error of this message alone; see [`TransportErrorKind`].
    async fn send(&self, outgoing: Outgoing) -> Result<(), TransportError>;

    /// Refuses a message that could never be sent, before an outbox holds it.
    ///
    /// An outbox accepts what [`send`](Self::send) gets later, after the consumer's effects, when a
    /// refusal comes too late. Looks at names and sizes. Default: `Ok`.
    ///
    /// # Errors
    /// The error that `send` would return.
    fn check(&self, outgoing: &Outgoing) -> Result<(), TransportError> {
        let _ = outgoing;
        Ok(())
    }

    /// Looks for an exchange, before an outbox holds a message to it.
    ///
    /// Called for an exchange that is never declared. Default: `Ok`.
    ///
    /// # Errors
    /// [`TransportErrorKind::Unroutable`] if it is not there. A broker that is away refuses
    /// nothing.
    async fn find_exchange(&self, name: &str) -> Result<(), TransportError> {
        let _ = name;
        Ok(())
    }

    /// Removes the messages with this token that wait to be delivered.
    ///
    /// `Ok(false)` if none waits: it is unknown, was delivered, or is being delivered now. Default:
    /// an error of kind [`Unsupported`](TransportErrorKind::Unsupported), for transports that do
    /// not claim [`CancelScheduled`](Capability::CancelScheduled).
    ///
    /// # Errors
    /// After an error of the connection, the message may wait still.
    async fn cancel(&self, token: ScheduleToken) -> Result<bool, TransportError> {
        Err(TransportError::new(
            TransportErrorKind::Unsupported,
            format!(
                "the message {token} cannot be cancelled: this transport has no {}; set a scheduler on the bus",
                Capability::CancelScheduled
            ),
        ))
    }

    /// Starts to receive from a queue.
    ///
    /// The caller has declared [`ListenSpec::topology`]; the transport declares it again after a
    /// loss. Waits for what is only absent, such as the connection. From then on the listener goes
    /// on trying, and its [`health`](Listener::health) says why the queue is not consumed.
    ///
    /// # Errors
    /// Returned at once for what waiting cannot change: a missing queue or permission, a consumer
    /// that has the queue for itself, a transport that is closed.
    async fn listen(&self, spec: ListenSpec) -> Result<Arc<dyn Listener>, TransportError>;

    /// Returns the broker's address, ending in `/`, without credentials.
    ///
    /// An example is `rabbitmq://localhost/`.
    fn base_address(&self) -> String;

    /// Returns the name of the exchange to which a type is published.
    ///
    /// Asked once for each type of a bus, at the start or at the first publish; the answer must not
    /// change. Publishers and consumers meet where they get the same name. Default: MassTransit's
    /// `Namespace:Name`, from [`MessageType::entity_name`].
    fn entity_name(&self, message_type: &MessageType) -> Cow<'_, str> {
        Cow::Owned(message_type.entity_name())
    }

    /// Refuses a name that a queue or an exchange cannot have.
    ///
    /// Asked for every name that the bus may declare: queues of endpoints with their error and
    /// skipped queues, exchanges of types and of their faults, and those that a setting names.
    /// Default: 1 to 255 bytes of letters, digits, `-`, `_`, `.` and `:`, not beginning with
    /// `amq.`.
    ///
    /// # Errors
    /// [`InvalidName`] with the rule. At the start it is a configuration mistake that names the
    /// place; at the first publish of a type, an error of kind
    /// [`Refused`](crate::error::SendErrorKind::Refused).
    fn check_name(&self, name: &str) -> Result<(), InvalidName> {
        name::check(name)
    }

    /// Returns the queue on which a bus gets the replies to its requests.
    ///
    /// Called once for each bus; nothing is declared before its first request. `name` is one that
    /// no other process has, to be used or replaced. Default: [`ReplyInbox::exclusive`].
    fn reply_inbox(&self, name: &str) -> ReplyInbox {
        ReplyInbox::exclusive(name)
    }

    /// Returns the features of this transport beyond the common contract.
    fn capabilities(&self) -> Capabilities;

    /// Returns the mistakes in its settings, each as a text that says what to do.
    ///
    /// They are reported with the bus's own mistakes, before anything is connected. Default: none.
    fn mistakes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns whether the broker can be reached, as known now; never blocks.
    fn health(&self) -> Health;

    /// Returns a receiver that is notified after each change of health.
    ///
    /// That is the health of the transport itself and of its listeners, all through one channel; a
    /// notification without a change is allowed. A transport that wraps another one returns its
    /// receiver. Default: no notifications, so that changes show when the health is asked;
    /// observers hear of the connection once, at the start, and of endpoints when they are asked.
    fn health_changes(&self) -> watch::Receiver<()> {
        watch::channel(()).1
    }

    /// Closes all connections after everything handed over is written.
    ///
    /// Ends the listeners, gives back what they have not settled, and deletes the exclusive queues
    /// that were declared here; dropping the transport and its listeners does the same. Further
    /// calls fail with [`TransportErrorKind::Closed`].
    async fn close(&self);
}

/// Subscription to one queue, whose messages are pulled.
///
/// ```
/// use bus_core::transport::{Listener, Settlement};
///
/// /// Acknowledges what is there until the listener is stopped, and counts it.
/// async fn drain(listener: &dyn Listener) -> usize {
///     let mut count = 0;
///     while let Some(next) = listener.next().await {
///         if let Ok(delivery) = next {
///             delivery.receipt.settle(Settlement::Ack);
///             count += 1;
///         }
///     }
///     count
/// }
/// ```
#[async_trait]
pub trait Listener: Send + Sync + fmt::Debug {
    /// Returns the next delivery; `None` after [`stop`](Self::stop).
    ///
    /// Cancel-safe, and may be called from several tasks at once, each delivery going to one of
    /// them: it is taken by the poll that returns it, so that deliveries are taken in order, and a
    /// call that is dropped leaves it to the others. The transport restores a lost connection:
    /// `next` waits meanwhile. An error is only a report; pulling goes on.
    async fn next(&self) -> Option<Result<Delivery, TransportError>>;

    /// Waits until the subscription is in place, also after a loss.
    ///
    /// Until then, a message sent to a queue that is deleted with its connection would find no
    /// queue. Default: returns at once.
    async fn ready(&self) {}

    /// Returns whether the queue is consumed, as known now; never blocks.
    ///
    /// A queue that cannot be consumed at present is down, with the reason; the listener goes on
    /// trying. [`Transport::health`] reports what concerns all queues, such as a broker that is
    /// away. Default: up.
    fn health(&self) -> Health {
        Health::Up
    }

    /// Counts earlier deliveries of a message, to this process or to others.
    ///
    /// Called once for each delivery that is [`redelivered`](Incoming::redelivered), so that a
    /// message that crashes its processes is set aside in the end. Returns that come from the loss
    /// of this process's own connection need not count. Default: [`Incoming::delivery_count`], or
    /// 0.
    async fn redeliveries(&self, incoming: &Incoming) -> u32 {
        incoming.delivery_count.unwrap_or(0)
    }

    /// Sets the number of deliveries that may be unsettled at once; at least 1.
    ///
    /// Those that were handed out stay so, in their order, also if they are more than that. While
    /// the queue cannot be consumed, the number holds from the next subscription on. Default:
    /// unsupported, for transports that do not claim [`Prefetch`](Capability::Prefetch).
    ///
    /// # Errors
    /// [`TransportErrorKind::Unsupported`] if the number of this subscription is fixed.
    async fn set_prefetch(&self, count: u16) -> Result<(), TransportError> {
        let _ = count;
        Err(TransportError::new(
            TransportErrorKind::Unsupported,
            "the prefetch of this subscription is fixed",
        ))
    }

    /// Ends the subscription; deliveries that were not pulled go back to the queue.
    ///
    /// Those that were pulled can still be settled.
    async fn stop(&self);

    /// Waits until every settlement handed over is written, then closes the channel.
    ///
    /// Deliveries that are still unsettled go back to the queue. Implies [`stop`](Self::stop).
    async fn close(&self);
}

/// Settings of a subscription to one queue.
#[derive(Clone, Debug)]
pub struct ListenSpec {
    /// Name of the queue.
    pub queue: String,
    /// Entities to declare again when the queue is gone.
    pub topology: Arc<Topology>,
    /// Maximum number of unsettled deliveries at once; at least 1.
    ///
    /// A transport that claims [`Prefetch`](Capability::Prefetch) takes that many from the queue
    /// ahead of [`Listener::next`]; another one takes what is pulled, and never more than that.
    pub prefetch: u16,
    /// Consumer priority: consumers with a higher one are served first.
    pub priority: Option<i32>,
    /// Exclusive consumption: no other consumer may share the queue.
    pub exclusive: bool,
    /// Start position in a stream; streams only.
    pub stream_offset: Option<StreamOffset>,
}

/// Start position in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamOffset {
    /// The oldest message.
    First,
    /// The newest chunk.
    Last,
    /// The messages that arrive from now on.
    Next,
    /// The message at this offset.
    At(u64),
}

/// Availability of a broker, or of one queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "reason")]
#[non_exhaustive]
pub enum Health {
    /// Available.
    Up,
    /// Partly available, or not for publishers; the text gives the reason.
    Degraded(String),
    /// Not available; the text gives the reason.
    Down(String),
}
