//! A request about to be sent.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use super::error::{RemoteFault, RequestError};
use super::inbox::Requests;
use super::pending::Answer;
use super::reply::{Reply, Response};
use crate::codec::Codec;
use crate::error::{SendError, SendErrorKind};
use crate::message::{Envelope, HeaderName, HeaderValue, Intent};
use crate::send::{Outbound, SendContext};
use crate::transport::{Address, InvalidAddress, Target};

/// A request about to be sent: set options, then await the reply.
///
/// Nothing is sent unless it is awaited. Dropping the future cancels the wait. The type of the
/// reply is the type that the caller expects; see [`Reply`] for several.
///
/// # Errors
/// Awaiting gives a [`RequestError`]: no reply in time, a fault of the responder, or a failure to
/// send.
#[must_use = "nothing is asked unless it is awaited"]
pub struct Requesting<R> {
    context: Result<SendContext, SendError>,
    outbound: Arc<Outbound>,
    requests: Arc<Requests>,
    timeout: Duration,
    reply: PhantomData<fn() -> R>,
}

impl<R: Reply> Requesting<R> {
    pub(crate) fn new(
        context: Result<SendContext, SendError>,
        outbound: Arc<Outbound>,
        requests: Arc<Requests>,
    ) -> Self {
        let timeout = outbound.deadline();
        Self {
            context,
            outbound,
            requests,
            timeout,
            reply: PhantomData,
        }
    }

    fn set(mut self, change: impl FnOnce(&mut SendContext)) -> Self {
        if let Ok(context) = &mut self.context {
            change(context);
        }
        self
    }

    /// Limits the wait for the reply; also the time to live of the request itself.
    ///
    /// `Duration::MAX` is without end. Default: the bus's
    /// [`deadline`](crate::BusBuilder::deadline), 30 s unless set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the message id, instead of a fresh or derived one.
    ///
    /// A request of a consumer has the same id whenever its message is handled again, so that an
    /// idempotent service answers it with the reply that it gave before. Give a fresh id where
    /// another attempt wants another answer.
    pub fn message_id(self, id: Uuid) -> Self {
        self.set(|context| context.envelope.message_id = Some(id))
    }

    /// Adds a header; one with the same name, in any case of letters, is replaced.
    pub fn header(self, name: impl Into<HeaderName>, value: impl Into<HeaderValue>) -> Self {
        self.set(|context| context.envelope.headers.insert(name, value))
    }

    /// Sets the priority: higher ones are served first on a queue with priorities.
    ///
    /// Default: that of the message being consumed, if any.
    pub fn priority(self, priority: u8) -> Self {
        self.set(|context| context.priority = Some(priority))
    }

    /// Keeps the request in the broker's memory only: lost when the broker restarts.
    ///
    /// The wait then ends in a timeout. Saves the broker's write to disk; for requests that are
    /// cheap to repeat.
    pub fn transient(self) -> Self {
        self.set(|context| context.durable = false)
    }

    /// Sets the encoding, instead of that of the endpoint or bus.
    pub fn codec(self, codec: Codec) -> Self {
        self.set(|context| context.codec = codec)
    }

    /// Sends the request to this address, not to the route or to subscribers.
    ///
    /// An address that cannot be read gives an error of kind [`NoRoute`](SendErrorKind::NoRoute)
    /// when the request is awaited.
    pub fn to<A: TryInto<Address, Error: Into<InvalidAddress>>>(mut self, address: A) -> Self {
        match address.try_into().map_err(Into::into) {
            Ok(address) => {
                let uri = address.to_uri(&self.outbound.base).into();
                self.set(|context| {
                    context.intent = Intent::Send;
                    context.mandatory =
                        matches!(address.target(), Target::Queue(_) | Target::Inbox(_));
                    context.target = address.target();
                    context.envelope.destination_address = Some(uri);
                })
            }
            Err(error) => {
                self.context =
                    Err(SendError::new(SendErrorKind::NoRoute, error.to_string())
                        .with_source(error));
                self
            }
        }
    }

    /// Awaits the reply with its metadata.
    ///
    /// # Errors
    /// As awaiting the request itself does.
    pub async fn response(self) -> Result<Response<R>, RequestError> {
        let Self {
            context,
            outbound,
            requests,
            timeout: limit,
            ..
        } = self;
        let mut context = context?;
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
            context.ttl = Some(limit);
            context.deadline = context.deadline.min(limit);
            ask(&outbound, context, reply).await
        });
        match answer.await {
            Ok(envelope) => understand(envelope?),
            Err(_) => Err(RequestError::Timeout {
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

impl<R: Reply> IntoFuture for Requesting<R> {
    type Output = Result<R, RequestError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move { Ok(self.response().await?.into_message()) }.boxed()
    }
}

impl<R> fmt::Debug for Requesting<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requesting")
            .field("context", &self.context)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
