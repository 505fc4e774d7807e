//! A queue, its consumers and their policy.

mod flow;
pub(crate) mod names;
pub(crate) mod partition;
pub(crate) mod policy;
pub(crate) mod topology;

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use crate::batch::{BatchConsumer, Batching};
use crate::consume::{ConsumeContext, Consumer, ConsumerSet, Consumers, RawMessage, Registration};
use crate::error::ConsumeError;
use crate::message::{Contract, HeaderValue, Message};
use crate::middleware::{Idempotency, Retry};
use crate::topology::{Binding, Queue, QueueKind};
use crate::transport::{Capability, StreamOffset};
pub(crate) use partition::PartitionKey;
pub use policy::Policy;
use policy::Subscription;
pub(crate) use policy::{DeadLettering, Guarantee};
pub(crate) use topology::EndpointTopology;

/// A queue with its consumers and what runs around them.
///
/// Instances that run an endpoint of the same name compete for its messages; endpoints of different
/// names each get a copy of what is published. Defaults: a durable classic queue, and those of
/// [`Policy`].
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
    pub(crate) kind_of_bus: bool,
    pub(crate) guarantee: Guarantee,
    pub(crate) taps: Vec<String>,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) unsubscribed: Vec<TypeId>,
    pub(crate) subscribes: bool,
    pub(crate) consumer_priority: Option<i32>,
    pub(crate) exclusive_consumer: bool,
    pub(crate) stream_offset: Option<StreamOffset>,
    pub(crate) mistakes: Vec<String>,
    pub(crate) needs: Vec<Capability>,
}

