//! What only RabbitMQ has, and what it is told: the layout of exchanges and queues, quorum queues, streams.

use std::time::Duration;

use bus_core::message::HeaderValue;
use bus_core::topology::{Binding, Node, Queue};
use bus_core::transport::StreamOffset;
use bus_core::{Bus, Endpoint, Message, StartError};
use bus_rabbitmq::RabbitMq;
use bus_tests::contracts::{Answered, Ask, Ordered, Place};
use bus_tests::{Broker, Recorder, eventually, numbers, until, within};
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

fn unique(purpose: &str) -> String {
    format!("{purpose}-{}", Uuid::new_v4().simple())
}

/// The lines that `rabbitmqctl` lists, each with its columns.
async fn list(broker: &Broker, arguments: &[&str]) -> Vec<Vec<String>> {
    let arguments: Vec<_> = ["-q", "--no-table-headers"]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    let listed = broker.control(&arguments).await;
    let columns = |line: &str| line.split('\t').map(str::to_owned).collect();
    listed.lines().map(columns).collect()
}

#[derive(Serialize, Deserialize, Message)]
#[message(
    "Tests.Layout:OrderShipped",
    implements("Tests.Layout:OrderEvent"),
    alias("Tests.Layout:Sent")
)]
struct OrderShipped {}

