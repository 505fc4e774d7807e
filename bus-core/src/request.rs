//! Questions and their answers: the table of pending requests and the queue on which replies arrive.

use std::collections::HashMap;
use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{OnceCell, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use crate::address::{Address, InvalidAddress};
use crate::codec::{Codec, DecodeError, request_id};
use crate::envelope::Envelope;
use crate::headers::{HeaderName, HeaderValue};
use crate::outbound::Outbound;
use crate::outgoing::{Draft, Intent};
use crate::reply::{Reply, Response};
use crate::request_error::{RemoteFault, RequestError};
use crate::send_error::{SendError, SendErrorKind};
use crate::topology::{Binding, Exchange, Node, Queue, Topology};
use crate::transport::{
    Delivery, Health, ListenSpec, Listener, Settlement, Target, TransportError,
};

/// How long the broker keeps the reply queue of a process that lost its connection.
const REPLY_QUEUE_EXPIRES: Duration = Duration::from_secs(60);

const REPLY_PREFETCH: u16 = 1000;

/// The requests of a bus that wait for their reply.
pub(crate) struct Requests {
    outbound: Arc<Outbound>,
    queue: String,
    inbox: OnceCell<Inbox>,
    pending: Arc<Pending>,
}

struct Inbox {
    address: Arc<str>,
    listener: Arc<dyn Listener>,
    pump: JoinHandle<()>,
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests")
            .field("queue", &self.queue)
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

impl Requests {
    pub(crate) fn new(outbound: Arc<Outbound>, queue: String) -> Self {
        Self {
            outbound,
            queue,
            inbox: OnceCell::new(),
            pending: Arc::default(),
        }
    }

    /// How many requests wait.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Why no reply can come at present; `None` if the reply queue is well, or not needed yet.
    pub(crate) fn trouble(&self) -> Option<String> {
        match self.inbox.get()?.listener.health() {
            Health::Up => None,
            Health::Degraded(reason) | Health::Down(reason) => Some(format!(
                "the reply queue of this process is not well: {reason}"
            )),
        }
    }

    /// Opened by the first request: a process that only publishes owns no queue.
    async fn inbox(&self) -> Result<&Inbox, TransportError> {
        let inbox = self.inbox.get_or_try_init(|| self.open()).await?;
        inbox.listener.ready().await;
        Ok(inbox)
    }

    async fn open(&self) -> Result<Inbox, TransportError> {
        let topology = Arc::new(reply_topology(&self.queue));
        let transport = &self.outbound.transport;
        transport.declare(&topology).await?;
        let spec = ListenSpec {
            queue: self.queue.clone(),
            topology,
            prefetch: REPLY_PREFETCH,
            priority: None,
            exclusive: false,
            stream_offset: None,
        };
        let listener = transport.listen(spec).await?;
        let pump = tokio::spawn(pump(Arc::clone(&listener), Arc::clone(&self.pending)));
        Ok(Inbox {
            address: Address::temporary(self.queue.clone())
                .to_uri(&self.outbound.base)
                .into(),
            listener,
            pump,
        })
    }

    /// Ends every wait with [`RequestError::Stopped`] and gives the reply queue up.
    pub(crate) async fn close(&self) {
        self.pending.clear();
        if let Some(inbox) = self.inbox.get() {
            inbox.listener.close().await;
        }
    }
}

/// Exactly what a MassTransit responder declares before it answers, else its declaration would be refused.
fn reply_topology(name: &str) -> Topology {
    let queue = Queue {
        durable: false,
        exclusive: true,
        expires: Some(REPLY_QUEUE_EXPIRES),
        ..Queue::classic(name)
    };
    let exchange = Exchange {
        durable: false,
        auto_delete: true,
        ..Exchange::fanout(name)
    };
    let binding = Binding::new(name, Node::Queue(name.to_owned()));
    Topology {
        exchanges: vec![exchange],
        queues: vec![queue],
        bindings: vec![binding],
    }
}

async fn pump(listener: Arc<dyn Listener>, pending: Arc<Pending>) {
    while let Some(next) = listener.next().await {
        match next {
            Ok(delivery) => receive(delivery, &pending),
            Err(error) => tracing::warn!(%error, "the reply queue reports an error"),
        }
    }
}

fn receive(delivery: Delivery, pending: &Pending) {
    let Delivery { incoming, receipt } = delivery;
    let answer = Codec::for_incoming(&incoming, Codec::MassTransit)
        .and_then(|codec| codec.decode(&incoming));
    let id = match &answer {
        Ok(envelope) => envelope.request_id,
        Err(_) => request_id(&incoming),
    };
    match (id, answer) {
        (Some(id), answer) => pending.answer(id, answer),
        (None, Ok(_)) => {
            tracing::debug!("a message without request id on the reply queue is dropped");
        }
        (None, Err(error)) => tracing::warn!(%error, "a reply that cannot be read is dropped"),
    }
    receipt.settle(Settlement::Ack);
}

/// The reply, or why it cannot be read.
type Answer = Result<Envelope, DecodeError>;

/// Requests by id.
#[derive(Debug, Default)]
struct Pending(Mutex<HashMap<Uuid, oneshot::Sender<Answer>>>);

impl Pending {
    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn register(self: &Arc<Self>, id: Uuid) -> (Ticket, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, sender);
        (
            Ticket {
                id,
                pending: Arc::clone(self),
            },
            receiver,
        )
    }

    fn forget(&self, id: Uuid) -> Option<oneshot::Sender<Answer>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id)
    }

    fn answer(&self, id: Uuid, answer: Answer) {
        let answered = self
            .forget(id)
            .is_some_and(|waiting| waiting.send(answer).is_ok());
        if !answered {
            tracing::debug!(request_id = %id, "a late or unknown reply is dropped");
        }
    }

    fn clear(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

/// Forgets the request when its waiter is gone, however it goes.
struct Ticket {
    id: Uuid,
    pending: Arc<Pending>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.pending.forget(self.id);
    }
}

