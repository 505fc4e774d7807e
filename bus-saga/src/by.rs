//! Correlation: the instance to which an event belongs.

use std::fmt;
use std::sync::Arc;

use bus_core::Message;
use bus_core::message::Envelope;
use uuid::Uuid;

use crate::repository::Find;

type FindOf<M> = dyn Fn(&M, &Envelope) -> Option<Find> + Send + Sync;

/// Correlation of messages of type `M` with instances of a saga.
///
/// Made by [`id`], [`correlation_id`], [`header`], or by a business key with
/// [`Key::of`](crate::Key::of). A message that gives none, or an id of zeros only, fails without a
/// retry.
pub struct By<M> {
    find: Arc<FindOf<M>>,
}

impl<M> By<M> {
    pub(crate) fn new(
        find: impl Fn(&M, &Envelope) -> Option<Find> + Send + Sync + 'static,
    ) -> Self {
        Self {
            find: Arc::new(find),
        }
    }

    pub(crate) fn find(&self, message: &M, envelope: &Envelope) -> Option<Find> {
        (self.find)(message, envelope)
    }
}

impl<M> fmt::Debug for By<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("By").finish_non_exhaustive()
    }
}

/// Correlates by an id that an expression of the message gives.
///
/// ```
/// use bus_saga::by;
/// # use bus_core::Message;
/// # use serde::{Deserialize, Serialize};
/// # use uuid::Uuid;
/// #[derive(Serialize, Deserialize, Message)]
/// #[message("Shop:OrderPlaced")]
/// struct OrderPlaced { order_id: Uuid }
///
/// let placed = by::id(|placed: &OrderPlaced| placed.order_id);
/// # let _ = placed;
/// ```
pub fn id<M: Message>(of: impl Fn(&M) -> Uuid + Send + Sync + 'static) -> By<M> {
    By::new(move |message, _| known(of(message)))
}

/// Correlates by the correlation id of the envelope.
pub fn correlation_id<M: Message>() -> By<M> {
    By::new(|_, envelope| known(envelope.correlation_id?))
}

/// Correlates by a header that holds an id.
pub fn header<M: Message>(name: &'static str) -> By<M> {
    By::new(move |_, envelope| {
        let id = envelope.headers.text(name)?;
        known(Uuid::try_parse(id).ok()?)
    })
}

fn known(id: Uuid) -> Option<Find> {
    (!id.is_nil()).then_some(Find::Id(id))
}
