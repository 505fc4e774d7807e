//! Error of a limit that is changed at run time.

use crate::transport::TransportError;

/// Error of a change of limits, which stay as they were.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// A concurrency of 0: nothing would ever be consumed.
    #[error("a concurrency of 0 would consume nothing; pause the endpoint instead")]
    ZeroConcurrency,
    /// A prefetch of 0, which brokers read as unlimited.
    #[error("a prefetch of 0 is unlimited for the broker; use at least 1")]
    ZeroPrefetch,
    /// A prefetch below the concurrency, which it would limit.
    #[error(
        "a prefetch of {prefetch} is below the concurrency of {concurrency}; set a higher prefetch first, or a lower concurrency"
    )]
    PrefetchBelowConcurrency {
        /// Number of messages that the broker would hand out at once.
        prefetch: u16,
        /// Number of messages that the endpoint would handle at once.
        concurrency: usize,
    },
    /// A rate limit that lets no message through.
    #[error(
        "a rate limit of no messages, or of no time, lets none through; pause the endpoint, or lift the limit"
    )]
    ZeroRate,
    /// The transport cannot change the prefetch of a subscription.
    #[error("the prefetch cannot be changed")]
    Transport(#[from] TransportError),
}
