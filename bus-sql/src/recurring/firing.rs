//! Sends recurring messages when their time has come.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bus_core::send::{MessageMetadata, MessageRecord, RecordError, SealedMessage};
use bus_core::serde_helpers::DateTime;
use bus_core::topology::Topology;
use bus_core::transport::Backoff;
use tokio::time::timeout;
use uuid::Uuid;

use super::{InvalidRecurrence, Missed, Recurrence, recurrence_of};
use crate::backend::Backend;
use crate::error::SqlError;
use crate::outgoing::Rows;
use crate::recurring_row::RecurringRow;
use crate::sql::Sql;
use crate::store::{micros, time};

/// Header of MassTransit with the time at which a message was to be sent.
const DUE: &str = "MT-Quartz-Scheduled";

/// Namespace of the ids of recurring messages.
const NAMESPACE: Uuid = Uuid::from_u128(0x3b1d_5d6c_58c9_5b0e_9d05_3f0c_7a1e_62d4);

/// Time after which a message that was not sent is missed.
const MISSED: Duration = Duration::from_mins(1);

/// Most messages of one transaction.
const AT_ONCE: usize = 100;

/// Longest wait between two looks, as another process may have set a message.
const LOOK: Duration = Duration::from_secs(5);

/// Waits after an error of the database.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Sends what is due, in the process that relays the first partition. Never ends.
pub(crate) async fn fire<DB: Backend>(sql: &Sql<DB>) -> Infallible {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        let changed = sql.shared().wake.recurs();
        if !sql.shared().wake.is_here(0) {
            let _ = timeout(LOOK, changed).await;
            continue;
        }
        match round(sql).await {
            Ok(wait) => {
                backoff.reset();
                let _ = timeout(wait, changed).await;
            }
            Err(error) => {
                tracing::warn!(%error, "recurring messages wait for the database");
                backoff.wait().await;
            }
        }
    }
}

/// Sends what is due; returns the time until there is more.
async fn round<DB: Backend>(sql: &Sql<DB>) -> Result<Duration, SqlError> {
    let (pool, names) = (sql.pool(), sql.names());
    for row in DB::due_recurring(pool, names).await? {
        let now = DB::now(pool, names).await?;
        match Firing::of(&row, now) {
            Ok(firing) => fire_one(sql, &row, firing).await?,
            Err(error) => {
                // Without an end to it, one row that was edited would be read again and again.
                tracing::error!(
                    name = row.name, %error,
                    "a recurring message cannot be read, and is sent no more: set it again"
                );
                let mut tx = sql.begin_transaction().await?;
                DB::advance_recurring(&mut tx, names, &row, None).await?;
                tx.commit().await?;
            }
        }
    }
    let next = DB::next_recurring(pool, names).await?;
    Ok(next.unwrap_or(LOOK).min(LOOK))
}

/// Sends the messages of one row, unless another process has done it.
async fn fire_one<DB: Backend>(
    sql: &Sql<DB>,
    row: &RecurringRow,
    firing: Firing,
) -> Result<(), SqlError> {
    let partitions = sql.ready().await?;
    let topology = match row.topology {
        Some(id) => DB::topology(sql.pool(), sql.names(), id).await?,
        None => None,
    };
    let messages = firing
        .times
        .iter()
        .map(|at| message(row, topology.as_deref(), *at));
    let rows = match messages.collect::<Result<Vec<_>, _>>() {
        Ok(messages) => Rows::of(&messages, partitions),
        Err(error) => {
            tracing::error!(name = row.name, %error, "a recurring message cannot be read, and was not sent");
            Rows::default()
        }
    };
    let mut tx = sql.begin_transaction().await?;
    if !DB::advance_recurring(&mut tx, sql.names(), row, firing.next).await? {
        return Ok(tx.rollback().await?);
    }
    rows.write(sql, &mut tx, None).await?;
    rows.commit(sql, tx).await
}

/// Times at which a row is sent now, and the next one.
struct Firing {
    times: Vec<SystemTime>,
    next: Option<i64>,
}

impl Firing {
    fn of(row: &RecurringRow, now: i64) -> Result<Self, InvalidRecurrence> {
        let recurrence = recurrence_of(row)?;
        let (due, now) = (row.next_at.map_or(time(now), time), time(now));
        let recent = now - MISSED;
        let is_missed = due <= recent;
        // Late by less than a minute, each time is sent.
        let not_missed = if is_missed {
            recurrence.next_after(recent)
        } else {
            Some(due)
        };
        let mut times = match recurrence.when_missed() {
            Missed::All => up_to(&recurrence, Some(due), now),
            Missed::Once | Missed::Skip => up_to(&recurrence, not_missed, now),
        };
        if is_missed && recurrence.when_missed() == Missed::Once {
            times.insert(0, due);
        }
        let last = times.last().copied().unwrap_or(now);
        let next = match recurrence.when_missed() {
            Missed::All => recurrence.next_after(last),
            Missed::Once | Missed::Skip => recurrence.next_after(last.max(recent)),
        };
        Ok(Self {
            times,
            next: next.map(micros),
        })
    }
}

/// The times from one to another, at most as many as a transaction takes.
fn up_to(recurrence: &Recurrence, first: Option<SystemTime>, now: SystemTime) -> Vec<SystemTime> {
    let next = |last: &SystemTime| recurrence.next_after(*last);
    std::iter::successors(first, next)
        .take_while(|at| *at <= now)
        .take(AT_ONCE)
        .collect()
}

/// The message of one time.
fn message(
    row: &RecurringRow,
    topology: Option<&str>,
    at: SystemTime,
) -> Result<SealedMessage, RecordError> {
    let record = MessageRecord {
        metadata: MessageMetadata::from_json(&row.metadata)?,
        body: row.body.clone().into(),
    };
    let topology = topology.and_then(|content| serde_json::from_str::<Topology>(content).ok());
    let template = SealedMessage::from_record(record, |_| topology.map(Arc::new))?;
    let id = Uuid::new_v5(
        &NAMESPACE,
        format!("{}\n{}", row.name, micros(at)).as_bytes(),
    );
    let due = DateTime::from(at).to_string();
    Ok(template.renewed(id).with_header(DUE, due))
}
