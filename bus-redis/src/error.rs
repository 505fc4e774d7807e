//! Errors of the store: which server, what is wrong, what to do.

use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Error of a [`RedisIdempotencyStore`](crate::RedisIdempotencyStore).
///
/// Its text names the server and says what to do; it holds neither user nor password. Its source is
/// the client's error, with the words of the server.
#[derive(Debug, thiserror::Error)]
#[error("{server} {}", kind.advice())]
pub struct RedisStoreError {
    server: String,
    kind: RedisStoreErrorKind,
    source: Option<RedisError>,
}

/// Kind of a [`RedisStoreError`], by what can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisStoreErrorKind {
    /// The address cannot be used.
    InvalidAddress,
    /// The file of certificate authorities cannot be used.
    InvalidCaFile,
    /// No connection could be made, or it was lost.
    Unreachable,
    /// It has not answered within the timeout.
    TimedOut(Duration),
    /// User or password are wrong or missing.
    AccessRefused,
    /// The user lacks rights.
    Forbidden,
    /// The server is a replica.
    ReadOnly,
    /// Its memory is full.
    OutOfMemory,
    /// It cannot write to its disk.
    CannotPersist,
    /// It is starting, and reads its data.
    Loading,
    /// It is part of a cluster.
    Clustered,
    /// A key of the store holds a value that the store did not write.
    ForeignKey,
    /// Any other error.
    Other,
}

impl RedisStoreErrorKind {
    fn advice(self) -> String {
        let advice = match self {
            Self::InvalidAddress => {
                "cannot be used: write redis://user:password@host:6379/0, with user and password percent-encoded; \
                 rediss:// needs the feature `tls` of bus-redis"
            }
            Self::InvalidCaFile => {
                "cannot be verified: the file of authorities must be PEM, and the address rediss://"
            }
            Self::Unreachable => {
                "cannot be reached: check that it runs, and host and port of its address"
            }
            Self::TimedOut(timeout) => {
                return format!(
                    "has not answered within {timeout:?}: it is overloaded, frozen or cut off"
                );
            }
            Self::AccessRefused => "refuses the user or the password of its address, or wants one",
            Self::Forbidden => {
                "does not let its user run the store's scripts: allow +evalsha +script|load +time +exists +del \
                 +hmget +hset +hdel +pexpire +persist on the store's keys"
            }
            Self::ReadOnly => "is a read-only replica: let the address name the primary",
            Self::OutOfMemory => {
                "is out of memory: raise maxmemory, or keep handled messages for a shorter time"
            }
            Self::CannotPersist => "takes no writes, as it cannot save its data: check its disk",
            Self::Loading => "is reading its data after a start: wait",
            Self::Clustered => {
                "is part of a cluster, which this store does not support: use a single primary"
            }
            Self::ForeignKey => {
                "has a key that this store would use and did not write: give the store a prefix of its own"
            }
            Self::Other => "failed",
        };
        advice.to_owned()
    }

    fn of(error: &RedisError, timeout: Duration) -> Self {
        if error.is_timeout() {
            return Self::TimedOut(timeout);
        }
        match error.kind() {
            ErrorKind::InvalidClientConfig => Self::InvalidAddress,
            ErrorKind::Io => Self::Unreachable,
            ErrorKind::AuthenticationFailed => Self::AccessRefused,
            ErrorKind::Server(kind) => match kind {
                ServerErrorKind::NoPerm => Self::Forbidden,
                ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown => Self::ReadOnly,
                ServerErrorKind::BusyLoading => Self::Loading,
                ServerErrorKind::Moved
                | ServerErrorKind::Ask
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::CrossSlot => Self::Clustered,
                _ => Self::Other,
            },
            _ => match error.code() {
                Some("NOAUTH" | "WRONGPASS") => Self::AccessRefused,
                Some("OOM") => Self::OutOfMemory,
                Some("MISCONF") => Self::CannotPersist,
                Some("WRONGTYPE") => Self::ForeignKey,
                _ => Self::Other,
            },
        }
    }
}

impl RedisStoreError {
    /// Creates an error of an address.
    ///
    /// It repeats none of it: any part may be the password if another one is mistaken.
    pub(crate) fn invalid_address() -> Self {
        Self {
            server: "the Redis address".to_owned(),
            kind: RedisStoreErrorKind::InvalidAddress,
            source: None,
        }
    }

    pub(crate) fn new(server: &str, kind: RedisStoreErrorKind, source: Option<RedisError>) -> Self {
        Self {
            server: format!("Redis at {server}"),
            kind,
            source,
        }
    }

    pub(crate) fn of(server: &str, error: RedisError, timeout: Duration) -> Self {
        let kind = RedisStoreErrorKind::of(&error, timeout);
        Self::new(server, kind, Some(error))
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> RedisStoreErrorKind {
        self.kind
    }
}