impl Endpoint {
    /// Creates an endpoint on the queue `name`, of the kind that the bus uses.
    ///
    /// The transport has the rules for names, also with `_error` and `_skipped` behind it; on
    /// RabbitMQ and in memory these are letters, digits, `-`, `_`, `.` and `:`, not beginning with
    /// `amq.`, 255 bytes. Any other name is a configuration mistake.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            kind_of_bus: true,
            ..Self::on(Queue::classic(name))
        }
    }

    /// Creates an endpoint on a queue with settings of its own.
    ///
    /// ```
    /// use bus_core::Endpoint;
    /// use bus_core::topology::{Overflow, Queue};
    ///
    /// let orders = Queue::quorum("orders").max_length(10_000, Overflow::RejectPublish);
    /// let endpoint = Endpoint::on(orders);
    /// # let _ = endpoint;
    /// ```
    pub fn on(queue: Queue) -> Self {
        Self {
            name: queue.name.clone(),
            queue,
            kind_of_bus: false,
            policy: Policy::new(),
            registrations: Vec::new(),
            guarantee: Guarantee::AtLeastOnce,
            taps: Vec::new(),
            bindings: Vec::new(),
            subscriptions: Vec::new(),
            unsubscribed: Vec::new(),
            subscribes: true,
            consumer_priority: None,
            exclusive_consumer: false,
            stream_offset: None,
            mistakes: Vec::new(),
            needs: Vec::new(),
        }
    }

    /// Creates an endpoint of this process alone, on a temporary queue.
    ///
    /// Every instance gets its own copy of what is published. The queue's name starts with `name`
    /// and is unique; the queue goes away with the process.
    pub fn per_instance(name: &str) -> Self {
        Self::on(Queue::temporary(names::unique(name)))
    }

    /// Returns the name, which is that of the queue.
    ///
    /// The whole one, for a [`per_instance`](Self::per_instance) endpoint too;
    /// [`Bus::endpoint`](crate::Bus::endpoint) takes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds a consumer; its type says which message it consumes.
    ///
    /// A type that consumes several messages is added with `consumer::<OrderPaid, _>(…)` for one of
    /// them, or with [`consumers`](Self::consumers) for all.
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

    /// Adds a consumer of many messages as one: see [`batch`](crate::batch).
    ///
    /// The type of its messages is that of the batches. If the endpoint sets no
    /// [concurrency](Self::concurrency), it handles as many messages at once as its batches can
    /// have, and at least as many as by default. A concurrency or prefetch that is set, here or on
    /// the bus, and is too low for full batches is a configuration mistake.
    ///
    /// ```
    /// use bus_core::batch::{Batch, Batching};
    /// use bus_core::{ConsumeResult, Endpoint, Message, Retry};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize, Message)]
    /// # #[message("Weather:Reading")]
    /// # struct Reading { celsius: f64 }
    ///
    /// async fn store(batch: Batch<Reading>) -> ConsumeResult {
    ///     println!("{} readings", batch.len());
    ///     Ok(())
    /// }
    ///
    /// let endpoint = Endpoint::new("readings")
    ///     .batch(Batching::of(100), store)
    ///     .retry(Retry::immediate(1));
    /// # let _ = endpoint;
    /// ```
    pub fn batch<M, K, C>(mut self, batching: Batching<M, K>, consumer: C) -> Self
    where
        M: Message,
        K: Eq + Hash + Send + Sync + 'static,
        C: BatchConsumer<M>,
    {
        self.registrations
            .push(Registration::of_batches(batching, consumer));
        self
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

    /// Sets what runs around the consumers.
    ///
    /// Settings that `policy` does not name stay as they are.
    ///
    /// May be called several times: a later policy wins, and its middleware runs inside.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy.over(&self.policy);
        self
    }

    /// Sets the number of messages handled at once: see [`Policy::concurrency`].
    pub fn concurrency(self, limit: usize) -> Self {
        self.policy(Policy::new().concurrency(limit))
    }

    /// Sets the retry policy for failed messages: see [`Policy::retry`].
    pub fn retry(self, retry: Retry) -> Self {
        self.policy(Policy::new().retry(retry))
    }

    /// Handles each message once, by its id or a key: see [`Policy::idempotency`].
    pub fn idempotency(self, idempotency: impl Into<Idempotency>) -> Self {
        self.policy(Policy::new().idempotency(idempotency))
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

    /// Sets the place in a stream from which to read.
    ///
    /// Default: what is published from now on. On a queue that is no stream, it is a configuration
    /// mistake.
    pub fn stream_offset(mut self, offset: StreamOffset) -> Self {
        self.stream_offset = Some(offset);
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

    /// Adds a mistake, which the start of the bus reports with all others.
    ///
    /// For what is built on endpoints and has rules of its own, as a saga has. A bus with a mistake
    /// does not connect.
    ///
    /// ```
    /// use bus_core::{Bus, Endpoint};
    /// use bus_inmemory::InMemory;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let endpoint = Endpoint::new("orders").mistake("no state is left by any event");
    /// let started = Bus::builder(InMemory::new()).endpoint(endpoint).start().await;
    /// let error = started.unwrap_err();
    /// assert!(error.to_string().contains("endpoint `orders`: no state is left by any event"));
    /// # }
    /// ```
    pub fn mistake(mut self, text: impl Into<String>) -> Self {
        self.mistakes.push(text.into());
        self
    }

    /// Needs a capability of the transport; without it, the bus does not start.
    ///
    /// For what is built on endpoints, and would fail with its first message.
    pub fn needs(mut self, capability: Capability) -> Self {
        self.needs.push(capability);
        self
    }

    /// Returns the number of messages that full batches need; 0 without batches.
    pub(crate) fn batched(&self) -> usize {
        let batches = self.registrations.iter().filter_map(Registration::batches);
        batches.fold(0, |sum, limits| sum.saturating_add(limits.messages()))
    }

    pub(crate) fn is_tap(&self) -> bool {
        !self.taps.is_empty()
    }

    /// Returns the queue to declare, of the bus's kind unless the endpoint chose one.
    pub(crate) fn queue(&self, bus_kind: QueueKind) -> Queue {
        match bus_kind {
            QueueKind::Quorum if self.kind_of_bus => Queue::quorum(self.name.clone()),
            _ => self.queue.clone(),
        }
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
