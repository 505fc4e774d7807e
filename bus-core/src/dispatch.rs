//! Where outgoing messages go: to the transport at once, or into an outbox.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use crate::observer::Observers;
use crate::outgoing::{Intent, Parcel};
use crate::pause::from_now;
use crate::send_error::{SendError, SendErrorKind};
use crate::transport::{Target, Transport};

/// Takes messages that leave.
///
/// `Ok` means that the message is safe: the broker owns it, or it is kept where the fate of the consumer's work
/// decides about it.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use bus_core::{Dispatch, Parcel, SendError, async_trait};
///
/// /// Keeps what a unit of work sends, until it is known whether the work counts.
/// #[derive(Debug, Default)]
/// struct Kept(Mutex<Vec<Parcel>>);
///
/// #[async_trait]
/// impl Dispatch for Kept {
///     async fn dispatch(self: Arc<Self>, parcel: Parcel) -> Result<(), SendError> {
///         self.0.lock().unwrap().push(parcel);
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait Dispatch: Send + Sync + fmt::Debug {
    /// Takes one message.
    async fn dispatch(self: Arc<Self>, parcel: Parcel) -> Result<(), SendError>;
}

/// Sends at once.
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
    // Without the macro, as the future would hold the whole parcel to its end.
    fn dispatch<'a>(self: Arc<Self>, parcel: Parcel) -> Dispatching<'a>
    where
        Self: 'a,
    {
        let Parcel {
            mut outgoing,
            envelope,
            intent,
            deadline,
        } = parcel;
        outgoing.deadline = from_now(deadline);
        // Kept while it is on its way only if somebody is told of it.
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

/// What is kept of a delivery until a later step takes it.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<Vec<Parcel>>);

impl Held {
    pub(crate) fn put(&self, parcels: Vec<Parcel>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = parcels;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

    pub(crate) fn take(&self) -> Vec<Parcel> {
        mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Holds what one attempt of a consumer sends, until it is known whether the attempt counts. `None` from then on: a
/// task that outlives its consumer must not be told that its message is safe.
#[derive(Debug)]
pub(crate) struct Outbox {
    transport: Arc<dyn Transport>,
    held: Mutex<Option<Vec<Parcel>>>,
}

impl Outbox {
    pub(crate) fn open(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport,
            held: Mutex::new(Some(Vec::new())),
        }
    }

    /// Takes what was sent, and nothing more.
    pub(crate) fn close(&self) -> Vec<Parcel> {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .unwrap_or_default()
    }
}

#[async_trait]
impl Dispatch for Outbox {
    async fn dispatch(self: Arc<Self>, parcel: Parcel) -> Result<(), SendError> {
        // A requester who is gone costs nothing, and is no reason to fail.
        if parcel.intent != Intent::Respond {
            self.transport.check(&parcel.outgoing)?;
            if let Target::Exchange {
                name,
                topology: None,
            } = &parcel.outgoing.target
            {
                self.transport.find_exchange(name).await?;
            }
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = held.as_mut() else {
            return Err(SendError::new(
                SendErrorKind::Closed,
                "the consumer has ended, and its outbox with it: await what it sends before it returns, \
                 or send past the outbox with .immediately() or a bus handle",
            ));
        };
        held.push(parcel);
        Ok(())
    }
}
