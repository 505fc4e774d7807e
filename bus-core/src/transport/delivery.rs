//! A message that was handed out, and the right to settle it once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Incoming, TransportError};

/// One delivery: the message and the right to settle it once.
#[derive(Debug)]
pub struct Delivery {
    /// The message that came.
    pub incoming: Incoming,
    /// Receipt that settles it, once.
    pub receipt: Receipt,
}

/// The right to settle one delivery, once.
///
/// Dropped unsettled, it requeues the delivery. A broker that leases its deliveries, such as SQS or
/// Pub/Sub, does not take one back while its receipt lives: the transport renews the lease.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use bus_core::transport::{Acker, Receipt, Settlement, Tag};
///
/// #[derive(Debug, Default)]
/// struct Journal(Mutex<Vec<(Tag, Settlement)>>);
/// impl Acker for Journal {
///     fn settle(&self, tag: Tag, settlement: Settlement) {
///         self.0.lock().unwrap().push((tag, settlement));
///     }
/// }
///
/// let journal = Arc::new(Journal::default());
/// Receipt::new(journal.clone(), 1_u64).settle(Settlement::Ack);
/// drop(Receipt::new(journal.clone(), "a-handle".to_owned()));
/// let settled = journal.0.lock().unwrap();
/// assert_eq!(settled[0], (Tag::from(1), Settlement::Ack));
/// assert_eq!((settled[1].0.text(), settled[1].1), (Some("a-handle"), Settlement::Requeue));
/// ```
#[derive(Debug)]
pub struct Receipt {
    /// `None` once it is settled.
    right: Option<(Arc<dyn Acker>, Tag)>,
}

impl Receipt {
    /// Creates a receipt for the delivery that `acker` knows as `tag`.
    pub fn new(acker: Arc<dyn Acker>, tag: impl Into<Tag>) -> Self {
        Self {
            right: Some((acker, tag.into())),
        }
    }

    /// Settles the delivery; never waits.
    pub fn settle(mut self, settlement: Settlement) {
        self.settle_once(settlement);
    }

    /// Acknowledges, and waits until the broker has processed it.
    ///
    /// For at-most-once handling, which must not begin before.
    ///
    /// # Errors
    /// If the acknowledgement may not have reached the broker: the message may come again.
    pub async fn acknowledge(mut self) -> Result<(), TransportError> {
        match self.right.take() {
            Some((acker, tag)) => acker.acknowledge(tag).await,
            None => Ok(()),
        }
    }

    fn settle_once(&mut self, settlement: Settlement) {
        if let Some((acker, tag)) = self.right.take() {
            acker.settle(tag, settlement);
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.settle_once(Settlement::Requeue);
    }
}

/// Name of a delivery, which means something to its transport only.
///
/// A number, as in AMQP, or a text, such as the receipt handle of SQS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag(Repr);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Repr {
    Number(u64),
    Text(Box<str>),
}

impl Tag {
    /// Returns the number; `None` if it is a text.
    pub fn number(&self) -> Option<u64> {
        match self.0 {
            Repr::Number(number) => Some(number),
            Repr::Text(_) => None,
        }
    }

    /// Returns the text; `None` if it is a number.
    pub fn text(&self) -> Option<&str> {
        match &self.0 {
            Repr::Number(_) => None,
            Repr::Text(text) => Some(text),
        }
    }
}

impl From<u64> for Tag {
    fn from(number: u64) -> Self {
        Self(Repr::Number(number))
    }
}

impl From<String> for Tag {
    fn from(text: String) -> Self {
        Self(Repr::Text(text.into()))
    }
}

/// A transport's side of a [`Receipt`], which takes settlements.
///
/// ```
/// use bus_core::async_trait;
/// use bus_core::transport::{Acker, Settlement, Tag};
/// use tokio::sync::mpsc;
///
/// /// Hands settlements to the task that owns the channel.
/// #[derive(Debug)]
/// struct Settler(mpsc::UnboundedSender<(Tag, Settlement)>);
///
/// #[async_trait]
/// impl Acker for Settler {
///     fn settle(&self, tag: Tag, settlement: Settlement) {
///         let _ = self.0.send((tag, settlement)); // dropped if the channel is gone
///     }
/// }
/// ```
#[async_trait]
pub trait Acker: Send + Sync + fmt::Debug {
    /// Queues the settlement and returns at once.
    ///
    /// Called at most once for each tag. A tag of a channel that is gone is dropped, never applied
    /// to a newer channel.
    fn settle(&self, tag: Tag, settlement: Settlement);

    /// Acknowledges, and waits until the broker has processed it.
    ///
    /// Default: calls [`settle`](Self::settle); an acker whose `settle` takes effect at once needs
    /// nothing else.
    ///
    /// # Errors
    /// If the acknowledgement may not have reached the broker, as the channel is gone, or the lease
    /// of the delivery is over.
    async fn acknowledge(&self, tag: Tag) -> Result<(), TransportError> {
        self.settle(tag, Settlement::Ack);
        Ok(())
    }
}

/// Outcome of a delivery.
///
/// A transport treats an outcome that it does not know like [`Requeue`](Self::Requeue), so that no
/// message is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settlement {
    /// Acknowledges the message; a classic or quorum queue deletes it.
    Ack,
    /// Returns the message to the queue, marked as redelivered.
    Requeue,
    /// Returns the message to the queue, from which it comes again after this time.
    ///
    /// Not earlier. A [`Requeue`](Self::Requeue) where
    /// [`DeferredRedelivery`](super::Capability::DeferredRedelivery) is not claimed. Zero is one
    /// too.
    Defer(Duration),
}
