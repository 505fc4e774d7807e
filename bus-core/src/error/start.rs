//! Why a bus does not start.

use std::fmt;
use std::time::Duration;

use crate::transport::TransportError;

/// Why a bus does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The settings contradict each other; nothing was connected.
    #[error("the bus is not configured right:{0}")]
    Configuration(Mistakes),
    /// The broker refused the connection, the credentials or the virtual host.
    #[error("the bus cannot connect: {0}")]
    Connect(#[from] TransportError),
    /// The broker did not come up in time.
    #[error("no broker answered at {address} within {after:?}")]
    Timeout {
        /// Where was tried.
        address: String,
        /// How long.
        after: Duration,
    },
    /// The broker refused what an endpoint needs.
    #[error("endpoint `{endpoint}` cannot start: {source}")]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// What the broker refused.
        source: TransportError,
    },
}

/// All mistakes of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<String>);

impl Mistakes {
    pub(crate) fn new(mistakes: Vec<String>) -> Self {
        Self(mistakes)
    }

    /// Each mistake: what is wrong, where, and what to do.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|mistake| write!(f, "\n  - {mistake}"))
    }
}
