//! Streams: nothing goes back to them, and a reader goes on where it was.

use bus_core::transport::{
    Delivery, Listener, Outgoing, Settlement, StreamOffset, Target, Transport,
};

use super::*;

fn stream(queue: &str, offset: StreamOffset) -> ListenSpec {
    ListenSpec {
        stream_offset: Some(offset),
        ..spec(queue, QueueKind::Stream)
    }
}

async fn connected(url: &str) -> RabbitMq {
    let transport = quick(url);
    transport.connect().await.expect("the broker is up");
    transport
}

async fn write(transport: &RabbitMq, queue: &str, numbers: std::ops::Range<u8>) {
    for number in numbers {
        let target = Target::Queue(queue.to_owned().into());
        let sent = transport.send(Outgoing::new(target, vec![number].into()));
        sent.await.expect("confirmed");
    }
}

async fn next(listener: &Arc<dyn Listener>) -> Delivery {
    let next = within("a delivery", listener.next()).await;
    next.expect("it goes on").expect("a delivery")
}

async fn read(listener: &Arc<dyn Listener>, count: usize) -> Vec<u8> {
    let mut read = Vec::new();
    for _ in 0..count {
        let Delivery { incoming, receipt } = next(listener).await;
        read.push(incoming.body[0]);
        receipt.settle(Settlement::Ack);
    }
    read
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_back_to_a_stream_is_read_again() {
    let (queue, proxy) = (unique("stream-back"), proxy().await);
    let transport = connected(&proxy.url()).await;
    let spec = stream(&queue, StreamOffset::First);
    transport.declare(&spec.topology).await.unwrap();
    write(&transport, &queue, 0..6).await;
    let listener = transport.listen(spec).await.unwrap();
    let connections = proxy.connections();
    assert_eq!(read(&listener, 2).await, [0, 1]);
    let second = next(&listener).await;
    let third = next(&listener).await;
    assert_eq!((second.incoming.body[0], third.incoming.body[0]), (2, 3));
    third.receipt.settle(Settlement::Ack);
    second.receipt.settle(Settlement::Requeue);
    assert_eq!(read(&listener, 4).await, [2, 3, 4, 5]);
    assert_eq!(proxy.connections(), connections, "the connection stays");
    listener.close().await;
    transport.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_what_comes_next_misses_nothing_while_it_is_away() {
    let direct = connected(Broker::shared().await.url()).await;
    for before in [0, 3] {
        let (queue, proxy) = (unique("stream-next"), proxy().await);
        let transport = connected(&proxy.url()).await;
        let spec = stream(&queue, StreamOffset::Next);
        transport.declare(&spec.topology).await.unwrap();
        let listener = transport.listen(spec).await.unwrap();
        write(&direct, &queue, 0..before).await;
        let expected: Vec<_> = (0..before).collect();
        assert_eq!(read(&listener, before.into()).await, expected);
        proxy.refuse(true);
        proxy.cut();
        eventually("the connections are cut", async || proxy.cuts() >= 2).await;
        write(&direct, &queue, before..before + 10).await;
        proxy.refuse(false);
        let expected: Vec<_> = (before..before + 10).collect();
        assert_eq!(read(&listener, 10).await, expected, "after {before}");
        listener.close().await;
        transport.close().await;
    }
    direct.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_paused_harms_no_other_endpoint() {
    let (log, queue, proxy) = (unique("stream-log"), unique("beside"), proxy().await);
    let (gate, ledger) = (Gate::closed(), Ledger::default());
    let bus = Bus::builder(quick(&proxy.url()))
        .endpoint(
            Endpoint::on(Queue::stream(&log))
                .stream_offset(StreamOffset::First)
                .without_subscriptions()
                .concurrency(1)
                .consumer(with(
                    gate.clone(),
                    async |gate: Gate, _: ConsumeContext<Place>| -> ConsumeResult {
                        gate.pass().await;
                        Ok(())
                    },
                )),
        )
        .endpoint(ledger.endpoint(&queue))
        .start()
        .await
        .unwrap();
    let connections = proxy.connections();
    send_all(&bus, &log, 0..20).await;
    gate.holds(1).await;
    let handle = bus.endpoint(&log).unwrap();
    let paused = tokio::spawn(async move { handle.pause().await });
    send_all(&bus, &queue, 0..200).await;
    gate.open();
    within("the pause ends", paused).await.unwrap();
    ledger.is_complete(200).await;
    assert!(
        ledger.counts().values().all(|count| *count == 1),
        "no duplicate"
    );
    assert_eq!(proxy.connections(), connections, "the connection stays");
    bus.shutdown().await.unwrap();
}
