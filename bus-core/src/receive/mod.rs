//! The loop of an endpoint: from a delivery to its settlement.

mod after_failure;
mod beginning;
pub(crate) mod consumers;
pub(crate) mod crash_guard;
pub(crate) mod cutting;
mod ending;
pub(crate) mod error_queue;
pub(crate) mod failure;
pub(crate) mod fault_publisher;
pub(crate) mod moving;
mod outcome;
mod pausing;
mod phase;
mod pulled;
mod reading;
pub(crate) mod receiver;
mod redelivering;
pub(crate) mod runner;
mod status;
mod switching;
mod watched;
pub(crate) mod worker;

pub(crate) use consumers::Consumers;
pub(crate) use crash_guard::{CrashGuard, DEFAULT_MAX_DELIVERIES};
pub(crate) use pausing::obey;
pub(crate) use receiver::Receiver;
pub(crate) use runner::{EndpointRunner, GOODBYE};
pub(crate) use worker::lane_count;
