//! Consumers that fail at random.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bus_core::{ConsumeContext, ConsumeResult, Middleware, Next, async_trait};

use crate::share::Share;

/// Lets a share of attempts fail: half of them before the consumer ran, half of them after it has
/// done its work.
///
/// Spares the last attempt that the services' retries allow, so that nothing ends in an error
/// queue.
#[derive(Clone, Debug)]
pub struct Unreliable {
    share: Share,
    retries: u32,
    failed: Arc<AtomicUsize>,
}

impl Unreliable {
    /// For endpoints that try again.
    pub fn retried(share: Share) -> Self {
        Self {
            share,
            retries: crate::RETRIES,
            failed: Arc::default(),
        }
    }

    /// For endpoints that never do, where what fails is lost.
    pub fn lossy(share: Share) -> Self {
        Self {
            share,
            retries: 0,
            failed: Arc::default(),
        }
    }

    /// How many attempts failed. Clones count together.
    pub fn failed(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }

    fn strikes(&self, attempt: u32) -> bool {
        let is_spared = self.retries > 0 && attempt > self.retries;
        !is_spared && self.share.draw()
    }
}

#[async_trait]
impl Middleware for Unreliable {
    async fn handle(&self, ctx: ConsumeContext, next: Next) -> ConsumeResult {
        if !self.strikes(ctx.attempt()) {
            return next.run(ctx).await;
        }
        // A consumer that worked and failed nevertheless is the harder case. Where nobody tries
        // again it would look like success, so there only the other one.
        if self.retries > 0 && Share::HALF.draw() {
            next.run(ctx).await?;
        }
        self.failed.fetch_add(1, Ordering::Relaxed);
        Err("failed on purpose".into())
    }
}
