//! Settings around the consumers of an endpoint, or of a whole bus.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::partition::PartitionKey;
use crate::codec::Codec;
use crate::consume::{ConsumeContext, Limits};
use crate::flow::{KillSwitch, RateLimit};
use crate::message::{HeaderValue, Message};
use crate::middleware::{Idempotency, Middleware, Retry};

/// Number of messages that an endpoint handles at once by default.
const DEFAULT_CONCURRENCY: usize = 16;

/// Settings around the consumers of one endpoint, or of all endpoints of a bus.
///
/// A setting that is missing is taken from the policy of the bus, then from the defaults named
/// here. Middleware of both runs: that of the bus outside, that of the endpoint inside.
///
/// ```
/// use std::time::Duration;
/// use bus_core::{Endpoint, Policy, Retry};
///
/// let patient = Policy::new()
///     .concurrency(4)
///     .timeout(Duration::from_secs(30))
///     .retry(Retry::intervals([Duration::from_secs(1), Duration::from_secs(10)]));
/// let orders = Endpoint::new("orders").policy(patient.clone());
/// let invoices = Endpoint::new("invoices").policy(patient);
/// # let _ = (orders, invoices);
/// ```
#[derive(Clone, Default)]
#[must_use = "give it to an endpoint or a bus with .policy(…)"]
pub struct Policy {
    pub(crate) concurrency: Option<usize>,
    pub(crate) prefetch: Option<u16>,
    pub(crate) retry: Option<Retry>,
    pub(crate) redeliveries: Vec<Retry>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_deliveries: Option<u32>,
    deduplication: Option<Deduplication>,
    pub(crate) outbox: Option<bool>,
    pub(crate) codec: Option<Codec>,
    pub(crate) middleware: Vec<Arc<dyn Middleware>>,
    pub(crate) around_attempt: Vec<Arc<dyn Middleware>>,
    pub(crate) keep_skipped: Option<bool>,
    pub(crate) keep_faulted: Option<bool>,
    pub(crate) publish_faults: Option<bool>,
    pub(crate) partition_keys: Vec<PartitionKey>,
    pub(crate) starts_paused: bool,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) kill_switch: Option<KillSwitch>,
}

impl Policy {
    /// Creates a policy that sets nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of messages that an endpoint handles at once.
    ///
    /// Default: 16, or what its [batches](crate::batch) need. With 1, the order of the queue is
    /// kept; 0 is a configuration mistake.
    /// [`EndpointHandle::set_concurrency`](crate::EndpointHandle::set_concurrency) changes it.
    pub fn concurrency(mut self, limit: usize) -> Self {
        self.concurrency = Some(limit);
        self
    }

    /// Sets the number of messages that the broker hands out unacknowledged.
    ///
    /// Default: twice the concurrency. 0, or less than the concurrency, is a configuration mistake.
    /// [`EndpointHandle::set_prefetch`](crate::EndpointHandle::set_prefetch) changes it.
    pub fn prefetch(mut self, count: u16) -> Self {
        self.prefetch = Some(count);
        self
    }

