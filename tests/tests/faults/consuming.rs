//! Deliveries whose channel, queue or connection is gone.

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::AMQPValue;

use super::*;

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
                .policy(Policy::new().prefetch(2))
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
async fn a_queue_that_is_deleted_during_a_pause_comes_back_with_the_resume() {
    let (queue, ledger) = (unique("paused"), Ledger::default());
    let broker = Broker::shared().await;
    let bus = Bus::builder(quick(broker.url()))
        .endpoint(ledger.endpoint(&queue))
        .start()
        .await
        .unwrap();
    let endpoint = bus.endpoint(&queue).unwrap();
    endpoint.pause().await;
    let channel = client(broker.url()).await;
    channel
        .queue_delete(queue.as_str().into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    endpoint.resume().await.unwrap();
    send_all(&bus, &queue, 0..10).await;
    ledger.is_complete(10).await;
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

/// A broker that gives up on a delivery after two seconds, by closing its channel.
async fn impatient() -> &'static Broker {
    static IMPATIENT: OnceCell<Broker> = OnceCell::const_new();
    let setup = Setup {
        config: "consumer_timeout = 2000\n".to_owned(),
        ..Setup::default()
    };
    let start = async || {
        let broker = Broker::configured(&setup).await;
        let often = "application:set_env(rabbit, channel_tick_interval, 500).";
        broker.control(&["eval", often]).await;
        broker
    };
    IMPATIENT.get_or_init(start).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_the_broker_closes_is_opened_again() {
    let broker = impatient().await;
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

/// Takes a message of a queue while no other consumer has it, and gives it back.
async fn take_between(broker: &Broker, queue: &str) {
    let channel = client(broker.url()).await;
    let only_one = BasicQosOptions::default();
    channel.basic_qos(1, only_one).await.expect("a limit");
    let mut last = FieldTable::default();
    last.insert("x-priority".into(), AMQPValue::LongInt(-1));
    let options = BasicConsumeOptions::default();
    let consuming = channel.basic_consume(queue.into(), "".into(), options, last);
    let mut consumer = consuming.await.expect("a consumer");
    let taken = within("a message without a consumer", consumer.next()).await;
    let taken = taken.expect("it consumes").expect("a delivery");
    assert!(taken.redelivered, "another consumer had it");
    let back = BasicNackOptions {
        requeue: true,
        ..BasicNackOptions::default()
    };
    taken.nack(back).await.expect("given back");
    channel.close(200, "done".into()).await.expect("closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_the_broker_closes_is_replaced_while_all_consumers_are_busy() {
    let broker = impatient().await;
    let (queue, gate, ledger) = (unique("busy"), Gate::closed(), Ledger::default());
    let bus = Bus::builder(quick(broker.url()))
        .endpoint(
            Endpoint::new(&queue)
                .without_subscriptions()
                .concurrency(2)
                .consumer(with(
                    (gate.clone(), ledger.clone()),
                    async |(gate, ledger): (Gate, Ledger), ctx: ConsumeContext<Place>| {
                        gate.pass().await;
                        ledger.note(ctx.message().number);
                        ConsumeResult::Ok(())
                    },
                )),
        )
        .start()
        .await
        .unwrap();
    send_all(&bus, &queue, 0..4).await;
    gate.holds(2).await;
    // The broker closes the channel, and all its messages are free for a moment.
    take_between(broker, &queue).await;
    let channel = client(broker.url()).await;
    eventually("all are with another channel", async || {
        look(&channel, &queue).await == (0, 1)
    })
    .await;
    gate.open();
    ledger.is_complete(4).await;
    bus.shutdown().await.unwrap();
}

#[derive(serde::Serialize, serde::Deserialize, bus_core::Message)]
#[message("Tests.Rebinding:BellRang")]
struct BellRang {
    number: u32,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_of_a_deleted_exchange_hear_again_by_themselves() {
    let url = Broker::shared().await.url();
    let (queue, heard) = (unique("bell"), Recorder::<BellRang>::new());
    let interval = Duration::from_millis(200);
    let subscriber = Bus::builder(quick(url).rebind_interval(interval))
        .endpoint(Endpoint::new(&queue).consumer(heard.clone()))
        .start()
        .await
        .unwrap();
    let publisher = Bus::builder(quick(url)).start().await.unwrap();
    publisher.publish(&BellRang { number: 1 }).await.unwrap();
    assert_eq!(heard.next().await.message().number, 1);
    let channel = client(url).await;
    let delete = ExchangeDeleteOptions::default();
    let deleted = channel.exchange_delete("Tests.Rebinding:BellRang".into(), delete);
    deleted.await.unwrap();
    // Made again by the publisher, without a binding.
    publisher.publish(&BellRang { number: 2 }).await.unwrap();
    eventually("the subscriber is bound again", async || {
        publisher.publish(&BellRang { number: 3 }).await.unwrap();
        heard.calls() > 1
    })
    .await;
    subscriber.shutdown().await.unwrap();
    publisher.shutdown().await.unwrap();
}
