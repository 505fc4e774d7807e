//! A transactional outbox and inbox of the service bus, on PostgreSQL and SQLite.
//!
//! ```text
//!                      one transaction of the service's database
//!           ┌────────────────────────────────────────────────────────────┐
//!  message ─┤ inbox row ─► consumer, its own SQL ─► outbox rows ─► commit ├─► ack
//!           └────────────────────────────────────────────────────┬───────┘
//!                                                       wakes     ▼
//!                                       broker ◄─ confirmed ◄─ relay ─► deletes the rows
//! ```
//!
//! A consumer gets the transaction of its delivery as its second argument. What it writes there and
//! what it sends through its context are committed together, or not at all.
//!
//! ```
//! # #[cfg(not(feature = "sqlite"))] fn main() {}
//! # #[cfg(feature = "sqlite")] mod example {
//! use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, Message};
//! use bus_inmemory::InMemory;
//! use bus_sql::sqlx::{self, Sqlite, sqlite::SqlitePoolOptions};
//! use bus_sql::{Sql, Tx};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, Message)]
//! #[message("Invoicing:CreateInvoice")]
//! struct CreateInvoice { number: String }
//!
//! #[derive(Serialize, Deserialize, Message)]
//! #[message("Invoicing:InvoiceCreated")]
//! struct InvoiceCreated { number: String }
//!
//! async fn create(ctx: ConsumeContext<CreateInvoice>, tx: &mut Tx<Sqlite>) -> ConsumeResult {
//!     let number = ctx.message().number.clone();
//!     sqlx::query("INSERT INTO invoice (number) VALUES ($1)")
//!         .bind(&number)
//!         .execute(tx.conn())
//!         .await?;
//!     ctx.publish(&InvoiceCreated { number }).await?; // a row of the same commit
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # pub async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let options = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
//! let pool = options.connect("sqlite::memory:").await?;
//! sqlx::query("CREATE TABLE invoice (number TEXT)").execute(&pool).await?;
//! let sql = Sql::sqlite(pool); // or Sql::postgres
//! let bus = Bus::builder(InMemory::new())
//!     .background(sql.relay())
//!     .endpoint(Endpoint::new("invoice-service").consumer(sql.consumer(create)))
//!     .start() // makes the tables first
//!     .await?;
//! # bus.shutdown().await?;
//! # Ok(()) } }
//! # #[cfg(feature = "sqlite")] fn main() { example::main().unwrap() }
//! ```
//!
//! | name | is |
//! |---|---|
//! | [`Sql`] | the handle to the tables of one service: settings, and what is made of them |
//! | [`TxConsumer`], [`Tx`] | a consumer that works in the transaction of its delivery, and that transaction |
//! | [`Sql::consumer`], [`Sql::around`] | such a consumer on an endpoint; one without SQL of its own |
//! | [`Sql::relay`] | the background service that sends what was committed |
//! | [`Sql::begin`] | a transaction with an outbox, outside of a consumer |
//! | [`Sql::outbox`] | an outbox for a transaction that one has, of sqlx or as [rows](OutboxRow) |
//! | [`Sql::scheduler`], [`Sql::recurring`] | messages that a bus sends later, or again and again |
//! | [`Sql::scheduler_endpoint`] | a scheduler for other services, those of MassTransit too |
//! | [`Sql::idempotency`] | a store of idempotency keys, for effects elsewhere |
//! | `Sql::sagas` | a repository of sagas, with the feature `saga` |
//! | [`Sql::backlog`], [`Sql::parked`], [`Sql::unpark`] | for those who operate the service |
//! | [`Sql::migrate`], [`Sql::migrations`] | the tables, made or printed |
//!
//! # Guarantees
//!
//! - The SQL of a consumer has its effect once for each message, also when a process crashes and
//!   when the message comes again within [`remember`](Sql::remember).
//! - A message leaves if and only if its transaction was committed; at least once, each time with
//!   the same id.
//! - A reply leaves right after the commit; a request that comes again gets it again.
//! - Messages with one [ordering key](bus_core::send::Sending::ordering_key) leave in the order of
//!   their rows. That is the order of the commits if the transactions lock the same row of the
//!   application first, as messages are written last.
//! - A message that is due later waits in a table, over transports that cannot delay too; within a
//!   second it is sent.
//! - A conflict (serialization, deadlock) runs the attempt again and counts as no failure. A
//!   database that is away, full, without its tables or without rights is waited for.
//! - A message that is being handled elsewhere makes its duplicates wait without a slot of their
//!   endpoint and, on PostgreSQL, without a connection.
//! - Leases and times before which a message does not leave are measured by the clock of the
//!   database.
//!
//! # Non-guarantees
//!
//! - A message may leave twice: when the relay dies between the confirm of the broker and the
//!   deletion of the row. An inbox at the receiver drops the second.
//! - Messages without id and key have no inbox row, and their effect may be repeated.
//! - A [time to live](bus_core::send::Sending::ttl) is measured by the clocks of the machines that
//!   write and relay: a message may expire as much too early as these differ.
//! - [`immediately`](bus_core::send::Sending::immediately) goes past the outbox, and so do requests
//!   that a consumer makes.
//! - A database that loses commits, as an asynchronous replica may, loses the effect and the
//!   messages of a transaction together, but not those that have left.
//!
//! # One delivery
//!
//! ```text
//! begin    PostgreSQL: BEGIN; SET LOCAL lock_timeout = '5s'       SQLite: BEGIN IMMEDIATE
//! claim    INSERT INTO bus_inbox … ON CONFLICT DO NOTHING         known: the replies again, or nothing
//!          being handled elsewhere for 50 ms: rolled back, and begun again later
//! consumer with its context and its transaction
//! write    one INSERT for the messages, UPDATE bus_inbox for replies
//! commit   then the relay is woken, replies leave, and the delivery is acknowledged
//! ```
//!
//! An error, a panic or a timeout rolls all of it back, the inbox row too, so that retries,
//! redeliveries and messages from an error queue are handled.
//!
//! # Other libraries
//!
//! A transaction of sqlx takes the messages by [`Outbox::write`], one of sea-orm, diesel or
//! tokio-postgres by [`Outbox::into_rows`] and [`Sql::insert_statement`]; `docs/transactions.md`
//! has examples. A consumer of theirs uses an [idempotency store](Sql::idempotency), or a unique
//! key of its own: the inbox belongs to the transaction of [`Sql::consumer`].
//!
//! # Operation
//!
//! - A delivery that is consumed holds a connection, and the relay of PostgreSQL up to three: the
//!   pool needs the concurrency of all endpoints and three more. The start logs a warning if it
//!   has fewer, as deliveries wait then. SQLite needs two, in memory one: only one of them writes.
//!   `test_before_acquire(false)` saves a round trip for each.
//! - A process that dies keeps the lease of its relay for ten seconds; one that stops gives it
//!   back.
//! - Look at [`backlog`](Sql::backlog): `oldest` grows when the broker or the relay is away,
//!   `parked` when messages are refused. [`parked`](Sql::parked) has the reasons,
//!   [`unpark`](Sql::unpark) sends them again, [`discard`](Sql::discard) drops them.
//! - A bus without endpoints that has the relay is a relay in a process of its own.
//! - A process that starts checks the tables and, if it has the relay, its rights. Tables that are
//!   lost later, or rights, make messages wait; the health of the endpoint says for what.
//! - Tests run on SQLite in memory, with a pool of one connection. Do not pause tokio's clock: the
//!   database answers in real time. Wait for what the relay sends by `Records::wait` of a harness.
//!
//! | feature | brings | default |
//! |---|---|---|
//! | `postgres` | PostgreSQL 13 or newer | no |
//! | `sqlite` | SQLite, compiled in | no |
//! | `saga` | the repository of sagas, by `bus-saga` | no |
//! | `tls` | TLS to PostgreSQL, by rustls with the certificates of the system | no |

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(feature = "postgres", feature = "sqlite")))]
compile_error!("bus-sql needs a database: enable its feature `postgres` or `sqlite`");

