//! Errors of consumers, senders and starts.
//!
//! Also the fault that reports a failure to others.

pub(crate) mod consume;
pub(crate) mod fault;
pub(crate) mod limit;
pub(crate) mod panics;
pub(crate) mod send;
pub(crate) mod start;
pub(crate) mod stop;

pub use consume::FailureKind;
pub(crate) use consume::{ConsumeError, ConsumeResult};
pub(crate) use fault::Fault;
pub use fault::{ExceptionInfo, ReceiveFault};
pub use limit::LimitError;
pub(crate) use panics::Shown;
pub(crate) use send::SendError;
pub use send::SendErrorKind;
pub use start::Mistakes;
pub(crate) use start::StartError;
pub use stop::StopTimeout;
