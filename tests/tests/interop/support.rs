//! A virtual host for each test, a bus on it, and the question whether both sides read a message alike.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use bus_core::message::Envelope;
use bus_core::observe::{Observer, PostSend};
use bus_core::serde_helpers::DateTime;
use bus_core::{Bus, BusBuilder, Endpoint};
use bus_rabbitmq::RabbitMq;
use bus_tests::acme::{OrderShipped, SubmitOrder};
use bus_tests::peer::{Consumed, Peer};
use bus_tests::{Broker, until};
use lapin::message::BasicGetMessage;
use lapin::options::BasicGetOptions;
use lapin::types::AMQPValue;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use serde_json::Value;
use uuid::Uuid;

/// A virtual host of one test's own: the names of contracts and of the peer's queues are fixed.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) url: String,
    base: String,
}

impl Host {
    pub(crate) async fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // A slash, as teams use it: it is escaped in addresses.
        let (name, escaped) = (format!("interop/{number}"), format!("interop%2F{number}"));
        let broker = Broker::controlled().await;
        broker.add_virtual_host(&name).await;
        Self {
            url: broker.url_as("guest", "guest", &escaped),
            base: format!("rabbitmq://{}/{escaped}/", broker.host()),
        }
    }

    /// An address on this host, as it travels.
    pub(crate) fn address(&self, rest: &str) -> Arc<str> {
        format!("{}{rest}", self.base).into()
    }

    /// MassTransit with these of its endpoints.
    pub(crate) async fn peer(&self, endpoints: &[&str]) -> Peer {
        Peer::start(&self.url, endpoints).await
    }

    pub(crate) fn builder(&self) -> BusBuilder {
        Bus::builder(RabbitMq::new(&self.url))
    }

    /// A bus that only sends.
    pub(crate) async fn bus(&self) -> Bus {
        self.builder().start().await.expect("the bus starts")
    }

    /// A bus with one endpoint.
    pub(crate) async fn serve(&self, endpoint: Endpoint) -> Bus {
        let builder = self.builder().endpoint(endpoint);
        builder.start().await.expect("the bus starts")
    }

    /// The broker as any other client sees it.
    pub(crate) async fn connect(&self) -> Connection {
        Connection::connect(&self.url, ConnectionProperties::default())
            .await
            .expect("the broker is up")
    }

    /// Takes the next message out of a queue that may not be there yet.
    pub(crate) async fn take(&self, queue: &str) -> BasicGetMessage {
        let connection = self.connect().await;
        let what = format!("a message in {queue}");
        until(&what, || async {
            // Asking for a queue that is not there ends the channel.
            let channel = connection.create_channel().await.expect("a channel");
            let options = BasicGetOptions { no_ack: true };
            channel
                .basic_get(queue.into(), options)
                .await
                .ok()
                .flatten()
        })
        .await
    }
}

/// Keeps what our side sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent(Arc<Mutex<Vec<Envelope>>>);

impl Sent {
    /// The only message that was sent.
    pub(crate) fn only(&self) -> Envelope {
        let sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent[0].clone()
    }
}

impl Observer for Sent {
    fn post_send(&self, message: &PostSend<'_>) {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sent.push(message.envelope.clone());
    }
}

/// Both sides see the same metadata: every id, address, type, time, header, and the sender's process.
#[track_caller]
pub(crate) fn assert_alike(ours: &Envelope, theirs: &Consumed) {
    assert_eq!(theirs.message_id, ours.message_id);
    assert!(ours.message_id.is_some());
    assert_eq!(theirs.request_id, ours.request_id);
    assert_eq!(theirs.correlation_id, ours.correlation_id);
    assert_eq!(theirs.conversation_id, ours.conversation_id);
    assert!(ours.conversation_id.is_some());
    assert_eq!(theirs.initiator_id, ours.initiator_id);
    assert_eq!(theirs.source_address, ours.source_address);
    assert_eq!(theirs.destination_address, ours.destination_address);
    assert_eq!(theirs.response_address, ours.response_address);
    assert_eq!(theirs.fault_address, ours.fault_address);
    let text = |time: DateTime| time.to_string();
    let ours_text = |time: Option<std::time::SystemTime>| time.map(DateTime).map(text);
    assert_eq!(theirs.sent_time.map(text), ours_text(ours.sent_time));
    assert_eq!(
        theirs.expiration_time.map(text),
        ours_text(ours.expiration_time)
    );
    assert_eq!(theirs.message_type, ours.message_types.as_ref());
    let headers = serde_json::to_value(&ours.headers).expect("JSON");
    assert_eq!(Value::Object(theirs.headers.clone()), headers);
    let host: Value = serde_json::from_slice(ours.host.as_ref().expect("a host")).expect("JSON");
    for (member, value) in host.as_object().expect("an object") {
        assert_eq!(&theirs.host[member], value, "{member}");
    }
    let message: Value = serde_json::from_slice(&ours.message).expect("JSON");
    assert!(message.is_object(), "{message}");
}

/// An AMQP header that is text.
#[track_caller]
pub(crate) fn header(properties: &BasicProperties, name: &str) -> String {
    let headers = properties.headers().as_ref().expect("headers").inner();
    match headers.get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        Some(other) => format!("{other:?}"),
        None => panic!("no {name} in {headers:?}"),
    }
}

pub(crate) fn order(number: &str) -> SubmitOrder {
    SubmitOrder {
        order_id: Uuid::new_v4(),
        order_number: number.to_owned(),
        // A `DateTime` of .NET is never null.
        submitted_at: Some(UNIX_EPOCH.into()),
        ..SubmitOrder::default()
    }
}

pub(crate) fn shipped(number: &str) -> OrderShipped {
    OrderShipped {
        correlation_id: Uuid::new_v4(),
        order_number: number.to_owned(),
        carrier: "bike".to_owned(),
    }
}
