//! Pool of running futures whose memory is used again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// Futures of one type, polled together, in memory that is kept for later ones.
///
/// One publish of the client takes more than a kilobyte, and allocating that much for each message
/// was a good part of the cost of a message. The pool keeps as many places as were needed at once,
/// so at most the window of unconfirmed messages.
///
/// # Invariants
///
/// - A future is first polled in the order of [`push`](Self::push). The client queues the frames of
///   a message at that poll, so the order of the messages rests on it.
/// - A dropped pool drops its futures. The client then keeps a record of each unconfirmed message
///   until its channel ends, so a pool lives as long as its channel.
pub(crate) struct FuturePool<F> {
    running: FuturesUnordered<Slot<F>>,
    /// Places of futures that are done, each to be overwritten by a later one.
    spare: Vec<Pin<Box<F>>>,
    /// Waker of [`take_ready`](Self::take_ready), made once.
    wish: Arc<Woken>,
}

impl<F: Future> FuturePool<F> {
    pub(crate) fn new() -> Self {
        Self {
            running: FuturesUnordered::new(),
            spare: Vec::new(),
            wish: Arc::default(),
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

    pub(crate) fn extend(&mut self, futures: impl IntoIterator<Item = F>) {
        futures.into_iter().for_each(|future| self.push(future));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Returns the output of the next future that is ready; cancel-safe.
    ///
    /// `None` if there is no future.
    pub(crate) async fn next(&mut self) -> Option<F::Output> {
        let (output, place) = self.running.next().await?;
        self.spare.push(place);
        Some(output)
    }

    /// Returns the output of a future that is ready now.
    ///
    /// `None` means that every future that was ready at the time of the call was taken. A single
    /// poll would not show that, as the stream pauses at times.
    pub(crate) fn take_ready(&mut self) -> Option<F::Output> {
        let waker = Waker::from(Arc::clone(&self.wish));
        let mut cx = Context::from_waker(&waker);
        loop {
            match self.running.poll_next_unpin(&mut cx) {
                Poll::Ready(Some((output, place))) => {
                    self.spare.push(place);
                    return Some(output);
                }
                Poll::Pending if self.wish.0.swap(false, Ordering::AcqRel) => {}
                Poll::Ready(None) | Poll::Pending => return None,
            }
        }
    }
}

/// Flag that is set when the stream asks to be polled again.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Future that gives its memory back together with its output.
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
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn futures_are_first_polled_in_the_order_in_which_they_came() {
        let polled = std::cell::RefCell::new(Vec::new());
        let mut slots = FuturePool::new();
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

    #[test]
    fn all_that_is_ready_is_taken_however_much_is_not() {
        let mut slots = FuturePool::new();
        for number in 0..100 {
            // Futures that are not ready ask to be polled again for a while, which makes the
            // stream pause.
            let mut pauses = if number == 99 { 0 } else { 5 };
            slots.push(poll_fn(move |cx| {
                if pauses == 0 {
                    return Poll::Ready(number);
                }
                pauses -= 1;
                if pauses > 0 {
                    cx.waker().wake_by_ref();
                } else {
                    pauses = usize::MAX;
                }
                Poll::Pending
            }));
        }
        assert_eq!(slots.take_ready(), Some(99));
        assert_eq!(slots.take_ready(), None);
    }

    #[tokio::test]
    async fn places_are_used_again() {
        let mut slots = FuturePool::new();
        let work = |number: u32| async move {
            tokio::task::yield_now().await;
            number
        };
        for round in 0..3 {
            slots.push(work(round));
            slots.push(work(round + 10));
            // They come in the order in which they were woken, which is not guaranteed.
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
