//! State shared by attempts to connect: waits between them, and what is logged.

use std::collections::HashMap;
use std::time::Duration;

use bus_core::transport::Backoff;
use tokio::sync::watch;
use tokio::time::Instant;

/// Interval at which the log repeats the reason for a missing connection.
const COMPLAIN_AGAIN: Duration = Duration::from_secs(60);

/// Signals of the links of one transport.
///
/// A broker that one link has reached can be reached by the other, so that one stops waiting.
/// Otherwise an endpoint could stay without a connection for the longest back-off after publishing
/// works again.
#[derive(Clone)]
pub(crate) struct Siblings {
    /// Number of connections; the other links need not wait any longer after one.
    reached: watch::Sender<u64>,
    /// Notified when the health of a link or listener may have changed.
    health: watch::Sender<()>,
}

impl Siblings {
    pub(crate) fn new() -> Self {
        Self {
            reached: watch::Sender::new(0),
            health: watch::Sender::new(()),
        }
    }

    /// Subscribes to changes of health from now on.
    pub(crate) fn health_changes(&self) -> watch::Receiver<()> {
        self.health.subscribe()
    }

    /// Reports that the health of a link or listener may have changed.
    pub(crate) fn health_changed(&self) {
        self.health.send_replace(());
    }

    /// Subscribes to the connections of the other links from now on.
    pub(crate) fn listen(&self) -> watch::Receiver<u64> {
        self.reached.subscribe()
    }

    /// Ends the waits of the other links.
    pub(crate) fn reached(&self) {
        self.reached.send_modify(|count| *count += 1);
    }

    /// Waits for the time that `backoff` gives, or until another link is connected.
    ///
    /// Connections from before the call do not count, as an attempt has failed since.
    pub(crate) async fn wait(&self, mine: &mut watch::Receiver<u64>, backoff: &mut Backoff) {
        mine.mark_unchanged();
        tokio::select! {
            () = backoff.wait() => {}
            // The sender lives as long as `self`.
            _ = mine.changed() => backoff.reset(),
        }
    }
}

/// Reasons that were logged for failed attempts to connect.
///
/// Each reason is logged at once, and again every minute. Dropped with the next connection.
#[derive(Default)]
pub(crate) struct Complaints(HashMap<String, Instant>);

impl Complaints {
    /// Returns `true` if a reason is to be logged now.
    pub(crate) fn is_news(&mut self, reason: &str) -> bool {
        let now = Instant::now();
        let known = self.0.get(reason);
        let is_news = known.is_none_or(|last| now.duration_since(*last) >= COMPLAIN_AGAIN);
        if is_news {
            self.0.insert(reason.to_owned(), now);
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_link_that_connects_ends_the_waits_of_the_others() {
        let hour = Duration::from_secs(60 * 60);
        let siblings = Siblings::new();
        let mut mine = siblings.listen();
        siblings.reached();
        let mut backoff = Backoff::new(hour, hour);
        let started = Instant::now();
        let waiting = siblings.wait(&mut mine, &mut backoff);
        let reached = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            siblings.reached();
        };
        tokio::join!(waiting, reached);
        assert_eq!(
            started.elapsed(),
            Duration::from_secs(1),
            "not at what was before"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_reason_is_logged_once_a_minute() {
        let mut complaints = Complaints::default();
        assert!(complaints.is_news("refused"));
        assert!(!complaints.is_news("refused"));
        assert!(complaints.is_news("no answer"));
        tokio::time::advance(COMPLAIN_AGAIN).await;
        assert!(complaints.is_news("refused"));
    }
}
