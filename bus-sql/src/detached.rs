//! Calls that go on when their caller is dropped.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tracing::Instrument;

use crate::error::SqlError;

/// Runs a call to its end, also if its caller is dropped.
///
/// Then it goes on in a task of its own.
///
/// A timeout or a shutdown drops the future of a consumer at any await. A dropped `begin` would put
/// a connection with an open transaction back into the pool (sqlx 0.8.4 to 0.9.0,
/// transact-rs/sqlx#4385), and a dropped `commit` would leave its outcome open.
pub(crate) async fn to_the_end<T, E>(
    call: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, SqlError>
where
    T: Send + 'static,
    E: Into<SqlError> + Send + 'static,
{
    let call = ToTheEnd(Some(Box::pin(call)));
    call.await.map_err(Into::into)
}

/// A call that has begun; empty once it has ended.
///
/// It is only moved into a task where that is needed: two changes of task for each transaction cost
/// more than what they guard.
struct ToTheEnd<T: Send + 'static>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T: Send + 'static> Future for ToTheEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // Taken out, as a call that panics must not be polled again.
        let mut call = self.0.take().expect("not polled after its end");
        let outcome = call.as_mut().poll(cx);
        if outcome.is_pending() {
            self.0 = Some(call);
        }
        outcome
    }
}

impl<T: Send + 'static> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        // Without a runtime, nothing can go on.
        if let (Some(call), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(call.in_current_span());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_goes_on_when_its_caller_is_dropped() {
        let (sender, ended) = oneshot::channel();
        let call = to_the_end(async move {
            sleep(Duration::from_secs(2)).await;
            let _ = sender.send(());
            Ok::<_, SqlError>(())
        });
        let limited = timeout(Duration::from_secs(1), call).await;
        assert!(limited.is_err(), "the caller is dropped");
        assert!(ended.await.is_ok(), "the call has ended");
    }

    #[tokio::test]
    #[should_panic(expected = "of the call")]
    async fn a_panic_of_the_call_is_one_of_the_caller() {
        async fn call() -> Result<(), SqlError> {
            tokio::task::yield_now().await;
            panic!("of the call")
        }
        let _ = to_the_end(call()).await;
    }

    #[tokio::test]
    async fn a_call_that_was_not_awaited_does_not_begin() {
        let (sender, began) = oneshot::channel();
        drop(to_the_end(async move {
            let _ = sender.send(());
            Ok::<_, SqlError>(())
        }));
        assert!(began.await.is_err(), "it was dropped before it began");
    }
}
