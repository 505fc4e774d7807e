//! Settings of an endpoint, or of a whole bus, for its consumers and its queue.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::Codec;
use crate::message::HeaderValue;
use crate::middleware::{Idempotency, Middleware, Retry};

/// Number of messages that an endpoint handles at once by default.
pub(crate) const DEFAULT_CONCURRENCY: usize = 16;

/// Settings around the consumers of one endpoint, or of all endpoints of a bus.
#[derive(Clone, Default)]
pub(crate) struct Policy {
    pub(crate) concurrency: Option<usize>,
    pub(crate) prefetch: Option<u16>,
    pub(crate) retry: Option<Retry>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_deliveries: Option<u32>,
    pub(crate) idempotency: Option<Idempotency>,
    pub(crate) outbox: Option<bool>,
    pub(crate) codec: Option<Codec>,
    pub(crate) queue_kind: Option<QueueShape>,
    pub(crate) middleware: Vec<Arc<dyn Middleware>>,
    pub(crate) around_attempt: Vec<Arc<dyn Middleware>>,
}

impl Policy {
    /// Merges the endpoint's own settings over those of the bus.
    ///
    /// The middleware of both runs, that of the bus outside.
    pub(crate) fn over(self, bus: &Self) -> Self {
        let both = |outer: &[Arc<dyn Middleware>], inner: Vec<_>| {
            outer.iter().cloned().chain(inner).collect()
        };
        Self {
            concurrency: self.concurrency.or(bus.concurrency),
            prefetch: self.prefetch.or(bus.prefetch),
            retry: self.retry.or_else(|| bus.retry.clone()),
            timeout: self.timeout.or(bus.timeout),
            max_deliveries: self.max_deliveries.or(bus.max_deliveries),
            idempotency: self.idempotency.or_else(|| bus.idempotency.clone()),
            outbox: self.outbox.or(bus.outbox),
            codec: self.codec.or(bus.codec),
            queue_kind: self.queue_kind.or(bus.queue_kind),
            middleware: both(&bus.middleware, self.middleware),
            around_attempt: both(&bus.around_attempt, self.around_attempt),
        }
    }
}

/// Kind of a queue, with some of the arguments that belong to the kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum QueueShape {
    #[default]
    Classic,
    Quorum,
    PlainQuorum,
    Stream,
}

/// Guarantee of delivery: messages are never lost, or never repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Guarantee {
    #[default]
    AtLeastOnce,
    AtMostOnce,
}

/// Lifetime of a queue: it outlives the process, or goes away with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lifetime {
    #[default]
    Durable,
    Temporary,
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
