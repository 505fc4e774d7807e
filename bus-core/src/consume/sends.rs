//! Messages that a consumer sends through its context.

use std::sync::Arc;

use super::context::ConsumeContext;
use crate::error::{SendError, SendErrorKind};
use crate::message::{Intent, Message};
use crate::request::{Asked, Reply, Requesting};
use crate::send::reply::address_reply;
use crate::send::sent_ids::origin_id;
use crate::send::{Origin, Outbound, SendContext, Sending, Sent};
use crate::transport::{Address, InvalidAddress};

impl<M: ?Sized> ConsumeContext<M> {
    /// Publishes an event to every endpoint subscribed to `E`.
    ///
    /// The outbox holds it until the consumer succeeds. Without any subscriber, the event is
    /// dropped.
    pub fn publish<E: Message>(&self, event: &E) -> Sending {
        self.sending(self.outbound().publish(event, Some(&self.origin())))
    }

    /// Sends a command to the address of its [`route`](crate::BusBuilder::route).
    ///
    /// The outbox holds it until the consumer succeeds. Without a route, awaiting it fails with
    /// [`NoRoute`](crate::error::SendErrorKind::NoRoute).
    pub fn send<C: Message>(&self, command: &C) -> Sending {
        let context = self.outbound().route::<C>().and_then(|address| {
            self.outbound()
                .send_to(Ok(address), command, Some(&self.origin()))
        });
        self.sending(context)
    }

    /// Sends a command to an address: `queue:name`, `exchange:name` or a full one.
    ///
    /// The outbox holds it until the consumer succeeds. With an address that cannot be read,
    /// awaiting it fails with [`NoRoute`](crate::error::SendErrorKind::NoRoute). A missing queue of
    /// a queue address is declared, durable and classic.
    pub fn send_to<C: Message, A: TryInto<Address, Error: Into<InvalidAddress>>>(
        &self,
        address: A,
        command: &C,
    ) -> Sending {
        self.sending(self.outbound().send_to(
            address.try_into().map_err(Into::into),
            command,
            Some(&self.origin()),
        ))
    }

    /// Responds to a request.
    ///
    /// A message without a response address has its answer published, as MassTransit does. The
    /// answer to a requester that is gone by then is dropped, without an error. A response on a tap
    /// fails with [`Unsupported`](crate::error::SendErrorKind::Unsupported), one to an address that
    /// [`reply_addresses`](crate::BusBuilder::reply_addresses) forbids with
    /// [`Refused`](crate::error::SendErrorKind::Refused).
    pub fn respond<D: Message>(&self, document: &D) -> Sending {
        self.sending(self.response(document))
    }

    fn response<D: Message>(&self, document: &D) -> Result<SendContext, SendError> {
        if self.received().endpoint.is_tap {
            let reason = format!(
                "endpoint `{}` taps another one and must not answer its requests",
                self.endpoint()
            );
            return Err(SendError::new(SendErrorKind::Unsupported, reason));
        }
        let envelope = self.envelope();
        let mut context = self.outbound().publish(document, Some(&self.origin()))?;
        context.intent = Intent::Respond;
        context.envelope.request_id = envelope.request_id;
        if let Some(text) = &envelope.response_address {
            address_reply(&mut context, text, envelope, self.outbound())?;
        }
        Ok(context)
    }

    /// Sends a request to another service and awaits its reply.
    ///
    /// The request leaves at once, past the outbox, as its reply is awaited here: it has left even
    /// if the consumer fails later.
    pub fn request<R: Reply>(&self, query: &impl Message) -> Requesting<R> {
        let outbound = self.outbound();
        let context = outbound.request(query, Some(&self.origin()));
        Sending::new(
            self.with_derived_id(context),
            Arc::clone(outbound),
            Asked::of(&self.received().endpoint.requests),
        )
    }

    pub(super) fn outbound(&self) -> &Arc<Outbound> {
        &self.received().endpoint.outbound
    }

    fn origin(&self) -> Origin<'_> {
        self.received().origin()
    }

    /// Sets the message id, the same each time that this message is handled again.
    fn with_derived_id(
        &self,
        context: Result<SendContext, SendError>,
    ) -> Result<SendContext, SendError> {
        let mut context = context?;
        let received = self.received();
        let origin = origin_id(&received.envelope, &received.incoming);
        if let (Some(origin), Some(urn)) = (origin, context.envelope.message_types.first()) {
            let urn = urn.clone();
            context.envelope.message_id = Some(self.next_id(origin, urn));
        }
        Ok(context)
    }

    fn sending(&self, context: Result<SendContext, SendError>) -> Sending {
        Sending::new(
            self.with_derived_id(context),
            Arc::clone(self.outbound()),
            Sent::through(self.dispatch()),
        )
    }
}
