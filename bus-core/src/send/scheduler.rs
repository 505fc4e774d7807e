//! Stores that keep messages until they are due.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::dispatch::Dispatch;
use super::sealed::SealedMessage;
use crate::error::SendError;
use crate::transport::ScheduleToken;

/// Keeper of messages that are not due yet, in place of the transport.
///
/// [`BusBuilder::scheduler`](crate::BusBuilder::scheduler) sets it. The bus gives it each message
/// that is sent with a time to be delivered at, unless a transaction keeps the message itself. So
/// messages can be delayed, and cancelled, on a transport that can do neither.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use bus_core::send::{Dispatch, Scheduler, SealedMessage};
/// use bus_core::transport::ScheduleToken;
/// use bus_core::{SendError, async_trait};
///
/// /// Keeps messages in memory, for a test that looks at what was scheduled.
/// #[derive(Clone, Debug, Default)]
/// struct Kept(Arc<Mutex<Vec<SealedMessage>>>);
///
/// #[async_trait]
/// impl Scheduler for Kept {
///     async fn schedule(&self, message: SealedMessage, _: Arc<dyn Dispatch>) -> Result<(), SendError> {
///         self.0.lock().unwrap().push(message);
///         Ok(())
///     }
///
///     async fn cancel(&self, token: ScheduleToken, _: Arc<dyn Dispatch>) -> Result<bool, SendError> {
///         let mut kept = self.0.lock().unwrap();
///         let before = kept.len();
///         kept.retain(|message| message.outgoing.schedule_token != Some(token));
///         Ok(kept.len() < before)
///     }
/// }
/// ```
#[async_trait]
pub trait Scheduler: Send + Sync + fmt::Debug + 'static {
    /// Keeps one message until it is [due](SealedMessage::due).
    ///
    /// `Ok` means that it is kept safely: it is delivered at that time or later, never before it.
    /// `transport` sends past the scheduler, for one that asks another service to keep the message.
    ///
    /// # Errors
    /// A [`SendError`] if the message is not kept.
    async fn schedule(
        &self,
        message: SealedMessage,
        transport: Arc<dyn Dispatch>,
    ) -> Result<(), SendError>;

    /// Cancels the messages with this token that are not due yet.
    ///
    /// Returns `true` if there were any, also where that is not known.
    ///
    /// # Errors
    /// After a [`SendError`], the message may be kept still.
    async fn cancel(
        &self,
        token: ScheduleToken,
        transport: Arc<dyn Dispatch>,
    ) -> Result<bool, SendError>;
}

#[async_trait]
impl<S: Scheduler + ?Sized> Scheduler for Arc<S> {
    async fn schedule(
        &self,
        message: SealedMessage,
        transport: Arc<dyn Dispatch>,
    ) -> Result<(), SendError> {
        (**self).schedule(message, transport).await
    }

    async fn cancel(
        &self,
        token: ScheduleToken,
        transport: Arc<dyn Dispatch>,
    ) -> Result<bool, SendError> {
        (**self).cancel(token, transport).await
    }
}
