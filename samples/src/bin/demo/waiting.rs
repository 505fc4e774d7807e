//! Waits with an end.

use std::time::Duration;

use bus_core::error::BoxError;
use tokio::time::{Instant, sleep};

/// How long it takes to look again.
const PAUSE: Duration = Duration::from_millis(5);

/// What a look shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// What is awaited is there.
    pub(crate) done: bool,
    /// Changes as long as things go on.
    pub(crate) progress: usize,
}

/// Waits until it is done, or nothing has changed for as long as `patience`: what is lost never
/// comes.
pub(crate) async fn wait_until(
    look: impl AsyncFn() -> Result<Look, BoxError>,
    patience: Duration,
) -> Result<(), BoxError> {
    let (mut last, mut since) = (look().await?, Instant::now());
    while !last.done && since.elapsed() < patience {
        sleep(PAUSE).await;
        let now = look().await?;
        if now.progress != last.progress {
            since = Instant::now();
        }
        last = now;
    }
    Ok(())
}
