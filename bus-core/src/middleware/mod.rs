//! Middleware around consumers: retry, timeout, outbox, idempotency, user-defined.

mod attempt;
mod claims;
pub(crate) mod deduplicate;
mod delays;
mod flush;
pub(crate) mod next;
mod once;
mod repeats;
mod replies;
pub(crate) mod retry;
mod retry_step;
mod timeout;
mod watched;

pub(crate) use deduplicate::Idempotency;
pub use delays::Jitter;
pub(crate) use flush::Flush;
pub use next::from_fn;
pub(crate) use next::{Chain, Middleware, Next};
pub(crate) use once::{ConfirmClaim, IdempotencyStep};
pub(crate) use retry::Retry;
pub(crate) use retry_step::RetryStep;
pub(crate) use timeout::TimeoutStep;
