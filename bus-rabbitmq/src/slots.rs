//! Futures in flight whose memory is used again.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// Many futures of one type, polled together, in places that are kept: one publish of the client takes more than a
/// kilobyte, and asking the allocator for that much for each message was a good part of what a message cost.
pub(crate) struct Slots<F> {
    running: FuturesUnordered<Slot<F>>,
    spare: Vec<Pin<Box<F>>>,
}

impl<F: Future> Slots<F> {
    pub(crate) fn new() -> Self {
        Self {
            running: FuturesUnordered::new(),
            spare: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, future: F) {
        let place = match self.spare.pop() {
            Some(mut place) => {
                place.set(future);
                place
            }
            None => Box::pin(future),
        };
        self.running.push(Slot(Some(place)));
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// The output of the next one that is ready; `None` if there is none. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<F::Output> {
        let (output, place) = self.running.next().await?;
        self.spare.push(place);
        Some(output)
    }
}

/// Gives its place back with its output.
struct Slot<F>(Option<Pin<Box<F>>>);

impl<F: Future> Future for Slot<F> {
    type Output = (F::Output, Pin<Box<F>>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let place = self.0.as_mut().expect("polled until it is ready");
        let output = std::task::ready!(place.as_mut().poll(cx));
        let place = self.0.take().expect("seen above");
        Poll::Ready((output, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn futures_are_first_polled_in_the_order_in_which_they_came() {
        let polled = std::cell::RefCell::new(Vec::new());
        let mut slots = Slots::new();
        for round in 0..3 {
            for number in 0..10 {
                let polled = &polled;
                slots.push(async move { polled.borrow_mut().push(number) });
            }
            while slots.next().await.is_some() {}
            let expected: Vec<_> = (0..10).collect();
            assert_eq!(polled.take(), expected, "round {round}");
        }
    }

    #[tokio::test]
    async fn places_are_used_again() {
        let mut slots = Slots::new();
        let work = |number: u32| async move {
            tokio::task::yield_now().await;
            number
        };
        for round in 0..3 {
            slots.push(work(round));
            slots.push(work(round + 10));
            assert_eq!(slots.len(), 2);
            // In the order in which they were woken, which is nobody's promise.
            let mut outputs = [slots.next().await, slots.next().await];
            outputs.sort_unstable();
            assert_eq!(outputs, [Some(round), Some(round + 10)]);
            assert_eq!(
                slots.spare.len(),
                2,
                "no more places than were needed at once"
            );
        }
        assert_eq!(slots.next().await, None);
    }
}
