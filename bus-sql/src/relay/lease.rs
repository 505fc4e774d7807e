//! The lease of a partition: one process relays it at a time.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::backend::Backend;
use crate::error::SqlError;
use crate::sql::Sql;

/// Time after which the partition of a process that died is taken by another.
const LEASE: Duration = Duration::from_secs(10);

/// Time after which it is renewed.
const RENEWAL: Duration = Duration::from_secs(3);

/// Time after which it is asked for again, while another relay has it.
const RETRY: Duration = Duration::from_secs(1);

/// Time for which it is relied on: the clocks of two machines run apart.
const SURE: Duration = Duration::from_secs(8);

/// The lease of one partition.
#[derive(Debug)]
pub(super) struct Lease {
    part: i16,
    /// Names this relay, and no other before or after it.
    owner: Uuid,
    /// Epoch, and the time before which it was taken or renewed.
    held: Option<(i64, Instant)>,
    asked: Option<Instant>,
}

impl Lease {
    pub(super) fn new(part: i16) -> Self {
        Self {
            part,
            owner: Uuid::now_v7(),
            held: None,
            asked: None,
        }
    }

    /// Takes the lease, or renews it when that is due; `true` if it is a new one.
    pub(super) async fn keep<DB: Backend>(&mut self, sql: &Sql<DB>) -> Result<bool, SqlError> {
        let now = Instant::now();
        if self.asked.is_some() && now < self.next() {
            return Ok(false);
        }
        let epoch = DB::lease(sql.pool(), sql.names(), self.part, self.owner, LEASE).await?;
        self.asked = Some(now);
        let before = self.held.map(|(epoch, _)| epoch);
        self.held = epoch.map(|epoch| (epoch, now));
        sql.shared().wake.relayed_here(self.part, epoch.is_some());
        if before != epoch {
            tracing::info!(
                part = self.part,
                ?epoch,
                "the relay of the outbox has changed"
            );
        }
        Ok(epoch.is_some() && before != epoch)
    }

    /// Returns `true` if this relay may send.
    pub(super) fn holds(&self) -> bool {
        let sure = |(_, since): (i64, Instant)| Instant::now() < since + SURE;
        self.held.is_some_and(sure)
    }

    /// The next time at which it is asked for.
    pub(super) fn next(&self) -> Instant {
        let wait = if self.held.is_some() { RENEWAL } else { RETRY };
        self.asked.map_or_else(Instant::now, |asked| asked + wait)
    }

    /// Gives the lease back, so that another relay goes on at once.
    pub(super) async fn release<DB: Backend>(&mut self, sql: &Sql<DB>) {
        sql.shared().wake.relayed_here(self.part, false);
        if self.held.take().is_some() {
            let released = DB::release(sql.pool(), sql.names(), self.part, self.owner).await;
            if let Err(error) = released {
                tracing::debug!(%error, "the lease of the outbox is left to run out");
            }
        }
    }
}
