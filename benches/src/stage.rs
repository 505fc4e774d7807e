//! Where a case runs: a virtual host of its own on the broker of the run.

use bus_tests::Broker;
use uuid::Uuid;

/// A virtual host with nothing in it.
pub(crate) struct Stage {
    vhost: String,
    url: String,
}

impl Stage {
    pub(crate) async fn open() -> Self {
        let broker = Broker::controlled().await;
        let vhost = format!("bench-{}", Uuid::new_v4().simple());
        broker.control(&["add_vhost", &vhost]).await;
        broker
            .control(&["set_permissions", "-p", &vhost, "guest", ".*", ".*", ".*"])
            .await;
        let url = broker.url_as("guest", "guest", &vhost);
        Self { vhost, url }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn close(self) {
        let broker = Broker::controlled().await;
        broker.control(&["delete_vhost", &self.vhost]).await;
    }
}
