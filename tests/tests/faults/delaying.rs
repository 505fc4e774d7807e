//! Messages wait in queues of the broker: none is early, none is lost, and none holds up others.

use bus_core::topology::PublishTopology;
use tokio::time::Instant;

use super::*;

/// Queues of its own for the messages that wait, so that tests cannot hold each other up.
async fn ladder() -> (RabbitMq, String) {
    let (url, prefix) = (Broker::shared().await.url(), unique("delay"));
    (quick(url).delay_prefix(&prefix), prefix)
}

/// A bus with an endpoint that consumes `Place` from its queue alone, and an exchange of its own
/// for events.
async fn reading(transport: RabbitMq, endpoint: Endpoint, seen: &Recorder<Place>) -> Bus {
    let endpoint = endpoint.without_subscription::<Place>();
    Bus::builder(transport)
        .publish_topology(PublishTopology::<Ordered>::fanout().entity_name(unique("ordered")))
        .endpoint(endpoint.consumer(seen.clone()))
        .start()
        .await
        .expect("the broker is up")
}

async fn later(bus: &Bus, queue: &str, number: u32, wait: Duration) {
    let sending = bus.send_to(address(queue), &Place { number });
    sending.deliver_in(wait).await.expect("confirmed");
}

async fn delete(queue: &str) {
    let channel = client(Broker::shared().await.url()).await;
    let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
    deleted.await.expect("deleted");
}

/// A command and its event arrive on time, with the route and the headers that they had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_message_arrives_as_if_it_had_been_sent_then() {
    let (transport, prefix) = ladder().await;
    let queue = unique("billing.orders");
    let (seen, events) = (Recorder::<Place>::new(), Recorder::<Ordered>::new());
    let endpoint = Endpoint::new(&queue).consumer(events.clone());
    let bus = reading(transport, endpoint, &seen).await;
    let (began, delay) = (Instant::now(), Duration::from_millis(2500));
    let command = bus.send_to(address(&queue), &Place { number: 1 });
    let command = command.header("tenant", "north").deliver_in(delay);
    command.await.unwrap();
    let event = bus.publish(&Ordered { number: 2 }).deliver_in(delay);
    event.await.unwrap();
    let command = seen.next().await;
    assert!(began.elapsed() >= delay, "after {:?}", began.elapsed());
    assert_eq!(command.headers().text("tenant"), Some("north"));
    let incoming = command.incoming();
    assert_eq!((&*incoming.exchange, &*incoming.routing_key), (&*queue, ""));
    for headers in [command.headers(), &incoming.headers] {
        let mut names = headers.iter().map(|(name, _)| name);
        assert!(!names.any(|name| name.starts_with("x-")), "{headers:?}");
    }
    assert_eq!(events.next().await.message().number, 2);
    let channel = client(Broker::shared().await.url()).await;
    for kept in ["undeliverable", "unsubscribed"] {
        let (ready, _) = look(&channel, &format!("{prefix}.{kept}")).await;
        assert_eq!(ready, 0, "{kept}");
    }
    bus.shutdown().await.unwrap();
}

/// RabbitMQ stops a level at 32 messages that nothing takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delayed_messages_without_a_destination_hold_up_no_others() {
    let (transport, prefix) = ladder().await;
    let (gone, queue) = (unique("gone"), unique("there"));
    let seen = Recorder::<Place>::new();
    let bus = reading(transport, Endpoint::new(&queue), &seen).await;
    let delay = Duration::from_secs(15);
    let lost = (0..40).map(async |number| {
        later(&bus, &gone, number, delay).await;
        let unheard = bus.publish(&Ordered { number }).deliver_in(delay);
        unheard.await.unwrap();
    });
    join_all(lost).await;
    delete(&gone).await;
    later(&bus, &queue, 40, delay).await;
    assert_eq!(seen.next().await.message().number, 40);
    let channel = client(Broker::shared().await.url()).await;
    eventually("those of the deleted queue are kept", async || {
        look(&channel, &format!("{prefix}.undeliverable")).await.0 == 40
    })
    .await;
    bus.shutdown().await.unwrap();
}

