//! Settings of batches.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::consume::{BatchLimits, ConsumeContext};

/// Time for which a batch waits for more messages by default.
const DEFAULT_TIME: Duration = Duration::from_secs(1);

pub(super) type KeyOf<M, K> = dyn Fn(&ConsumeContext<M>) -> K + Send + Sync;

/// Size of batches, the time that they wait, and the messages that belong together.
///
/// For [`Endpoint::batch`](crate::Endpoint::batch). `M` is the type of the messages, `K` that of
/// their key.
///
/// ```
/// use std::time::Duration;
/// use bus_core::batch::{Batch, Batching};
/// use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Message)]
/// #[message("Weather:Reading")]
/// struct Reading { sensor: String, celsius: f64 }
///
/// /// Stores the readings of one sensor.
/// async fn store(batch: Batch<Reading>) -> ConsumeResult {
///     println!("{} readings", batch.len());
///     Ok(())
/// }
///
/// let batching = Batching::of(100)
///     .within(Duration::from_millis(500))
///     .in_parallel(4)
///     .group_by(|ctx: &ConsumeContext<Reading>| ctx.message().sensor.clone());
/// let endpoint = Endpoint::new("readings").batch(batching, store);
/// # let _ = endpoint;
/// ```
#[must_use = "give it to an endpoint with .batch(…)"]
pub struct Batching<M, K = ()> {
    pub(super) limits: BatchLimits,
    pub(super) key: Arc<KeyOf<M, K>>,
}

impl<M> Batching<M> {
    /// Creates the settings of batches of up to `size` messages.
    ///
    /// 0 is a configuration mistake.
    pub fn of(size: usize) -> Self {
        let limits = BatchLimits {
            size,
            time: DEFAULT_TIME,
            parallel: 1,
        };
        Self {
            limits,
            key: Arc::new(|_| ()),
        }
    }
}

impl<M, K> Batching<M, K> {
    /// Sets the time for which a batch waits for more messages.
    ///
    /// It counts from the first message on. Default: one second. Zero is a configuration mistake.
    pub fn within(mut self, time: Duration) -> Self {
        self.limits.time = time;
        self
    }

    /// Sets the number of batches that are consumed at once.
    ///
    /// A batch that waits for its turn goes on collecting, up to its size. Default: 1; 0 is a
    /// configuration mistake.
    pub fn in_parallel(mut self, count: usize) -> Self {
        self.limits.parallel = count;
        self
    }

    /// Lets only messages of one key be in a batch.
    ///
    /// Default: all messages belong together. With many keys, most batches end by their time, and
    /// the messages that wait in the others hold concurrency slots meanwhile. A key that panics
    /// fails its message.
    pub fn group_by<L: Eq + Hash>(
        self,
        key: impl Fn(&ConsumeContext<M>) -> L + Send + Sync + 'static,
    ) -> Batching<M, L> {
        Batching {
            limits: self.limits,
            key: Arc::new(key),
        }
    }
}

impl<M, K> Clone for Batching<M, K> {
    fn clone(&self) -> Self {
        Self {
            limits: self.limits,
            key: Arc::clone(&self.key),
        }
    }
}

impl<M, K> fmt::Debug for Batching<M, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batching")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
