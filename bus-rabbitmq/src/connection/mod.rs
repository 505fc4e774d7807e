//! Supervised connection, made again for as long as the transport lives.

mod attempt;
mod client_runtime;
mod foreign;
mod frames;
mod link;
mod live;
mod sanitize;
mod socket;
mod supervisor;
mod waiting;

pub(crate) use foreign::ForeignBytes;
pub(crate) use link::Link;
pub(crate) use live::Live;
pub(crate) use supervisor::Patience;
pub(crate) use waiting::Siblings;