/// A request about to be sent: set options, then await the reply.
///
/// Dropping it cancels the wait. The type of the reply is the type that the caller expects; see [`Reply`] for several.
///
/// # Errors
/// Awaiting gives a [`RequestError`]: no answer in time, a fault of the other side, or a failure to send.
#[must_use = "nothing is asked unless it is awaited"]
pub struct Requesting<R> {
    draft: Result<Draft, SendError>,
    outbound: Arc<Outbound>,
    requests: Arc<Requests>,
    timeout: Duration,
    reply: PhantomData<fn() -> R>,
}

impl<R: Reply> Requesting<R> {
    pub(crate) fn new(
        draft: Result<Draft, SendError>,
        outbound: Arc<Outbound>,
        requests: Arc<Requests>,
    ) -> Self {
        let timeout = outbound.deadline();
        Self {
            draft,
            outbound,
            requests,
            timeout,
            reply: PhantomData,
        }
    }

    fn set(mut self, change: impl FnOnce(&mut Draft)) -> Self {
        if let Ok(draft) = &mut self.draft {
            change(draft);
        }
        self
    }

    /// How long to wait for the reply; also how long the request itself is of use. `Duration::MAX` is without end.
    /// Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the message id, instead of a fresh or derived one.
    ///
    /// A request of a consumer has the same id whenever its message is handled again, so that an idempotent service
    /// answers it with the reply that it gave before. Give a fresh id where another attempt wants another answer.
    pub fn message_id(self, id: Uuid) -> Self {
        self.set(|draft| draft.envelope.message_id = Some(id))
    }

    /// Adds a header.
    pub fn header(self, name: impl Into<HeaderName>, value: impl Into<HeaderValue>) -> Self {
        self.set(|draft| draft.envelope.headers.insert(name, value))
    }

    /// Served before lower ones on a queue with priorities.
    pub fn priority(self, priority: u8) -> Self {
        self.set(|draft| draft.priority = Some(priority))
    }

    /// Kept in the broker's memory only: lost when it restarts, so that the wait ends in a timeout. Takes the broker's disk
    /// off the way of the question; for questions that are quickly asked again.
    pub fn transient(self) -> Self {
        self.set(|draft| draft.durable = false)
    }

    /// Encoded otherwise than the endpoint or bus says.
    pub fn codec(self, codec: Codec) -> Self {
        self.set(|draft| draft.codec = codec)
    }

    /// To this address, instead of the configured route or whoever subscribed to the type.
    pub fn to<A: TryInto<Address, Error: Into<InvalidAddress>>>(mut self, address: A) -> Self {
        match address.try_into().map_err(Into::into) {
            Ok(address) => {
                let uri = address.to_uri(&self.outbound.base).into();
                self.set(|draft| {
                    draft.intent = Intent::Send;
                    draft.mandatory =
                        matches!(address.target(), Target::Queue(_) | Target::Inbox(_));
                    draft.target = address.target();
                    draft.envelope.destination_address = Some(uri);
                })
            }
            Err(error) => {
                self.draft =
                    Err(SendError::new(SendErrorKind::NoRoute, error.to_string())
                        .with_source(error));
                self
            }
        }
    }

    /// Awaits the reply with its metadata.
    pub async fn response(self) -> Result<Response<R>, RequestError> {
        let Self {
            draft,
            outbound,
            requests,
            timeout: limit,
            ..
        } = self;
        let mut draft = draft?;
        let request = draft
            .envelope
            .message_types
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        let answer = timeout(limit, async {
            let inbox = requests.inbox().await.map_err(SendError::from)?;
            let (ticket, reply) = requests.pending.register(Uuid::now_v7());
            draft.envelope.request_id = Some(ticket.id);
            draft.envelope.response_address = Some(inbox.address.clone());
            draft.envelope.headers.insert(
                "MT-Request-AcceptType",
                HeaderValue::List(R::accept_types()),
            );
            draft.ttl = Some(limit);
            draft.deadline = draft.deadline.min(limit);
            ask(&outbound, draft, reply).await
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
    draft: Draft,
    mut reply: oneshot::Receiver<Answer>,
) -> Result<Envelope, RequestError> {
    let parcel = outbound.pack(draft)?;
    // Its confirm may come after its reply, when nobody waits for it any more.
    let watched =
        (!outbound.observers.is_empty()).then(|| (parcel.envelope.clone(), parcel.intent));
    tokio::select! {
        biased;
        answered = &mut reply => {
            if let (Ok(_), Some((envelope, intent))) = (&answered, watched) {
                outbound.observers.sent(&envelope, intent);
            }
            return Ok(answered.map_err(|_| RequestError::Stopped)??);
        }
        sent = outbound.direct().dispatch(parcel) => sent?,
    }
    Ok(reply.await.map_err(|_| RequestError::Stopped)??)
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
            .field("draft", &self.draft)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
