//! Log of the queues whose messages had to be changed to be read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::socket::SocketHandle;

/// Interval at which the log repeats the warning for one subscription.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Follows the changes that the socket made for one subscription.
///
/// Costs one look at a counter for each delivery. The socket sees channels only; a subscription has
/// a channel of its own, so the number of the channel names the queue.
pub(crate) struct ForeignBytes {
    queue: String,
    /// Number of changes on the whole connection at the last look.
    seen: AtomicU64,
    /// Last warning.
    said: Mutex<Said>,
}

/// Number of changes on the channel when the last warning was logged, and its time.
#[derive(Default)]
struct Said {
    count: u64,
    at: Option<Instant>,
}

impl ForeignBytes {
    /// Begins at the present number of changes.
    ///
    /// Older ones came to other subscriptions of the connection.
    pub(crate) fn new(queue: &str, socket: &SocketHandle) -> Self {
        Self {
            queue: queue.to_owned(),
            seen: AtomicU64::new(socket.sanitized()),
            said: Mutex::default(),
        }
    }

    /// Logs a warning if something was changed on this channel since the last look.
    ///
    /// At most one warning a minute is logged for each subscription.
    pub(crate) fn look(&self, channel: u16, socket: &SocketHandle) {
        let now = socket.sanitized();
        if self.seen.load(Ordering::Relaxed) == now {
            return;
        }
        self.seen.store(now, Ordering::Relaxed);
        let count = socket.sanitized_on(channel);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = said.at.is_none_or(|at| at.elapsed() >= SAY_AGAIN);
        if count > said.count && is_news {
            tracing::warn!(
                queue = self.queue,
                count,
                "messages have properties that are no UTF-8, or headers that are nested too deep; \
                 each byte that is no UTF-8 is read as `?`, each list that is too deep as bytes"
            );
            *said = Said {
                count,
                at: Some(Instant::now()),
            };
        }
    }
}
