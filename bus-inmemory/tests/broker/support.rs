//! Short words for what the tests do.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bus_core::message::HeaderValue;
use bus_core::topology::{Binding, Exchange, ExchangeKind, Node, Queue, Topology};
use bus_core::transport::{
    Delivery, ListenSpec, Listener, Outgoing, Settlement, Target, Transport, TransportError,
    TransportErrorKind,
};
use bus_inmemory::InMemory;
use bytes::Bytes;
use futures_util::FutureExt;

pub(crate) fn exchange(name: &str, kind: ExchangeKind) -> Topology {
    Topology {
        exchanges: vec![Exchange::new(name, kind)],
        ..Topology::default()
    }
}

pub(crate) fn queue(queue: Queue) -> Topology {
    Topology {
        queues: vec![queue],
        ..Topology::default()
    }
}

pub(crate) fn binding(binding: Binding) -> Topology {
    Topology {
        bindings: vec![binding],
        ..Topology::default()
    }
}

/// Declares classic queues.
pub(crate) async fn queues(transport: &InMemory, names: &[&str]) {
    for name in names {
        let topology = queue(Queue::classic(*name));
        transport.declare(&topology).await.unwrap();
    }
}

pub(crate) async fn bind(transport: &InMemory, source: &str, to: &str, key: &str) {
    let declared = Binding::new(source, Node::Queue(to.into())).routing_key(key);
    transport.declare(&binding(declared)).await.unwrap();
}

pub(crate) async fn chain(transport: &InMemory, source: &str, to: &str) {
    let declared = Binding::new(source, Node::Exchange(to.into())).routing_key("#");
    transport.declare(&binding(declared)).await.unwrap();
}

pub(crate) fn to_queue(name: &str, body: &str) -> Outgoing {
    let target = Target::Inbox(Cow::Owned(name.to_owned()));
    Outgoing::new(target, Bytes::from(body.to_owned()))
}

pub(crate) fn to_exchange(name: &str, key: &str, body: &str) -> Outgoing {
    let target = Target::Exchange {
        name: Cow::Owned(name.to_owned()),
        topology: None,
    };
    Outgoing {
        routing_key: Cow::Owned(key.to_owned()),
        ..Outgoing::new(target, Bytes::from(body.to_owned()))
    }
}

pub(crate) async fn send_all(transport: &InMemory, queue: &str, bodies: &[&str]) {
    for body in bodies {
        transport.send(to_queue(queue, body)).await.unwrap();
    }
}

pub(crate) fn spec(queue: &str, prefetch: u16) -> ListenSpec {
    ListenSpec {
        queue: queue.to_owned(),
        topology: Arc::default(),
        prefetch,
        priority: None,
        exclusive: false,
        stream_offset: None,
    }
}

pub(crate) async fn listen(transport: &InMemory, queue: &str, prefetch: u16) -> Arc<dyn Listener> {
    transport.listen(spec(queue, prefetch)).await.unwrap()
}

/// What can be pulled now; none if the listener would have to wait.
pub(crate) fn pull(listener: &Arc<dyn Listener>) -> Option<Delivery> {
    listener.next().now_or_never().flatten().map(Result::unwrap)
}

pub(crate) fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.incoming.body.to_vec()).unwrap()
}

/// Pulls and acknowledges everything that is there.
pub(crate) fn drain(listener: &Arc<dyn Listener>) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(delivery) = pull(listener) {
        bodies.push(body(&delivery));
        delivery.receipt.settle(Settlement::Ack);
    }
    bodies
}

/// What is in a queue, taken out.
pub(crate) async fn empty(transport: &InMemory, queue: &str) -> Vec<String> {
    let listener = listen(transport, queue, 1000).await;
    let bodies = drain(&listener);
    listener.close().await;
    bodies
}

pub(crate) fn arguments<const N: usize>(
    pairs: [(&str, HeaderValue); N],
) -> BTreeMap<String, HeaderValue> {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The error of what must fail.
pub(crate) fn refused<T: std::fmt::Debug>(
    result: Result<T, TransportError>,
    kind: TransportErrorKind,
) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    error.to_string()
}
