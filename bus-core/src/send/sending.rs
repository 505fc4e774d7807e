//! A message about to be sent, with its options.

use std::borrow::Cow;
use std::fmt;
use std::future::IntoFuture;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::context::SendContext;
use super::dispatch::Dispatch;
use super::due::Due;
use super::outbound::Outbound;
use crate::codec::Codec;
use crate::error::{SendError, SendErrorKind};
use crate::message::{HeaderName, HeaderValue};
use crate::transport::{Address, InvalidAddress, ScheduleToken};

/// A message about to be sent: set options, then await it.
///
/// Owns everything it needs, so it can be spawned or kept. The message part is encoded already, the
/// message id is fixed. Nothing is sent unless it is awaited. `Ok` means that the broker owns the
/// message, or, inside a consumer, that the outbox holds it until the consumer succeeds.
///
/// `E` says what awaiting it waits for: that it is [`Sent`], or the reply to a
/// [request](crate::request::Requesting). Both have the options of a message.
///
/// ```
/// use std::time::Duration;
/// use bus_core::{Bus, Message, queue};
/// use bus_inmemory::InMemory;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Invoicing:RemindCustomer")]
/// # struct RemindCustomer { number: String }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = InMemory::new();
/// let bus = Bus::builder(broker.clone()).start().await?;
/// let reminder = RemindCustomer { number: "A-7".into() };
/// let sending = bus
///     .send_to(queue("reminders"), &reminder)
///     .header("Tenant", "north")
///     .ttl(Duration::from_secs(24 * 60 * 60))
///     .deadline(Duration::from_secs(5));
/// sending.await?;
/// assert_eq!(broker.waiting("reminders"), Some(1));
/// # bus.shutdown().await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// Awaiting gives a [`SendError`] that belongs to this message alone; by default within 30 s.
#[must_use = "nothing is sent unless it is awaited"]
pub struct Sending<E = Sent> {
    pub(crate) context: Result<SendContext, SendError>,
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) ending: E,
}

/// Ending of a [`Sending`]: the broker, or the outbox, has the message.
pub struct Sent {
    dispatch: Arc<dyn Dispatch>,
}

impl Sent {
    pub(crate) fn through(dispatch: Arc<dyn Dispatch>) -> Self {
        Self { dispatch }
    }
}

impl<E> Sending<E> {
    pub(crate) fn new(
        context: Result<SendContext, SendError>,
        outbound: Arc<Outbound>,
        ending: E,
    ) -> Self {
        Self {
            context,
            outbound,
            ending,
        }
    }

    fn set(mut self, change: impl FnOnce(&mut SendContext)) -> Self {
        if let Ok(context) = &mut self.context {
            change(context);
        }
        self
    }

    /// Goes to, or names, an address, unless it cannot be read.
    pub(crate) fn address<A: TryInto<Address, Error: Into<InvalidAddress>>>(
        mut self,
        address: A,
        set: impl FnOnce(&mut SendContext, &Address, Arc<str>),
    ) -> Self {
        match (address.try_into().map_err(Into::into), &mut self.context) {
            (Ok(address), Ok(context)) => {
                let uri = address.to_uri(&self.outbound.base).into();
                set(context, &address, uri);
            }
            (Err(error), Ok(_)) => {
                let text = error.to_string();
                let error = SendError::new(SendErrorKind::NoRoute, text).with_source(error);
                self.context = Err(error);
            }
            (_, Err(_)) => {}
        }
        self
    }

    /// Adds a header; one with the same name, in any case of letters, is replaced.
    pub fn header(self, name: impl Into<HeaderName>, value: impl Into<HeaderValue>) -> Self {
        self.set(|context| context.envelope.headers.insert(name, value))
    }

