//! The store.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bus_core::idempotency::{Begin, IdempotencyStore, StoreError, StoredReply, Token};
use redis::{Client, FromRedisValue, RedisError, Script, ScriptInvocation};
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::{RedisStoreError, RedisStoreErrorKind};
use crate::scripts::{SPARE, Scripts, milliseconds};

const TIMEOUT: Duration = Duration::from_secs(3);
const PREFIX: &str = "bus:idempotency:";

/// Idempotency store in a Redis, shared by all instances of a service.
///
/// The connection is made when the bus starts, and again after it was lost. Times are the
/// server's: no instance's clock counts. A claim that could not be prolonged while Redis was away
/// holds as long as no other owner takes its key.
///
/// ```no_run
/// use bus_core::{Endpoint, Idempotency};
/// use bus_redis::RedisIdempotencyStore;
///
/// # fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisIdempotencyStore::new("redis://:secret@redis.internal:6379/0")?;
/// let endpoint = Endpoint::new("payments").idempotency(Idempotency::new(store));
/// # let _ = endpoint;
/// # Ok(()) }
/// ```
pub struct RedisIdempotencyStore {
    /// Host and port, for errors.
    server: String,
    prefix: String,
    scripts: Scripts,
    connection: Connection,
}

impl RedisIdempotencyStore {
    /// Creates a store at `redis://user:password@host:6379/database`.
    ///
    /// Connects when the bus starts, or by [`connect`](Self::connect). User, password, port and
    /// database may be left out. `rediss://` is TLS, and needs the feature `tls`; certificates are
    /// always verified, against the authorities of the system.
    ///
    /// # Errors
    /// [`InvalidAddress`](RedisStoreErrorKind::InvalidAddress), without the address in its text.
    pub fn new(address: &str) -> Result<Self, RedisStoreError> {
        let client = Client::open(address).map_err(|_| RedisStoreError::invalid_address())?;
        #[cfg(feature = "tls")]
        crate::tls::choose_cryptography();
        let server = client.get_connection_info().addr().to_string();
        Ok(Self {
            server,
            prefix: PREFIX.to_owned(),
            scripts: Scripts::new(),
            connection: Connection::new(client, TIMEOUT),
        })
    }

    /// Sets the text before each key in Redis. Default: `bus:idempotency:`.
    ///
    /// Keys begin with the name of their endpoint: services that share a Redis need prefixes only
    /// where their endpoints have the same names.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the time for a connection to be made, and for each answer. Default: 3 s.
    ///
    /// The bus itself waits ten seconds for a store.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.connection = Connection::new(self.connection.client().clone(), timeout);
        self
    }

    /// Trusts the authorities in this PEM file instead of those of the system.
    ///
    /// # Errors
    /// [`InvalidCaFile`](RedisStoreErrorKind::InvalidCaFile), also if the address is not
    /// `rediss://`.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn ca_file(mut self, path: impl AsRef<std::path::Path>) -> Result<Self, RedisStoreError> {
        let client = crate::tls::trusting(self.connection.client(), path.as_ref());
        let client = client.map_err(|error| {
            let kind = RedisStoreErrorKind::InvalidCaFile;
            RedisStoreError::new(&self.server, kind, Some(error))
        })?;
        self.connection = Connection::new(client, self.connection.timeout());
        Ok(self)
    }

    /// Connects now, for a store without a bus or before there is one.
    ///
    /// Each new connection logs a warning for each setting of the server with which it may forget
    /// keys.
    ///
    /// # Errors
    /// The reason why it cannot connect, by its [kind](RedisStoreErrorKind).
    pub async fn connect(&self) -> Result<(), RedisStoreError> {
        let connected = self.connection.connect().await;
        connected.map_err(|error| self.failed(error))
    }

    async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        key: &str,
        arguments: &[&str],
    ) -> Result<T, RedisStoreError> {
        let mut invocation: ScriptInvocation<'_> = script.key(format!("{}{key}", self.prefix));
        for argument in arguments {
            invocation.arg(argument);
        }
        let outcome = self.connection.run(&invocation).await;
        outcome.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: RedisError) -> RedisStoreError {
        RedisStoreError::of(&self.server, error, self.connection.timeout())
    }
}

