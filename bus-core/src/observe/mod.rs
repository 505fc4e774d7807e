//! Observers of messages, the health of a bus, and the trace that travels.

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
