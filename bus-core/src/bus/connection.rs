//! Reports of the connections' health to observers.

use std::sync::{Arc, Weak};

use tokio::sync::watch;

use crate::observe::{ConnectionChange, Observers};
use crate::transport::{Health, Transport};

/// Reports the health of a transport now and whenever it changes.
///
/// Without observers, nothing runs.
pub(super) fn report(transport: &Arc<dyn Transport>, observers: Observers) {
    if observers.is_empty() {
        return;
    }
    let changes = transport.health_changes();
    let reporter = Reporter {
        address: transport.base_address(),
        transport: Arc::downgrade(transport),
        observers,
        known: None,
    };
    tokio::spawn(reporter.run(changes));
}

struct Reporter {
    address: String,
    /// A bus that is dropped must be able to drop its transport.
    transport: Weak<dyn Transport>,
    observers: Observers,
    known: Option<Health>,
}

impl Reporter {
    async fn run(mut self, mut changes: watch::Receiver<()>) {
        while self.look().is_some() && changes.changed().await.is_ok() {}
    }

    fn look(&mut self) -> Option<()> {
        let health = self.transport.upgrade()?.health();
        if self.known.as_ref() != Some(&health) {
            let change = ConnectionChange {
                address: &self.address,
                previous: self.known.as_ref(),
                health: &health,
            };
            self.observers
                .tell(|observer| observer.connection_changed(&change));
            self.known = Some(health);
        }
        Some(())
    }
}
