//! What is known of messages that came back.

use bus_core::transport::{Outgoing, Settlement, Target, Transport};

use super::*;

/// A process that gets the message, and dies of it. Gives how often it came before, as the process knew.
async fn life(spec: &ListenSpec) -> u32 {
    let transport = quick(Broker::shared().await.url());
    transport.connect().await.expect("the broker is up");
    transport.declare(&spec.topology).await.expect("declared");
    let listener = transport.listen(spec.clone()).await.expect("consumed");
    let delivery = within("the message", listener.next()).await;
    let delivery = delivery.expect("it goes on").expect("a delivery");
    let before = if delivery.incoming.redelivered {
        listener.redeliveries(&delivery.incoming).await
    } else {
        0
    };
    listener.close().await;
    delivery.receipt.settle(Settlement::Requeue);
    transport.close().await;
    before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_process_knows_how_often_a_message_came_back_before() {
    for kind in [QueueKind::Classic, QueueKind::Quorum] {
        for id in [Some("7".to_owned()), None] {
            let queue = unique("redelivered");
            let spec = spec(&queue, kind);
            let transport = quick(Broker::shared().await.url());
            transport.connect().await.unwrap();
            transport.declare(&spec.topology).await.unwrap();
            let target = Target::Queue(queue.into());
            let mut outgoing = Outgoing::new(target, "body".into());
            outgoing.message_id.clone_from(&id);
            transport.send(outgoing).await.unwrap();
            transport.close().await;
            let mut counts = Vec::new();
            for _ in 0..4 {
                counts.push(life(&spec).await);
            }
            assert_eq!(counts, [0, 1, 2, 3], "{kind:?}, message id {id:?}");
        }
    }
}
