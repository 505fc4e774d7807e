//! The broker closes a channel, or the connection, because of a message: its neighbours arrive all
//! the same.

use bus_core::Headers;
use bus_core::topology::{Binding, Exchange, ExchangeKind, Node, Queue, QueueKind, Topology};
use bus_core::transport::{Outgoing, Target, Transport, TransportError, TransportErrorKind};
use bus_tests::Setup;
use bytes::Bytes;
use lapin::options::BasicGetOptions;

use tokio::time::Instant;

use super::*;

/// As many as are on their way at once.
const ALL: usize = 200;

/// Where in between the broker is given what it refuses.
const CULPRITS: [usize; 3] = [20, 100, 101];

/// A topic exchange that hands everything to a queue; one that confirms late, so that much is
/// unconfirmed.
fn everything_to(queue: &str) -> Topology {
    Topology {
        exchanges: vec![Exchange {
            kind: ExchangeKind::Topic,
            ..Exchange::fanout(queue)
        }],
        queues: vec![Queue {
            kind: QueueKind::Quorum,
            ..Queue::classic(queue)
        }],
        bindings: vec![Binding::new(queue, Node::Queue(queue.to_owned())).routing_key("#")],
    }
}

/// A message to the exchange of a queue that tells itself from others.
fn numbered(queue: &str, number: usize) -> Outgoing {
    let target = Target::Exchange {
        name: queue.to_owned().into(),
        topology: None,
    };
    Outgoing {
        message_id: Some(number.to_string()),
        deadline: Some(Instant::now() + Duration::from_secs(30)),
        ..Outgoing::new(target, Bytes::from_static(b"small"))
    }
}

/// Messages that are handed over together, of which `spoil` spoils a few.
async fn send_all(
    transport: &RabbitMq,
    queue: &str,
    spoil: impl Fn(usize, &mut Outgoing),
) -> Vec<Result<(), TransportError>> {
    let sends = (0..ALL).map(|number| {
        let mut outgoing = numbered(queue, number);
        if CULPRITS.contains(&number) {
            spoil(number, &mut outgoing);
        }
        transport.send(outgoing)
    });
    within("the outcomes", join_all(sends)).await
}

/// How often each message is in the queue.
async fn arrivals(url: &str, queue: &str) -> BTreeMap<usize, usize> {
    let channel = client(url).await;
    let mut counts = BTreeMap::new();
    let options = BasicGetOptions { no_ack: true };
    loop {
        let got = channel.basic_get(queue.into(), options).await;
        let Some(got) = got.expect("the queue is there") else {
            return counts;
        };
        let id = got.properties.message_id().clone().expect("ours");
        let number = id.as_str().parse().expect("a number");
        *counts.entry(number).or_default() += 1;
    }
}

/// The culprits failed for their own fault and went nowhere; all others arrived, at most twice.
async fn assert_only_culprits_fail(
    url: &str,
    queue: &str,
    outcomes: Vec<Result<(), TransportError>>,
    kinds: &[TransportErrorKind],
) {
    let arrivals = arrivals(url, queue).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        let count = arrivals.get(&number).copied().unwrap_or_default();
        if CULPRITS.contains(&number) {
            let error = outcome.expect_err("a culprit");
            assert!(kinds.contains(&error.kind()), "{number}: {error}");
            assert_eq!(count, 0, "{number}");
        } else {
            outcome.unwrap_or_else(|error| panic!("{number}, which is innocent: {error}"));
            assert!((1..=2).contains(&count), "{number} arrived {count} times");
        }
    }
}

async fn connected(url: &str, queue: &str) -> RabbitMq {
    let owner = quick(url);
    owner.connect().await.expect("the broker is up");
    let declared = owner.declare(&everything_to(queue)).await;
    declared.expect("it is declared");
    owner
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_too_large_fail_alone_at_any_size() {
    let broker = narrow().await;
    let queue = unique("sized");
    let transport = connected(broker.url(), &queue).await;
    let outcomes = send_all(&transport, &queue, |number, outgoing| {
        outgoing.body = vec![b'x'; 200_000 + number].into();
    })
    .await;
    let kinds = [TransportErrorKind::TooLarge];
    assert_only_culprits_fail(broker.url(), &queue, outcomes, &kinds).await;
    transport.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_without_permission_fail_alone() {
    let broker = Broker::controlled().await;
    let (user, queue) = (unique("topical"), unique("topics"));
    let owner = connected(broker.url(), &queue).await;
    broker.control(&["add_user", &user, "pw"]).await;
    let everything = ["set_permissions", &user, ".*", ".*", ".*"];
    broker.control(&everything).await;
    let north = ["set_topic_permissions", &user, &queue, "^north", ".*"];
    broker.control(&north).await;
    let transport = quick(&broker.url_as(&user, "pw", ""));
    transport.connect().await.unwrap();
    let sends = (0..ALL).map(|number| {
        let is_culprit = CULPRITS.contains(&number);
        let region = if is_culprit { "south" } else { "north" };
        let mut outgoing = numbered(&queue, number);
        outgoing.routing_key = format!("{region}.{number}").into();
        transport.send(outgoing)
    });
    let outcomes = within("the outcomes", join_all(sends)).await;
    let kinds = [TransportErrorKind::AccessRefused];
    assert_only_culprits_fail(broker.url(), &queue, outcomes, &kinds).await;
    transport.close().await;
    owner.close().await;
}

/// The broker reads `CC` as further routing keys, and says only what it found there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_the_broker_refuses_without_naming_them_fail_alone() {
    let broker = Broker::shared().await;
    let queue = unique("unnamed");
    let transport = connected(broker.url(), &queue).await;
    let outcomes = send_all(&transport, &queue, |_, outgoing| {
        outgoing.headers = Headers::from_iter([("CC", 5)]);
    })
    .await;
    let kinds = [TransportErrorKind::Protocol];
    assert_only_culprits_fail(broker.url(), &queue, outcomes, &kinds).await;
    transport.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_above_the_frame_size_of_the_broker_fail_alone() {
    let broker = narrow().await;
    let queue = unique("framed");
    let transport = connected(broker.url(), &queue).await;
    let outcomes = send_all(&transport, &queue, |_, outgoing| {
        outgoing.headers = Headers::from_iter([("large", "x".repeat(50_000))]);
    })
    .await;
    let kinds = [TransportErrorKind::Protocol, TransportErrorKind::TooLarge];
    assert_only_culprits_fail(broker.url(), &queue, outcomes, &kinds).await;
    transport.close().await;
}

/// What the client has not written yet when the channel is closed still goes out, to a channel that
/// is no more; the broker closes the connection over it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_in_front_of_much_that_is_unwritten_costs_its_own_message_only() {
    let setup = Setup {
        config: "max_message_size = 1000000\n".to_owned(),
        ..Setup::default()
    };
    let broker = Broker::configured(&setup).await;
    let queue = unique("heavy");
    let transport = connected(broker.url(), &queue).await;
    let sends = (0..ALL).map(|number| {
        let mut outgoing = numbered(&queue, number);
        let is_culprit = CULPRITS.contains(&number);
        outgoing.body = vec![
            b'x';
            if is_culprit {
                1_100_000 + number
            } else {
                400_000
            }
        ]
        .into();
        transport.send(outgoing)
    });
    let outcomes = within("the outcomes", join_all(sends)).await;
    let kinds = [TransportErrorKind::TooLarge];
    assert_only_culprits_fail(broker.url(), &queue, outcomes, &kinds).await;
    transport.close().await;
}
