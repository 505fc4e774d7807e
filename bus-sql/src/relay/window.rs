//! Messages on their way to the broker.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bus_core::SendError;
use bus_core::send::{SealedMessage, Sender};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::task::unconstrained;

use super::held_back::Place;

/// Message of a row.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) place: Arc<RowPlace>,
    pub(super) message: SealedMessage,
}

/// The row of a message.
#[derive(Debug)]
pub(super) struct RowPlace {
    pub(super) id: i64,
    pub(super) key: Option<String>,
    pub(super) destination: String,
    pub(super) attempts: i16,
}

impl RowPlace {
    /// The place of a row of which nothing but the id is known.
    pub(super) fn unreadable(id: i64) -> Self {
        Self {
            id,
            key: None,
            destination: "unknown".to_owned(),
            attempts: 0,
        }
    }

    /// The destination, whose rows are held back together.
    pub(super) fn destination(&self) -> Place {
        Place::Destination(self.destination.clone())
    }

    /// The key, whose rows are held back together, or the row alone.
    pub(super) fn own(&self) -> Place {
        match &self.key {
            Some(key) => Place::Key(key.clone()),
            None => Place::Row(self.id),
        }
    }
}

/// Outcome of a message.
pub(super) type Outcome = (Arc<RowPlace>, Result<(), SendError>);

/// Messages on their way, and those that wait for one with their ordering key.
pub(super) struct Window {
    sender: Sender,
    sending: FuturesUnordered<BoxFuture<'static, Outcome>>,
    /// Outcomes that were there at once.
    outcomes: VecDeque<Outcome>,
    /// Rows of all messages here.
    ids: HashSet<i64>,
    /// Keys with a message on its way, and the messages behind it.
    keys: HashMap<String, VecDeque<Ready>>,
}

impl Window {
    pub(super) fn new(sender: Sender) -> Self {
        Self {
            sender,
            sending: FuturesUnordered::new(),
            outcomes: VecDeque::new(),
            ids: HashSet::new(),
            keys: HashMap::new(),
        }
    }

    /// Number of rows that are here.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = i64> {
        self.ids.iter().copied()
    }

    /// Hands a message over, or lets it wait for the one before it.
    pub(super) async fn send(&mut self, ready: Ready) {
        self.ids.insert(ready.place.id);
        if let Some(key) = &ready.place.key {
            if let Some(behind) = self.keys.get_mut(key) {
                behind.push_back(ready);
                return;
            }
            self.keys.insert(key.clone(), VecDeque::new());
        }
        self.hand_over(ready).await;
    }

    /// Lets go of all that was not handed over yet.
    pub(super) fn let_go(&mut self) {
        for behind in self.keys.values_mut() {
            for ready in behind.drain(..) {
                self.ids.remove(&ready.place.id);
            }
        }
    }

    async fn hand_over(&mut self, ready: Ready) {
        let Ready { place, message } = ready;
        let sent = self.sender.forward(message);
        let mut sending = async move { (place, sent.await) }.boxed();
        // Polled once here, as that hands it to the broker, in the order of the rows. Without the
        // runtime's budget: once that is used up, the first poll would hand nothing over.
        let first = poll_fn(|cx| Poll::Ready(unconstrained(&mut sending).poll_unpin(cx)));
        match first.await {
            Poll::Ready(outcome) => self.outcomes.push_back(outcome),
            Poll::Pending => self.sending.push(sending),
        }
    }

    /// The next outcome; pending while nothing is on its way. Cancel-safe.
    pub(super) async fn next(&mut self) -> Outcome {
        if let Some(outcome) = self.outcomes.pop_front() {
            return outcome;
        }
        match self.sending.next().await {
            Some(outcome) => outcome,
            None => std::future::pending().await,
        }
    }

    /// The next outcome, if one is there.
    pub(super) fn ready(&mut self) -> Option<Outcome> {
        self.next().now_or_never()
    }

    /// Lets the row of an outcome go, and hands over the next of its key.
    ///
    /// If it does not go on, it lets go of all rows behind this one.
    pub(super) async fn settle(&mut self, place: &RowPlace, goes_on: bool) {
        self.ids.remove(&place.id);
        let Some(key) = &place.key else { return };
        let Some(mut behind) = self.keys.remove(key) else {
            return;
        };
        if !goes_on {
            // They are read again, in order.
            for ready in behind {
                self.ids.remove(&ready.place.id);
            }
        } else if let Some(next) = behind.pop_front() {
            self.keys.insert(key.clone(), behind);
            self.hand_over(next).await;
        }
    }
}
