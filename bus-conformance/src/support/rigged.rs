//! A transport on which things go wrong as a test says.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bus_core::message::MessageType;
use bus_core::topology::Topology;
use bus_core::transport::{
    Capabilities, Delivery, Health, Incoming, InvalidName, ListenSpec, Listener, Outgoing,
    ReplyInbox, ScheduleToken, Transport, TransportError,
};
use tokio::sync::watch;

/// Faults of a transport, as a test chooses them.
///
/// Each method is asked before the transport itself; by default all goes well.
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
/// use bus_conformance::support::Rig;
/// use bus_core::async_trait;
/// use bus_core::transport::{Outgoing, TransportError, TransportErrorKind};
///
/// /// A broker that is full until it is emptied.
/// struct Full(AtomicBool);
///
/// #[async_trait]
/// impl Rig for Full {
///     async fn send(&self, _: &Outgoing) -> Result<(), TransportError> {
///         match self.0.load(SeqCst) {
///             true => Err(TransportError::new(TransportErrorKind::Nacked, "the queue is full")),
///             false => Ok(()),
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait Rig: Send + Sync + 'static {
    /// Before a message is sent; an error is its outcome.
    async fn send(&self, outgoing: &Outgoing) -> Result<(), TransportError> {
        let _ = outgoing;
        Ok(())
    }

    /// Before something is declared.
    async fn declare(&self, topology: &Topology) -> Result<(), TransportError> {
        let _ = topology;
        Ok(())
    }

    /// Before a queue is consumed.
    async fn listen(&self, queue: &str) -> Result<(), TransportError> {
        let _ = queue;
        Ok(())
    }

    /// Returns what the transport claims of what it has.
    fn capabilities(&self, claimed: Capabilities) -> Capabilities {
        claimed
    }

    /// Returns the name of a type's exchange, `given` by the transport.
    fn entity_name(&self, given: String) -> String {
        given
    }

    /// Before a name is checked; an error is the outcome.
    fn check_name(&self, name: &str) -> Result<(), InvalidName> {
        let _ = name;
        Ok(())
    }

    /// Returns the queue for replies, `given` by the transport.
    fn reply_inbox(&self, given: ReplyInbox) -> ReplyInbox {
        given
    }

    /// Returns the health of a queue's listener.
    fn health(&self, queue: &str) -> Health {
        let _ = queue;
        Health::Up
    }

    /// Before a listener stops, and before it closes.
    async fn leave(&self) {}

    /// Before the transport closes.
    async fn close(&self) {}
}

/// A transport with a rig.
pub(crate) struct Rigged<R> {
    pub(crate) inner: Arc<dyn Transport>,
    pub(crate) rig: Arc<R>,
}

/// One of its listeners.
struct RiggedListener<R> {
    inner: Arc<dyn Listener>,
    queue: String,
    rig: Arc<R>,
}

#[async_trait]
impl<R: Rig> Transport for Rigged<R> {
    async fn connect(&self) -> Result<(), TransportError> {
        self.inner.connect().await
    }

    async fn declare(&self, topology: &Topology) -> Result<(), TransportError> {
        self.rig.declare(topology).await?;
        self.inner.declare(topology).await
    }

    async fn send(&self, outgoing: Outgoing) -> Result<(), TransportError> {
        self.rig.send(&outgoing).await?;
        self.inner.send(outgoing).await
    }

    fn check(&self, outgoing: &Outgoing) -> Result<(), TransportError> {
        self.inner.check(outgoing)
    }

    async fn find_exchange(&self, name: &str) -> Result<(), TransportError> {
        self.inner.find_exchange(name).await
    }

    async fn cancel(&self, token: ScheduleToken) -> Result<bool, TransportError> {
        self.inner.cancel(token).await
    }

    async fn listen(&self, spec: ListenSpec) -> Result<Arc<dyn Listener>, TransportError> {
        let queue = spec.queue.clone();
        self.rig.listen(&queue).await?;
        Ok(Arc::new(RiggedListener {
            inner: self.inner.listen(spec).await?,
            queue,
            rig: Arc::clone(&self.rig),
        }))
    }

    fn base_address(&self) -> String {
        self.inner.base_address()
    }

    fn capabilities(&self) -> Capabilities {
        self.rig.capabilities(self.inner.capabilities())
    }

    fn entity_name(&self, message_type: &MessageType) -> Cow<'_, str> {
        let given = self.inner.entity_name(message_type);
        Cow::Owned(self.rig.entity_name(given.into_owned()))
    }

    fn check_name(&self, name: &str) -> Result<(), InvalidName> {
        self.rig.check_name(name)?;
        self.inner.check_name(name)
    }

    fn reply_inbox(&self, name: &str) -> ReplyInbox {
        self.rig.reply_inbox(self.inner.reply_inbox(name))
    }

    fn mistakes(&self) -> Vec<String> {
        self.inner.mistakes()
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    fn health_changes(&self) -> watch::Receiver<()> {
        self.inner.health_changes()
    }

    async fn close(&self) {
        self.rig.close().await;
        self.inner.close().await;
    }
}

#[async_trait]
impl<R: Rig> Listener for RiggedListener<R> {
    async fn next(&self) -> Option<Result<Delivery, TransportError>> {
        self.inner.next().await
    }

    async fn ready(&self) {
        self.inner.ready().await;
    }

    async fn set_prefetch(&self, count: u16) -> Result<(), TransportError> {
        self.inner.set_prefetch(count).await
    }

    fn health(&self) -> Health {
        self.rig.health(&self.queue)
    }

    async fn redeliveries(&self, incoming: &Incoming) -> u32 {
        self.inner.redeliveries(incoming).await
    }

    async fn stop(&self) {
        self.rig.leave().await;
        self.inner.stop().await;
    }

    async fn close(&self) {
        self.rig.leave().await;
        self.inner.close().await;
    }
}

impl<R> fmt::Debug for Rigged<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rigged").field(&self.inner).finish()
    }
}

impl<R> fmt::Debug for RiggedListener<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RiggedListener").field(&self.inner).finish()
    }
}
