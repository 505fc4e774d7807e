//! Confirms are lost, messages come back, exchanges vanish.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_confirm_ends_with_the_deadline_and_says_that_the_message_may_have_arrived() {
    let proxy = proxy().await;
    let queue = unique("unconfirmed");
    let bus = Bus::builder(quick(&proxy.url())).deadline(Duration::from_secs(600));
    let bus = bus.start().await.unwrap();
    bus.send_to(address(&queue), &Place { number: 1 })
        .await
        .unwrap();
    proxy.drop_answers(true);
    let late = bus.send_to(address(&queue), &Place { number: 2 });
    let late = late.deadline(Duration::from_secs(2)).into_future();
    let error = within("the deadline", late).await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::TimedOut, "{error}");
    assert!(error.to_string().contains(&queue), "{error}");
    let channel = client(Broker::shared().await.url()).await;
    eventually("it has arrived all the same", async || {
        look(&channel, &queue).await.0 == 2
    })
    .await;
    proxy.drop_answers(false);
    bus.send_to(address(&queue), &Place { number: 3 })
        .await
        .unwrap();
    assert_eq!(look(&channel, &queue).await.0, 3, "sent once each");
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_comes_back_is_reported_to_its_own_sender() {
    let queue = unique("routed");
    let bus = Bus::builder(RabbitMq::new(Broker::shared().await.url()))
        .publish_topology(
            bus_core::topology::PublishTopology::<Ordered>::fanout().entity_name(unique("Routed")),
        )
        .publish_topology(
            bus_core::topology::PublishTopology::<Cancelled>::fanout()
                .entity_name(unique("Unrouted")),
        )
        .endpoint(Endpoint::new(&queue).consumer(Recorder::<Ordered>::new()))
        .start()
        .await
        .unwrap();
    let mut tasks = JoinSet::new();
    for number in 0..600 {
        let bus = bus.clone();
        tasks.spawn(async move {
            match number % 3 {
                0 => bus.publish(&Ordered { number }).mandatory().await.is_ok(),
                1 => {
                    let error = bus.publish(&Cancelled { number }).mandatory().await;
                    error.is_err_and(|error| error.kind() == SendErrorKind::Unroutable)
                }
                _ => bus.publish(&Cancelled { number }).await.is_ok(),
            }
        });
    }
    while let Some(right) = within("the outcomes", tasks.join_next()).await {
        assert!(right.unwrap(), "an outcome went to another message");
    }
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_that_was_deleted_is_declared_again() {
    let broker = Broker::shared().await;
    let (exchange, queue) = (unique("Vanishing"), unique("unaffected"));
    let topology =
        bus_core::topology::PublishTopology::<Ordered>::fanout().entity_name(exchange.clone());
    let bus = Bus::builder(quick(broker.url()))
        .publish_topology(topology)
        .start()
        .await
        .unwrap();
    bus.publish(&Ordered { number: 1 }).await.unwrap();
    let channel = client(broker.url()).await;
    channel
        .exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default())
        .await
        .unwrap();
    // The broker closes the channel under all of them.
    let to = address(&queue);
    let sends = (0..50).map(|number| {
        let (bus, to) = (bus.clone(), to.clone());
        async move {
            if number == 10 {
                bus.publish(&Ordered { number }).await
            } else {
                bus.send_to(to, &Place { number }).await
            }
        }
    });
    for outcome in within("all are sent", join_all(sends)).await {
        outcome.unwrap();
    }
    let (ready, _) = look(&channel, &queue).await;
    assert!(ready >= 49, "{ready}: what had no confirm was sent again");
    let passive = ExchangeDeclareOptions {
        passive: true,
        ..ExchangeDeclareOptions::default()
    };
    let kind = lapin::ExchangeKind::Fanout;
    let found = channel
        .exchange_declare(exchange.into(), kind, passive, FieldTable::default())
        .await;
    found.expect("it is there again");
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_exchange_that_was_deleted_costs_its_own_message_only() {
    let broker = Broker::shared().await;
    let (exchange, queue) = (unique("foreign"), unique("fed"));
    let channel = client(broker.url()).await;
    let kind = lapin::ExchangeKind::Fanout;
    channel
        .exchange_declare(
            exchange.as_str().into(),
            kind,
            ExchangeDeclareOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let bus = Bus::builder(quick(broker.url())).start().await.unwrap();
    let foreign = format!("exchange:{exchange}");
    let place = Place { number: 1 };
    bus.send_to(foreign.as_str(), &place).await.unwrap();
    channel
        .exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default())
        .await
        .unwrap();
    let to = address(&queue);
    let (lost, sent) = tokio::join!(
        async { bus.send_to(foreign.as_str(), &place).await },
        join_all((0..20).map(|_| async { bus.send_to(to.as_str(), &place).await })),
    );
    let error = lost.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Unroutable, "{error}");
    assert!(error.to_string().contains(&exchange), "{error}");
    for outcome in sent {
        outcome.unwrap();
    }
    bus.shutdown().await.unwrap();
}