#[derive(Serialize, Deserialize, Message)]
#[message("Tests.Layout:OrderEvent")]
struct OrderEvent {}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchanges_and_queues_are_laid_out_as_masstransit_does() {
    let broker = Broker::controlled().await;
    let (shipping, audit) = (unique("shipping"), unique("audit"));
    let bus = Bus::builder(RabbitMq::new(broker.url()))
        .endpoint(Endpoint::new(&shipping).consumer(Recorder::<OrderShipped>::new()))
        .endpoint(Endpoint::new(&audit).consumer(Recorder::<OrderEvent>::new()))
        .start()
        .await
        .unwrap();
    bus.publish(&OrderShipped {}).await.unwrap();
    let bindings = list(
        broker,
        &[
            "list_bindings",
            "source_name",
            "destination_name",
            "destination_kind",
            "routing_key",
        ],
    )
    .await;
    let ours: Vec<_> = bindings
        .iter()
        .map(|columns| columns.iter().map(String::as_str).collect::<Vec<_>>())
        .collect();
    for expected in [
        ["Tests.Layout:OrderShipped", &shipping, "exchange", ""],
        ["Tests.Layout:Sent", &shipping, "exchange", ""],
        [&shipping, &shipping, "queue", ""],
        ["Tests.Layout:OrderEvent", &audit, "exchange", ""],
        [
            "Tests.Layout:OrderShipped",
            "Tests.Layout:OrderEvent",
            "exchange",
            "",
        ],
    ] {
        assert!(
            ours.contains(&expected.to_vec()),
            "{expected:?} in {ours:?}"
        );
    }
    let exchanges = list(
        broker,
        &["list_exchanges", "name", "type", "durable", "auto_delete"],
    )
    .await;
    for name in [
        "Tests.Layout:OrderShipped",
        "Tests.Layout:OrderEvent",
        &shipping,
    ] {
        let expected = [name, "fanout", "true", "false"]
            .map(str::to_owned)
            .to_vec();
        assert!(exchanges.contains(&expected), "{expected:?}");
    }
    let queues = list(broker, &["list_queues", "name", "durable", "arguments"]).await;
    let found = queues.iter().find(|columns| columns[0] == shipping);
    let found = found.unwrap_or_else(|| panic!("{shipping} in {queues:?}"));
    assert_eq!(found[1], "true", "durable");
    // RabbitMQ 4 notes the type that a queue has by default among its arguments.
    let plain = ["[]", "[{\"x-queue-type\",\"classic\"}]"];
    assert!(
        plain.contains(&found[2].replace(' ', "").as_str()),
        "{found:?}"
    );
    let error = format!("{shipping}_error");
    assert!(
        !queues.iter().any(|columns| columns[0] == error),
        "an error queue is made by the first failure"
    );
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reply_queue_belongs_to_its_connection_and_expires() {
    let broker = Broker::controlled().await;
    // Nobody else's reply queues.
    let vhost = unique("replies");
    broker.add_virtual_host(&vhost).await;
    let bus = Bus::builder(RabbitMq::new(broker.url_as("guest", "guest", &vhost)))
        .start()
        .await
        .unwrap();
    let asked = bus
        .request::<Answered>(&Ask { number: 1 })
        .deadline(Duration::from_secs(600));
    let asked = tokio::spawn(asked.into_future());
    let listing = async |what: &[&str]| list(broker, &[&["-p", &vhost], what].concat()).await;
    let columns = ["list_queues", "name", "exclusive", "durable", "arguments"];
    let reply = until("a reply queue", async || {
        let mut queues = listing(&columns).await.into_iter();
        queues.find(|columns| columns[0].contains("_bus_"))
    })
    .await;
    assert_eq!(reply[1..3], ["true", "false"]);
    assert!(reply[3].contains("x-expires"), "{reply:?}");
    let name = reply[0].clone();
    let columns = ["list_exchanges", "name", "type", "durable", "auto_delete"];
    let expected = [&name, "fanout", "false", "true"]
        .map(str::to_owned)
        .to_vec();
    eventually("its exchange", async || {
        listing(&columns).await.contains(&expected)
    })
    .await;
    asked.abort();
    bus.shutdown().await.unwrap();
    let name = vec![name];
    eventually("it is gone with the bus", async || {
        !listing(&["list_queues", "name"]).await.contains(&name)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quorum_endpoint_gives_nothing_up_silently() {
    let broker = Broker::controlled().await;
    let (safe, plain) = (unique("safe"), unique("plain"));
    let bus = Bus::builder(RabbitMq::new(broker.url()))
        .endpoint(Endpoint::on(Queue::quorum(&safe)).consumer(Recorder::<Ordered>::failing()))
        .endpoint(
            Endpoint::on(Queue::plain_quorum(&plain))
                .without_subscriptions()
                .consumer(Recorder::<Place>::new()),
        )
        .start()
        .await
        .unwrap();
    let queues = list(broker, &["list_queues", "name", "arguments"]).await;
    let arguments = |name: &str| {
        let found = queues.iter().find(|columns| columns[0] == name);
        found.map(|columns| columns[1].clone())
    };
    let of_safe = arguments(&safe).expect("declared");
    for part in [
        "quorum",
        "x-delivery-limit\",1000",
        &format!("{safe}_error"),
    ] {
        assert!(of_safe.contains(part), "{part} in {of_safe}");
    }
    let of_error = arguments(&format!("{safe}_error")).expect("declared at the start");
    assert!(
        of_error.contains("quorum") && of_error.contains("1000000"),
        "{of_error}"
    );
    let of_plain = arguments(&plain).expect("declared");
    assert_eq!(of_plain.matches("x-").count(), 1, "{of_plain}");
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_with_other_arguments_is_an_error_that_shows_both() {
    let broker = Broker::shared().await;
    let queue = unique("argued");
    let endpoint = |queue| Endpoint::on(queue).consumer(Recorder::<Ordered>::new());
    let classic = endpoint(Queue::classic(&queue));
    let first = Bus::builder(RabbitMq::new(broker.url())).endpoint(classic);
    first.start().await.unwrap().shutdown().await.unwrap();
    let quorum =
        Bus::builder(RabbitMq::new(broker.url())).endpoint(endpoint(Queue::quorum(&queue)));
    let error = within("the refusal", quorum.start()).await.unwrap_err();
    assert!(matches!(error, StartError::Endpoint { .. }), "{error}");
    let text = error.to_string();
    for part in [
        queue.as_str(),
        "x-queue-type=quorum",
        "PRECONDITION_FAILED",
        "inequivalent arg",
        "plain_quorum",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_uses_a_queue_as_it_is() {
    let broker = Broker::shared().await;
    let queue = unique("foreign");
    let connection = Connection::connect(broker.url(), ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1000));
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.as_str().into(), durable, arguments)
        .await
        .unwrap();
    let bus = Bus::builder(RabbitMq::new(broker.url()))
        .start()
        .await
        .unwrap();
    for number in 0..3 {
        let to = format!("queue:{queue}");
        bus.send_to(to, &Place { number }).await.unwrap();
    }
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let found = channel
        .queue_declare(queue.as_str().into(), passive, FieldTable::default())
        .await
        .unwrap();
    assert_eq!(found.message_count(), 3);
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_read_from_where_its_reader_wants() {
    let broker = Broker::shared().await;
    let queue = unique("stream");
    let reader = |offset: StreamOffset, recorder: &Recorder<Place>| {
        Bus::builder(RabbitMq::new(broker.url())).endpoint(
            Endpoint::on(Queue::stream(&queue))
                .stream_offset(offset)
                .without_subscriptions()
                .concurrency(1)
                .consumer(recorder.clone()),
        )
    };
    let first = Recorder::<Place>::new();
    let bus = reader(StreamOffset::First, &first).start().await.unwrap();
    for number in 0..10 {
        let to = format!("queue:{queue}");
        bus.send_to(to, &Place { number }).await.unwrap();
    }
    assert_eq!(numbers(&first.take(10).await), (0..10).collect::<Vec<_>>());
    bus.shutdown().await.unwrap();
    let again = Recorder::<Place>::new();
    let bus = reader(StreamOffset::First, &again).start().await.unwrap();
    assert_eq!(again.take(10).await.len(), 10, "what was read stays");
    bus.shutdown().await.unwrap();
    let later = Recorder::<Place>::new();
    let bus = reader(StreamOffset::At(7), &later).start().await.unwrap();
    assert_eq!(numbers(&later.take(3).await), [7, 8, 9]);
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_exchange_feeds_an_endpoint_that_is_bound_to_it() {
    let broker = Broker::shared().await;
    let queue = unique("bound");
    let recorder = Recorder::<bus_core::RawMessage>::new();
    let binding =
        Binding::new("amq.topic", Node::Queue(queue.clone())).routing_key(format!("{queue}.#"));
    let bus = Bus::builder(RabbitMq::new(broker.url()))
        .endpoint(
            Endpoint::new(&queue)
                .bind(binding)
                .consume_any(recorder.clone()),
        )
        .start()
        .await
        .unwrap();
    let connection = Connection::connect(broker.url(), ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let key = format!("{queue}.temperature");
    channel
        .basic_publish(
            "amq.topic".into(),
            key.as_str().into(),
            lapin::options::BasicPublishOptions::default(),
            b"21.5",
            lapin::BasicProperties::default(),
        )
        .await
        .unwrap();
    let heard = recorder.next().await;
    assert_eq!(heard.incoming().body.as_ref(), b"21.5");
    assert_eq!(heard.incoming().routing_key, key);
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_values_of_every_amqp_type_do_no_harm() {
    let broker = Broker::shared().await;
    let queue = unique("odd-headers");
    let recorder = Recorder::<Place>::failing();
    let endpoint = Endpoint::new(&queue)
        .without_subscriptions()
        .consumer(recorder.clone());
    let kept = Recorder::<bus_core::RawMessage>::new();
    let keeper = Endpoint::new(format!("{queue}_error")).consume_any(kept.clone());
    let bus = Bus::builder(RabbitMq::new(broker.url())).endpoint(endpoint);
    let bus = bus.endpoint(keeper).start().await.unwrap();
    let connection = Connection::connect(broker.url(), ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let mut inner = FieldTable::default();
    inner.insert("a".into(), AMQPValue::Boolean(true));
    let values = [
        AMQPValue::Boolean(true),
        AMQPValue::ShortShortInt(-1),
        AMQPValue::ShortShortUInt(255),
        AMQPValue::ShortInt(-300),
        AMQPValue::ShortUInt(60_000),
        AMQPValue::LongInt(-70_000),
        AMQPValue::LongUInt(4_000_000_000),
        AMQPValue::LongLongInt(i64::MIN),
        AMQPValue::Float(1.5),
        AMQPValue::Double(-2.5),
        AMQPValue::DecimalValue(lapin::types::DecimalValue {
            scale: 2,
            value: 1995,
        }),
        AMQPValue::LongString("text".into()),
        AMQPValue::LongString(vec![0xff, 0xfe].into()),
        AMQPValue::FieldArray(vec![AMQPValue::Void, AMQPValue::LongInt(1)].into()),
        AMQPValue::Timestamp(u64::MAX),
        AMQPValue::FieldTable(inner),
        AMQPValue::ByteArray(vec![1, 2, 255].into()),
        AMQPValue::Void,
    ];
    let mut headers = FieldTable::default();
    for (index, value) in values.into_iter().enumerate() {
        headers.insert(format!("h{index:02}").into(), value);
    }
    let body = br#"{"messageType":["urn:message:Conformance:Place"],"message":{"number":3}}"#;
    let properties = lapin::BasicProperties::default().with_headers(headers);
    let to_queue = lapin::options::BasicPublishOptions::default();
    channel
        .basic_publish("".into(), queue.as_str().into(), to_queue, body, properties)
        .await
        .unwrap();
    let call = recorder.next().await;
    assert_eq!(call.message().number, 3);
    let header = |name: &str| call.incoming().headers.get(name).cloned();
    assert_eq!(header("h02"), Some(255.into()));
    assert_eq!(header("h06"), Some(4_000_000_000u32.into()));
    assert_eq!(header("h10"), Some(19.95.into()));
    assert_eq!(header("h12"), Some(HeaderValue::Bytes(vec![0xff, 0xfe])));
    assert_eq!(call.incoming().headers.len(), 18);
    let moved = kept.next().await;
    assert_eq!(moved.incoming().body.as_ref(), body);
    assert_eq!(moved.headers().text("MT-Reason"), Some("fault"));
    bus.shutdown().await.unwrap();
}
