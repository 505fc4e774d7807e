//! Some messages cannot go: the others do, and deadlines are kept.

use futures_util::FutureExt;

use tokio::time::Instant;

use super::*;

/// More than a busy machine makes of a tick, and less than any wait that could hold a deadline up.
const LATE: Duration = Duration::from_millis(1500);

/// A broker under an alarm reads nothing from who has published, so it answers no declaration
/// either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declaration_that_gets_no_answer_breaks_no_deadline() {
    let broker = Broker::private().await;
    let (known, new) = (unique("known"), unique("new"));
    let bus = Bus::builder(quick(broker.url())).start().await.unwrap();
    let (to_known, to_new) = (address(&known), address(&new));
    let place = Place { number: 1 };
    bus.send_to(to_known.as_str(), &place).await.unwrap();
    broker.raise_alarm().await;
    let timed = async |to: &str, deadline: Duration| {
        let started = Instant::now();
        let sent = bus.send_to(to, &place).deadline(deadline).await;
        (sent.expect_err("an alarm"), started.elapsed())
    };
    let second = Duration::from_secs(1);
    // The first one makes the broker block the connection; the second one wants a declaration, and
    // has time.
    let mut first = Box::pin(timed(&to_known, second));
    assert!((&mut first).now_or_never().is_none());
    let patient = bus.send_to(to_new.as_str(), &place);
    let mut patient = patient.deadline(Duration::from_secs(600)).into_future();
    assert!((&mut patient).now_or_never().is_none());
    let (same, other) = (timed(&to_known, second), timed(&to_new, second));
    let waiting = async { tokio::join!(first, same, other) };
    let (first, same, other) = within("the deadlines", waiting).await;
    for (error, after) in [first, same, other] {
        assert!(after < second + LATE, "{after:?}: {error}");
        assert!(error.to_string().contains("memory"), "{error}");
    }
    broker.lift_alarm().await;
    within("the patient one", patient).await.unwrap();
    bus.shutdown().await.unwrap();
}

/// A queue that is full for a while is not the end of a message with time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_full_queue_refuses_is_sent_once_there_is_room() {
    const ALL: u32 = 20;
    let (url, queue) = (Broker::shared().await.url(), unique("full"));
    let channel = client(url).await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), 1.into());
    let refusing = lapin::types::AMQPValue::LongString("reject-publish".into());
    arguments.insert("x-overflow".into(), refusing);
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(queue.as_str().into(), durable, arguments);
    declared.await.unwrap();
    let bus = Bus::builder(quick(url)).start().await.unwrap();
    let to = address(&queue);
    bus.send_to(to.as_str(), &Place { number: 0 })
        .await
        .unwrap();
    let hasty = bus.send_to(to.as_str(), &Place { number: 0 });
    let error = hasty.deadline(Duration::from_secs(3)).await;
    let error = error.expect_err("the queue is full");
    assert_eq!(error.kind(), SendErrorKind::Nacked, "{error}");
    let sends = (1..=ALL).map(|number| {
        let (bus, to) = (bus.clone(), to.clone());
        async move { bus.send_to(to, &Place { number }).await }
    });
    let drained = async {
        let mut bodies = std::collections::BTreeSet::new();
        let options = lapin::options::BasicGetOptions { no_ack: true };
        for count in 0..=ALL {
            let body = bus_tests::until("the next one", async || {
                let got = channel.basic_get(queue.as_str().into(), options).await;
                got.expect("the queue is there")
                    .map(|got| got.delivery.data)
            });
            bodies.insert(body.await);
            assert_eq!(bodies.len(), count as usize + 1, "one came twice");
        }
    };
    let (outcomes, ()) = within("all are sent", async {
        tokio::join!(join_all(sends), drained)
    })
    .await;
    for outcome in outcomes {
        outcome.unwrap();
    }
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_confirmed_ends_with_its_transport() {
    let broker = Broker::private().await;
    let (known, new) = (unique("known"), unique("new"));
    let bus = Bus::builder(quick(broker.url())).start().await.unwrap();
    let place = Place { number: 1 };
    bus.send_to(address(&known), &place).await.unwrap();
    broker.raise_alarm().await;
    let sends = [&known, &new].map(|queue| {
        let sent = bus.send_to(address(queue), &place);
        let mut sent = sent.deadline(Duration::from_secs(600)).into_future();
        assert!((&mut sent).now_or_never().is_none());
        sent
    });
    let (closed, outcomes) = within("the end", async {
        tokio::join!(bus.shutdown(), join_all(sends))
    })
    .await;
    closed.unwrap();
    let errors = outcomes
        .into_iter()
        .map(|outcome| outcome.expect_err("it was closed"));
    for (error, may_have_arrived) in errors.zip([true, false]) {
        assert_eq!(error.kind(), SendErrorKind::Closed, "{error}");
        let says_so = error.to_string().contains("may have arrived");
        assert_eq!(says_so, may_have_arrived, "{error}");
    }
}
