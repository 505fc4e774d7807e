//! The background services of a bus, prepared, started and stopped in order.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::service::BackgroundService;
use super::supervisor::{Supervisor, caught};
use crate::error::StartError;
use crate::observe::BackgroundHealth;
use crate::send::Sender;

/// Time to end that each service has, also where others left none.
const AT_LEAST: Duration = Duration::from_secs(1);

/// Prepares services, one after the other.
pub(crate) async fn prepare(services: &[Arc<dyn BackgroundService>]) -> Result<(), StartError> {
    for service in services {
        let prepared = caught(async { service.prepare().await }).await;
        prepared.map_err(|source| StartError::Background {
            service: service.name().to_owned(),
            source,
        })?;
    }
    Ok(())
}

/// The background services of a running bus, in the order in which they were added.
///
/// Dropped, it ends them at their next await.
pub(crate) struct Services(Vec<Supervisor>);

impl Services {
    pub(crate) fn start(services: Vec<Arc<dyn BackgroundService>>, sender: &Sender) -> Self {
        let services = services.into_iter();
        Self(
            services
                .map(|service| Supervisor::start(service, sender.clone()))
                .collect(),
        )
    }

    pub(crate) fn health(&self) -> Vec<BackgroundHealth> {
        self.0.iter().map(Supervisor::health).collect()
    }

    /// Stops the services, the last one first, as it may need those before it.
    ///
    /// Returns the names of those that did not end before the deadline and were aborted. One that
    /// is stuck costs the others no more than the time up to the deadline.
    pub(crate) async fn stop(&self, deadline: Option<Instant>) -> Vec<String> {
        let mut late = Vec::new();
        for service in self.0.iter().rev() {
            let deadline = deadline.map(|deadline| deadline.max(Instant::now() + AT_LEAST));
            if !service.stop(deadline).await {
                late.push(service.name().to_owned());
            }
        }
        late
    }
}
