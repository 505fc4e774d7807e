//! Running consumers.
//!
//! The broker no longer knows of a delivery that is acknowledged before it is handled.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bus_core::{ConsumeContext, ConsumeResult, Middleware, Next, async_trait};
use tokio::sync::Notify;

use super::in_flight::InFlight;
use super::journal::type_name;

/// Deliveries that consumers handle now.
#[derive(Debug, Default)]
pub(super) struct Workers {
    running: Mutex<Running>,
    idle: Notify,
}

#[derive(Debug, Default)]
struct Running {
    next: u64,
    deliveries: BTreeMap<u64, InFlight>,
}

impl Workers {
    /// Notified whenever the last delivery is done.
    pub(super) fn idle(&self) -> &Notify {
        &self.idle
    }

    pub(super) fn is_idle(&self) -> bool {
        self.lock().deliveries.is_empty()
    }

    pub(super) fn deliveries(&self) -> Vec<InFlight> {
        self.lock().deliveries.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, ctx: &ConsumeContext) -> Work<'_> {
        let delivery = InFlight::running(
            ctx.endpoint(),
            type_name(ctx.envelope()),
            ctx.incoming().message_id.clone(),
        );
        let mut running = self.lock();
        running.next += 1;
        let id = running.next;
        running.deliveries.insert(id, delivery);
        Work { workers: self, id }
    }
}

/// Delivery that is being handled, until this is dropped.
///
/// Consumers may be cancelled.
struct Work<'a> {
    workers: &'a Workers,
    id: u64,
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        let mut running = self.workers.lock();
        running.deliveries.remove(&self.id);
        let is_idle = running.deliveries.is_empty();
        drop(running);
        if is_idle {
            self.workers.idle.notify_waiters();
        }
    }
}

/// Middleware that counts running consumers.
pub(super) struct Working(Arc<Workers>);

impl Working {
    pub(super) fn new(workers: Arc<Workers>) -> Self {
        Self(workers)
    }
}

#[async_trait]
impl Middleware for Working {
    async fn handle(&self, ctx: ConsumeContext, next: Next) -> ConsumeResult {
        let _work = self.0.begin(&ctx);
        next.run(ctx).await
    }
}
