//! Ways of outgoing messages: to the transport at once, or into an outbox.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;
use tracing::{Instrument, Span};

use super::sealed::SealedMessage;
use super::watched::{self, SendWatch};
use crate::error::SendError;
use crate::observe::Observers;
use crate::transport::backoff::from_now;
use crate::transport::{Outgoing, Transport};

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

    fn begin(&self, sealed: SealedMessage) -> (Outgoing, Span, Option<Box<SendWatch>>) {
        let SealedMessage {
            mut outgoing,
            envelope,
            intent,
            deadline,
        } = sealed;
        outgoing.deadline = from_now(deadline);
        let span = watched::span(&envelope, &outgoing.target);
        let watch = SendWatch::begin(&self.observers, envelope, intent, &outgoing);
        (outgoing, span, watch)
    }

    /// Sends a request; returns its answer if that comes before the confirm.
    ///
    /// The answer proves that the request was sent.
    pub(crate) async fn ask<T>(
        &self,
        sealed: SealedMessage,
        answer: &mut oneshot::Receiver<T>,
    ) -> Result<Option<Result<T, RecvError>>, SendError> {
        let (outgoing, span, watch) = self.begin(sealed);
        tokio::select! {
            biased;
            answer = answer => {
                if let (true, Some(watch)) = (answer.is_ok(), watch) {
                    watch.end(&Ok(()));
                }
                Ok(Some(answer))
            }
            sent = self.transport.send(outgoing).instrument(span) => {
                let sent = sent.map_err(SendError::from);
                if let Some(watch) = watch {
                    watch.end(&sent);
                }
                sent.map(|()| None)
            }
        }
    }
}

impl Dispatch for Direct {
    // Without the macro, as the future would hold the whole message to its end.
    fn dispatch<'a>(self: Arc<Self>, sealed: SealedMessage) -> Dispatching<'a>
    where
        Self: 'a,
    {
        let (outgoing, span, watch) = self.begin(sealed);
        Box::pin(async move {
            let sent = self.transport.send(outgoing).instrument(span).await;
            let sent = sent.map_err(SendError::from);
            if let Some(watch) = watch {
                watch.end(&sent);
            }
            sent
        })
    }
}

type Dispatching<'a> = BoxFuture<'a, Result<(), SendError>>;
