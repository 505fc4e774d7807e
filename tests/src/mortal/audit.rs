//! A receiver of what a service sends: all that arrives, and what an inbox lets through.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bus_conformance::support::contracts::Ordered;
use bus_conformance::support::{eventually, with};
use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Next, Policy, middleware};
use bus_sql::Sql;
use bus_sql::sqlx::Sqlite;
use bus_sql::sqlx::sqlite::SqlitePoolOptions;
use uuid::Uuid;

/// An event that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its number.
    pub number: u32,
    /// The id of its message.
    pub id: Option<Uuid>,
}

/// A receiver of events, with an inbox in a database of its own. Clones share what arrived.
#[derive(Clone)]
pub struct Audit {
    inbox: Sql<Sqlite>,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    taken: Arc<Mutex<Vec<u32>>>,
}

impl Audit {
    /// A receiver that nothing has arrived at.
    ///
    /// # Panics
    /// If SQLite cannot open a database in memory.
    pub async fn new() -> Self {
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect("sqlite::memory:");
        Self {
            inbox: Sql::sqlite(pool.await.expect("a database in memory")),
            arrivals: Arc::default(),
            taken: Arc::default(),
        }
    }

    /// Its endpoint, which consumes one event after the other.
    pub fn endpoint(&self, queue: &str) -> Endpoint {
        let arrivals = Arc::clone(&self.arrivals);
        let before_the_inbox = middleware::from_fn(move |ctx: ConsumeContext, next: Next| {
            if let Ok(event) = ctx.clone().downcast::<Ordered>() {
                lock(&arrivals).push(Arrival {
                    number: event.message().number,
                    id: event.message_id(),
                });
            }
            async move { next.run(ctx).await }
        });
        let taken = Arc::clone(&self.taken);
        let behind_it = with(
            taken,
            async |taken: Arc<Mutex<Vec<u32>>>, ctx: ConsumeContext<Ordered>| -> ConsumeResult {
                lock(&taken).push(ctx.message().number);
                Ok(())
            },
        );
        Endpoint::new(queue)
            .concurrency(1)
            .without_subscriptions()
            .policy(Policy::new().middleware(before_the_inbox))
            .consumer(self.inbox.around(behind_it))
    }

    /// All that has arrived, in order.
    pub fn arrivals(&self) -> Vec<Arrival> {
        lock(&self.arrivals).clone()
    }

    /// The numbers of the events that were handled.
    pub fn taken(&self) -> Vec<u32> {
        lock(&self.taken).clone()
    }

    /// How often an event has arrived.
    pub fn times(&self, number: u32) -> usize {
        let arrivals = lock(&self.arrivals);
        let same = arrivals.iter().filter(|arrival| arrival.number == number);
        same.count()
    }

    /// Waits until the events were handled.
    ///
    /// # Panics
    /// If they are not soon.
    pub async fn takes(&self, numbers: impl IntoIterator<Item = u32>) {
        let numbers: BTreeSet<_> = numbers.into_iter().collect();
        eventually("the events are handled", async || {
            self.taken()
                .into_iter()
                .collect::<BTreeSet<_>>()
                .is_superset(&numbers)
        })
        .await;
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit")
            .field("arrived", &lock(&self.arrivals).len())
            .finish_non_exhaustive()
    }
}
