//! The reply queue of a process, and the requests that wait.

use std::fmt;
use std::sync::Arc;

use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use super::pending::Pending;
use crate::codec::{Codec, request_id};
use crate::send::Outbound;
use crate::transport::{
    Delivery, Health, ListenSpec, Listener, ReplyInbox, Settlement, TransportError,
};

const REPLY_PREFETCH: u16 = 1000;

/// Requests of a bus that wait for their reply, and its reply queue.
pub(crate) struct Requests {
    outbound: Arc<Outbound>,
    place: ReplyInbox,
    inbox: OnceCell<Inbox>,
    pub(super) pending: Arc<Pending>,
}

pub(super) struct Inbox {
    pub(super) address: Arc<str>,
    listener: Arc<dyn Listener>,
    pump: JoinHandle<()>,
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests")
            .field("queue", &self.place.queue)
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

impl Requests {
    pub(crate) fn new(outbound: Arc<Outbound>, place: ReplyInbox) -> Self {
        Self {
            outbound,
            place,
            inbox: OnceCell::new(),
            pending: Arc::default(),
        }
    }

    /// The number of requests that wait.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The reason why no reply can come at present.
    /// `None` if the reply queue is up, or not needed yet.
    pub(crate) fn trouble(&self) -> Option<String> {
        match self.inbox.get()?.listener.health() {
            Health::Up => None,
            Health::Degraded(reason) | Health::Down(reason) => Some(format!(
                "the reply queue of this process is not well: {reason}"
            )),
        }
    }

    /// The reply queue, opened by the first request.
    /// A process that only publishes owns no queue.
    pub(super) async fn inbox(&self) -> Result<&Inbox, TransportError> {
        let inbox = self.inbox.get_or_try_init(|| self.open()).await?;
        inbox.listener.ready().await;
        Ok(inbox)
    }

    async fn open(&self) -> Result<Inbox, TransportError> {
        let topology = Arc::new(self.place.topology.clone());
        let transport = &self.outbound.transport;
        transport.declare(&topology).await?;
        let spec = ListenSpec {
            queue: self.place.queue.clone(),
            topology,
            prefetch: REPLY_PREFETCH,
            priority: None,
            exclusive: false,
            stream_offset: None,
        };
        let listener = transport.listen(spec).await?;
        let pump = tokio::spawn(pump(Arc::clone(&listener), Arc::clone(&self.pending)));
        Ok(Inbox {
            address: self.place.address.to_uri(&self.outbound.base).into(),
            listener,
            pump,
        })
    }

    /// Ends every wait with [`RequestError::Stopped`] and gives the reply queue up.
    pub(crate) async fn close(&self) {
        self.pending.close();
        if let Some(inbox) = self.inbox.get() {
            inbox.listener.close().await;
        }
    }
}

async fn pump(listener: Arc<dyn Listener>, pending: Arc<Pending>) {
    while let Some(next) = listener.next().await {
        match next {
            Ok(delivery) => receive(delivery, &pending),
            Err(error) => tracing::warn!(%error, "the reply queue reports an error"),
        }
    }
}

fn receive(delivery: Delivery, pending: &Pending) {
    let Delivery { incoming, receipt } = delivery;
    let answer = Codec::for_incoming(&incoming, Codec::MassTransit)
        .and_then(|codec| codec.decode(&incoming));
    let id = match &answer {
        Ok(envelope) => envelope.request_id,
        Err(_) => request_id(&incoming),
    };
    match (id, answer) {
        (Some(id), answer) => pending.answer(id, answer),
        (None, Ok(_)) => {
            tracing::debug!("a message without request id on the reply queue is dropped");
        }
        (None, Err(error)) => tracing::warn!(%error, "a reply that cannot be read is dropped"),
    }
    receipt.settle(Settlement::Ack);
}