/// A queue that its owner is to make again first is waited for, by its own messages alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_takes_long_to_declare_holds_up_no_others() {
    let (transport, _) = ladder().await;
    let (slow, queue) = (unique("slow"), unique("there"));
    let seen = Recorder::<Place>::new();
    let transport = transport.rebind_interval(Duration::from_millis(1));
    let bus = reading(transport, Endpoint::new(&queue), &seen).await;
    for name in [&slow, &queue] {
        later(&bus, name, 1, Duration::from_secs(1)).await;
    }
    assert_eq!(seen.next().await.message().number, 1);
    delete(&slow).await;
    let mut waits = Box::pin(later(&bus, &slow, 2, Duration::from_secs(1)));
    tokio::select! {
        biased;
        () = &mut waits => panic!("the queue is made at once"),
        () = later(&bus, &queue, 2, Duration::from_secs(1)) => {}
    }
    assert_eq!(seen.next().await.message().number, 2);
    waits.await;
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_message_survives_the_death_of_the_broker() {
    let broker = Broker::private().await;
    let (queue, ledger) = (unique("later"), Ledger::default());
    let bus = Bus::builder(quick(broker.url()))
        .deadline(Duration::from_secs(90))
        .endpoint(ledger.endpoint(&queue))
        .start()
        .await
        .unwrap();
    let (began, wait) = (Instant::now(), Duration::from_secs(15));
    let step = Duration::from_millis(10);
    let sent = (0..100).map(|number| later(&bus, &queue, number, wait + step * number));
    join_all(sent).await;
    broker.kill().await;
    assert_eq!(ledger.len(), 0, "the fault comes before they are due");
    broker.start_again().await;
    ledger.is_complete(100).await;
    assert!(began.elapsed() >= wait, "after {:?}", began.elapsed());
    assert!(ledger.counts().values().all(|count| *count == 1));
    bus.shutdown().await.unwrap();
}

/// The first message after an operator has deleted the queues makes them again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_of_delayed_messages_that_were_deleted_are_made_again() {
    let (transport, prefix) = ladder().await;
    let (queue, seen) = (unique("again"), Recorder::<Place>::new());
    let transport = transport.rebind_interval(Duration::from_millis(1));
    let bus = reading(transport, Endpoint::new(&queue), &seen).await;
    later(&bus, &queue, 1, Duration::from_secs(1)).await;
    assert_eq!(seen.next().await.message().number, 1);
    let channel = client(Broker::shared().await.url()).await;
    for name in ["level-00", "deliver"] {
        let name = format!("{prefix}.{name}");
        let options = ExchangeDeleteOptions::default();
        channel.exchange_delete(name.into(), options).await.unwrap();
    }
    later(&bus, &queue, 2, Duration::from_secs(1)).await;
    assert_eq!(seen.next().await.message().number, 2);
    bus.shutdown().await.unwrap();
}

/// Names, waits and exchanges that the queues of the broker cannot carry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delays_that_the_broker_cannot_keep_are_refused() {
    let (transport, _) = ladder().await;
    let keyed = PublishTopology::<Ordered>::topic().entity_name(unique("keyed"));
    let bus = Bus::builder(transport).publish_topology(keyed);
    let bus = bus.start().await.unwrap();
    let minute = Duration::from_secs(60);
    let place = Place { number: 1 };
    let long = "n".repeat(198);
    let years = bus.send_to(address(&unique("years")), &place);
    let refused = [
        bus.publish(&Ordered { number: 1 }).deliver_in(minute),
        bus.send_to(address(&long), &place).deliver_in(minute),
        bus.send_to("queue:any.*.name", &place).deliver_in(minute),
        years.deliver_in(Duration::from_secs(1 << 28)),
    ];
    for sending in refused {
        let error = sending.await.expect_err("it cannot be delayed");
        assert_eq!(error.kind(), SendErrorKind::Unsupported, "{error}");
    }
    bus.shutdown().await.unwrap();
}
