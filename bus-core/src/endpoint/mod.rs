//! A queue, its consumers and their policy.

pub(crate) mod names;
pub(crate) mod policy;
pub(crate) mod topology;

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::Codec;
use crate::consume::{ConsumeContext, Consumer, ConsumerSet, Consumers, RawMessage, Registration};
use crate::error::ConsumeError;
use crate::message::{Contract, HeaderValue, Message};
use crate::middleware::{Idempotency, Middleware, Retry};
use crate::topology::{Binding, DeadLetter, Overflow, Queue, QueueKind};
use crate::transport::StreamOffset;
use policy::Subscription;
pub(crate) use policy::{
    DEFAULT_CONCURRENCY, DeadLettering, Guarantee, Lifetime, Policy, QueueShape,
};
pub(crate) use topology::EndpointTopology;

/// Delivery limit of a quorum queue, past which the broker dead-letters a message.
///
/// The message then goes to the error queue. The limit is large because messages that were only
/// prefetched by a process that crashed are counted, too.
const DELIVERY_LIMIT: u32 = 1000;

/// A queue with its consumers and what runs around them.
///
/// Instances that run an endpoint of the same name compete for its messages; endpoints of different
/// names each get a copy of what is published. Defaults: a durable classic queue, 16 messages at
/// once, 32 prefetched, no retry, the outbox on.
///
/// Middleware runs in this order, independent of the order of the calls: the bus's and the
/// endpoint's own middleware, idempotency, flush of the outbox, retry, `around_attempt`, timeout,
/// consumer.
///
/// ```
/// use std::time::Duration;
/// use bus_core::idempotency::MemoryIdempotencyStore;
/// use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message, Retry};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Invoicing:CreateInvoice")]
/// # struct CreateInvoice { number: String }
///
/// async fn create(ctx: ConsumeContext<CreateInvoice>) -> ConsumeResult {
///     println!("{}", ctx.message().number);
///     Ok(())
/// }
///
/// let endpoint = Endpoint::new("invoice-service")
///     .concurrency(32)
///     .retry(Retry::exponential(5, Duration::from_millis(100), Duration::from_secs(5)))
///     .idempotency(MemoryIdempotencyStore::new())
///     .consumer(create);
/// # let _ = endpoint;
/// ```
#[must_use = "add it to a bus with .endpoint(…)"]
pub struct Endpoint {
    pub(crate) name: String,
    pub(crate) policy: Policy,
    pub(crate) registrations: Vec<Registration>,
    pub(crate) queue: Queue,
    pub(crate) lifetime: Lifetime,
    pub(crate) guarantee: Guarantee,
    pub(crate) dead_lettering: DeadLettering,
    pub(crate) taps: Vec<String>,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) unsubscribed: Vec<TypeId>,
    pub(crate) subscribes: bool,
    pub(crate) consumer_priority: Option<i32>,
    pub(crate) exclusive_consumer: bool,
    pub(crate) stream_offset: Option<StreamOffset>,
}

