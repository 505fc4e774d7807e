//! Flow control: how fast an endpoint takes messages, and when it takes none.
//!
//! ```text
//!  RateLimit    before a message is pulled: what is too early stays where it is
//!  KillSwitch   after a message was handled: too many failures pause the endpoint
//! ```
//!
//! Both are settings of a [`Policy`](crate::Policy). One of a bus holds for each endpoint by
//! itself.

mod kill_switch;
mod pace;
mod rate_limit;
mod switch;

pub use kill_switch::KillSwitch;
pub(crate) use pace::Pace;
pub use rate_limit::RateLimit;
pub(crate) use switch::{Switch, Trip};
