//! Operators delete exchanges, queues and bindings under their senders: these make them again.

use bus_tests::Log;

use super::*;

/// An endpoint with two slots that fails what is below 10.
async fn failing(queue: &str) -> (Bus, Recorder<Place>) {
    let recorder = Recorder::<Place>::deciding(|ctx| match ctx.message().number {
        0..10 => Err("broken".into()),
        _ => Ok(()),
    });
    let endpoint = Endpoint::new(queue)
        .without_subscriptions()
        .concurrency(2)
        .consumer(recorder.clone());
    let bus = Bus::builder(quick(Broker::shared().await.url())).endpoint(endpoint);
    (bus.start().await.expect("the broker is up"), recorder)
}

async fn holds(channel: &Channel, queue: &str, count: u32) {
    eventually("the failed messages are kept", async || {
        look(channel, queue).await.0 == count
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_queue_that_was_deleted_is_made_again_by_the_next_failures() {
    let queue = unique("failing");
    let errors = format!("{queue}_error");
    let (bus, seen) = failing(&queue).await;
    let channel = client(Broker::shared().await.url()).await;
    let to = address(&queue);
    bus.send_to(to.as_str(), &Place { number: 0 })
        .await
        .unwrap();
    eventually("the first failure is kept", async || {
        let broker = client(Broker::shared().await.url()).await;
        exists(&broker, &errors).await && look(&channel, &errors).await.0 == 1
    })
    .await;
    let deleted = channel.queue_delete(errors.as_str().into(), QueueDeleteOptions::default());
    deleted.await.unwrap();
    // As many as there are slots, and one that has to find one.
    for number in [1, 2, 10] {
        bus.send_to(to.as_str(), &Place { number }).await.unwrap();
    }
    assert_eq!(seen.take(4).await.len(), 4);
    let channel = client(Broker::shared().await.url()).await;
    eventually("the error queue is there again", async || {
        exists(&client(Broker::shared().await.url()).await, &errors).await
    })
    .await;
    holds(&channel, &errors, 2).await;
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_queue_that_was_unbound_is_bound_again() {
    let queue = unique("unbound");
    let errors = format!("{queue}_error");
    let (bus, _) = failing(&queue).await;
    let to = address(&queue);
    let place = Place { number: 0 };
    bus.send_to(to.as_str(), &place).await.unwrap();
    eventually("the first failure is kept", async || {
        exists(&client(Broker::shared().await.url()).await, &errors).await
    })
    .await;
    let channel = client(Broker::shared().await.url()).await;
    holds(&channel, &errors, 1).await;
    let (name, source) = (errors.as_str().into(), errors.as_str().into());
    let unbound = channel.queue_unbind(name, source, "".into(), FieldTable::default());
    unbound.await.unwrap();
    bus.send_to(to.as_str(), &place).await.unwrap();
    holds(&channel, &errors, 2).await;
    bus.shutdown().await.unwrap();
}

/// True if a queue is there; ends the channel if it is not.
async fn exists(channel: &Channel, queue: &str) -> bool {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let found = channel.queue_declare(queue.into(), passive, FieldTable::default());
    found.await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_was_deleted_is_made_again_by_its_next_sender() {
    let queue = unique("deleted");
    let url = Broker::shared().await.url();
    let bus = Bus::builder(quick(url)).start().await.unwrap();
    let channel = client(url).await;
    let to = address(&queue);
    bus.send_to(to.as_str(), &Place { number: 0 })
        .await
        .unwrap();
    let deleted = channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default());
    deleted.await.unwrap();
    let sends = (1..=50).map(|number| {
        let (bus, to) = (bus.clone(), to.clone());
        async move { bus.send_to(to, &Place { number }).await }
    });
    for outcome in within("all are sent", join_all(sends)).await {
        outcome.unwrap();
    }
    assert_eq!(look(&channel, &queue).await.0, 50, "once each");
    bus.shutdown().await.unwrap();
}

/// A queue of its own kind would not be consumed: the owner declares another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_is_left_to_its_owner_on_a_new_connection_too() {
    let (owners, senders, queue) = (proxy().await, proxy().await, unique("owned"));
    let ledger = Ledger::default();
    let endpoint = Endpoint::on(Queue::quorum(&queue)).without_subscriptions();
    let endpoint = endpoint.consumer(with(
        ledger.clone(),
        async |ledger: Ledger, ctx: ConsumeContext<Place>| -> ConsumeResult {
            ledger.note(ctx.message().number);
            Ok(())
        },
    ));
    let owner = Bus::builder(quick(&owners.url())).endpoint(endpoint);
    let owner = owner.start().await.unwrap();
    let sender = Bus::builder(quick(&senders.url())).start().await.unwrap();
    send_all(&sender, &queue, 0..1).await;
    ledger.is_complete(1).await;

    owners.refuse(true);
    owners.cut();
    let channel = client(Broker::shared().await.url()).await;
    let deleted = channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default());
    deleted.await.unwrap();
    senders.cut();
    let late = sender.send_to(address(&queue), &Place { number: 1 });
    let late = tokio::spawn(late.into_future());
    // The sender is there again, and declares what it has never seen.
    send_all(&sender, &unique("other"), 0..1).await;
    assert!(
        senders.cuts() > 0 && !exists(&channel, &queue).await,
        "left alone"
    );
    owners.refuse(false);
    within("the late one is sent", late).await.unwrap().unwrap();
    ledger.is_complete(2).await;
    owner.shutdown().await.unwrap();
    sender.shutdown().await.unwrap();
}

/// Its queues are bound no more, and only a sender can notice.
#[tokio::test]
async fn a_sender_whose_exchange_was_deleted_says_that_subscribers_get_nothing() {
    // One thread, so that all of the bus logs here.
    let (log, _guard) = Log::of_this_thread(tracing::Level::INFO);
    let (url, exchange) = (Broker::shared().await.url(), unique("Vanished"));
    let topology =
        bus_core::topology::PublishTopology::<Ordered>::fanout().entity_name(exchange.clone());
    let bus = Bus::builder(quick(url)).publish_topology(topology);
    let bus = bus.start().await.unwrap();
    bus.publish(&Ordered { number: 1 }).await.unwrap();
    let deleted = client(url).await;
    let deleted =
        deleted.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default());
    deleted.await.unwrap();
    bus.publish(&Ordered { number: 2 }).await.unwrap();
    let text = log.text();
    let warnings = text.lines().filter(|line| line.contains("WARN"));
    let warned = |line: &str| line.contains(&exchange) && line.contains("was deleted");
    assert_eq!(warnings.filter(|line| warned(line)).count(), 1, "{text}");
    bus.shutdown().await.unwrap();
}
