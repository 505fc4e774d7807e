//! Ways of outgoing messages: to the transport at once, or into an outbox.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, JoinAll, join_all};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;
use tokio::task::{Unconstrained, unconstrained};
use tracing::{Instrument, Span};

use super::due::Due;
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

    /// Takes several messages; returns the outcome of each, in their order.
    ///
    /// The messages are taken in order; the failure of one does not end the others. There is an
    /// outcome for each. Default: calls [`dispatch`](Self::dispatch) for all at once.
    async fn dispatch_all(
        self: Arc<Self>,
        messages: Vec<SealedMessage>,
    ) -> Vec<Result<(), SendError>> {
        let each = messages.into_iter();
        all_in_order(each.map(|sealed| Arc::clone(&self).dispatch(sealed))).await
    }

    /// Returns `true` if it keeps messages until they are due.
    ///
    /// Then delays and schedule tokens need no capability of the transport: the messages are handed
    /// over without them. Default: `false`.
    fn keeps_until_due(&self) -> bool {
        false
    }
}

/// Runs sends at once, and begins them in their order.
///
/// That is the order of their messages at the broker. The budget of the runtime, which makes a task
/// that has done much wait, is switched off: a send that waits before it hands its message over
/// would be overtaken by those after it.
pub(crate) fn all_in_order<S: Future>(
    sends: impl IntoIterator<Item = S>,
) -> Unconstrained<JoinAll<S>> {
    unconstrained(join_all(sends))
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
            due,
        } = sealed;
        outgoing.deadline = from_now(deadline);
        outgoing.deliver_at = due.and_then(Due::instant);
        let span = watched::span(&envelope, &outgoing.target);
        let watch = SendWatch::begin(&self.observers, envelope, intent, &outgoing);
        (outgoing, span, watch)
    }

    /// Reports the begin of a send by a scheduler; `None` without an observer.
    pub(super) fn watch(&self, sealed: &SealedMessage) -> Option<Box<SendWatch>> {
        if self.observers.is_empty() {
            return None;
        }
        let envelope = sealed.envelope.clone();
        SendWatch::begin(&self.observers, envelope, sealed.intent, &sealed.outgoing)
    }

    // Not an async function, as its future would hold the whole message to its end.
    fn send(
        self: Arc<Self>,
        sealed: SealedMessage,
    ) -> impl Future<Output = Result<(), SendError>> + Send {
        let (outgoing, span, watch) = self.begin(sealed);
        async move {
            let sent = self.transport.send(outgoing).instrument(span).await;
            let sent = sent.map_err(SendError::from);
            if let Some(watch) = watch {
                watch.end(&sent);
            }
            sent
        }
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
    fn dispatch<'a>(self: Arc<Self>, sealed: SealedMessage) -> BoxFuture<'a, Result<(), SendError>>
    where
        Self: 'a,
    {
        Box::pin(self.send(sealed))
    }

    // One allocation less for each message than by `dispatch`.
    fn dispatch_all<'a>(
        self: Arc<Self>,
        messages: Vec<SealedMessage>,
    ) -> BoxFuture<'a, Vec<Result<(), SendError>>>
    where
        Self: 'a,
    {
        let each = messages.into_iter();
        Box::pin(all_in_order(
            each.map(move |sealed| Arc::clone(&self).send(sealed)),
        ))
    }
}
