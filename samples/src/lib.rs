//! Invoice, payment and shipping services that know each other only by their contracts.
//!
//! ```text
//! client ──CreateInvoice──► invoice-service ──InvoiceCreated──┬──► payment-service ──PaymentReceived──┐
//!   │                           ┆ tap                         └──► shipping-service ◄─────────────────┘
//!   │                           ▼                                         │
//!   │                         audit                                  ShipmentSent ──► client
//!   ├──GetInvoice──► invoice-queries ──InvoiceDocument──► client
//!   └──TemperatureReading──► thermometer (at most once)
//! ```
//!
//! `cargo run -p samples` runs all of it in one process, without a broker, on databases in
//! temporary files; kills a part of it in the middle, and shows whether the numbers agree.
//!
//! What a service must not forget is in a database that its instances share: SQLite in a file, or
//! PostgreSQL. What a consumer writes there and what it sends are one commit, and a message that
//! comes again is known there: so each of them may be started several times, and killed at any
//! moment.
//!
//! # Where to read
//!
//! | file | shows |
//! |---|---|
//! | [`contracts`] | messages: a command, events, a query and its document |
//! | `bin/invoice-service.rs` | commands and queries; a command that comes twice makes one invoice |
//! | `bin/payment-service.rs` | a subscriber; instances that compete for the work |
//! | `bin/shipping-service.rs` | two events that are needed both, in whichever order they come |
//! | [`ledger`], [`account`], [`warehouse`] | the tables of these services, on either database |
//! | [`database`] | SQLite and PostgreSQL: which one, and how it is opened |
//! | [`audit`] | a wire tap, which overhears and disturbs nobody |
//! | [`dunning`] | a saga: invoices that wait for their payment |
//! | [`thermometer`] | messages that are handled at most once |
//! | [`client`] | who sends, subscribes and asks |
//! | [`service`] | the life of a service process: start, signals, stop |
//! | [`unreliable`] | consumers that fail on purpose |
//! | `bin/demo/` | all of them at once: consumers fail, commands come twice, a machine dies |

pub mod account;
pub mod audit;
pub mod client;
pub mod contracts;
pub mod database;
pub mod dunning;
pub mod ledger;
pub mod logging;
pub mod service;
pub mod share;
pub mod signals;
pub mod thermometer;
pub mod unreliable;
pub mod warehouse;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus_core::Retry;

/// How often a service tries a failed message again before it goes to the error queue.
pub const RETRIES: u32 = 8;

/// How the services try again: soon at first, then ever more slowly.
pub fn retry() -> Retry {
    Retry::exponential(
        RETRIES,
        Duration::from_millis(10),
        Duration::from_millis(500),
    )
}

/// What a mutex guards. A consumer that panicked left it whole: nothing here panics halfway through
/// a change.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