    /// Handles messages of type `M` that have the same key one after the other.
    ///
    /// In the order of the queue, retries included; messages of other keys run beside them. As
    /// [`partition`](Self::partition), for a key that is in the message. Messages of several types
    /// that have the same key count as one.
    ///
    /// ```
    /// use bus_core::{Message, Policy};
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Serialize, Deserialize, Message)]
    /// #[message("Invoicing:InvoiceChanged")]
    /// struct InvoiceChanged { number: String }
    ///
    /// let policy = Policy::new()
    ///     .concurrency(16)
    ///     .prefetch(200)
    ///     .partition_by(|invoice: &InvoiceChanged| invoice.number.clone());
    /// # let _ = policy;
    /// ```
    pub fn partition_by<M: Message, K: Hash>(
        self,
        key: impl Fn(&M) -> K + Send + Sync + 'static,
    ) -> Self {
        self.partition(move |ctx| ctx.message().downcast_ref::<M>().map(&key))
    }

    /// Handles messages that have the same key one after the other.
    ///
    /// In the order of the queue, retries included; messages of other keys, and those without one,
    /// run beside them. Default: no keys. May be called several times: the first key that a message
    /// has counts, those of the endpoint before those of the bus.
    ///
    /// A message that waits for its key holds no concurrency slot but a place of the prefetch: with
    /// a prefetch not far above the concurrency, messages of one key keep others in the queue. When
    /// the endpoint pauses or stops, those that wait go back to the queue. The order holds within
    /// one process. A key that panics fails its message. An endpoint that handles messages at most
    /// once has no keys: that is a configuration mistake.
    pub fn partition<K: Hash>(
        mut self,
        key: impl Fn(&ConsumeContext) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        self.partition_keys.push(PartitionKey::new(key));
        self
    }

    /// Starts the endpoint paused, until it is resumed.
    ///
    /// Its queue is declared and bound, so that messages collect there. Default: it is consumed
    /// from the start on.
    pub fn start_paused(mut self) -> Self {
        self.starts_paused = true;
        self
    }

    /// Sets the retry policy for failed messages.
    ///
    /// Default: no retry. Permanent errors, panics and messages that cannot be decoded are never
    /// retried.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Lets messages come again later, after their retries in place.
    ///
    /// Default: never, so that the first failure after all retries is final. May be called several
    /// times, for errors of several kinds: the first policy that an error is meant for decides.
    /// Those of an endpoint replace those of the bus; [`Retry::none`] leaves none.
    ///
    /// The message waits at the broker, and holds neither a concurrency slot nor the messages
    /// behind it: those overtake it. It comes as a copy with the same id to the same queue, with
    /// the number of its redeliveries in the header `MT-Redelivery-Count`, as with MassTransit.
    /// That number is the message's own, so that a limit holds for all instances together: a
    /// message has at most (1 + retries) · (1 + redeliveries) attempts. No fault is published
    /// before the last.
    ///
    /// Messages of a failed attempt are discarded, and its idempotency key is free again. A
    /// process that ends between the copy and the acknowledgement leaves two copies with one id,
    /// which an idempotent endpoint handles once.
    ///
    /// The transport must claim
    /// [`DelayedDelivery`](crate::transport::Capability::DelayedDelivery); a wait is rounded up to
    /// what it can: whole seconds on RabbitMQ. An endpoint that handles messages at most once has
    /// none, nor one whose queue is a stream or refuses messages: these are configuration mistakes.
    ///
    /// ```
    /// use std::time::Duration;
    /// use bus_core::{Endpoint, Policy, Retry};
    ///
    /// let patient = Policy::new()
    ///     .retry(Retry::exponential(3, Duration::from_millis(100), Duration::from_secs(1)))
    ///     .redelivery(Retry::intervals([10, 30, 120, 600, 3600].map(Duration::from_secs)));
    /// let invoices = Endpoint::new("invoices").policy(patient);
    /// # let _ = invoices;
    /// ```
    pub fn redelivery(mut self, later: Retry) -> Self {
        self.redeliveries.push(later);
        self
    }

    /// Sets the time limit of one attempt of a consumer.
    ///
    /// Default, and `Duration::MAX`: no limit. An attempt that exceeds it fails and may be retried.
    /// Zero is a configuration mistake. For a [batch](crate::batch), it is the time of a call of
    /// its consumer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets how often a message may be delivered without coming to an end.
    ///
    /// Default: 10. 0 is a configuration mistake.
    ///
    /// A message that is delivered more often has probably ended the process each time: it is moved
    /// to `<name>_error` without its consumer being called. Deliveries that other processes gave
    /// back, or earlier runs of this one, are counted; retries within one delivery are not. From
    /// the third delivery on, such messages are handled one at a time, and one process sets aside
    /// one message only, so that messages that were merely prefetched beside it are handled.
    pub fn max_deliveries(mut self, count: u32) -> Self {
        self.max_deliveries = Some(count);
        self
    }

    /// Handles each message once, by its id or a key.
    ///
    /// Default: no deduplication. A store alone deduplicates by message id. Keys include the
    /// endpoint's name.
    pub fn idempotency(mut self, idempotency: impl Into<Idempotency>) -> Self {
        self.deduplication = Some(Deduplication::By(idempotency.into()));
        self
    }

    /// Handles each message as often as it comes.
    ///
    /// For an endpoint of a bus whose policy has [`idempotency`](Self::idempotency). The default of
    /// a bus without it.
    pub fn without_idempotency(mut self) -> Self {
        self.deduplication = Some(Deduplication::Off);
        self
    }

    /// Lets messages of consumers leave at once, even if the consumer fails later.
    ///
    /// Default: the outbox holds them until the consumer succeeds. Without it, replies to
    /// duplicates are not stored. Consumers that bring a
    /// [unit of work](crate::consume::UnitOfWork) have their messages held all the same.
    pub fn without_outbox(mut self) -> Self {
        self.outbox = Some(false);
        self
    }

    /// Sets the codec of what consumers send, and of bodies without a content type.
    ///
    /// Default: MassTransit's envelope.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = Some(codec);
        self
    }

    /// Adds middleware that runs around each delivery, outside of retry.
    ///
    /// The first one added is outermost.
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.middleware.push(Arc::new(middleware));
        self
    }

    /// Adds middleware that runs around each attempt, inside of retry.
    ///
    /// The first one added is outermost.
    pub fn around_attempt(mut self, middleware: impl Middleware) -> Self {
        self.around_attempt.push(Arc::new(middleware));
        self
    }

    /// Drops messages that no consumer accepts.
    ///
    /// Default: they are kept in `<name>_skipped`.
    pub fn discard_skipped(mut self) -> Self {
        self.keep_skipped = Some(false);
        self
    }

    /// Drops messages that failed.
    ///
    /// Default: they are kept in `<name>_error`.
    pub fn discard_faulted(mut self) -> Self {
        self.keep_faulted = Some(false);
        self
    }

    /// Publishes no faults; requesters and fault addresses still receive theirs.
    pub fn without_published_faults(mut self) -> Self {
        self.publish_faults = Some(false);
        self
    }

    /// Merges these settings over `outer` ones, whose middleware runs outside.
    pub(crate) fn over(self, outer: &Self) -> Self {
        let both = |outer: &[Arc<dyn Middleware>], inner: Vec<_>| {
            outer.iter().cloned().chain(inner).collect()
        };
        Self {
            concurrency: self.concurrency.or(outer.concurrency),
            prefetch: self.prefetch.or(outer.prefetch),
            retry: self.retry.or_else(|| outer.retry.clone()),
            redeliveries: if self.redeliveries.is_empty() {
                outer.redeliveries.clone()
            } else {
                self.redeliveries
            },
            timeout: self.timeout.or(outer.timeout),
            max_deliveries: self.max_deliveries.or(outer.max_deliveries),
            deduplication: self.deduplication.or_else(|| outer.deduplication.clone()),
            outbox: self.outbox.or(outer.outbox),
            codec: self.codec.or(outer.codec),
            middleware: both(&outer.middleware, self.middleware),
            around_attempt: both(&outer.around_attempt, self.around_attempt),
            keep_skipped: self.keep_skipped.or(outer.keep_skipped),
            keep_faulted: self.keep_faulted.or(outer.keep_faulted),
            publish_faults: self.publish_faults.or(outer.publish_faults),
            partition_keys: [self.partition_keys, outer.partition_keys.clone()].concat(),
            starts_paused: self.starts_paused || outer.starts_paused,
            rate_limit: self.rate_limit.or(outer.rate_limit),
            kill_switch: self.kill_switch.or_else(|| outer.kill_switch.clone()),
        }
    }

    /// Returns the settings by which duplicates are recognized, if they are.
    pub(crate) fn deduplicates(&self) -> Option<&Idempotency> {
        match &self.deduplication {
            Some(Deduplication::By(idempotency)) => Some(idempotency),
            Some(Deduplication::Off) | None => None,
        }
    }

    /// Returns the limits of an endpoint when it starts.
    ///
    /// `batched` is the number of messages that its batches need at once.
    pub(crate) fn limits(&self, batched: usize) -> Limits {
        let default = || DEFAULT_CONCURRENCY.max(batched);
        let concurrency = self.concurrency.unwrap_or_else(default);
        let twice = u16::try_from(concurrency.saturating_mul(2)).unwrap_or(u16::MAX);
        Limits {
            concurrency,
            prefetch: self.prefetch.unwrap_or(twice),
        }
    }

    pub(crate) fn dead_lettering(&self) -> DeadLettering {
        DeadLettering {
            keep_skipped: self.keep_skipped.unwrap_or(true),
            keep_faulted: self.keep_faulted.unwrap_or(true),
            publish_faults: self.publish_faults.unwrap_or(true),
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("concurrency", &self.concurrency)
            .field("prefetch", &self.prefetch)
            .field("retry", &self.retry)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Deduplication, where a policy says anything about it.
#[derive(Clone)]
enum Deduplication {
    By(Idempotency),
    Off,
}

/// Guarantee of delivery: messages are never lost, or never repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Guarantee {
    #[default]
    AtLeastOnce,
    AtMostOnce,
}

/// Treatment of messages that no consumer accepts, or that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeadLettering {
    pub(crate) keep_skipped: bool,
    pub(crate) keep_faulted: bool,
    pub(crate) publish_faults: bool,
}

/// One subscription that replaces the one without a key.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) type_id: TypeId,
    pub(crate) key: String,
    pub(crate) arguments: BTreeMap<String, HeaderValue>,
}
