//! Routing slips: work in steps over services, undone when a later step fails.
//!
//! ```text
//!  execute ─► reserve_execute ─► charge_execute ─► ship_execute ─► RoutingSlipCompleted
//!                                                       │ failed for good
//!  RoutingSlipFaulted ◄─ reserve_compensate ◄─ charge_compensate
//! ```
//!
//! The message itself has the way that it takes: activities with their arguments, variables that
//! all of them see, and logs of what was done. No service keeps a state for it. The slips are
//! MassTransit's (its *courier*), so that activities in Rust and .NET work on one slip.
//!
//! ```
//! use bus_core::{ConsumeResult, Endpoint};
//! use bus_courier::{
//!     ActivityEndpoint, Compensate, CompensateActivity, Compensated, Courier, Execute,
//!     ExecuteActivity, Executed, NoLog, RoutingSlip, RoutingSlipFaulted, compensate, execute,
//!     execute_compensated,
//! };
//! use bus_inmemory::Harness;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Reservation { sku: String }
//!
//! struct Reserve;
//!
//! impl ExecuteActivity for Reserve {
//!     type Arguments = Reservation;
//!     type Log = Reservation;
//!
//!     async fn execute(&self, ctx: Execute<Reservation>) -> ConsumeResult<Executed<Reservation>> {
//!         Ok(Executed::with_log(Reservation { sku: ctx.arguments().sku.clone() }))
//!     }
//! }
//!
//! impl CompensateActivity for Reserve {
//!     type Log = Reservation;
//!
//!     async fn compensate(&self, _: Compensate<Reservation>) -> ConsumeResult<Compensated> {
//!         Ok(Compensated::done())
//!     }
//! }
//!
//! struct Charge;
//!
//! impl ExecuteActivity for Charge {
//!     type Arguments = ();
//!     type Log = NoLog;
//!
//!     async fn execute(&self, _: Execute<()>) -> ConsumeResult<Executed<NoLog>> {
//!         Err("the card was refused".into())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let reserving = execute_compensated(Reserve, "reserve_compensate");
//! let harness = Harness::start(|bus| {
//!     bus.endpoint(Endpoint::new("reserve_execute").activity(reserving))
//!         .endpoint(Endpoint::new("reserve_compensate").activity(compensate(Reserve)))
//!         .endpoint(Endpoint::new("charge_execute").activity(execute(Charge)))
//! })
//! .await?;
//! let slip = RoutingSlip::builder()
//!     .activity("Reserve", "queue:reserve_execute", &Reservation { sku: "A-7".into() })
//!     .activity("Charge", "queue:charge_execute", &())
//!     .build()?;
//! harness.bus().execute(&slip).await?;
//! harness.quiescent().await;
//!
//! let faulted = harness.published::<RoutingSlipFaulted>().only();
//! assert_eq!(faulted.activity_exceptions[0].exception_info.message, "the card was refused");
//! # harness.shutdown().await?;
//! # Ok(()) }
//! ```
//!
//! | concept | is |
//! |---|---|
//! | [`RoutingSlip`], [`RoutingSlipBuilder`] | the slip: what is to be done and what was done |
//! | [`Courier`] | sends a slip on its way |
//! | [`ExecuteActivity`], [`CompensateActivity`] | a step and its undoing, which users write |
//! | [`ActivityEndpoint`] | the endpoint of one or the other |
//! | [`Executed`], [`Compensated`] | the outcome: log, variables, another itinerary, or the end |
//! | [`SlipEvents`], [`RoutingSlipCompleted`] and the others | what is published, or sent to subscriptions |
//! | [`Values`] | arguments, variables, logs |
//!
//! # Guarantees
//!
//! - The slip and its events leave together when an attempt has succeeded, and not otherwise.
//! - An activity fails its slip after the last retry and redelivery only.
//! - Compensation runs in the reverse order of the executions that left a log.
//! - What a slip holds and this crate does not know travels on as it came.
//!
//! # Non-guarantees
//!
//! - An activity may run twice, after a crash, as any consumer may; give its endpoint an
//!   idempotency store, or the inbox of `bus-sql`. If it runs twice with different outcomes, the
//!   slip may go both ways.
//! - An activity that fails is not compensated itself: it must leave nothing behind.
//! - A slip whose next address cannot be sent to is in the error queue of the activity before, as
//!   nothing in it says that this activity has had its effect.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod activity;
mod builder;
mod compensate;
mod contract;
mod contracts;
mod courier;
mod endpoint;
mod error;
mod events;
mod execute;
mod executed;
mod execution;
mod flags;
mod forward;
mod kept;
mod merged;
mod publisher;
mod sends;
mod values;

pub use activity::{Compensate, CompensateActivity, Execute, ExecuteActivity, NoLog};
pub use builder::{Itinerary, RoutingSlipBuilder};
pub use compensate::{CompensateHost, compensate};
pub use contracts::{
    ActivityException, ActivityLog, CompensateLog, ItineraryActivity, Json, RoutingSlip,
    Subscription,
};
pub use courier::Courier;
pub use endpoint::ActivityEndpoint;
pub use error::SlipError;
pub use events::{
    RoutingSlipActivityCompensated, RoutingSlipActivityCompensationFailed,
    RoutingSlipActivityCompleted, RoutingSlipActivityFaulted, RoutingSlipCompensationFailed,
    RoutingSlipCompleted, RoutingSlipFaulted, RoutingSlipRevised, RoutingSlipTerminated,
};
pub use execute::{ExecuteHost, execute, execute_compensated};
pub use executed::{Compensated, Executed};
pub use flags::{SlipContents, SlipEvents};
pub use kept::Kept;
pub use values::Values;