#[cfg(all(doctest, feature = "postgres"))]
#[doc = include_str!("../README.md")]
mod readme {}

mod backend;
mod bounded;
mod consumer;
mod demand;
mod detached;
mod error;
mod held;
mod idempotency;
mod inbox;
mod migration;
mod names;
mod operators;
mod outbox;
mod outgoing;
mod pool;
#[cfg(feature = "postgres")]
mod postgres;
mod prune;
mod recurring;
mod recurring_row;
mod relay;
mod replies;
mod row;
#[cfg(feature = "saga")]
mod saga;
mod scheduler;
mod scheduler_endpoint;
mod settings;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod tables;
mod tx;
mod tx_consumer;
mod unit;
mod views;
mod wake;
mod work;

pub use backend::Backend;
pub use consumer::{Around, Transactional};
pub use error::{SqlError, SqlErrorKind};
pub use idempotency::SqlIdempotencyStore;
pub use migration::Migration;
pub use outbox::Outbox;
pub use recurring::{InvalidRecurrence, Missed, Recurrence, Recurring, RecurringMessage};
pub use relay::Relay;
pub use row::OutboxRow;
#[cfg(feature = "saga")]
pub use saga::{InTransaction, SqlSagas, TxActivity};
pub use scheduler::SqlScheduler;
pub use sql::Sql;
pub use sqlx;
pub use tx::Tx;
pub use tx_consumer::{TxConsumer, TxFn};
pub use unit::Unit;
pub use views::{Backlog, Parked};
