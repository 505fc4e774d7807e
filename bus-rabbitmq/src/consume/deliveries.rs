//! Deliveries of one channel, across the consumers that follow each other on it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::{FutureExt, StreamExt};
use lapin::Consumer;
use lapin::message::Delivery;
use lapin::types::ShortString;
use tokio::sync::watch;

/// The consumer of a channel, and what those before it have left.
///
/// The broker hands out nothing to a consumer after it has confirmed its cancellation. What it
/// handed out before is therefore older than all that the next one gets, and is handed on first.
pub(super) struct Deliveries {
    consumers: Mutex<Consumers>,
    turn: watch::Sender<Turn>,
}

struct Consumers {
    /// Consumers that were cancelled, oldest first.
    former: VecDeque<Consumer>,
    /// Clones of the present consumer that no caller of `next` holds.
    ///
    /// All share its buffer.
    present: Vec<Consumer>,
    /// Number of the present consumer.
    number: u64,
}

/// The consumer whose turn it is.
#[derive(Clone, Copy, Default)]
struct Turn {
    number: u64,
    /// `true` while the consumer is being replaced, so that its end is no loss.
    is_over: bool,
}

impl Deliveries {
    pub(super) fn of(consumer: Consumer) -> Self {
        Self {
            consumers: Mutex::new(Consumers {
                former: VecDeque::new(),
                present: vec![consumer],
                number: 0,
            }),
            turn: watch::Sender::default(),
        }
    }

    /// Waits for the next delivery; `None` when the broker sends nothing more.
    ///
    /// Cancel-safe.
    pub(super) async fn next(&self) -> Option<Delivery> {
        let mut turns = self.turn.subscribe();
        loop {
            turns.mark_unchanged();
            if let Some(delivery) = self.left() {
                return Some(delivery);
            }
            let mut borrowed = self.borrow();
            tokio::select! {
                biased;
                next = borrowed.consumer().next() => match next {
                    Some(Ok(delivery)) => return Some(delivery),
                    _ if self.is_last(borrowed.number) => return None,
                    _ => {}
                },
                _ = turns.changed() => continue,
            }
            // The next consumer follows; the sender lives as long as `self`.
            let _ = turns.changed().await;
        }
    }

    /// Returns the next delivery that has come already, if any.
    pub(super) fn next_here(&self) -> Option<Delivery> {
        self.left().or_else(|| here(self.borrow().consumer()))
    }

    /// Tag of the present consumer.
    pub(super) fn tag(&self) -> ShortString {
        self.borrow().consumer().tag()
    }

    /// Notes that the present consumer is cancelled and another one follows.
    pub(super) fn expect_another(&self) {
        self.turn.send_modify(|turn| turn.is_over = true);
    }

    /// Goes on with another consumer, after what those before have left.
    pub(super) fn go_on_with(&self, consumer: Consumer) {
        let number = {
            let mut consumers = lock(&self.consumers);
            let before = std::mem::replace(&mut consumers.present, vec![consumer]);
            consumers.former.extend(before.into_iter().next());
            consumers.number += 1;
            consumers.number
        };
        self.turn.send_replace(Turn {
            number,
            is_over: false,
        });
    }

    fn is_last(&self, number: u64) -> bool {
        let turn = self.turn.borrow();
        turn.number == number && !turn.is_over
    }

    /// Returns the next delivery that a former consumer has left.
    fn left(&self) -> Option<Delivery> {
        let mut consumers = lock(&self.consumers);
        while let Some(former) = consumers.former.front_mut() {
            if let Some(delivery) = here(former) {
                return Some(delivery);
            }
            consumers.former.pop_front();
        }
        None
    }

    fn borrow(&self) -> Borrowed<'_> {
        let mut consumers = lock(&self.consumers);
        // The last one stays, to be cloned.
        let consumer = match consumers.present.as_slice() {
            [only] => only.clone(),
            _ => consumers.present.pop().expect("one is always left"),
        };
        Borrowed {
            deliveries: self,
            number: consumers.number,
            consumer: Some(consumer),
        }
    }
}

impl fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliveries").finish_non_exhaustive()
    }
}

/// Clone of the consumer that goes back when `next` ends or is cancelled.
struct Borrowed<'a> {
    deliveries: &'a Deliveries,
    number: u64,
    consumer: Option<Consumer>,
}

impl Borrowed<'_> {
    fn consumer(&mut self) -> &mut Consumer {
        self.consumer.as_mut().expect("taken only by drop")
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let mut consumers = lock(&self.deliveries.consumers);
        if consumers.number == self.number {
            consumers.present.extend(self.consumer.take());
        }
    }
}

fn here(consumer: &mut Consumer) -> Option<Delivery> {
    consumer.next().now_or_never()??.ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
