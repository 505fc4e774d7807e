//! The audit: overhears every command that reaches the invoice service, whatever its type.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use bus_core::{ConsumeContext, ConsumeError, ConsumeResult, Consumer, Endpoint, RawMessage};
use uuid::Uuid;

use crate::contracts::INVOICE_SERVICE;
use crate::locked;

/// The queue of the copies.
pub const QUEUE: &str = "audit";

/// Which messages were overheard, by id. It is a set, so that neither a second copy nor a second attempt counts twice.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<HashSet<Uuid>>>);

impl Journal {
    /// How many messages were overheard.
    pub fn count(&self) -> usize {
        locked(&self.0).len()
    }
}

/// A wire tap on the invoice service: it gets a copy of everything, also of what comes twice, and the service does not
/// notice.
pub fn endpoint(journal: Journal) -> Endpoint {
    Endpoint::new(QUEUE)
        .tap(INVOICE_SERVICE)
        .retry(crate::retry())
        .consume_any(Audit { journal })
}

struct Audit {
    journal: Journal,
}

impl Consumer<RawMessage> for Audit {
    async fn consume(&self, ctx: ConsumeContext<RawMessage>) -> ConsumeResult {
        let id = ctx
            .message_id()
            .ok_or_else(|| ConsumeError::permanent("a message without an id cannot be audited"))?;
        locked(&self.journal.0).insert(id);
        let bytes = ctx.message().bytes().len();
        tracing::debug!(%id, types = ?ctx.envelope().message_types, bytes, "overheard");
        Ok(())
    }
}
