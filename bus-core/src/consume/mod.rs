//! Consumers, and the context in which they handle one message.

pub(crate) mod batch_limits;
mod chain_end;
pub(crate) mod consumer;
pub(crate) mod consumers;
pub(crate) mod context;
pub(crate) mod control;
mod extensions;
pub(crate) mod failure_handler;
mod limits;
pub(crate) mod partitions;
pub(crate) mod pause;
pub(crate) mod progress;
pub(crate) mod receive_context;
pub(crate) mod redeliveries;
mod scheduled;
mod sends;
pub(crate) mod slot;
pub(crate) mod slots;
pub(crate) mod troubles;
pub(crate) mod unit_of_work;
pub(crate) mod waits;

pub(crate) use batch_limits::BatchLimits;
#[cfg(feature = "macros")]
pub use bus_macros::consumers;
pub(crate) use chain_end::ChainEnd;
pub(crate) use consumer::{Consumer, RawMessage, Registration};
pub use consumers::{ConsumerSet, Consumers};
pub use context::AnyMessage;
pub(crate) use context::ConsumeContext;
pub(crate) use control::Control;
pub use control::EndpointControl;
pub use failure_handler::FailureHandler;
pub(crate) use limits::Limits;
pub(crate) use partitions::Place;
pub(crate) use pause::{Cause, Pause, Wish};
pub(crate) use progress::Progress;
pub(crate) use receive_context::{EndpointContext, ReceiveContext};
pub(crate) use redeliveries::Redeliveries;
pub(crate) use slot::Slot;
pub(crate) use slots::Slots;
pub(crate) use troubles::Trouble;
pub use unit_of_work::{Begun, UnitOfWork, Work};
pub(crate) use waits::{Stopped, Waits};
