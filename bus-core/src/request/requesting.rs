//! A request about to be sent.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use super::error::{RemoteFault, RequestError};
use super::inbox::Requests;
use super::pending::Answer;
use super::reply::{Reply, Response};
use crate::error::SendError;
use crate::message::{Envelope, HeaderValue, Intent};
use crate::send::{Outbound, SendContext, Sending};
use crate::transport::{Address, Capability, InvalidAddress, Target};

/// A request about to be sent: set options, then await the reply.
///
/// The options are those of [`Sending`]. Nothing is sent unless it is awaited. Dropping the future
/// cancels the wait. The type of the reply is the type that the caller expects; see [`Reply`] for
/// several.
///
/// ```
/// use std::time::Duration;
/// use bus_core::{Bus, ConsumeContext, Endpoint, Message, SendError, queue};
/// use bus_inmemory::InMemory;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)] #[message("Stock:CheckStock")] struct CheckStock { sku: String }
/// # #[derive(Serialize, Deserialize, Message)] #[message("Stock:StockLevels")] struct StockLevels { on_hand: u32 }
///
/// async fn check(ctx: ConsumeContext<CheckStock>) -> Result<(), SendError> {
///     ctx.respond(&StockLevels { on_hand: 3 }).await
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let stock = Endpoint::new("stock").consumer(check);
/// let bus = Bus::builder(InMemory::new()).endpoint(stock).start().await?;
/// let levels: StockLevels = bus
///     .request(&CheckStock { sku: "A-7".into() })
///     .to(queue("stock"))
///     .deadline(Duration::from_secs(5))
///     .await?;
/// assert_eq!(levels.on_hand, 3);
/// # bus.shutdown().await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// Awaiting gives a [`RequestError`]: no reply in time, a fault of the responder, or a failure to
/// send.
pub type Requesting<R> = Sending<Asked<R>>;

/// Ending of a [`Requesting`]: the reply to the message.
pub struct Asked<R> {
    requests: Arc<Requests>,
    reply: PhantomData<fn() -> R>,
}

impl<R> Asked<R> {
    pub(crate) fn of(requests: &Arc<Requests>) -> Self {
        Self {
            requests: Arc::clone(requests),
            reply: PhantomData,
        }
    }
}

impl<R: Reply> Sending<Asked<R>> {
    /// Sends the request to this address, not to the route or to subscribers.
    ///
    /// An address that cannot be read gives an error of kind
    /// [`NoRoute`](crate::error::SendErrorKind::NoRoute) when the request is awaited.
    pub fn to<A: TryInto<Address, Error: Into<InvalidAddress>>>(self, address: A) -> Self {
        self.address(address, |context, address, uri| {
            context.intent = Intent::Send;
            context.mandatory |= matches!(address.target(), Target::Queue(_) | Target::Inbox(_));
            context.target = address.target();
            context.envelope.destination_address = Some(uri);
        })
    }

    /// Awaits the reply with its metadata.
    ///
    /// # Errors
    /// As awaiting the request itself does.
    pub async fn response(self) -> Result<Response<R>, RequestError> {
        let Self {
            context,
            outbound,
            ending: Asked { requests, .. },
        } = self;
        let mut context = context?;
        let limit = context.deadline;
        let request = context
            .envelope
            .message_types
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        let answer = timeout(limit, async {
            let inbox = requests.inbox().await.map_err(SendError::from)?;
            let (ticket, reply) = requests.pending.register(Uuid::now_v7());
            context.envelope.request_id = Some(ticket.id);
            context.envelope.response_address = Some(inbox.address.clone());
            context.envelope.headers.insert(
                "MT-Request-AcceptType",
                HeaderValue::List(R::accept_types()),
            );
            // Late requests need not be answered: good to have, but nothing depends on it.
            if outbound
                .transport
                .capabilities()
                .has(Capability::MessageTtl)
            {
                context.ttl = Some(context.ttl.map_or(limit, |ttl| ttl.min(limit)));
            }
            ask(&outbound, context, reply).await
        });
        match answer.await {
            Ok(envelope) => understand(envelope?),
            Err(_) => Err(RequestError::TimedOut {
                request,
                after: limit,
                reason: requests.trouble(),
            }),
        }
    }
}

/// Sends, and waits for the reply without waiting for the confirm first.
async fn ask(
    outbound: &Outbound,
    context: SendContext,
    mut reply: oneshot::Receiver<Answer>,
) -> Result<Envelope, RequestError> {
    let sealed = outbound.pack(context)?;
    let answered = match outbound.ask(sealed, &mut reply).await? {
        Some(answered) => answered,
        None => reply.await,
    };
    Ok(answered.map_err(|_| RequestError::Stopped)??)
}

fn understand<R: Reply>(envelope: Envelope) -> Result<Response<R>, RequestError> {
    if let Some(message) = R::from_envelope(&envelope) {
        return Ok(Response::new(message?, envelope));
    }
    if let Some(fault) = RemoteFault::from_envelope(&envelope) {
        return Err(RequestError::Fault(Box::new(fault?)));
    }
    Err(RequestError::UnexpectedReply {
        replied: envelope
            .message_types
            .iter()
            .map(ToString::to_string)
            .collect(),
        accepted: R::contracts()
            .iter()
            .map(|contract| contract.message_type.qualified())
            .collect(),
    })
}

impl<R: Reply> IntoFuture for Sending<Asked<R>> {
    type Output = Result<R, RequestError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move { Ok(self.response().await?.into_message()) }.boxed()
    }
}

impl<R> fmt::Debug for Asked<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asked")
    }
}