#[async_trait]
impl IdempotencyStore for RedisIdempotencyStore {
    /// Connects, and runs a script that changes nothing.
    ///
    /// So missing rights are found too.
    async fn prepare(&self) -> Result<(), StoreError> {
        self.release(&Token::new("prepare")).await
    }

    async fn begin(
        &self,
        key: &str,
        fingerprint: Uuid,
        lease: Duration,
    ) -> Result<Begin, StoreError> {
        let token = Token::new(key);
        let (fingerprint, claim) = (fingerprint.to_string(), token.claim.to_string());
        let (lease, spare) = (milliseconds(lease), milliseconds(SPARE));
        let arguments = [&*fingerprint, &*claim, &*lease, &*spare];
        let answer: Vec<Vec<u8>> = self
            .run(&self.scripts.begin, key, &arguments)
            .await
            .map_err(StoreError::new)?;
        let words: Vec<_> = answer.iter().map(Vec::as_slice).collect();
        match *words {
            [b"fresh"] => Ok(Begin::Fresh(token)),
            [b"in progress"] => Ok(Begin::InProgress),
            [b"mismatch"] => Ok(Begin::Mismatch),
            [b"done", replies] => {
                let replies = serde_json::from_slice(replies);
                Ok(Begin::Done(replies.map_err(StoreError::new)?))
            }
            _ => Err(StoreError::new(RedisStoreError::new(
                &self.server,
                RedisStoreErrorKind::ForeignKey,
                None,
            ))),
        }
    }

    async fn extend(&self, token: &Token, lease: Duration) -> Result<bool, StoreError> {
        let claim = token.claim.to_string();
        let (lease, spare) = (milliseconds(lease), milliseconds(SPARE));
        let arguments = [&*claim, &*lease, &*spare];
        let extended = self.run(&self.scripts.extend, &token.key, &arguments);
        extended.await.map_err(StoreError::new)
    }

    async fn complete(
        &self,
        token: &Token,
        replies: Vec<StoredReply>,
        keep: Duration,
    ) -> Result<bool, StoreError> {
        let (claim, keep) = (token.claim.to_string(), milliseconds(keep));
        let replies = serde_json::to_string(&replies).map_err(StoreError::new)?;
        let arguments = [&*claim, &*keep, &*replies];
        let completed = self.run(&self.scripts.complete, &token.key, &arguments);
        completed.await.map_err(StoreError::new)
    }

    async fn release(&self, token: &Token) -> Result<(), StoreError> {
        let claim = token.claim.to_string();
        let arguments = [&*claim];
        let released = self.run(&self.scripts.release, &token.key, &arguments);
        released.await.map_err(StoreError::new)
    }
}

impl fmt::Debug for RedisIdempotencyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisIdempotencyStore")
            .field("server", &self.server)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn no_text_holds_the_password() {
        let store = RedisIdempotencyStore::new("redis://me:s3cret@localhost:7000/2").unwrap();
        let text = format!("{store:?}");
        assert!(text.contains("localhost:7000"), "{text}");
        assert!(!text.contains("s3cret") && !text.contains("me:"), "{text}");
        for address in [
            "",
            "me:s3cret@localhost",
            "http://me:s3cret@localhost",
            "redis://me:s3cret@localhost:port",
            "redis://me:s3/cret@localhost",
            "redis://me:s3cret@localhost/zwei",
            "redis://me:s3cret@localhost?protocol=s3cret",
        ] {
            let error = RedisIdempotencyStore::new(address).unwrap_err();
            assert_eq!(
                error.kind(),
                RedisStoreErrorKind::InvalidAddress,
                "{address}"
            );
            assert!(
                error.source().is_none(),
                "the client's words repeat some of it"
            );
            let text = format!("{error} {error:?}");
            assert!(text.contains("redis://"), "{text}");
            assert!(!text.contains("s3"), "{text}");
        }
    }
}
