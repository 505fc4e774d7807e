//! Errors of consumers, senders and starts.
//!
//! Also the fault that reports a failure to others.
//!
//! | error | of | to be matched by |
//! |---|---|---|
//! | [`ConsumeError`](crate::ConsumeError) | a consumer or middleware | [`FailureKind`], or its cause |
//! | [`SendError`](crate::SendError) | a publish, send or reply | [`SendErrorKind`] |
//! | [`RequestError`](crate::RequestError) | a request | its variant |
//! | [`StartError`](crate::StartError) | the start of a bus | its variant |
//! | [`StopTimeout`] | the stop of a bus | |
//!
//! Kinds are named for what the caller can do about the error. Texts are for people: they name the
//! queue, type or setting concerned, and no credentials.

pub(crate) mod consume;
pub(crate) mod fault;
pub(crate) mod limit;
pub(crate) mod panics;
pub(crate) mod send;
pub(crate) mod start;
pub(crate) mod stop;

pub use consume::{BoxError, FailureKind};
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
