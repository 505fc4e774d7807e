//! Sagas of the service bus: typed state machines of business processes.
//!
//! ```text
//!            ┌──────────────── one unit of work ────────────────┐
//!  message ──┤ load the instance ─► reaction ─► save, messages  ├──► ack
//!            └──────────────────────────────────────────────────┘
//!                by id or key        the state machine: data      leave with the commit
//! ```
//!
//! An order waits for its payment, for two weeks at most:
//!
//! ```
//! use std::time::Duration;
//! use bus_core::{Endpoint, Message};
//! use bus_inmemory::Harness;
//! use bus_saga::{MemorySagas, Saga, SagaState, StateMachine, by};
//! use serde::{Deserialize, Serialize};
//! use uuid::Uuid;
//!
//! # #[derive(Serialize, Deserialize, Message)] #[message("Shop:OrderPlaced")]
//! # struct OrderPlaced { order_id: Uuid, number: String }
//! # #[derive(Serialize, Deserialize, Message)] #[message("Shop:OrderPaid")]
//! # struct OrderPaid { order_id: Uuid }
//! # #[derive(Serialize, Deserialize, Message)] #[message("Shop:PaymentOverdue")]
//! # struct PaymentOverdue {}
//! # #[derive(Serialize, Deserialize, Message)] #[message("Shop:ShipOrder")]
//! # struct ShipOrder { number: String }
//! # #[derive(Debug, Serialize, Deserialize, Message)] #[message("Shop:OrderCancelled")]
//! # struct OrderCancelled { number: String }
//! #[derive(Default, Serialize, Deserialize)]
//! struct Order { number: String }
//!
//! #[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)]
//! enum Stage { AwaitingPayment }
//!
//! impl Saga for Order {
//!     type State = Stage;
//!     const NAME: &'static str = "order";
//! }
//!
//! const TWO_WEEKS: Duration = Duration::from_secs(14 * 24 * 60 * 60);
//!
//! fn order_saga() -> StateMachine<Order> {
//!     let mut saga = StateMachine::<Order>::new();
//!     let placed = saga.event(by::id(|placed: &OrderPlaced| placed.order_id));
//!     let paid = saga.event(by::id(|paid: &OrderPaid| paid.order_id));
//!     let overdue = saga.timeout::<PaymentOverdue>();
//!     saga.initially(placed, |on| {
//!         on.set(|order, placed| order.number.clone_from(&placed.number))
//!             .schedule(overdue, TWO_WEEKS, |_, _| PaymentOverdue {})
//!             .go(Stage::AwaitingPayment)
//!     })
//!     .during(Stage::AwaitingPayment, paid, |on| {
//!         on.publish(|order, _| ShipOrder { number: order.number.clone() }).finish()
//!     })
//!     .during(Stage::AwaitingPayment, overdue.fired, |on| {
//!         on.publish(|order, _| OrderCancelled { number: order.number.clone() }).finish()
//!     })
//!     .ignore_everywhere(placed);
//!     saga
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let orders = order_saga().stored_in(MemorySagas::new()).on(Endpoint::new("orders"));
//! let harness = Harness::start(|bus| bus.endpoint(orders)).await?;
//! harness.publish(&OrderPlaced { order_id: Uuid::now_v7(), number: "A-7".into() }).await?;
//! harness.quiescent().await;
//! tokio::time::sleep(TWO_WEEKS).await; // tokio's clock is paused: no time passes
//! harness.quiescent().await;
//! assert_eq!(harness.published::<OrderCancelled>().only().number, "A-7");
//! # Ok(()) }
//! ```
//!
//! | name | is |
//! |---|---|
//! | [`Saga`], [`SagaState`] | the data of a process, and its states |
//! | [`StateMachine`] | what follows in which state for which event |
//! | [`Event`], [`Timeout`], [`Request`], [`Key`] | tokens of what a machine declares |
//! | [`by`] | the correlation of events with instances |
//! | [`On`], [`Step`], [`Activity`] | a reaction, and its steps |
//! | [`Missing`], [`Unexpected`] | events without an instance, or in the wrong state |
//! | [`Trial`] | tests without a bus |
//! | [`SagaRepository`], [`MemorySagas`] | where instances are kept; in SQL by `bus-sql` |
//! | [`Sagas`] | the present state of an instance |
//!
//! # Guarantees
//!
//! - The state of an instance, its timeouts and the messages of a reaction count together, or not
//!   at all. With `bus-sql` so does the inbox, in one transaction.
//! - Concurrent events of one instance lose no update: one of them waits, or runs again.
//! - A timeout that was cancelled, replaced, or outlived by its instance changes nothing, on each
//!   transport.
//! - A machine with a mistake does not start: see [`StateMachine::mistakes`].
//! - An instance that cannot be read stays as it is, and its event goes to the error queue.
//!
//! # Non-guarantees
//!
//! - [`MemorySagas`] forgets all instances with its process, and is of one process alone.
//! - An event that comes again is handled again, unless the endpoint has an idempotency store or
//!   the repository an inbox. A state that ignores it does as well.
//! - Timeouts need a transport that can delay messages, or the outbox of `bus-sql`.
//! - Of two events of one saga that come at once, any may be handled first.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub mod by;
mod consumer;
mod declare;
mod definition;
mod diagram;
mod effect;
mod error;
mod instance;
mod machine;
mod memory;
mod meta;
mod missing;
mod mistakes;
mod on;
mod otherwise;
mod query;
mod react;
mod reaction;
mod repository;
mod request;
mod running;
mod saga;
mod step;
mod timers;
mod tokens;
mod trial;
mod turn;

pub use bus_macros::SagaState;
pub use by::By;
pub use error::SagaError;
pub use machine::StateMachine;
pub use memory::MemorySagas;
pub use missing::{Missing, Unexpected};
pub use on::{Led, On, Open};
pub use query::{Sagas, Snapshot};
pub use repository::{Find, SagaRepository, StoredInstance};
pub use request::RequestTimedOut;
pub use running::StoredSaga;
pub use saga::{Saga, SagaState};
pub use step::{Activity, Step};
pub use tokens::{AnyEvent, Event, Events, Key, Request, States, Timeout};
pub use trial::{Effects, Trial};
