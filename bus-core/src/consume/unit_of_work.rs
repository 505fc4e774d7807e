//! Units of work: what an attempt does counts as a whole, or not at all.

use std::fmt;

use async_trait::async_trait;

use super::context::ConsumeContext;
use crate::error::{BoxError, ConsumeError};
use crate::idempotency::StoredReply;
use crate::send::SealedMessage;

/// Unit of work of a consumer, such as a transaction of a database.
///
/// A consumer brings its unit by [`unit_of_work`](crate::Consumer::unit_of_work). All that
/// an attempt does in it counts as a whole, or not at all. The attempts of a consumer without one
/// have the outbox of the endpoint: what a successful attempt has sent leaves, and nothing of
/// others.
///
/// | when | then |
/// |---|---|
/// | the consumer succeeds | [`commit`](Work::commit); what it returns leaves in order, then the delivery is acknowledged |
/// | it fails, panics, or takes longer than its timeout | [`roll_back`](Work::roll_back); the next attempt begins anew |
/// | `begin` answers [`InProgress`](Begun::InProgress) | the delivery waits without a slot, and begins again |
/// | `begin` or `commit` returns an error | the attempt has failed with it, and what it sent is dropped |
/// | `begin` or `commit` panics | the message fails without a retry, as if its consumer had panicked |
/// | the endpoint stops, and waits no longer | the future is dropped at any await, of `begin` and `commit` too |
/// | the process ends before the acknowledgement | the message comes again, also after a commit |
///
/// So a unit whose effects must not be repeated keeps the identity of the message in its
/// transaction, and answers [`Begun::Duplicate`] when it comes again. What `commit` has returned is
/// in memory only: messages that must survive the process are kept by the unit.
///
/// A store that must not be dropped within a call makes the call in a task of its own.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
/// use bus_core::consume::{Begun, UnitOfWork, Work};
/// use bus_core::{ConsumeContext, ConsumeResult, async_trait, send::SealedMessage};
///
/// /// Adds what a consumer has booked to a total, if it succeeds.
/// #[derive(Debug)]
/// struct Books(Arc<AtomicU64>);
///
/// #[derive(Clone, Default)]
/// struct Booking { amount: Arc<AtomicU64>, total: Arc<AtomicU64> }
///
/// #[async_trait]
/// impl UnitOfWork for Books {
///     async fn begin(&self, _: &ConsumeContext) -> ConsumeResult<Begun> {
///         let total = Arc::clone(&self.0);
///         Ok(Begun::work(Booking { total, ..Booking::default() }))
///     }
/// }
///
/// #[async_trait]
/// impl Work for Booking {
///     fn enter(&self, ctx: ConsumeContext) -> ConsumeContext {
///         ctx.with_extension(self.clone()) // ctx.extension::<Booking>() in the consumer
///     }
///
///     async fn commit(self: Box<Self>, sent: Vec<SealedMessage>) -> ConsumeResult<Vec<SealedMessage>> {
///         self.total.fetch_add(self.amount.load(SeqCst), SeqCst);
///         Ok(sent)
///     }
/// }
/// ```
#[async_trait]
pub trait UnitOfWork: Send + Sync + fmt::Debug + 'static {
    /// Prepares the unit: makes its tables, checks its server.
    ///
    /// The bus calls it for each consumer that brings the unit, before it declares or consumes
    /// anything. `concurrency` is the number of deliveries that the consumer's endpoint handles at
    /// once when it starts. Not limited by the start timeout. Default: nothing is to be prepared.
    ///
    /// # Errors
    /// Any error ends the start, with [`StartError::Store`](crate::StartError::Store).
    async fn prepare(&self, endpoint: &str, concurrency: usize) -> Result<(), BoxError> {
        let _ = (endpoint, concurrency);
        Ok(())
    }

    /// Begins the work of one attempt, before its middleware, timeout and consumer.
    ///
    /// Called again for each retry. What is sent through `ctx` belongs to the attempt.
    ///
    /// # Errors
    /// An error is that of the attempt, and decides as one of the consumer does what comes next.
    async fn begin(&self, ctx: &ConsumeContext) -> Result<Begun, ConsumeError>;
}

/// Outcome of [`UnitOfWork::begin`].
#[non_exhaustive]
pub enum Begun {
    /// The work has begun, and the consumer runs in it.
    Work(Box<dyn Work>),
    /// The message was handled before: its consumer does not run.
    ///
    /// A request is answered with these replies, at its own address.
    Duplicate(Vec<StoredReply>),
    /// The message is being handled: this delivery of it waits, and begins again.
    ///
    /// It takes none of the endpoint's concurrency meanwhile. After ten minutes the attempt ends as
    /// [`Unavailable`](crate::error::FailureKind::Unavailable).
    InProgress,
}

impl Begun {
    /// Creates the outcome of work that has begun.
    pub fn work(work: impl Work + 'static) -> Self {
        Self::Work(Box::new(work))
    }
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Work(_) => f.write_str("Work"),
            Self::Duplicate(replies) => f.debug_tuple("Duplicate").field(replies).finish(),
            Self::InProgress => f.write_str("InProgress"),
        }
    }
}

/// Work of one attempt, which is committed or rolled back.
///
/// Dropped without either, it must be rolled back: so ends work whose future is dropped, when the
/// endpoint stops.
///
/// Begun by a [`UnitOfWork`], whose example gives the consumer a value. Work may also keep what was
/// sent, instead of letting it leave:
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use bus_core::consume::Work;
/// use bus_core::send::{MessageRecord, SealedMessage};
/// use bus_core::{ConsumeResult, async_trait};
///
/// /// A table from which another task sends.
/// struct Kept(Arc<Mutex<Vec<MessageRecord>>>);
///
/// #[async_trait]
/// impl Work for Kept {
///     async fn commit(self: Box<Self>, sent: Vec<SealedMessage>) -> ConsumeResult<Vec<SealedMessage>> {
///         let mut table = self.0.lock().map_err(|error| error.to_string())?;
///         table.extend(sent.iter().map(SealedMessage::to_record));
///         Ok(Vec::new()) // nothing leaves now
///     }
/// }
/// ```
#[async_trait]
pub trait Work: Send {
    /// Returns the context of what runs inside.
    ///
    /// The place to give values to the consumer
    /// ([`with_extension`](ConsumeContext::with_extension)), and to send elsewhere
    /// ([`with_dispatch`](ConsumeContext::with_dispatch)). Default: `ctx` as it is, which holds
    /// what is sent until the commit.
    fn enter(&self, ctx: ConsumeContext) -> ConsumeContext {
        ctx
    }

    /// Commits, once the consumer has succeeded.
    ///
    /// `sent` is what the attempt has sent, in order. What is returned leaves next, in order: all
    /// of it, or what the work has not kept, as in a table of its own.
    ///
    /// # Errors
    /// An error fails the attempt, and nothing leaves. If the commit may have had its effect all
    /// the same, the next `begin` has to find that out.
    async fn commit(
        self: Box<Self>,
        sent: Vec<SealedMessage>,
    ) -> Result<Vec<SealedMessage>, ConsumeError>;

    /// Rolls back, as the attempt has failed.
    ///
    /// Waited for before the next attempt. Default: drops the work.
    async fn roll_back(self: Box<Self>) {}
}
