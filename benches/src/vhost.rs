//! Place where a case runs: a virtual host of its own on the broker of the run.

use std::sync::atomic::{AtomicUsize, Ordering};

use bus_tests::Broker;

static OPENED: AtomicUsize = AtomicUsize::new(1);

/// A virtual host with nothing in it.
pub(crate) struct VirtualHost {
    name: String,
    url: String,
}

impl VirtualHost {
    pub(crate) async fn open() -> Self {
        let broker = Broker::controlled().await;
        // Short, as it is in the addresses of every body. The broker is ours, so a number is enough.
        let name = format!("bench-{}", OPENED.fetch_add(1, Ordering::Relaxed));
        broker.add_virtual_host(&name).await;
        let url = broker.url_as("guest", "guest", &name);
        Self { name, url }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn close(self) {
        let broker = Broker::controlled().await;
        broker.control(&["delete_vhost", &self.name]).await;
    }
}
