//! Connections are cut, silent, or gone for a while.

use bus_core::observe::{ConnectionChange, EndpointChange, EndpointState, Observer};

use super::*;

/// Keeps each state of the endpoint, and each health of the connections.
#[derive(Clone, Debug, Default)]
struct States {
    endpoint: Arc<Mutex<Vec<EndpointState>>>,
    connection: Arc<Mutex<Vec<Health>>>,
}

impl Observer for States {
    fn connection_changed(&self, change: &ConnectionChange<'_>) {
        self.connection
            .lock()
            .expect("no panic")
            .push(change.health.clone());
    }

    fn endpoint_changed(&self, change: &EndpointChange<'_>) {
        assert!(change.state == EndpointState::Running || change.reason.is_some());
        self.endpoint.lock().expect("no panic").push(change.state);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observers_hear_of_a_loss_and_its_end() {
    let (proxy, queue, states) = (proxy().await, unique("heard"), States::default());
    let bus = Bus::builder(quick(&proxy.url()))
        .observe(states.clone())
        .endpoint(Ledger::default().endpoint(&queue));
    let bus = bus.start().await.unwrap();
    proxy.refuse(true);
    proxy.cut();
    // Without asking for the health: that alone would report a change.
    eventually("the loss is reported", async || {
        let connection = states.connection.lock().unwrap();
        let endpoint = states.endpoint.lock().unwrap();
        matches!(connection.last(), Some(Health::Down(_)))
            && endpoint.last() == Some(&EndpointState::Unavailable)
    })
    .await;
    proxy.refuse(false);
    eventually("its end is reported", async || {
        let connection = states.connection.lock().unwrap();
        let endpoint = states.endpoint.lock().unwrap();
        connection.last() == Some(&Health::Up) && endpoint.last() == Some(&EndpointState::Running)
    })
    .await;
    let endpoint = states.endpoint.lock().unwrap().clone();
    let (running, away) = (EndpointState::Running, EndpointState::Unavailable);
    assert_eq!(endpoint, [running, away, running]);
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_under_load_lose_nothing() {
    let proxy = proxy().await;
    let (queue, ledger) = (unique("cut"), Ledger::default());
    let bus = Bus::builder(quick(&proxy.url()))
        .endpoint(ledger.endpoint(&queue).concurrency(64))
        .start()
        .await
        .unwrap();
    let load = Load::start(&bus, &queue);
    for _ in 0..5 {
        let before = ledger.len();
        eventually("messages arrive", async || ledger.len() >= before + 500).await;
        proxy.cut();
    }
    let sent = load.stop().await;
    ledger.is_complete(sent).await;
    assert!(proxy.cuts() >= 10, "both connections, five times");
    // What was consumed before the last cut needs no connection to be complete.
    eventually("both are back", async || {
        proxy.connections() >= 12 && bus.health().is_healthy()
    })
    .await;
    let broker = client(Broker::shared().await.url()).await;
    eventually("it is subscribed again, once", async || {
        look(&broker, &queue).await.1 == 1
    })
    .await;
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_away_is_waited_for_until_the_deadline() {
    let proxy = proxy().await;
    let queue = unique("away");
    let bus = Bus::builder(quick(&proxy.url())).start().await.unwrap();
    proxy.refuse(true);
    proxy.cut();
    eventually("the loss is noticed", async || {
        matches!(bus.health().transport, Health::Down(_))
    })
    .await;
    let error = bus
        .send_to(address(&queue), &Place { number: 1 })
        .deadline(Duration::from_millis(300))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Unreachable, "{error}");
    let patient = {
        let (bus, to) = (bus.clone(), address(&queue));
        tokio::spawn(async move { bus.send_to(to.as_str(), &Place { number: 2 }).await })
    };
    proxy.refuse(false);
    within("the patient sender", patient)
        .await
        .unwrap()
        .unwrap();
    let (ready, _) = look(&client(Broker::shared().await.url()).await, &queue).await;
    assert_eq!(ready, 1, "what was given up was not sent");
    eventually("all is well", async || bus.health().transport == Health::Up).await;
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_is_noticed_by_its_heartbeat() {
    let proxy = proxy().await;
    let (queue, ledger) = (unique("silent"), Ledger::default());
    let transport = quick(&proxy.url())
        .heartbeat(Duration::from_secs(1))
        .connect_timeout(Duration::from_secs(1));
    let bus = Bus::builder(transport)
        .endpoint(ledger.endpoint(&queue))
        .start()
        .await
        .unwrap();
    proxy.freeze(true);
    eventually("the silence is noticed", async || {
        bus.health().transport != Health::Up
    })
    .await;
    proxy.freeze(false);
    bus.send_to(address(&queue), &Place { number: 0 })
        .await
        .unwrap();
    ledger.is_complete(1).await;
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_temporary_endpoint_is_there_again_after_a_cut() {
    let proxy = proxy().await;
    let recorder = Recorder::<Ordered>::new();
    let exchange = unique("Ordered");
    let topology =
        || bus_core::topology::PublishTopology::<Ordered>::fanout().entity_name(exchange.clone());
    let bus = Bus::builder(quick(&proxy.url()))
        .publish_topology(topology())
        .endpoint(Endpoint::per_instance("cache").consumer(recorder.clone()))
        .start()
        .await
        .unwrap();
    let connections = proxy.connections();
    proxy.cut();
    eventually("both connections are back", async || {
        proxy.connections() >= connections + 2 && bus.health().is_healthy()
    })
    .await;
    eventually("it is subscribed again", async || {
        let published = bus.publish(&Ordered { number: 1 }).mandatory().await;
        published.is_ok()
    })
    .await;
    assert_eq!(recorder.next().await.message().number, 1);
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_does_not_wait_for_a_broker_that_is_away() {
    let proxy = proxy().await;
    let (queue, ledger) = (unique("leaving"), Ledger::default());
    let bus = Bus::builder(quick(&proxy.url()))
        .endpoint(ledger.endpoint(&queue))
        .start()
        .await
        .unwrap();
    proxy.refuse(true);
    proxy.cut();
    eventually("the loss is noticed", async || {
        matches!(bus.health().transport, Health::Down(_))
    })
    .await;
    let pending = {
        let (bus, to) = (bus.clone(), address(&queue));
        tokio::spawn(async move {
            let sent = bus.send_to(to.as_str(), &Place { number: 1 });
            sent.deadline(Duration::from_secs(600)).await
        })
    };
    within("a stop before the deadline", bus.shutdown())
        .await
        .unwrap();
    let error = within("the sender is told", pending)
        .await
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(
            error.kind(),
            SendErrorKind::Closed | SendErrorKind::Unreachable
        ),
        "{error}"
    );
}
