//! Forgets what is old.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::backend::Backend;
use crate::error::SqlError;
use crate::sql::Sql;

/// Mean time between two times of forgetting.
const EVERY: Duration = Duration::from_mins(1);

/// Pause after each batch, in times of what the batch took.
const PAUSE: u32 = 4;

impl<DB: Backend> Sql<DB> {
    /// Forgets messages, idempotency keys and finished sagas whose time is over.
    ///
    /// Returns their number. The relay does it each minute; in batches, with pauses four
    /// times as long as these take, so that a fifth of one connection at most is busy with it.
    ///
    /// # Errors
    /// That of the database.
    pub async fn prune(&self) -> Result<u64, SqlError> {
        self.ready().await?;
        let age = self.settings().remember;
        let mut total = 0;
        loop {
            let begun = Instant::now();
            let messages = DB::prune_inbox(self.pool(), self.names(), age).await?;
            let keys = DB::prune_keys(self.pool(), self.names()).await?;
            let sagas = DB::prune_sagas(self.pool(), self.names(), age).await?;
            if messages + keys + sagas == 0 {
                return Ok(total);
            }
            total += messages + keys + sagas;
            sleep(begun.elapsed() * PAUSE).await;
        }
    }
}

/// Forgets each minute, in the process that relays the first partition.
pub(crate) async fn prune<DB: Backend>(sql: &Sql<DB>) -> Infallible {
    loop {
        sleep(EVERY.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        if !sql.shared().wake.is_here(0) {
            continue;
        }
        match sql.prune().await {
            Ok(0) => {}
            Ok(count) => {
                tracing::debug!(count, "messages that were handled long ago are forgotten");
            }
            Err(error) => tracing::warn!(%error, "messages that were handled long ago are kept"),
        }
    }
}
