//! Waiting with a deadline, and a description of what was awaited.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// Long enough for a machine that is busy with other things: it bounds failures
/// only.
const DEADLINE: Duration = Duration::from_secs(60);

/// Period between two looks at a condition.
const PERIOD: Duration = Duration::from_millis(10);

/// The outcome of a future that must be ready soon.
///
/// # Panics
/// If it is not, with `what` in the text.
pub async fn within<F: IntoFuture>(what: &str, future: F) -> F::Output {
    timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}

/// Polls a condition until it holds.
///
/// # Panics
/// If it does not hold soon, with `what` in the text.
pub async fn eventually<Fut: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> Fut) {
    until(what, || {
        let now = holds();
        async move { now.await.then_some(()) }
    })
    .await;
}

/// Asks for a value until it is the expected one.
///
/// # Panics
/// If it is not soon, with `what` and the last value in the text.
pub async fn becomes<T: PartialEq + Debug, Fut: Future<Output = T>>(
    what: &str,
    expected: &T,
    mut value: impl FnMut() -> Fut,
) {
    let end = Instant::now() + DEADLINE;
    loop {
        let found = value().await;
        if found == *expected {
            return;
        }
        assert!(
            Instant::now() < end,
            "not within {DEADLINE:?}: {what} is {found:?} and not {expected:?}"
        );
        sleep(PERIOD).await;
    }
}

/// Asks until there is an answer.
///
/// # Panics
/// If there is none soon, with `what` in the text.
pub async fn until<T, Fut: Future<Output = Option<T>>>(
    what: &str,
    mut answer: impl FnMut() -> Fut,
) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = answer().await {
            return answer;
        }
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        sleep(PERIOD).await;
    }
}
