//! Health of a bus and its endpoints, as known now.

use std::time::SystemTime;

use serde::Serialize;

use super::background::BackgroundHealth;
use crate::serde_helpers::{serialize_instant, serialize_optional_instant};
use crate::transport::Health;

/// Health of a bus.
///
/// A snapshot: it does not change after it was taken. It serializes to what an operator can read.
///
/// ```
/// use bus_core::observe::BusHealth;
///
/// /// Answers of two probes, as status codes of HTTP.
/// fn probes(health: &BusHealth) -> (u16, u16) {
///     let code = |is_fine| if is_fine { 200 } else { 503 };
///     (code(health.is_live()), code(health.is_ready()))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BusHealth {
    /// Health of the connections to the broker and of the reply queue.
    ///
    /// The reply queue counts once there was a request.
    pub transport: Health,
    /// Health of the endpoints, in the order in which they were added.
    pub endpoints: Vec<EndpointHealth>,
    /// Health of the background services, in the order in which they were added.
    pub background: Vec<BackgroundHealth>,
    is_stopped: bool,
}

impl BusHealth {
    pub(crate) fn new(
        transport: Health,
        endpoints: Vec<EndpointHealth>,
        background: Vec<BackgroundHealth>,
        is_stopped: bool,
    ) -> Self {
        Self {
            transport,
            endpoints,
            background,
            is_stopped,
        }
    }

    /// Returns `true` if the transport, endpoints and background services are well.
    ///
    /// A paused endpoint is well: it does as it was asked. So is a background service that has done
    /// its work.
    pub fn is_healthy(&self) -> bool {
        let is_up = self.transport == Health::Up;
        let mut endpoints = self.endpoints.iter();
        let mut background = self.background.iter();
        is_up
            && endpoints.all(EndpointHealth::is_healthy)
            && background.all(BackgroundHealth::is_healthy)
    }

    /// Returns `true` unless the bus was shut down: for a liveness probe.
    ///
    /// It does not follow the broker, as no restart of this process brings one back; nor the
    /// background services, as the bus itself runs one again that has failed.
    pub fn is_live(&self) -> bool {
        !self.is_stopped
    }

    /// Returns `true` if the bus can send and its endpoints take messages.
    ///
    /// For a readiness probe. Degraded parts and paused endpoints are ready. A background service
    /// that is down counts as a degraded part, and so does an endpoint whose kill switch has
    /// tripped: what it does is late, while the process still serves its callers; and if a common
    /// cause puts down that of each instance, none would be left to serve them. A service whose
    /// callers depend on it reads [`background_service`](Self::background_service) in its probe.
    pub fn is_ready(&self) -> bool {
        let is_up = !matches!(self.transport, Health::Down(_));
        let mut endpoints = self.endpoints.iter();
        is_up
            && self.is_live()
            && endpoints.all(|one| {
                one.is_running() || one.is_paused() || one.state == EndpointState::Tripped
            })
    }

    /// The health of one endpoint, by name; `None` if the bus has no such endpoint.
    pub fn endpoint(&self, name: &str) -> Option<&EndpointHealth> {
        self.endpoints.iter().find(|one| one.name == name)
    }

    /// The health of one background service, by name.
    ///
    /// `None` if the bus has no such service.
    pub fn background_service(&self, name: &str) -> Option<&BackgroundHealth> {
        self.background.iter().find(|one| one.name == name)
    }
}

/// Health of one endpoint.
///
/// ```
/// use bus_core::observe::BusHealth;
///
/// fn complain(health: &BusHealth) {
///     for endpoint in health.endpoints.iter().filter(|endpoint| !endpoint.is_healthy()) {
///         eprintln!("{}: {:?} since {:?}", endpoint.name, endpoint.state, endpoint.since);
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EndpointHealth {
    /// Name of the endpoint.
    pub name: String,
    /// State of the endpoint.
    pub state: EndpointState,
    /// Instant from which the endpoint is in this state, as far as this process knows.
    #[serde(serialize_with = "serialize_instant")]
    pub since: SystemTime,
    /// Reason for the state; `None` if the endpoint is running.
    pub reason: Option<String>,
    /// Instant at which a paused endpoint resumes by itself; `None` if it does not.
    #[serde(serialize_with = "serialize_optional_instant")]
    pub until: Option<SystemTime>,
}

