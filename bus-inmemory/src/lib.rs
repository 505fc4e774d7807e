//! A service bus transport in the process, with a test harness.

mod broker;
mod consumers;
mod declare;
mod errors;
mod exchange;
mod flow;
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

pub use transport::InMemory;
