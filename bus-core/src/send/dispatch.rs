//! Ways of outgoing messages: to the transport at once, or into an outbox.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::sealed::SealedMessage;
use crate::error::SendError;
use crate::observe::Observers;
use crate::transport::Transport;
use crate::transport::backoff::from_now;

/// Receiver of outgoing messages: the transport, or an outbox.
///
/// `Ok` means that the message is safe: the broker owns it, or it is kept where the outcome of the
/// consumer's work decides about it.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use bus_core::send::{Dispatch, SealedMessage};
/// use bus_core::{SendError, async_trait};
///
/// /// Keeps what a unit of work sends, until it is known whether the work counts.
/// #[derive(Debug, Default)]
/// struct Kept(Mutex<Vec<SealedMessage>>);
///
/// #[async_trait]
/// impl Dispatch for Kept {
///     async fn dispatch(self: Arc<Self>, message: SealedMessage) -> Result<(), SendError> {
///         self.0.lock().unwrap().push(message);
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait Dispatch: Send + Sync + fmt::Debug {
    /// Takes one message.
    ///
    /// # Errors
    /// A [`SendError`] if the message is neither sent nor kept.
    async fn dispatch(self: Arc<Self>, sealed: SealedMessage) -> Result<(), SendError>;
}

/// Sends at once, past every outbox.
#[derive(Debug)]
pub(crate) struct Direct {
    transport: Arc<dyn Transport>,
    observers: Observers,
}

impl Direct {
    pub(crate) fn new(transport: Arc<dyn Transport>, observers: Observers) -> Self {
        Self {
            transport,
            observers,
        }
    }
}

impl Dispatch for Direct {
    // Without the macro, as the future would hold the whole message to its end.
    fn dispatch<'a>(self: Arc<Self>, sealed: SealedMessage) -> Dispatching<'a>
    where
        Self: 'a,
    {
        let SealedMessage {
            mut outgoing,
            envelope,
            intent,
            deadline,
        } = sealed;
        outgoing.deadline = from_now(deadline);
        // Kept until the message is sent only if there is an observer.
        let observed = (!self.observers.is_empty()).then(|| Box::new(envelope));
        Box::pin(async move {
            self.transport.send(outgoing).await?;
            if let Some(envelope) = observed {
                self.observers.sent(&envelope, intent);
            }
            Ok(())
        })
    }
}

type Dispatching<'a> = BoxFuture<'a, Result<(), SendError>>;