impl Endpoint {
    /// Creates an endpoint on the queue `name`.
    ///
    /// A name consists of letters, digits, `-`, `_`, `.` and `:`, does not begin with `amq.`, and
    /// fits in 255 bytes with `_skipped`. Any other name is a configuration mistake.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            queue: Queue::classic(name.clone()),
            name,
            policy: Policy::default(),
            registrations: Vec::new(),
            lifetime: Lifetime::Durable,
            guarantee: Guarantee::AtLeastOnce,
            dead_lettering: DeadLettering {
                keep_skipped: true,
                keep_faulted: true,
                publish_faults: true,
            },
            taps: Vec::new(),
            bindings: Vec::new(),
            subscriptions: Vec::new(),
            unsubscribed: Vec::new(),
            subscribes: true,
            consumer_priority: None,
            exclusive_consumer: false,
            stream_offset: None,
        }
    }

    /// Creates an endpoint of this process alone, on a temporary queue.
    ///
    /// Every instance gets its own copy of what is published. The queue's name starts with `name`
    /// and is unique; the queue goes away with the process.
    pub fn per_instance(name: &str) -> Self {
        Self::new(crate::endpoint::names::unique(name)).temporary()
    }

    /// Makes the queue temporary: it belongs to this process and goes away with it.
    ///
    /// Classic queues only. Default: a durable queue.
    pub fn temporary(mut self) -> Self {
        self.lifetime = Lifetime::Temporary;
        self
    }

    /// Adds a consumer; its type says which message it consumes.
    ///
    /// Two consumers of one wire name on one endpoint are a configuration mistake.
    pub fn consumer<M: Message, C: Consumer<M>>(mut self, consumer: C) -> Self {
        self.registrations.push(Registration::of::<M, C>(consumer));
        self
    }

    /// Adds a function with its state.
    ///
    /// Each call gets a clone of `state`, such as a handle or an `Arc`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize, Message)]
    /// # #[message("Invoicing:CreateInvoice")]
    /// # struct CreateInvoice { number: String }
    /// # #[derive(Default)] struct Invoices;
    /// # impl Invoices { async fn store(&self, _: &str) -> Result<(), std::io::Error> { Ok(()) } }
    ///
    /// async fn create(invoices: Arc<Invoices>, ctx: ConsumeContext<CreateInvoice>) -> ConsumeResult {
    ///     invoices.store(&ctx.message().number).await?;
    ///     Ok(())
    /// }
    ///
    /// let endpoint = Endpoint::new("invoices").consumer_with(Arc::<Invoices>::default(), create);
    /// # let _ = endpoint;
    /// ```
    pub fn consumer_with<S, M, F, Fut, E>(self, state: S, consume: F) -> Self
    where
        S: Clone + Send + Sync + 'static,
        M: Message,
        F: Fn(S, ConsumeContext<M>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<ConsumeError> + 'static,
    {
        self.consumer(move |ctx: ConsumeContext<M>| consume(state.clone(), ctx))
    }

    /// Adds a consumer of `M`, for a type that consumes several messages.
    pub fn consumer_of<M: Message>(self, consumer: impl Consumer<M>) -> Self {
        self.consumer::<M, _>(consumer)
    }

    /// Adds one instance as the consumer of each message that a method of it takes.
    ///
    /// [`#[consumers]`](crate::consume::consumers) on an `impl` block makes a type such consumers.
    pub fn consumers(mut self, consumers: impl Consumers) -> Self {
        let mut set = ConsumerSet::default();
        Arc::new(consumers).add_to(&mut set);
        self.registrations.extend(set.registrations);
        self
    }

    /// Adds a consumer of every message, of any type, that has no other consumer here.
    ///
    /// It also receives bodies that are no envelope. An endpoint has at most one such consumer.
    pub fn consume_any(mut self, consumer: impl Consumer<RawMessage>) -> Self {
        self.registrations.push(Registration::of_any(consumer));
        self
    }

    /// Sets the number of messages that are handled at once.
    ///
    /// Default: that of the bus, else 16. With 1, the order of the queue is kept; 0 is a
    /// configuration mistake.
    pub fn concurrency(mut self, limit: usize) -> Self {
        self.policy.concurrency = Some(limit);
        self
    }

    /// Sets the number of messages that the broker hands out unacknowledged.
    ///
    /// Default: that of the bus, else twice the concurrency. 0, or less than the concurrency, is a
    /// configuration mistake.
    pub fn prefetch(mut self, count: u16) -> Self {
        self.policy.prefetch = Some(count);
        self
    }

    /// Sets the retry policy for failed messages.
    ///
    /// Default: that of the bus, else no retry.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.policy.retry = Some(retry);
        self
    }

    /// Sets the time limit of one attempt.
    ///
    /// Default: that of the bus, else no limit. An attempt that exceeds it fails and may be
    /// retried. Zero is a configuration mistake.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.policy.timeout = Some(timeout);
        self
    }

    /// Sets how often a message may be delivered without coming to an end.
    ///
    /// Default: that of the bus, else 10. 0 is a configuration mistake.
    ///
    /// A message that is delivered more often has probably ended the process each time: it is moved
    /// to `<name>_error` without its consumer being called. Deliveries that other processes gave
    /// back, or earlier runs of this one, are counted; retries within one delivery are not. From
    /// the third delivery on, such messages are handled one at a time, and one process sets aside
    /// one message only, so that messages that were merely prefetched beside it are handled.
    pub fn max_deliveries(mut self, count: u32) -> Self {
        self.policy.max_deliveries = Some(count);
        self
    }

    /// Handles each message once, by its id or a key.
    ///
    /// Default: as the bus does, else no deduplication. A store alone deduplicates by message id.
    pub fn idempotency(mut self, idempotency: impl Into<Idempotency>) -> Self {
        self.policy.idempotency = Some(idempotency.into());
        self
    }

    /// Lets messages of consumers leave at once, even if the consumer fails later.
    ///
    /// Default: the outbox holds them until the consumer succeeds. Without it, replies to
    /// duplicates are not stored.
    pub fn without_outbox(mut self) -> Self {
        self.policy.outbox = Some(false);
        self
    }

    /// Adds middleware that runs around each delivery, outside of retry.
    ///
    /// The first one added is outermost.
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.policy.middleware.push(Arc::new(middleware));
        self
    }

    /// Adds middleware that runs around each attempt, inside of retry.
    ///
    /// The first one added is outermost.
    pub fn around_attempt(mut self, middleware: impl Middleware) -> Self {
        self.policy.around_attempt.push(Arc::new(middleware));
        self
    }

    /// Sets the codec of what consumers send, and of bodies without a content type.
    ///
    /// Default: that of the bus, else MassTransit's envelope.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.policy.codec = Some(codec);
        self
    }

    /// Acknowledges each message before its consumer runs.
    ///
    /// A message is never handled twice, and is lost if the consumer fails: there is no retry and
    /// no error queue. A failure is logged, and reported to the requester. Retry or idempotency on
    /// such an endpoint is a configuration mistake; those of the bus do not apply to it.
    pub fn at_most_once(mut self) -> Self {
        self.guarantee = Guarantee::AtMostOnce;
        self
    }

    /// Makes the queue a classic queue; the default.
    pub fn classic(mut self) -> Self {
        self.policy.queue_kind = Some(QueueShape::Classic);
        self
    }

    /// Makes the queue a quorum queue, which is replicated.
    ///
    /// Its messages can end only here or in the error queue: it has a high delivery limit and
    /// dead-letters to `<name>_error`.
    pub fn quorum(mut self) -> Self {
        self.policy.queue_kind = Some(QueueShape::Quorum);
        self
    }

    /// Makes the queue a quorum queue without further arguments.
    ///
    /// MassTransit declares it like this: for a queue shared with .NET. Recent brokers drop its
    /// messages after 20 returns.
    pub fn plain_quorum(mut self) -> Self {
        self.policy.queue_kind = Some(QueueShape::PlainQuorum);
        self
    }

    /// Makes the queue a stream: a replicated log, read from `offset`.
    ///
    /// Messages that were read stay. A transport without streams makes it a configuration mistake.
    pub fn stream(mut self, offset: StreamOffset) -> Self {
        self.policy.queue_kind = Some(QueueShape::Stream);
        self.stream_offset = Some(offset);
        self
    }

    /// Sets the time to live of a message in the queue.
    ///
    /// Default, and `Duration::MAX`: no limit. Zero is a configuration mistake.
    pub fn message_ttl(mut self, ttl: Duration) -> Self {
        self.queue.message_ttl = Some(ttl).filter(|ttl| *ttl != Duration::MAX);
        self
    }

    /// Limits the number of messages in the queue, and says what a full queue does.
    ///
    /// Default: no limit.
    pub fn max_length(mut self, length: u64, overflow: Overflow) -> Self {
        self.queue.max_length = Some(length);
        self.queue.overflow = Some(overflow);
        self
    }

    /// Makes the queue serve messages of higher priority first, up to `highest`.
    ///
    /// Classic queues only. At most 255, and better at most 10: each priority costs the broker. 0
    /// is a configuration mistake.
    pub fn max_priority(mut self, highest: u8) -> Self {
        self.queue.max_priority = Some(highest);
        self
    }

    /// Delivers to one instance at a time only; the next takes over when it is gone.
    pub fn single_active_consumer(mut self) -> Self {
        self.queue.single_active_consumer = true;
        self
    }

    /// Sets the priority of this instance as a consumer of the queue.
    ///
    /// Instances of higher priority are served first. Default: 0.
    pub fn consumer_priority(mut self, priority: i32) -> Self {
        self.consumer_priority = Some(priority);
        self
    }

    /// Consumes the queue exclusively: no other consumer may share it.
    ///
    /// A stream cannot have an exclusive consumer: that is a configuration mistake.
    pub fn exclusive(mut self) -> Self {
        self.exclusive_consumer = true;
        self
    }

    /// Adds a further argument of the queue, as the broker knows it: `x-…`.
    pub fn queue_argument(
        mut self,
        name: impl Into<String>,
        value: impl Into<HeaderValue>,
    ) -> Self {
        self.queue.arguments.insert(name.into(), value.into());
        self
    }

    /// Receives a copy of everything that reaches another endpoint, sent or published.
    ///
    /// Such an endpoint overhears: a response fails with
    /// [`Unsupported`](crate::error::SendErrorKind::Unsupported), and its failures raise no faults.
    /// May be called several times.
    pub fn tap(mut self, endpoint: impl Into<String>) -> Self {
        self.taps.push(endpoint.into());
        self
    }

    /// Adds a binding from an exchange to the endpoint's exchange or queue.
    pub fn bind(mut self, binding: Binding) -> Self {
        self.bindings.push(binding);
        self
    }

    /// Subscribes to those `M` whose routing key matches.
    ///
    /// For contracts whose exchange is direct or topic; may be called several times. Without a
    /// consumer of `M` on the endpoint, it is a configuration mistake.
    pub fn subscribe<M: Message>(mut self, key: impl Into<String>) -> Self {
        let subscription = Subscription {
            type_id: TypeId::of::<M>(),
            key: key.into(),
            arguments: BTreeMap::new(),
        };
        self.subscriptions.push(subscription);
        self
    }

    /// Subscribes to those `M` that have all of these header values.
    ///
    /// For contracts whose exchange is of kind headers. An `x-match` among the values replaces the
    /// default, `all`. Without a consumer of `M` on the endpoint, it is a configuration mistake.
    pub fn subscribe_where<M: Message>(
        mut self,
        headers: impl IntoIterator<Item = (String, HeaderValue)>,
    ) -> Self {
        let mut arguments: BTreeMap<_, _> = headers.into_iter().collect();
        arguments
            .entry("x-match".to_owned())
            .or_insert_with(|| "all".into());
        self.subscriptions.push(Subscription {
            type_id: TypeId::of::<M>(),
            key: String::new(),
            arguments,
        });
        self
    }

    /// Consumes `M` only if it is sent to the queue, not if it is published.
    pub fn without_subscription<M: Message>(mut self) -> Self {
        self.unsubscribed.push(TypeId::of::<M>());
        self
    }

    /// Subscribes to nothing: consumes only what is sent to the queue.
    ///
    /// For consumers of an error queue.
    pub fn without_subscriptions(mut self) -> Self {
        self.subscribes = false;
        self
    }

    /// Drops messages that no consumer accepts.
    ///
    /// Default: they are kept in `<name>_skipped`.
    pub fn discard_skipped(mut self) -> Self {
        self.dead_lettering.keep_skipped = false;
        self
    }

    /// Drops messages that failed.
    ///
    /// Default: they are kept in `<name>_error`.
    pub fn discard_faulted(mut self) -> Self {
        self.dead_lettering.keep_faulted = false;
        self
    }

    /// Publishes no faults; requesters and fault addresses still receive theirs.
    pub fn without_published_faults(mut self) -> Self {
        self.dead_lettering.publish_faults = false;
        self
    }

    pub(crate) fn is_tap(&self) -> bool {
        !self.taps.is_empty()
    }

    /// Builds the queue to declare, of the kind that the endpoint or the bus chose.
    pub(crate) fn queue(&self, shape: QueueShape) -> Queue {
        let mut queue = self.queue.clone();
        match shape {
            QueueShape::Classic => {}
            QueueShape::PlainQuorum => queue.kind = QueueKind::Quorum,
            QueueShape::Stream => queue.kind = QueueKind::Stream,
            QueueShape::Quorum => {
                queue.kind = QueueKind::Quorum;
                queue.delivery_limit = Some(DELIVERY_LIMIT);
                let error = crate::endpoint::names::error(&self.name);
                queue.dead_letter = Some(DeadLetter {
                    exchange: String::new(),
                    routing_key: Some(error),
                });
            }
        }
        if self.lifetime == Lifetime::Temporary {
            queue.durable = false;
            queue.exclusive = true;
            queue.expires = Some(Duration::from_secs(60));
        }
        queue
    }

    pub(crate) fn contracts(&self) -> impl Iterator<Item = (TypeId, &'static Contract)> {
        self.registrations
            .iter()
            .filter_map(|registration| Some((registration.type_id, registration.contract?)))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("name", &self.name)
            .field("consumers", &self.registrations)
            .finish_non_exhaustive()
    }
}
