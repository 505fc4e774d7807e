//! Changes of the connection to the broker and of endpoints.

use std::time::SystemTime;

use super::health::EndpointState;
use crate::transport::Health;

/// A change of the connections to the broker.
///
/// One health stands for all connections of a transport: the worst of theirs.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConnectionChange<'a> {
    /// Address of the broker, without credentials.
    pub address: &'a str,
    /// Health before the change; `None` at the start of the bus.
    pub previous: Option<&'a Health>,
    /// Health from now on, with the reason if it is not up.
    pub health: &'a Health,
}

/// A change of an endpoint's state.
///
/// A listener that is lost shows as `Running → Unavailable`, one that is back as
/// `Unavailable → Running`, a pause as `Running → Pausing → Paused`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct EndpointChange<'a> {
    /// Name of the endpoint.
    pub endpoint: &'a str,
    /// State before the change.
    pub previous: EndpointState,
    /// State from now on.
    pub state: EndpointState,
    /// Instant of the change.
    ///
    /// Orders changes that are reported at once from several threads.
    pub since: SystemTime,
    /// Reason for the state, where there is one.
    pub reason: Option<&'a str>,
}
