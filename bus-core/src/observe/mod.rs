//! Observers of messages, the health of a bus, and the trace that travels.
//!
//! ```text
//!  pre_send ──► post_send | send_fault
//!
//!  pre_receive ─┬─► pre_consume ──► post_consume | consume_fault ─┬─► fault_published ──► post_receive
//!               └──────────────────── next attempt ◄──────────────┘   (when it failed for good)
//!
//!  connection_changed, endpoint_changed: at any time
//! ```
//!
//! An [`Observer`] hears of everything, for metrics and audits. [`BusHealth`] is what is asked for,
//! by a probe for example. A [`Propagator`] carries the context of a trace from one message to the
//! next.

pub(crate) mod background;
pub(crate) mod changes;
pub(crate) mod consumes;
pub(crate) mod health;
pub(crate) mod observer;
pub(crate) mod propagator;
pub(crate) mod receives;
pub(crate) mod sends;

pub use background::{BackgroundHealth, BackgroundState};
pub use changes::{ConnectionChange, EndpointChange};
pub use consumes::{ConsumeFault, PostConsume, PreConsume};
pub use health::{BusHealth, EndpointHealth, EndpointState};
pub use observer::Observer;
pub(crate) use observer::Observers;
pub use propagator::{Propagator, TraceHeaders};
pub use receives::{FaultPublished, PostReceive, PreReceive, ReceiveOutcome};
pub use sends::{PostSend, PreSend, SendFault};
