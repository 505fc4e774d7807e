//! Raw messages, in and out past the bus.

use std::sync::Arc;

use bus_core::Message;
use bus_core::codec::Codec;
use bus_core::topology::{Binding, Exchange, Node, Presence, Queue, Topology};
use bus_core::transport::{
    Delivery, Incoming, ListenSpec, Listener, Outgoing, Settlement, Target, Transport,
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::wait::within;

/// A connection of its own, like that of a foreign program.
#[derive(Debug)]
pub struct Wire {
    transport: Arc<dyn Transport>,
}

impl Wire {
    pub(crate) async fn connect(transport: Arc<dyn Transport>) -> Self {
        within("a connection", transport.connect())
            .await
            .expect("the broker takes another connection");
        Self { transport }
    }

    /// Sends a message as it is.
    pub async fn send(&self, outgoing: Outgoing) {
        within("a raw message is sent", self.transport.send(outgoing))
            .await
            .expect("the broker takes the raw message");
    }

    /// Declares entities.
    pub async fn declare(&self, topology: &Topology) {
        within("a declaration", self.transport.declare(topology))
            .await
            .expect("the broker takes the declaration");
    }

    /// Declares a queue and its exchange, as any sender to it would.
    pub async fn declare_queue(&self, queue: &str) {
        self.declare(&kept(queue)).await;
    }

    /// Declares a queue as [`declare_queue`](Self::declare_queue) does, and reads it.
    pub async fn read(&self, queue: &str) -> Reader {
        self.declare_queue(queue).await;
        self.read_existing(queue).await
    }

    /// Reads a queue that exists, of any kind.
    pub async fn read_existing(&self, queue: &str) -> Reader {
        self.read_at_most(queue, 100).await
    }

    /// The same, with at most `prefetch` deliveries unsettled.
    pub async fn read_at_most(&self, queue: &str, prefetch: u16) -> Reader {
        let topology = Arc::new(kept(queue));
        let spec = ListenSpec {
            queue: queue.to_owned(),
            topology,
            prefetch,
            priority: None,
            exclusive: false,
            stream_offset: None,
        };
        let listener = within("a raw reader", self.transport.listen(spec))
            .await
            .expect("the queue can be read");
        Reader {
            queue: queue.to_owned(),
            listener,
        }
    }

    /// Takes the next message out of a queue and gives it back unhandled, as a process
    /// that crashes does.
    pub async fn give_back(&self, queue: &str) {
        let reader = self.read(queue).await;
        match within("a delivery to give back", reader.listener.next()).await {
            Some(Ok(delivery)) => delivery.receipt.settle(Settlement::Requeue),
            other => panic!("no delivery to give back but {other:?}"),
        }
        reader.listener.close().await;
    }

    /// Ends the connection, and everything that belongs to it.
    pub async fn close(&self) {
        self.transport.close().await;
    }
}

/// A durable queue behind a fanout exchange of the same name, used as it is if it
/// exists.
fn kept(name: &str) -> Topology {
    let exchange = Exchange {
        presence: Presence::IfMissing,
        ..Exchange::fanout(name)
    };
    let queue = Queue {
        presence: Presence::IfMissing,
        ..Queue::classic(name)
    };
    Topology {
        exchanges: vec![exchange],
        queues: vec![queue],
        bindings: vec![Binding::new(name, Node::Queue(name.to_owned()))],
    }
}

/// Reads a queue raw.
#[derive(Debug)]
pub struct Reader {
    queue: String,
    listener: Arc<dyn Listener>,
}

impl Reader {
    /// Takes the next message out of the queue.
    pub async fn next(&self) -> Incoming {
        let Delivery { incoming, receipt } = self.delivery().await;
        receipt.settle(Settlement::Ack);
        incoming
    }

    /// Ends the subscription; `true` if nothing more is handed out.
    pub async fn stop(&self) -> bool {
        self.listener.stop().await;
        within("the end of a reader", self.listener.next())
            .await
            .is_none()
    }

    /// Returns the next delivery, to be settled by the caller.
    pub async fn delivery(&self) -> Delivery {
        let what = format!("a message in `{}`", self.queue);
        loop {
            match within(&what, self.listener.next()).await {
                Some(Ok(delivery)) => return delivery,
                Some(Err(_)) => {}
                None => panic!("the reader of `{}` has ended", self.queue),
            }
        }
    }
}

/// A message without any property, straight into a queue, as a foreign client would
/// put it there.
pub fn raw(queue: &str, body: impl Into<Bytes>) -> Outgoing {
    Outgoing {
        mandatory: true,
        ..Outgoing::new(Target::Inbox(queue.to_owned().into()), body.into())
    }
}

/// The smallest envelope, straight into a queue: type and message, nothing else.
pub fn envelope<M: Message>(queue: &str, message: &Value) -> Outgoing {
    let body = json!({ "messageType": [M::message_type().urn()], "message": message });
    Outgoing {
        content_type: Some(Codec::MassTransit.content_type().into()),
        ..raw(queue, body.to_string())
    }
}