    /// Sets the time to live: the broker drops the message after it.
    ///
    /// Default, and `Duration::MAX`: without end; for a request, its deadline.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.set(|context| context.ttl = Some(ttl))
    }

    /// Sets the priority: higher ones are served first on a queue with priorities.
    ///
    /// Default: that of the message being consumed, if any.
    pub fn priority(self, priority: u8) -> Self {
        self.set(|context| context.priority = Some(priority))
    }

    /// Keeps the message in the broker's memory only: lost when the broker restarts.
    ///
    /// Default: durable.
    pub fn transient(self) -> Self {
        self.set(|context| context.durable = false)
    }

    /// Sets the key for direct and topic exchanges, instead of the contract's own.
    pub fn routing_key(self, key: impl Into<String>) -> Self {
        self.set(|context| context.routing_key = Cow::Owned(key.into()))
    }

    /// Sets the correlation id, instead of the contract's own.
    pub fn correlation_id(self, id: Uuid) -> Self {
        self.set(|context| context.envelope.correlation_id = Some(id))
    }

    /// Sets the message id, instead of a fresh or derived one.
    ///
    /// For senders that may send the same message twice. A request of a consumer has the same id
    /// whenever its message is handled again, so that an idempotent service answers it with the
    /// reply that it gave before: give a fresh id where another attempt wants another answer.
    pub fn message_id(self, id: Uuid) -> Self {
        self.set(|context| context.envelope.message_id = Some(id))
    }

    /// Makes sending an error of kind `Unroutable` if no queue takes the message.
    ///
    /// Default for sends and requests to a queue, not for what is published.
    pub fn mandatory(self) -> Self {
        self.set(|context| context.mandatory = true)
    }

    /// Limits the time that sending may take, waiting for an absent broker included.
    ///
    /// The deadline of a request includes the wait for the reply.
    ///
    /// `Duration::MAX` is without end. Default: the bus's
    /// [`deadline`](crate::BusBuilder::deadline), 30 s unless set.
    pub fn deadline(self, deadline: Duration) -> Self {
        self.set(|context| context.deadline = deadline)
    }

    /// Delays the delivery by at least this time, from this call on.
    ///
    /// The wait in an outbox counts. An error of kind [`Unsupported`](SendErrorKind::Unsupported)
    /// on transports that cannot delay, where the bus has no
    /// [scheduler](crate::BusBuilder::scheduler).
    pub fn deliver_in(self, delay: Duration) -> Self {
        self.set(|context| context.due = Some(Due::after(delay)))
    }

    /// Delays the delivery until this time; one in the past is now.
    ///
    /// The clock is that of the process that hands the message to the broker. An error of kind
    /// [`Unsupported`](SendErrorKind::Unsupported) on transports that cannot delay, where the bus
    /// has no [scheduler](crate::BusBuilder::scheduler).
    pub fn deliver_at(self, time: impl Into<SystemTime>) -> Self {
        let time = time.into();
        self.set(|context| context.due = Some(Due::At(time)))
    }

    /// Sets the token with which the message is cancelled until it is due.
    ///
    /// [`Bus::cancel`](crate::Bus::cancel) takes it. Give each message a token of its own: one call
    /// cancels all that wait with it. An error of kind [`Unsupported`](SendErrorKind::Unsupported)
    /// on transports that cannot cancel, where the bus has no
    /// [scheduler](crate::BusBuilder::scheduler). Default: none.
    pub fn schedule_token(self, token: ScheduleToken) -> Self {
        self.set(|context| context.schedule_token = Some(token))
    }

    /// Sets the key of the messages that keep their order among each other.
    ///
    /// A store or a broker that divides messages into parts puts those of one key into the same
    /// part, in the order in which they were sent. Others ignore it. Default: none.
    pub fn ordering_key(self, key: impl Into<String>) -> Self {
        let key = key.into();
        self.set(|context| context.ordering_key = Some(key))
    }

    /// Sets the encoding, instead of that of the endpoint or bus.
    pub fn codec(self, codec: Codec) -> Self {
        self.set(|context| context.codec = codec)
    }
}

/// Options of a message that is sent, and not asked.
impl Sending {
    /// Sets the request id: that of the message that this one answers.
    ///
    /// For replies that are sent outside of the request's consumer.
    pub fn request_id(self, id: Uuid) -> Self {
        self.set(|context| context.envelope.request_id = Some(id))
    }

    /// Sets the address to which a fault of this message goes.
    ///
    /// Without it, a fault goes to the response address, else to subscribers. An address that
    /// cannot be read gives an error of kind [`NoRoute`](SendErrorKind::NoRoute) when the message
    /// is awaited.
    pub fn fault_address<A: TryInto<Address, Error: Into<InvalidAddress>>>(
        self,
        address: A,
    ) -> Self {
        self.address(address, |context, _, uri| {
            context.envelope.fault_address = Some(uri);
        })
    }

    /// Sets the address to which a reply to this message goes.
    ///
    /// An address that cannot be read gives an error of kind [`NoRoute`](SendErrorKind::NoRoute)
    /// when the message is awaited.
    pub fn response_address<A: TryInto<Address, Error: Into<InvalidAddress>>>(
        self,
        address: A,
    ) -> Self {
        self.address(address, |context, _, uri| {
            context.envelope.response_address = Some(uri);
        })
    }

    /// Sends at once, past the outbox of the consumer.
    ///
    /// The message leaves even if the consumer that sends it fails later. Each attempt sends it
    /// again.
    pub fn immediately(mut self) -> Self {
        self.ending.dispatch = self.outbound.direct();
        self
    }
}

impl IntoFuture for Sending {
    type Output = Result<(), SendError>;
    type IntoFuture = SendFuture;

    fn into_future(self) -> Self::IntoFuture {
        SendFuture(State::Unsent(self))
    }
}

/// Future of a [`Sending`].
///
/// Nothing is sent before it is polled.
///
/// # Panics
/// If it is polled after it was ready.
#[must_use = "nothing is sent unless it is awaited"]
pub struct SendFuture(State);

/// States of a [`SendFuture`].
/// The context lies in the future itself: one allocation less for each message.
#[expect(clippy::large_enum_variant, reason = "a box is what it saves")]
enum State {
    Unsent(Sending),
    Sent(BoxFuture<'static, Result<(), SendError>>),
    Over,
}

impl Future for SendFuture {
    type Output = Result<(), SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Sent(sent) = &mut self.0 {
            return sent.as_mut().poll(cx);
        }
        let State::Unsent(sending) = mem::replace(&mut self.0, State::Over) else {
            panic!("polled after it was ready");
        };
        let Sending {
            context,
            outbound,
            ending,
        } = sending;
        let sealed = outbound.pack_for(&*ending.dispatch, context?)?;
        let mut sent = ending.dispatch.dispatch(sealed);
        let outcome = sent.as_mut().poll(cx);
        self.0 = State::Sent(sent);
        outcome
    }
}

impl fmt::Debug for SendFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendFuture").finish_non_exhaustive()
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sent")
    }
}

impl<E> fmt::Debug for Sending<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
