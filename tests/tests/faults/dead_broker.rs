//! The broker dies and comes back.

use super::*;

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
