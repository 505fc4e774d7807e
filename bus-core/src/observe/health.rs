//! Health of a bus and its endpoints, as known now.

use crate::transport::Health;

/// Health of a bus.
///
/// A snapshot: it does not change after it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BusHealth {
    /// Health of the connections to the broker and of the reply queue.
    ///
    /// The reply queue counts once there was a request.
    pub transport: Health,
    /// Health of the endpoints, in the order in which they were added.
    pub endpoints: Vec<EndpointHealth>,
}

impl BusHealth {
    pub(crate) fn new(transport: Health, endpoints: Vec<EndpointHealth>) -> Self {
        Self {
            transport,
            endpoints,
        }
    }

    /// Returns `true` if the transport and all endpoints are up.
    ///
    /// A paused endpoint is down.
    pub fn is_healthy(&self) -> bool {
        let is_up = |health: &Health| *health == Health::Up;
        is_up(&self.transport) && self.endpoints.iter().all(|one| is_up(&one.health))
    }

    /// The health of one endpoint, by name; `None` if the bus has no such endpoint.
    pub fn endpoint(&self, name: &str) -> Option<&EndpointHealth> {
        self.endpoints.iter().find(|one| one.name == name)
    }
}

/// Health of one endpoint.
///
/// ```
/// use bus_core::observe::BusHealth;
/// use bus_core::transport::Health;
///
/// fn complain(health: &BusHealth) {
///     for endpoint in &health.endpoints {
///         if let Health::Degraded(reason) | Health::Down(reason) = &endpoint.health {
///             eprintln!("{}: {reason}", endpoint.name);
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointHealth {
    /// Name of the endpoint.
    pub name: String,
    /// State of the endpoint.
    ///
    /// Up: it takes and handles messages. Degraded: it does, but the text says what some of them
    /// suffer. Down: it takes none, as it is paused or stopped, or as its queue cannot be consumed.
    pub health: Health,
}

impl EndpointHealth {
    pub(crate) fn new(name: &str, health: Health) -> Self {
        Self {
            name: name.to_owned(),
            health,
        }
    }

    /// Returns `true` if the endpoint takes messages: its health is up or degraded.
    pub fn is_running(&self) -> bool {
        !matches!(self.health, Health::Down(_))
    }
}

/// The worse of two, with the texts of both if they are equally bad.
pub(crate) fn worse(one: Health, other: Health) -> Health {
    let join = |one, other| format!("{one}; {other}");
    match (one, other) {
        (Health::Up, health) | (health, Health::Up) => health,
        (Health::Down(one), Health::Down(other)) => Health::Down(join(one, other)),
        (Health::Down(text), _) | (_, Health::Down(text)) => Health::Down(text),
        (Health::Degraded(one), Health::Degraded(other)) => Health::Degraded(join(one, other)),
    }
}
