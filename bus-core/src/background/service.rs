//! Background services, as users write them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::stop_signal::StopSignal;
use crate::error::BoxError;
use crate::send::Sender;
use crate::transport::Health;

/// Work beside the endpoints that belongs to the bus: a relay, a scheduler.
///
/// [`BusBuilder::background`](crate::BusBuilder::background) adds it. The bus prepares it before
/// anything is declared, runs it before anything is consumed, and stops it after the endpoints, so
/// that it serves consumers as long as there are any, and may send to the end.
///
/// ```
/// use std::time::Duration;
/// use bus_core::background::{BackgroundService, StopSignal};
/// use bus_core::{Message, async_trait, error::BoxError, send::Sender};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Monitoring:Alive")]
/// # struct Alive {}
/// #[derive(Debug)]
/// struct Heartbeat;
///
/// #[async_trait]
/// impl BackgroundService for Heartbeat {
///     fn name(&self) -> &str { "heartbeat" }
///     async fn run(&self, sender: Sender, stop: StopSignal) -> Result<(), BoxError> {
///         let mut beat = tokio::time::interval(Duration::from_secs(60));
///         loop {
///             tokio::select! {
///                 () = stop.requested() => return Ok(()),
///                 _ = beat.tick() => sender.publish(&Alive {}).await?,
///             }
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait BackgroundService: Send + Sync + fmt::Debug + 'static {
    /// Returns the name in the health, in logs and in errors.
    ///
    /// Always the same, and unique within the bus: a second service of the name is a configuration
    /// mistake.
    fn name(&self) -> &str;

    /// Prepares the service: migrations, checks of its settings.
    ///
    /// Runs once, when the bus is connected and before it declares or consumes anything; the
    /// services are prepared one after the other, in the order in which they were added. Nothing
    /// may go on after it has returned, as another service may still end the start. Not limited by
    /// the start timeout.
    ///
    /// # Errors
    /// Any error or panic ends the start, with
    /// [`StartError::Background`](crate::StartError::Background).
    async fn prepare(&self) -> Result<(), BoxError> {
        Ok(())
    }

    /// Does the work, until the stop is requested.
    ///
    /// Settles what it has begun before it returns, within what the endpoints have left of the
    /// [stop timeout](crate::BusBuilder::stop_timeout). Past it, and when the bus is dropped, the
    /// future is dropped at an await; tasks that it spawned are its own business.
    ///
    /// `Ok` before the stop means that the work is done: it is not run again.
    ///
    /// # Errors
    /// After any error or panic it is run again, after 0.5 s, then after waits that double up to
    /// 30 s; a run of 30 s starts them anew.
    async fn run(&self, sender: Sender, stop: StopSignal) -> Result<(), BoxError>;

    /// Returns the health of the service while it runs, as currently known.
    ///
    /// Must be quick. Default: up.
    fn health(&self) -> Health {
        Health::Up
    }
}

#[async_trait]
impl<S: BackgroundService + ?Sized> BackgroundService for Arc<S> {
    fn name(&self) -> &str {
        (**self).name()
    }

    async fn prepare(&self) -> Result<(), BoxError> {
        (**self).prepare().await
    }

    async fn run(&self, sender: Sender, stop: StopSignal) -> Result<(), BoxError> {
        (**self).run(sender, stop).await
    }

    fn health(&self) -> Health {
        (**self).health()
    }
}
