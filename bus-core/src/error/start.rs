//! Errors of the start of a bus.

use std::fmt;
use std::time::Duration;

use super::consume::BoxError;
use crate::transport::TransportError;

/// Error of the start of a bus.
///
/// The transport is closed; declared exchanges and queues stay. Another start, with a new builder,
/// may follow.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The settings contradict each other; nothing was connected.
    ///
    /// Lists all mistakes at once.
    #[error("the bus is not configured right:{0}")]
    Configuration(Mistakes),
    /// The broker refused the connection, the credentials or the virtual host.
    #[error("the bus cannot connect: {0}")]
    Connect(#[from] TransportError),
    /// The broker did not come up within the start timeout.
    ///
    /// A broker that refuses is not waited for, one that is away is.
    #[error("no broker answered at {address} within {after:?}")]
    Timeout {
        /// Address that was tried.
        address: String,
        /// The start timeout.
        after: Duration,
    },
    /// The broker refused what an endpoint needs.
    #[error("endpoint `{endpoint}` cannot start: {source}")]
    Endpoint {
        /// Name of the endpoint.
        endpoint: String,
        /// The refusal of the broker.
        source: TransportError,
    },
    /// The idempotency store or the unit of work of an endpoint could not be prepared.
    ///
    /// Nothing was declared.
    #[error("endpoint `{endpoint}` cannot start: {source}")]
    Store {
        /// Name of the endpoint.
        endpoint: String,
        /// Error of the store, or an error with the text of its panic.
        source: BoxError,
    },
    /// A background service could not be prepared; nothing was declared.
    #[error("background service `{service}` cannot start: {source}")]
    Background {
        /// Name of the service.
        service: String,
        /// Its error, or an error with the text of its panic.
        source: BoxError,
    },
}

/// All mistakes of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<String>);

impl Mistakes {
    pub(crate) fn new(mistakes: Vec<String>) -> Self {
        Self(mistakes)
    }

    /// The texts, one for each mistake: what is wrong, where, and what to do.
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
