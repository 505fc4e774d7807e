//! RabbitMQ fails: connections are cut, confirms are lost, queues vanish, the broker dies. Nothing is lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus_core::transport::Health;
use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, SendErrorKind};
use bus_rabbitmq::RabbitMq;
use bus_tests::contracts::{Ask, Cancelled, Ordered, Place, Told};
use bus_tests::{Broker, Gate, Proxy, Recorder, eventually, with, within};
use futures_util::future::join_all;
use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

/// How often each number arrived.
#[derive(Clone, Debug, Default)]
struct Ledger(Arc<Mutex<BTreeMap<u32, usize>>>);

impl Ledger {
    fn note(&self, number: u32) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(number).or_default() += 1;
    }

    fn counts(&self) -> BTreeMap<u32, usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until all of `0..count` were there.
    async fn is_complete(&self, count: u32) {
        let all = count as usize;
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.len() < all {
            assert!(
                Instant::now() < deadline,
                "{} of {all} messages arrived",
                self.len()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn endpoint(&self, queue: &str) -> Endpoint {
        Endpoint::new(queue).without_subscriptions().consumer(with(
            self.clone(),
            async |ledger: Ledger, ctx: ConsumeContext<Place>| -> ConsumeResult {
                ledger.note(ctx.message().number);
                Ok(())
            },
        ))
    }
}

fn unique(purpose: &str) -> String {
    format!("{purpose}-{}", Uuid::new_v4().simple())
}

fn address(queue: &str) -> String {
    format!("queue:{queue}")
}

/// Comes back quickly, so that tests do.
fn quick(url: &str) -> RabbitMq {
    RabbitMq::new(url).reconnect_backoff(Duration::from_millis(50), Duration::from_millis(500))
}

async fn proxy() -> Proxy {
    Proxy::start(Broker::shared().await.host()).await
}

async fn client(url: &str) -> Channel {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .expect("the broker is up");
    connection.create_channel().await.expect("a channel")
}

/// How many messages are ready in a queue, and how many consumers it has.
async fn look(channel: &Channel, queue: &str) -> (u32, u32) {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let found = channel
        .queue_declare(queue.into(), passive, FieldTable::default())
        .await
        .expect("the queue is there");
    (found.message_count(), found.consumer_count())
}

/// Waits for a task that a fault may have stopped for ever.
async fn finished(task: tokio::task::JoinHandle<()>) {
    let finished = tokio::time::timeout(Duration::from_secs(120), task).await;
    finished.expect("the senders end").expect("no panic");
}

/// Sends `numbers` to a queue, many at a time, each until it is confirmed.
async fn send_all(bus: &Bus, queue: &str, numbers: std::ops::Range<u32>) {
    let mut tasks = JoinSet::new();
    let next = Arc::new(AtomicUsize::new(numbers.start as usize));
    for _ in 0..50 {
        let (bus, to, next) = (bus.clone(), address(queue), Arc::clone(&next));
        let end = numbers.end;
        tasks.spawn(async move {
            loop {
                let number = u32::try_from(next.fetch_add(1, Ordering::Relaxed)).expect("few");
                if number >= end {
                    return;
                }
                let sent = bus.send_to(to.as_str(), &Place { number }).await;
                sent.expect("confirmed within its deadline");
            }
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_under_load_lose_nothing() {
    const COUNT: u32 = 10_000;
    let proxy = proxy().await;
    let (queue, ledger) = (unique("cut"), Ledger::default());
    let bus = Bus::builder(quick(&proxy.url()))
        .endpoint(ledger.endpoint(&queue).concurrency(64))
        .start()
        .await
        .unwrap();
    let sending = {
        let (bus, queue) = (bus.clone(), queue.clone());
        tokio::spawn(async move { send_all(&bus, &queue, 0..COUNT).await })
    };
    for part in 1..=5 {
        eventually("some messages arrived", async || {
            ledger.len() >= part * 1000
        })
        .await;
        proxy.cut();
    }
    finished(sending).await;
    ledger.is_complete(COUNT).await;
    assert!(proxy.cuts() >= 10, "both connections, five times");
    assert!(proxy.connections() >= 12);
    let (_, consumers) = look(&client(Broker::shared().await.url()).await, &queue).await;
    assert_eq!(consumers, 1, "subscribed again, once");
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_under_load_loses_nothing() {
    const COUNT: u32 = 6_000;
    let broker = Broker::private().await;
    let (queue, ledger) = (unique("killed"), Ledger::default());
    let bus = Bus::builder(quick(broker.url()))
        .deadline(Duration::from_secs(90))
        .endpoint(ledger.endpoint(&queue).concurrency(64))
        .start()
        .await
        .unwrap();
    let sending = {
        let (bus, queue) = (bus.clone(), queue.clone());
        tokio::spawn(async move { send_all(&bus, &queue, 0..COUNT).await })
    };
    for part in 1..=2 {
        eventually("some messages arrived", async || {
            ledger.len() >= part * 1000
        })
        .await;
        broker.kill().await;
        assert!(!sending.is_finished(), "killed in the middle");
        broker.start_again().await;
    }
    finished(sending).await;
    ledger.is_complete(COUNT).await;
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmed_message_survives_the_death_of_the_broker() {
    let broker = Broker::private().await;
    let queue = unique("survivor");
    let bus = Bus::builder(quick(broker.url())).start().await.unwrap();
    for number in 0..20 {
        bus.send_to(address(&queue), &Place { number })
            .await
            .unwrap();
    }
    broker.kill().await;
    broker.start_again().await;
    let (ready, _) = look(&client(broker.url()).await, &queue).await;
    assert_eq!(ready, 20);
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_confirm_ends_with_the_deadline_and_says_that_the_message_may_have_arrived() {
    let proxy = proxy().await;
    let queue = unique("unconfirmed");
    let bus = Bus::builder(quick(&proxy.url())).start().await.unwrap();
    bus.send_to(address(&queue), &Place { number: 1 })
        .await
        .unwrap();
    proxy.drop_answers(true);
    let started = Instant::now();
    let error = bus
        .send_to(address(&queue), &Place { number: 2 })
        .deadline(Duration::from_millis(500))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::TimedOut, "{error}");
    assert!(error.to_string().contains(&queue), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
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
    within("the silence is noticed", async {
        while bus.health().transport == Health::Up {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
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
async fn a_reply_finds_its_requester_after_a_reconnect() {
    let proxy = proxy().await;
    let (slow, prompt) = (unique("slow-answers"), unique("prompt-answers"));
    let gate = Gate::closed();
    let open = Gate::closed();
    open.open();
    let answers = |queue: &str, gate: &Gate| {
        Endpoint::new(queue).without_subscriptions().consumer(with(
            gate.clone(),
            async |gate: Gate, ctx: ConsumeContext<Ask>| -> ConsumeResult {
                gate.pass().await;
                let number = ctx.message().number;
                ctx.respond(&Told { number }).await?;
                Ok(())
            },
        ))
    };
    let answering = Bus::builder(RabbitMq::new(Broker::shared().await.url()))
        .endpoint(answers(&slow, &gate))
        .endpoint(answers(&prompt, &open))
        .start()
        .await
        .unwrap();
    let asking = Bus::builder(quick(&proxy.url())).start().await.unwrap();
    let request = {
        let (bus, to) = (asking.clone(), address(&slow));
        tokio::spawn(async move {
            bus.request::<Told>(&Ask { number: 7 })
                .to(to.as_str())
                .await
        })
    };
    gate.holds(1).await;
    let connections = proxy.connections();
    proxy.cut();
    eventually("both connections are back", async || {
        proxy.connections() >= connections + 2
    })
    .await;
    // A request waits until its reply queue is there again, so this one proves that it is.
    let prompt: Told = asking
        .request(&Ask { number: 8 })
        .to(address(&prompt))
        .await
        .unwrap();
    assert_eq!(prompt.number, 8);
    gate.open();
    let told = within("the reply to the older request", request).await;
    assert_eq!(told.unwrap().unwrap().number, 7);
    assert_eq!(asking.pending_requests(), 0);
    asking.shutdown().await.unwrap();
    answering.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_who_is_gone_costs_nobody_elses_messages() {
    let (queue, gate) = (unique("gone"), Gate::closed());
    let replies = unique("not-there");
    let bus = Bus::builder(RabbitMq::new(Broker::shared().await.url()))
        .endpoint(
            Endpoint::new(&queue)
                .without_subscriptions()
                .concurrency(64)
                .consumer(with(
                    gate.clone(),
                    async |gate: Gate, ctx: ConsumeContext<Ask>| -> ConsumeResult {
                        gate.pass().await;
                        let number = ctx.message().number;
                        ctx.respond(&Told { number }).await?;
                        Ok(())
                    },
                )),
        )
        .start()
        .await
        .unwrap();
    let forms = [
        format!("exchange:{replies}"),
        format!("queue:{replies}"),
        format!("exchange:{replies}?temporary=true"),
    ];
    for (number, gone) in (0..30).zip(forms.iter().cycle()) {
        bus.send_to(address(&queue), &Ask { number })
            .response_address(gone.as_str())
            .await
            .unwrap();
    }
    let mut requests = JoinSet::new();
    for number in 100..120 {
        let (bus, to) = (bus.clone(), address(&queue));
        requests.spawn(async move {
            let told: Told = bus.request(&Ask { number }).to(to.as_str()).await.unwrap();
            assert_eq!(told.number, number);
        });
    }
    gate.holds(50).await;
    gate.open();
    while let Some(answered) = within("the other replies", requests.join_next()).await {
        answered.unwrap();
    }
    bus.shutdown().await.unwrap();
    let channel = client(Broker::shared().await.url()).await;
    assert_eq!(look(&channel, &queue).await.0, 0, "all were consumed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_comes_back_is_told_to_its_own_sender() {
    let queue = unique("routed");
    let bus = Bus::builder(RabbitMq::new(Broker::shared().await.url()))
        .publish_topology(
            bus_core::PublishTopology::<Ordered>::fanout().entity_name(unique("Routed")),
        )
        .publish_topology(
            bus_core::PublishTopology::<Cancelled>::fanout().entity_name(unique("Unrouted")),
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
async fn a_slow_delivery_is_not_acknowledged_by_its_successors() {
    let proxy = proxy().await;
    let (queue, gate, ledger) = (unique("slow"), Gate::closed(), Ledger::default());
    let bus = Bus::builder(quick(&proxy.url()))
        .endpoint(
            Endpoint::new(&queue)
                .without_subscriptions()
                .concurrency(8)
                .consumer(with(
                    (gate.clone(), ledger.clone()),
                    async |(gate, ledger): (Gate, Ledger),
                           ctx: ConsumeContext<Place>|
                           -> ConsumeResult {
                        let number = ctx.message().number;
                        if number == 0 && !ctx.redelivered() {
                            gate.pass().await;
                        }
                        ledger.note(number);
                        Ok(())
                    },
                )),
        )
        .start()
        .await
        .unwrap();
    send_all(&bus, &queue, 0..1).await;
    gate.holds(1).await;
    send_all(&bus, &queue, 1..500).await;
    eventually("the others are through", async || ledger.len() == 499).await;
    let channel = client(Broker::shared().await.url()).await;
    assert_eq!(look(&channel, &queue).await.0, 0, "none waits behind it");
    proxy.cut();
    ledger.is_complete(500).await;
    assert!(proxy.cuts() > 0);
    assert_eq!(
        ledger.counts()[&0],
        1,
        "it came again and was handled then, as it had not been acknowledged"
    );
    gate.open();
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_of_a_lost_channel_settles_nothing_on_the_next_one() {
    let proxy = proxy().await;
    let (queue, gate) = (unique("stale"), Gate::closed());
    let calls = Arc::new(AtomicUsize::new(0));
    let bus = Bus::builder(quick(&proxy.url()))
        .endpoint(
            Endpoint::new(&queue)
                .without_subscriptions()
                .concurrency(2)
                .prefetch(2)
                .consumer(with(
                    (gate.clone(), Arc::clone(&calls)),
                    async |(gate, calls): (Gate, Arc<AtomicUsize>),
                           _: ConsumeContext<Place>|
                           -> ConsumeResult {
                        if calls.fetch_add(1, Ordering::SeqCst) < 2 {
                            gate.pass().await;
                            return Ok(());
                        }
                        std::future::pending().await
                    },
                )),
        )
        .stop_timeout(Duration::from_millis(100))
        .start()
        .await
        .unwrap();
    send_all(&bus, &queue, 0..2).await;
    gate.holds(2).await;
    proxy.cut();
    eventually("the queue is consumed again", async || {
        let channel = client(Broker::shared().await.url()).await;
        look(&channel, &queue).await == (0, 1)
    })
    .await;
    // Both are handed out again under the same tags. The first ones end now, on a channel that is gone.
    gate.open();
    eventually("both are handled again", async || {
        calls.load(Ordering::SeqCst) == 4
    })
    .await;
    assert!(bus.shutdown().await.is_err(), "both still run");
    let channel = client(Broker::shared().await.url()).await;
    eventually("both are back", async || {
        look(&channel, &queue).await.0 == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_is_declared_and_consumed_again() {
    let (queue, ledger) = (unique("deleted"), Ledger::default());
    let (other, others) = (unique("untouched"), Ledger::default());
    let broker = Broker::shared().await;
    let bus = Bus::builder(quick(broker.url()))
        .endpoint(ledger.endpoint(&queue))
        .endpoint(others.endpoint(&other))
        .start()
        .await
        .unwrap();
    let channel = client(broker.url()).await;
    channel
        .queue_delete(queue.as_str().into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    eventually("the queue is back", async || {
        let channel = client(broker.url()).await;
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let found = channel
            .queue_declare(queue.as_str().into(), passive, FieldTable::default())
            .await;
        found.is_ok_and(|queue| queue.consumer_count() == 1)
    })
    .await;
    send_all(&bus, &queue, 0..10).await;
    send_all(&bus, &other, 0..10).await;
    ledger.is_complete(10).await;
    others.is_complete(10).await;
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_most_once_is_never_twice() {
    const COUNT: u32 = 3_000;
    let proxy = proxy().await;
    let (queue, ledger) = (unique("at-most-once"), Ledger::default());
    let bus = Bus::builder(quick(&proxy.url()))
        .endpoint(ledger.endpoint(&queue).at_most_once())
        .start()
        .await
        .unwrap();
    let sender = Bus::builder(RabbitMq::new(Broker::shared().await.url()))
        .start()
        .await
        .unwrap();
    let sending = {
        let queue = queue.clone();
        tokio::spawn(async move {
            send_all(&sender, &queue, 0..COUNT).await;
            sender.shutdown().await.unwrap();
        })
    };
    for part in 1..=3 {
        eventually("some messages arrived", async || ledger.len() >= part * 500).await;
        proxy.cut();
    }
    finished(sending).await;
    let channel = client(Broker::shared().await.url()).await;
    eventually("the queue is empty", async || {
        look(&channel, &queue).await == (0, 1)
    })
    .await;
    bus.shutdown().await.unwrap();
    assert!(proxy.cuts() >= 3);
    let twice: Vec<_> = ledger
        .counts()
        .into_iter()
        .filter(|(_, count)| *count > 1)
        .collect();
    assert_eq!(twice, [], "handled twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_temporary_endpoint_is_there_again_after_a_cut() {
    let proxy = proxy().await;
    let recorder = Recorder::<Ordered>::new();
    let exchange = unique("Ordered");
    let topology = || bus_core::PublishTopology::<Ordered>::fanout().entity_name(exchange.clone());
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
        tokio::spawn(async move { bus.send_to(to.as_str(), &Place { number: 1 }).await })
    };
    let started = Instant::now();
    bus.shutdown().await.unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_that_was_deleted_is_declared_again() {
    let broker = Broker::shared().await;
    let (exchange, queue) = (unique("Vanishing"), unique("unaffected"));
    let topology = bus_core::PublishTopology::<Ordered>::fanout().entity_name(exchange.clone());
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_the_broker_closes_is_opened_again() {
    // The broker gives up on a delivery after two seconds, by closing its channel.
    let broker = Broker::private().await;
    for setting in ["consumer_timeout, 2000", "channel_tick_interval, 1000"] {
        let set = format!("application:set_env(rabbit, {setting}).");
        broker.control(&["eval", &set]).await;
    }
    let (queue, gate, ledger) = (unique("overdue"), Gate::closed(), Ledger::default());
    let other = Ledger::default();
    let bus = Bus::builder(quick(broker.url()))
        .endpoint(Endpoint::new(&queue).without_subscriptions().consumer(with(
            (gate.clone(), ledger.clone()),
            async |(gate, ledger): (Gate, Ledger), ctx: ConsumeContext<Place>| -> ConsumeResult {
                if !ctx.redelivered() {
                    gate.pass().await;
                }
                ledger.note(ctx.message().number);
                Ok(())
            },
        )))
        .endpoint(other.endpoint("neighbour"))
        .start()
        .await
        .unwrap();
    send_all(&bus, &queue, 0..1).await;
    gate.holds(1).await;
    ledger.is_complete(1).await;
    let channel = client(broker.url()).await;
    assert_eq!(
        look(&channel, &queue).await,
        (0, 1),
        "subscribed again, once"
    );
    send_all(&bus, "neighbour", 0..5).await;
    other.is_complete(5).await;
    gate.open();
    bus.shutdown().await.unwrap();
}
