//! Messages that a consumer sends through its context.

use std::sync::Arc;

use super::context::ConsumeContext;
use crate::error::{SendError, SendErrorKind};
use crate::message::{Envelope, Intent, Message};
use crate::request::{Asked, Reply, Requesting};
use crate::send::reply::address_reply;
use crate::send::sent_ids::origin_id;
use crate::send::{Origin, Outbound, Requester, SendContext, Sending, Sent};
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

    /// Returns the requester of the message, for a reply that is given later.
    ///
    /// `None` if the message has no response address.
    pub fn requester(&self) -> Option<Requester> {
        Requester::of(self.envelope())
    }

    /// Responds to the requester of an earlier message.
    ///
    /// As [`respond`](Self::respond), for a reply that another message makes possible. It is not
    /// kept for duplicates of either message.
    ///
    /// ```
    /// use std::sync::Mutex;
    /// use bus_core::send::Requester;
    /// use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message, consume::consumers};
    /// use bus_inmemory::Harness;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize, Message)] #[message("Shop:Reserve")] struct Reserve {}
    /// # #[derive(Serialize, Deserialize, Message)] #[message("Shop:Arrived")] struct Arrived {}
    /// # #[derive(Serialize, Deserialize, Message)] #[message("Shop:Reserved")] struct Reserved {}
    /// #[derive(Default)]
    /// struct Stock { waiting: Mutex<Vec<Requester>> }
    ///
    /// #[consumers]
    /// impl Stock {
    ///     async fn reserve(&self, ctx: ConsumeContext<Reserve>) -> ConsumeResult {
    ///         self.waiting.lock().unwrap().extend(ctx.requester());
    ///         Ok(())
    ///     }
    ///
    ///     async fn arrived(&self, ctx: ConsumeContext<Arrived>) -> ConsumeResult {
    ///         let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
    ///         for requester in waiting {
    ///             ctx.respond_to(&requester, &Reserved {}).await?;
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let stock = Endpoint::new("stock").consumers(Stock::default());
    /// let harness = Harness::start(|bus| bus.endpoint(stock)).await?;
    /// let asked = tokio::spawn(harness.bus().request::<Reserved>(&Reserve {}).into_future());
    /// harness.consumed::<Reserve>().wait().await?;
    /// harness.publish(&Arrived {}).await?;
    /// asked.await??;
    /// # Ok(()) }
    /// ```
    pub fn respond_to<D: Message>(&self, requester: &Requester, document: &D) -> Sending {
        self.sending(self.late_response(requester, document))
    }

    fn late_response<D: Message>(
        &self,
        requester: &Requester,
        document: &D,
    ) -> Result<SendContext, SendError> {
        self.refuse_on_tap()?;
        let mut context = self.outbound().publish(document, Some(&self.origin()))?;
        context.intent = Intent::Respond;
        context.envelope.request_id = requester.request_id;
        let address = Arc::from(requester.address.as_str());
        address_reply(
            &mut context,
            &address,
            &Envelope::default(),
            self.outbound(),
        )?;
        // A requester that is gone by then is nothing to operate on.
        context.mandatory = false;
        Ok(context)
    }

    fn response<D: Message>(&self, document: &D) -> Result<SendContext, SendError> {
        self.refuse_on_tap()?;
        let envelope = self.envelope();
        let mut context = self.outbound().publish(document, Some(&self.origin()))?;
        context.intent = Intent::Respond;
        context.envelope.request_id = envelope.request_id;
        if let Some(text) = &envelope.response_address {
            address_reply(&mut context, text, envelope, self.outbound())?;
        }
        Ok(context)
    }

    fn refuse_on_tap(&self) -> Result<(), SendError> {
        if self.received().endpoint.is_tap {
            let reason = format!(
                "endpoint `{}` taps another one and must not answer its requests",
                self.endpoint()
            );
            return Err(SendError::new(SendErrorKind::Unsupported, reason));
        }
        Ok(())
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
