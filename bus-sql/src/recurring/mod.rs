//! Messages that are sent again and again.

pub(crate) mod firing;
mod recurrence;

use std::fmt;
use std::time::SystemTime;

use bus_core::SendError;
use bus_core::error::SendErrorKind;
use bus_core::send::{Sender, Sending};

use crate::backend::Backend;
use crate::error::{SqlError, SqlErrorKind};
use crate::held::Held;
use crate::outgoing::Rows;
use crate::recurring_row::RecurringRow;
use crate::row::OutboxRow;
use crate::scheduler::not_kept;
use crate::sql::Sql;
use crate::store::{micros, time};
pub use recurrence::{InvalidRecurrence, Missed, Recurrence};

impl<DB: Backend> Sql<DB> {
    /// Returns the messages that are sent again and again.
    ///
    /// They are kept in a table until they are [removed](Recurring::remove). The
    /// [`relay`](Self::relay) sends them: for each time one message, for any number of
    /// processes, with an id that is always the same for a name and a time, so that an inbox
    /// handles it once. The header `MT-Quartz-Scheduled` has the time. A message is never early
    /// by the clock of the database, and at most some seconds late while there is a relay.
    ///
    /// ```
    /// # #[cfg(not(feature = "sqlite"))] fn main() {}
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use bus_core::{Bus, Message};
    /// use bus_sql::Recurrence;
    /// # use bus_inmemory::InMemory;
    /// # use bus_sql::{Sql, sqlx::sqlite::SqlitePoolOptions};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize, Message)]
    /// # #[message("Reporting:BuildReport")]
    /// # struct BuildReport { days: u32 }
    /// # let options = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    /// # let sql = Sql::sqlite(options.connect("sqlite::memory:").await?);
    ///
    /// let bus = Bus::builder(InMemory::new()).background(sql.relay()).start().await?;
    /// let nightly = Recurrence::cron("0 2 * * *")?.in_zone("Europe/Zurich")?;
    /// let recurring = sql.recurring(&bus.sender());
    /// // At each start of the service: what is there and the same is left alone.
    /// recurring.set("nightly-report", &nightly, |bus| bus.publish(&BuildReport { days: 1 })).await?;
    /// assert!(recurring.pause("nightly-report").await?);
    /// for message in recurring.list().await? {
    ///     println!("{}: {}, next {:?}", message.name, message.recurrence, message.next);
    /// }
    /// # bus.shutdown().await?;
    /// # Ok(()) }
    /// ```
    pub fn recurring(&self, sender: &Sender) -> Recurring<DB> {
        Recurring {
            sql: self.clone(),
            sender: sender.clone(),
        }
    }
}

/// Messages that are sent again and again; made by [`Sql::recurring`].
pub struct Recurring<DB: Backend> {
    sql: Sql<DB>,
    sender: Sender,
}

/// Message that is sent again and again, as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecurringMessage {
    /// Name of the message.
    pub name: String,
    /// Cron line and time zone.
    pub recurrence: String,
    /// Exchange or queue.
    pub destination: String,
    /// `true` if it is not sent at present.
    pub paused: bool,
    /// Next time at which it is sent.
    ///
    /// `None` if no more time fits its cron line, or a relay could not read its row.
    pub next: Option<SystemTime>,
}

impl<DB: Backend> Recurring<DB> {
    /// Sets what is sent again and again under a name.
    ///
    /// A message that has the name is replaced. The next time stays if the recurrence is the same,
    /// and so does a pause. The message may have all options but a time at which it is delivered.
    ///
    /// # Errors
    /// That of the message, if it can never be sent, or of the database.
    pub async fn set(
        &self,
        name: &str,
        recurrence: &Recurrence,
        message: impl FnOnce(&Sender) -> Sending,
    ) -> Result<(), SendError> {
        let held = Held::open(self.sender.clone());
        message(&self.sender.with_dispatch(held.clone())).await?;
        let messages = held.close();
        let rows = match messages.as_slice() {
            [message] if message.due.is_none() => Rows::of(&messages, 1),
            _ => {
                let text = format!(
                    "the recurring message `{name}` must be one message without a time of delivery, \
                     sent through the given sender"
                );
                return Err(SendError::new(SendErrorKind::Refused, text));
            }
        };
        self.write(name, recurrence, rows).await.map_err(not_kept)
    }

