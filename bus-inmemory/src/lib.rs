//! A service bus transport in the process, with a test harness.

mod broker;
mod consumers;
mod declare;
mod errors;
mod exchange;
mod flow;
mod harness;
mod listener;
mod message;
mod publish;
mod queue;
mod ready;
mod routing;
mod schedule;
mod settings;
mod state;
mod topic;
mod transport;

pub use harness::{Harness, InFlight, NotQuiescent, NotSeen, Record, Recorder, Records};
pub use transport::InMemory;
