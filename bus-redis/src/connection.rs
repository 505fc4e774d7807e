//! The connection that all calls of a store share.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, RedisError, ServerErrorKind,
};

use crate::inspection::inspect;

type Dialing = Shared<BoxFuture<'static, Result<MultiplexedConnection, RedisError>>>;

/// A connection that is made when it is needed, and again after it failed.
///
/// One caller makes it for all. The client's own manager would keep an attempt that was refused for
/// its password, and a connection that has fallen silent.
pub(crate) struct Connection {
    client: Client,
    timeout: Duration,
    current: Mutex<Option<Dialing>>,
}

impl Connection {
    pub(crate) fn new(client: Client, timeout: Duration) -> Self {
        Self {
            client,
            timeout,
            current: Mutex::new(None),
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Makes the connection now, if there is none.
    pub(crate) async fn connect(&self) -> Result<(), RedisError> {
        self.get().await.map(drop)
    }

    /// Runs a script, again if the connection was lost: each script may run twice.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        script: &redis::ScriptInvocation<'_>,
    ) -> Result<T, RedisError> {
        match self.run_once(script).await {
            Err(error) if error.is_connection_dropped() => self.run_once(script).await,
            outcome => outcome,
        }
    }

    async fn run_once<T: FromRedisValue>(
        &self,
        script: &redis::ScriptInvocation<'_>,
    ) -> Result<T, RedisError> {
        let (mut connection, dialing) = self.get().await?;
        let outcome = script.invoke_async(&mut connection).await;
        if let Err(error) = &outcome
            && !is_an_answer(error)
        {
            self.forget(&dialing);
        }
        outcome
    }

    async fn get(&self) -> Result<(MultiplexedConnection, Dialing), RedisError> {
        let dialing = self.current().get_or_insert_with(|| self.dial()).clone();
        match dialing.clone().await {
            Ok(connection) => Ok((connection, dialing)),
            Err(error) => {
                self.forget(&dialing);
                Err(error)
            }
        }
    }

    fn dial(&self) -> Dialing {
        let client = self.client.clone();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        async move {
            let connecting = client.get_multiplexed_async_connection_with_config(&config);
            let mut connection = connecting.await?;
            inspect(&mut connection).await?;
            Ok(connection)
        }
        .boxed()
        .shared()
    }

    /// Lets the next caller connect again, unless another one has done so.
    fn forget(&self, dialing: &Dialing) {
        let mut current = self.current();
        if current.as_ref().is_some_and(|now| now.ptr_eq(dialing)) {
            *current = None;
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<Dialing>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns `true` if the error is an answer, so that the connection can stay.
///
/// After a fail-over the same name may lead to another server than the one that became a replica.
fn is_an_answer(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(kind) => !matches!(
            kind,
            ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown
        ),
        ErrorKind::Extension | ErrorKind::UnexpectedReturnType => true,
        _ => false,
    }
}
