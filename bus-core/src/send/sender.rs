//! A handle that publishes and sends outside of a consumer.

use std::fmt;
use std::sync::Arc;

use super::context::SendContext;
use super::dispatch::{Dispatch, all_in_order};
use super::outbound::Outbound;
use super::sealed::SealedMessage;
use super::sending::{Sending, Sent};
use crate::error::SendError;
use crate::message::Message;
use crate::transport::{Address, InvalidAddress};

/// A handle that publishes and sends outside of a consumer, cheap to clone.
///
/// Made by [`Bus::sender`](crate::Bus::sender), for code that sends and has nothing else to do with
/// the bus: the handler of a web server, a
/// [background service](crate::background::BackgroundService), a consumer of another bus. Each
/// message begins a conversation of its own and leaves at once.
///
/// A consumer of the same bus has its [context](crate::ConsumeContext) for this, also in a task
/// that it spawns: what goes through the context belongs to the conversation of the message that is
/// consumed, and leaves with its outcome, or at once with
/// [`immediately`](Sending::immediately). A `Sender` would hide both, so a context gives none.
///
/// It keeps the connections of its bus, but not the endpoints: these stop when the bus is dropped.
/// Once the bus is [shut down](crate::Bus::shutdown), what it sends fails with
/// [`Closed`](crate::error::SendErrorKind::Closed). It makes no requests, whose replies need a bus.
///
/// ```
/// use bus_core::send::Sender;
/// use bus_core::{Message, SendError};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize, Message)]
/// #[message("Invoicing:InvoiceCreated")]
/// struct InvoiceCreated { number: String }
///
/// /// Answers `POST /invoices/{number}`.
/// async fn created(sender: &Sender, number: String) -> Result<(), SendError> {
///     sender.publish(&InvoiceCreated { number }).await
/// }
/// ```
#[derive(Clone)]
pub struct Sender {
    outbound: Arc<Outbound>,
    dispatch: Arc<dyn Dispatch>,
}

impl Sender {
    pub(crate) fn new(outbound: Arc<Outbound>) -> Self {
        Self {
            dispatch: outbound.direct(),
            outbound,
        }
    }

    /// Publishes an event to every endpoint subscribed to `E`.
    ///
    /// Nothing is sent before it is awaited. Without any subscriber, the event is dropped and the
    /// outcome is `Ok`.
    pub fn publish<E: Message>(&self, event: &E) -> Sending {
        self.sending(self.outbound.publish(event, None))
    }

    /// Publishes many events, pipelined.
    ///
    /// Returns the outcome of each, in order; the failure of one does not end the others.
    pub async fn publish_all<'a, E: Message>(
        &self,
        events: impl IntoIterator<Item = &'a E>,
    ) -> Vec<Result<(), SendError>> {
        let events = events.into_iter();
        all_in_order(events.map(|event| self.publish(event).into_future())).await
    }

    /// Sends a command to the address of its [`route`](crate::BusBuilder::route).
    ///
    /// Nothing is sent before it is awaited. Without a route, it fails with
    /// [`NoRoute`](crate::error::SendErrorKind::NoRoute).
    pub fn send<C: Message>(&self, command: &C) -> Sending {
        let address = self.outbound.route::<C>();
        self.sending(address.and_then(|address| self.outbound.send_to(Ok(address), command, None)))
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
        let address = address.try_into().map_err(Into::into);
        self.sending(self.outbound.send_to(address, command, None))
    }

    /// Sends a message that is sealed already, with its ids.
    ///
    /// Filters and encoding do not run again. Nothing is sent before it is awaited. Each call sends
    /// it: a message that is forwarded twice is there twice, with one id.
    ///
    /// # Errors
    /// A [`SendError`] if the message is neither sent nor kept.
    pub fn forward(
        &self,
        message: SealedMessage,
    ) -> impl Future<Output = Result<(), SendError>> + Send + use<> {
        let dispatch = Arc::clone(&self.dispatch);
        async move { dispatch.dispatch(message).await }
    }

    /// Sends sealed messages, pipelined and in order.
    ///
    /// Returns the outcome of each, in order; the failure of one does not end the others.
    pub async fn forward_all(
        &self,
        messages: impl IntoIterator<Item = SealedMessage>,
    ) -> Vec<Result<(), SendError>> {
        let messages = messages.into_iter();
        all_in_order(messages.map(|message| self.forward(message))).await
    }

    /// Checks a sealed message, without asking the broker.
    ///
    /// For receivers that keep messages: what could never be sent is refused at the call.
    ///
    /// # Errors
    /// The [`SendError`] that sending it would end with.
    pub fn check(&self, message: &SealedMessage) -> Result<(), SendError> {
        Ok(self.outbound.transport.check(&message.outgoing)?)
    }

    /// Returns a sender whose messages go to another receiver.
    ///
    /// For work that keeps its messages with its outcome, such as a web handler with a transaction.
    /// The receiver decides what becomes of them, also once the bus is shut down. A message that is
    /// sent [`immediately`](Sending::immediately) goes past it.
    #[must_use]
    pub fn with_dispatch(&self, dispatch: Arc<dyn Dispatch>) -> Self {
        Self {
            outbound: Arc::clone(&self.outbound),
            dispatch,
        }
    }

    /// Returns the receiver of what is sent.
    pub fn dispatch(&self) -> Arc<dyn Dispatch> {
        Arc::clone(&self.dispatch)
    }

    fn sending(&self, context: Result<SendContext, SendError>) -> Sending {
        let sent = Sent::through(Arc::clone(&self.dispatch));
        Sending::new(context, Arc::clone(&self.outbound), sent)
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("address", &self.outbound.source())
            .field("dispatch", &self.dispatch)
            .finish()
    }
}