/// State of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndpointState {
    /// Not consumed yet, after the start or a pause.
    Starting,
    /// Takes and handles messages.
    Running,
    /// Takes messages, but some of them suffer from what the reason says.
    Degraded,
    /// Takes no messages: the broker is away, or the queue cannot be consumed.
    ///
    /// The endpoint goes on by itself when that has passed.
    Unavailable,
    /// Takes no more messages; running consumers end.
    Pausing,
    /// Takes no messages, as it was asked.
    Paused,
    /// Takes no messages for a time, as too many of them have failed.
    ///
    /// See [`KillSwitch`](crate::KillSwitch).
    Tripped,
    /// Stopped for good, with its bus.
    Stopped,
}

impl EndpointHealth {
    /// Returns `true` if the endpoint is running, or is paused as asked.
    pub fn is_healthy(&self) -> bool {
        self.state == EndpointState::Running || self.is_paused()
    }

    /// Returns `true` if the endpoint takes messages: it is running, even if degraded.
    pub fn is_running(&self) -> bool {
        matches!(self.state, EndpointState::Running | EndpointState::Degraded)
    }

    /// Returns `true` if the endpoint was asked to pause.
    pub fn is_paused(&self) -> bool {
        matches!(self.state, EndpointState::Pausing | EndpointState::Paused)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::background::BackgroundState;
    use super::*;

    fn background(state: BackgroundState) -> BackgroundHealth {
        BackgroundHealth {
            name: "relay".to_owned(),
            state,
            since: SystemTime::UNIX_EPOCH,
            reason: None,
        }
    }

    fn endpoint(state: EndpointState) -> EndpointHealth {
        EndpointHealth {
            name: "orders".to_owned(),
            state,
            since: SystemTime::UNIX_EPOCH,
            reason: None,
            until: None,
        }
    }

    fn probes(health: &BusHealth) -> [bool; 3] {
        [health.is_healthy(), health.is_ready(), health.is_live()]
    }

    #[test]
    fn probes_follow_what_they_are_for() {
        let away = || Health::Down("away".to_owned());
        let blocked = || Health::Degraded("blocked".to_owned());
        for (transport, state, is_stopped, expected) in [
            (Health::Up, EndpointState::Running, false, [true; 3]),
            (Health::Up, EndpointState::Paused, false, [true; 3]),
            (
                Health::Up,
                EndpointState::Degraded,
                false,
                [false, true, true],
            ),
            (
                blocked(),
                EndpointState::Running,
                false,
                [false, true, true],
            ),
            (
                Health::Up,
                EndpointState::Tripped,
                false,
                [false, true, true],
            ),
            (
                away(),
                EndpointState::Unavailable,
                false,
                [false, false, true],
            ),
            (
                Health::Up,
                EndpointState::Starting,
                false,
                [false, false, true],
            ),
            (away(), EndpointState::Stopped, true, [false; 3]),
        ] {
            let health = BusHealth::new(transport, vec![endpoint(state)], Vec::new(), is_stopped);
            assert_eq!(probes(&health), expected, "{health:?}");
        }
    }

    #[test]
    fn a_background_service_that_is_down_is_a_degraded_part() {
        for (state, is_healthy) in [
            (BackgroundState::Running, true),
            (BackgroundState::Done, true),
            (BackgroundState::Degraded, false),
            (BackgroundState::Down, false),
        ] {
            let endpoints = vec![endpoint(EndpointState::Running)];
            let health = BusHealth::new(Health::Up, endpoints, vec![background(state)], false);
            assert_eq!(probes(&health), [is_healthy, true, true], "{health:?}");
        }
    }

    #[test]
    fn it_serializes_to_what_an_operator_can_read() {
        let transport = Health::Degraded("blocked".to_owned());
        let endpoints = vec![endpoint(EndpointState::Running)];
        let services = vec![background(BackgroundState::Down)];
        let health = BusHealth::new(transport, endpoints, services, false);
        let expected = json!({
            "transport": {"state": "degraded", "reason": "blocked"},
            "endpoints": [
                {"name": "orders", "state": "running", "since": "1970-01-01T00:00:00Z", "reason": null,
                 "until": null}
            ],
            "background": [
                {"name": "relay", "state": "down", "since": "1970-01-01T00:00:00Z", "reason": null}
            ],
            "is_stopped": false
        });
        assert_eq!(serde_json::to_value(&health).unwrap(), expected);
    }
}
