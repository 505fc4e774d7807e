//! A batch, its members, and what was decided about them.

use std::fmt;
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};

use crate::consume::ConsumeContext;
use crate::error::{ConsumeError, ConsumeResult};

/// Messages that are consumed as one.
///
/// It has at least one member. Their order is not that of the queue.
///
/// ```
/// use bus_core::ConsumeResult;
/// use bus_core::batch::Batch;
/// # use bus_core::Message;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Weather:Reading")]
/// # struct Reading { celsius: f64 }
/// # async fn insert(_: &[f64]) -> Result<(), std::io::Error> { Ok(()) }
///
/// async fn store(batch: Batch<Reading>) -> ConsumeResult {
///     let values: Vec<f64> = batch.messages().map(|reading| reading.celsius).collect();
///     insert(&values).await?;
///     Ok(())
/// }
/// # let _ = store;
/// ```
pub struct Batch<M> {
    members: Arc<[Member<M>]>,
}

/// One message of a batch.
///
/// ```
/// use bus_core::ConsumeResult;
/// use bus_core::batch::Batch;
/// # use bus_core::Message;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Billing:Charge")]
/// # struct Charge { account: u64 }
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Billing:Charged")]
/// # struct Charged { account: u64 }
/// # async fn charge(_: u64) -> Result<(), std::io::Error> { Ok(()) }
///
/// async fn charge_all(batch: Batch<Charge>) -> ConsumeResult {
///     for member in &batch {
///         let account = member.message().account;
///         match charge(account).await {
///             Ok(()) => {
///                 member.context().publish(&Charged { account }).await?;
///                 member.succeed();
///             }
///             Err(error) => member.fail(error),
///         }
///     }
///     Ok(())
/// }
/// # let _ = charge_all;
/// ```
pub struct Member<M> {
    context: ConsumeContext<M>,
    decision: Mutex<Option<ConsumeResult>>,
}

impl<M> Batch<M> {
    pub(super) fn new(members: &Arc<[Member<M>]>) -> Self {
        Self {
            members: Arc::clone(members),
        }
    }

    /// Returns the members.
    pub fn members(&self) -> &[Member<M>] {
        &self.members
    }

    /// Returns the messages of the members.
    pub fn messages(&self) -> impl ExactSizeIterator<Item = &M> {
        self.members.iter().map(Member::message)
    }

    /// Iterates over the members.
    pub fn iter(&self) -> slice::Iter<'_, Member<M>> {
        self.members.iter()
    }

    /// Returns the number of members.
    #[allow(
        clippy::len_without_is_empty,
        reason = "a batch has at least one member"
    )]
    pub fn len(&self) -> usize {
        self.members.len()
    }
}

impl<M> Member<M> {
    pub(super) fn new(context: ConsumeContext<M>) -> Self {
        Self {
            context,
            decision: Mutex::default(),
        }
    }

    /// Returns the message.
    pub fn message(&self) -> &M {
        self.context.message()
    }

    /// Returns the context of the message.
    ///
    /// Messages sent through it are caused by this one, and leave if it succeeds.
    pub fn context(&self) -> &ConsumeContext<M> {
        &self.context
    }

    /// Decides that the message has succeeded, for any outcome of the batch.
    ///
    /// Of several decisions the last holds. It takes effect when the consumer has ended: also by an
    /// error, a panic or its timeout.
    pub fn succeed(&self) {
        self.decide(Ok(()));
    }

    /// Decides that the message has failed, for any outcome of the batch.
    ///
    /// The error has the effect of one that a consumer of single messages returns: it is retried,
    /// deferred, or final. Of several decisions the last holds; it takes effect when the consumer
    /// has ended.
    pub fn fail(&self, error: impl Into<ConsumeError>) {
        self.decide(Err(error.into()));
    }

    fn decide(&self, decision: ConsumeResult) {
        let mut decided = self.decision.lock().unwrap_or_else(PoisonError::into_inner);
        *decided = Some(decision);
    }

    /// Takes the decision, if there is one.
    pub(super) fn decision(&self) -> Option<ConsumeResult> {
        let mut decided = self.decision.lock().unwrap_or_else(PoisonError::into_inner);
        decided.take()
    }
}

impl<'a, M> IntoIterator for &'a Batch<M> {
    type Item = &'a Member<M>;
    type IntoIter = slice::Iter<'a, Member<M>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<M> fmt::Debug for Batch<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("members", &self.members)
            .finish()
    }
}

impl<M> fmt::Debug for Member<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
