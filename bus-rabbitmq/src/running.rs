//! Connections and publishers of a transport that is connected.
//!
//! ```text
//!  publishing link ─┬─ publisher: exchanges and queues, in the order of the sends
//!                   └─ replies: answers, which must not wait behind the others
//!  consuming link ──── a channel for each endpoint, exclusive reply queues
//! ```
//!
//! Two connections, as RabbitMQ throttles a publisher by not reading from its connection: on a
//! shared one, acknowledgements would wait with the messages.

use std::sync::Arc;
use std::time::Duration;

use bus_core::transport::{Health, TransportError, TransportErrorKind};
use tokio::sync::OnceCell;

use crate::config::Config;
use crate::connection::{Link, Patience, Siblings};
use crate::delay::Delays;
use crate::publish::Publisher;
use crate::topology::KnownQueues;

/// Time for which `close` waits for messages that are on their way.
const DRAIN: Duration = Duration::from_secs(5);

/// Parts that exist once a transport is connected.
pub(crate) struct Running {
    pub(crate) config: Arc<Config>,
    siblings: Siblings,
    pub(crate) publishing: Arc<Link>,
    /// Link to consume on; a process that only publishes has none.
    ///
    /// Each link takes a thread and 8 MiB of the client's buffers.
    consuming: OnceCell<Arc<Link>>,
    pub(crate) publisher: Publisher,
    /// Publisher of replies, so that they do not wait behind other messages.
    pub(crate) replies: Publisher,
    pub(crate) delays: Delays,
}

impl Running {
    /// Connects the publishing link, and starts the publishers on it.
    ///
    /// Waits for a broker that is away; fails for one that refuses the settings.
    pub(crate) async fn start(
        config: &Config,
        siblings: &Siblings,
    ) -> Result<Self, TransportError> {
        let config = Arc::new(config.clone());
        if let Some(mistake) = config.mistakes().first() {
            return Err(TransportError::new(
                TransportErrorKind::Unreachable,
                mistake,
            ));
        }
        let siblings = siblings.clone();
        let publishing = Link::start(
            Arc::clone(&config),
            "publish",
            siblings.clone(),
            Patience::UntilRefused,
        );
        publishing.up().await?;
        let window = config.confirm_window;
        let (solitude, queues) = (Arc::default(), KnownQueues::default());
        let publisher = || {
            let link = Arc::clone(&publishing);
            Publisher::start(link, window, Arc::clone(&solitude), queues.clone())
        };
        Ok(Self {
            publisher: publisher(),
            replies: publisher(),
            delays: Delays::new(&config.delay_prefix, queues.clone()),
            config,
            siblings,
            publishing,
            consuming: OnceCell::new(),
        })
    }

    /// Returns the link to consume on, made for the first that needs it.
    ///
    /// The publishing link has shown that the settings are right.
    pub(crate) async fn consuming(&self) -> &Arc<Link> {
        let start = || async {
            Link::start(
                Arc::clone(&self.config),
                "consume",
                self.siblings.clone(),
                Patience::Always,
            )
        };
        self.consuming.get_or_init(start).await
    }

    /// Returns the link on which the destinations of delayed messages are bound.
    ///
    /// The consuming one, if there is one: exclusive queues belong to it.
    pub(crate) fn declaring(&self) -> &Link {
        self.consuming.get().unwrap_or(&self.publishing)
    }

    /// Reports the worse state of the two links.
    ///
    /// A consuming link that was never needed is no trouble.
    pub(crate) fn health(&self) -> Health {
        let consuming = self.consuming.get();
        let consuming = consuming.map_or(Health::Up, |link| link.health());
        match (self.publishing.health(), consuming) {
            (Health::Up, Health::Up) => Health::Up,
            (down @ Health::Down(_), _) | (_, down @ Health::Down(_)) => down,
            (Health::Up, degraded) | (degraded, _) => degraded,
        }
    }

    /// Ends the publishers, then the links.
    ///
    /// The publishers get [`DRAIN`] to see their last confirms. Listeners were closed before by the
    /// bus.
    pub(crate) async fn close(&self) {
        let publishers = (self.publisher.close(DRAIN), self.replies.close(DRAIN));
        let (published, replied) = tokio::join!(publishers.0, publishers.1);
        let left = published + replied;
        if left > 0 {
            tracing::warn!(
                left,
                "messages without a confirm are left behind by shutdown"
            );
        }
        let consuming = async {
            if let Some(consuming) = self.consuming.get() {
                consuming.close().await;
            }
        };
        tokio::join!(self.publishing.close(), consuming);
    }
}