    async fn write(&self, name: &str, recurrence: &Recurrence, rows: Rows) -> Result<(), SqlError> {
        let sql = &self.sql;
        sql.ready().await?;
        let now = DB::now(sql.pool(), sql.names()).await?;
        let next = recurrence.next_after(time(now)).map(micros);
        let (topologies, template) = rows.split();
        let mut tx = sql.begin_transaction().await?;
        for template in &template {
            let row = row_of(name, recurrence, template);
            DB::set_recurring(&mut tx, sql.names(), &row, next).await?;
        }
        topologies.write(sql, &mut tx, None).await?;
        topologies.commit(sql, tx).await?;
        sql.shared().wake.recur();
        Ok(())
    }

    /// Stops to send a message for the time being.
    ///
    /// Returns `false` if there is none of that name.
    ///
    /// # Errors
    /// That of the database.
    pub async fn pause(&self, name: &str) -> Result<bool, SqlError> {
        self.sql.ready().await?;
        Ok(DB::pause_recurring(self.sql.pool(), self.sql.names(), name).await?)
    }

    /// Sends a message again; returns `false` if there is none of that name.
    ///
    /// The times of the pause are over: the next one is the first after this call.
    ///
    /// # Errors
    /// That of the database, or of a row that cannot be read.
    pub async fn resume(&self, name: &str) -> Result<bool, SqlError> {
        let sql = &self.sql;
        sql.ready().await?;
        let (pool, names) = (sql.pool(), sql.names());
        let Some(row) = DB::recurring(pool, names, name).await? else {
            return Ok(false);
        };
        let recurrence = recurrence_of(&row).map_err(|error| {
            let text = format!("the recurring message `{name}` cannot be read: {error}");
            SqlError::new(SqlErrorKind::Database, text).with_source(error)
        })?;
        let next = recurrence.next_after(time(DB::now(pool, names).await?));
        let resumed = DB::resume_recurring(pool, names, name, next.map(micros)).await?;
        sql.shared().wake.recur();
        Ok(resumed)
    }

    /// Removes a message; returns `false` if there is none of that name.
    ///
    /// # Errors
    /// That of the database.
    pub async fn remove(&self, name: &str) -> Result<bool, SqlError> {
        self.sql.ready().await?;
        Ok(DB::remove_recurring(self.sql.pool(), self.sql.names(), name).await?)
    }

    /// Returns all messages, by name.
    ///
    /// # Errors
    /// That of the database.
    pub async fn list(&self) -> Result<Vec<RecurringMessage>, SqlError> {
        self.sql.ready().await?;
        let rows = DB::all_recurring(self.sql.pool(), self.sql.names()).await?;
        let rows = rows.into_iter();
        Ok(rows.map(message_of).collect())
    }
}

impl<DB: Backend> fmt::Debug for Recurring<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recurring")
            .field("sql", &self.sql)
            .finish_non_exhaustive()
    }
}

fn row_of(name: &str, recurrence: &Recurrence, template: &OutboxRow) -> RecurringRow {
    RecurringRow {
        name: name.to_owned(),
        cron: recurrence.line().to_owned(),
        zone: recurrence.zone().to_owned(),
        missed: recurrence.when_missed().code(),
        paused: false,
        next_at: None,
        destination: template.destination.clone(),
        topology: template.topology,
        metadata: template.metadata.clone(),
        body: template.body.to_vec(),
    }
}

/// The recurrence of a row.
fn recurrence_of(row: &RecurringRow) -> Result<Recurrence, InvalidRecurrence> {
    let missed = Missed::of_code(row.missed).unwrap_or_default();
    let recurrence = Recurrence::written(&row.cron)?.in_zone(&row.zone)?;
    Ok(recurrence.missed(missed))
}

fn message_of(row: RecurringRow) -> RecurringMessage {
    RecurringMessage {
        recurrence: format!("{} ({})", row.cron, row.zone),
        name: row.name,
        destination: row.destination,
        paused: row.paused,
        next: row.next_at.map(time),
    }
}
