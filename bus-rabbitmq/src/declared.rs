//! What is known to be on the broker.

use std::collections::HashSet;

use bus_core::transport::{Target, TransportError};

use crate::connection::Live;
use crate::error::no_exchange;
use crate::topology;

/// The exchanges and queues that were declared, or found, since the channel was opened.
#[derive(Default)]
pub(crate) struct Declared {
    exchanges: HashSet<String>,
    queues: HashSet<String>,
}

impl Declared {
    pub(crate) fn knows(&self, target: &Target) -> bool {
        match target {
            Target::Exchange { name, .. } => self.exchanges.contains(name.as_ref()),
            Target::Queue(name) => self.queues.contains(name.as_ref()),
            // The default exchange is always there, and routes to what is there.
            Target::Inbox(_) => true,
        }
    }

    pub(crate) fn add(&mut self, target: &Target) {
        let known = match target {
            Target::Queue(_) => &mut self.queues,
            Target::Exchange { .. } | Target::Inbox(_) => &mut self.exchanges,
        };
        known.insert(target.name().to_owned());
    }
}

/// Makes sure that a message finds what it is sent to.
pub(crate) async fn declare(live: &Live, target: &Target) -> Result<(), TransportError> {
    match target {
        Target::Inbox(_) => Ok(()),
        Target::Queue(name) => topology::ensure_queue(live, name).await,
        Target::Exchange {
            topology: Some(topology),
            ..
        } => topology::declare(live, topology).await,
        Target::Exchange {
            name,
            topology: None,
        } => {
            if topology::exchange_exists(live, name).await? {
                Ok(())
            } else {
                Err(no_exchange(name))
            }
        }
    }
}
