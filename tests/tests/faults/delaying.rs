//! Messages wait in queues of the broker: none is early, none is lost, and none holds up others.

use bus_core::topology::PublishTopology;
use tokio::time::Instant;

use super::*;

/// Queues of its own for the messages that wait, so that tests cannot hold each other up.
fn ladder(url: &str) -> (RabbitMq, String) {
    let prefix = unique("delay");
    (quick(url).delay_prefix(&prefix), prefix)
}

/// A command and its event arrive on time, with the route and the headers that they had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_message_arrives_as_if_it_had_been_sent_then() {
    let (transport, prefix) = ladder(Broker::shared().await.url());
    let queue = unique("billing.orders");
    let commands = Recorder::<Place>::new();
    let events = Recorder::<Ordered>::new();
    let bus = Bus::builder(transport)
        .publish_topology(PublishTopology::<Ordered>::fanout().entity_name(unique("ordered")))
        .endpoint(
            Endpoint::new(&queue)
                .without_subscriptions()
                .consumer(commands.clone()),
        )
        .endpoint(Endpoint::new(unique("audit")).consumer(events.clone()))
        .start()
        .await
        .unwrap();
    let (began, delay) = (Instant::now(), Duration::from_millis(2500));
    let command = bus.send_to(address(&queue), &Place { number: 1 });
    command
        .header("tenant", "north")
        .deliver_in(delay)
        .await
        .unwrap();
    bus.publish(&Ordered { number: 2 })
        .deliver_in(delay)
        .await
        .unwrap();
    let command = commands.next().await;
    assert!(began.elapsed() >= delay, "after {:?}", began.elapsed());
    assert_eq!(events.next().await.message().number, 2);
    assert_eq!(
        command.header("tenant").and_then(|tenant| tenant.as_str()),
        Some("north")
    );
    let names: Vec<_> = command
        .headers()
        .iter()
        .map(|(name, _)| name.to_owned())
        .collect();
    assert!(
        !names.iter().any(|name| name.starts_with("x-")),
        "{names:?}"
    );
    let incoming = command.incoming();
    assert_eq!((&*incoming.exchange, &*incoming.routing_key), (&*queue, ""));
    let raw: Vec<_> = incoming
        .headers
        .iter()
        .map(|(name, _)| name.to_owned())
        .collect();
    assert!(
        !raw.iter().any(|name| name.starts_with("x-death")),
        "{raw:?}"
    );
    let channel = client(Broker::shared().await.url()).await;
    for kept in ["undeliverable", "unsubscribed"] {
        assert_eq!(
            look(&channel, &format!("{prefix}.{kept}")).await.0,
            0,
            "{kept}"
        );
    }
    bus.shutdown().await.unwrap();
}

/// RabbitMQ stops a level at 32 messages that nothing takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delayed_messages_without_a_destination_hold_up_no_others() {
    let (transport, prefix) = ladder(Broker::shared().await.url());
    let (gone, queue) = (unique("gone"), unique("there"));
    let seen = Recorder::<Place>::new();
    let bus = Bus::builder(transport)
        .publish_topology(PublishTopology::<Ordered>::fanout().entity_name(unique("unheard")))
        .endpoint(
            Endpoint::new(&queue)
                .without_subscriptions()
                .consumer(seen.clone()),
        )
        .start()
        .await
        .unwrap();
    let delay = Duration::from_secs(3);
    for number in 0..40 {
        let command = bus.send_to(address(&gone), &Place { number });
        command.deliver_in(delay).await.unwrap();
        bus.publish(&Ordered { number })
            .deliver_in(delay)
            .await
            .unwrap();
    }
    let channel = client(Broker::shared().await.url()).await;
    let deleted = channel.queue_delete(gone.as_str().into(), QueueDeleteOptions::default());
    deleted.await.unwrap();
    let last = bus.send_to(address(&queue), &Place { number: 40 });
    last.deliver_in(delay).await.unwrap();
    assert_eq!(seen.next().await.message().number, 40);
    eventually("those of the deleted queue are kept", async || {
        look(&channel, &format!("{prefix}.undeliverable")).await.0 == 40
    })
    .await;
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
    let sent = (0..100).map(|number| {
        let sending = bus.send_to(address(&queue), &Place { number });
        let sending = sending.deliver_in(wait + Duration::from_millis(10) * number);
        sending.into_future()
    });
    for sent in join_all(sent).await {
        sent.unwrap();
    }
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
    let (transport, prefix) = ladder(Broker::shared().await.url());
    let (queue, seen) = (unique("again"), Recorder::<Place>::new());
    let bus = Bus::builder(transport.rebind_interval(Duration::from_millis(1)))
        .endpoint(
            Endpoint::new(&queue)
                .without_subscriptions()
                .consumer(seen.clone()),
        )
        .start()
        .await
        .unwrap();
    let later = |number| {
        let sending = bus.send_to(address(&queue), &Place { number });
        sending.deliver_in(Duration::from_secs(1))
    };
    later(1).await.unwrap();
    assert_eq!(seen.next().await.message().number, 1);
    let channel = client(Broker::shared().await.url()).await;
    for name in ["level-00", "deliver"] {
        let name = format!("{prefix}.{name}");
        let options = ExchangeDeleteOptions::default();
        channel.exchange_delete(name.into(), options).await.unwrap();
    }
    later(2).await.unwrap();
    assert_eq!(seen.next().await.message().number, 2);
    bus.shutdown().await.unwrap();
}

/// A quorum queue that a sender did not make takes delayed messages as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delays_that_the_broker_cannot_keep_are_refused() {
    let (transport, _) = ladder(Broker::shared().await.url());
    let keyed = PublishTopology::<Ordered>::topic().entity_name(unique("keyed"));
    let bus = Bus::builder(transport)
        .publish_topology(keyed)
        .start()
        .await
        .unwrap();
    let minute = Duration::from_secs(60);
    let place = Place { number: 1 };
    let long = "n".repeat(198);
    let refused = [
        bus.publish(&Ordered { number: 1 }).deliver_in(minute),
        bus.send_to(address(&long), &place).deliver_in(minute),
        bus.send_to("queue:any.*.name", &place).deliver_in(minute),
        bus.send_to(address(&unique("years")), &place)
            .deliver_in(Duration::from_secs(1 << 28)),
    ];
    for sending in refused {
        let error = sending.await.expect_err("it cannot be delayed");
        assert_eq!(error.kind(), SendErrorKind::Unsupported, "{error}");
    }
    bus.shutdown().await.unwrap();
}
