//! How a bus meets its RabbitMQ: who is let in, what is waited for, what is refused at once, what is never told.

use std::time::Duration;

use bus_core::error::SendErrorKind;
use bus_core::transport::{Health, TransportErrorKind};
use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, StartError};
use bus_rabbitmq::RabbitMq;
use bus_tests::contracts::{Ordered, Place};
use bus_tests::{Broker, Log, Proxy, Recorder, Setup, eventually, with, within};
use tokio::time::Instant;
use uuid::Uuid;

fn unique(purpose: &str) -> String {
    format!("{purpose}-{}", Uuid::new_v4().simple())
}

fn quick(url: &str) -> RabbitMq {
    RabbitMq::new(url).reconnect_backoff(Duration::from_millis(50), Duration::from_millis(500))
}

/// The error with which a bus refuses to start, instead of waiting as it would by default.
async fn refusal(url: &str) -> StartError {
    let starting = Bus::builder(RabbitMq::new(url))
        .endpoint(Endpoint::new(unique("refused")).consumer(Recorder::<Ordered>::new()))
        .start();
    within("the refusal", starting).await.expect_err("refused")
}

#[track_caller]
fn assert_refused(error: &StartError, words: &[&str]) {
    let kind = match error {
        StartError::Connect(error) => error.kind(),
        StartError::Endpoint { source, .. } => source.kind(),
        other => panic!("{other}"),
    };
    assert_eq!(kind, TransportErrorKind::AccessRefused, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "`{word}` in: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_an_error_at_once_that_does_not_repeat_it() {
    let broker = Broker::shared().await;
    let error = refusal(&broker.url_as("guest", "wr0ng-s3cret", "")).await;
    assert_refused(&error, &["guest", broker.host()]);
    assert!(!format!("{error} {error:?}").contains("wr0ng-s3cret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_virtual_host_is_an_error_at_once_that_names_it() {
    let error = refusal(&Broker::shared().await.url_as("guest", "guest", "nowhere")).await;
    assert_refused(&error, &["nowhere"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_permission_is_an_error_at_once_that_names_the_entity() {
    let broker = Broker::controlled().await;
    let user = unique("reader");
    broker.control(&["add_user", &user, "pw"]).await;
    let error = refusal(&broker.url_as(&user, "pw", "")).await;
    assert_refused(&error, &[&user]);
    broker
        .control(&["set_permissions", &user, "^$", "^$", ".*"])
        .await;
    let error = refusal(&broker.url_as(&user, "pw", "")).await;
    assert_refused(&error, &["refused-"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_without_permission_fails_alone() {
    let broker = Broker::controlled().await;
    let user = unique("writer");
    let (allowed, denied) = (unique("allowed"), unique("denied"));
    broker.control(&["add_user", &user, "pw"]).await;
    let write = format!("^{allowed}$");
    broker
        .control(&["set_permissions", &user, ".*", &write, ".*"])
        .await;
    let owner = Bus::builder(RabbitMq::new(broker.url()))
        .start()
        .await
        .unwrap();
    for queue in [&allowed, &denied] {
        let to = format!("queue:{queue}");
        owner.send_to(to, &Place { number: 0 }).await.unwrap();
    }
    let bus = Bus::builder(RabbitMq::new(broker.url_as(&user, "pw", "")))
        .start()
        .await
        .unwrap();
    let sends = (0..100).map(|number| {
        let (bus, queue) = (
            bus.clone(),
            if number % 10 == 0 { &denied } else { &allowed },
        );
        let to = format!("queue:{queue}");
        async move { bus.send_to(to, &Place { number }).await }
    });
    let outcomes = within("the outcomes", futures_util::future::join_all(sends)).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        if number % 10 == 0 {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), SendErrorKind::Refused, "{error}");
            assert!(error.to_string().contains(&denied), "{error}");
        } else {
            outcome.unwrap();
        }
    }
    bus.shutdown().await.unwrap();
    owner.shutdown().await.unwrap();
}

#[derive(serde::Serialize, serde::Deserialize, bus_core::Message)]
#[message("Tests.Connections:Blob")]
struct Blob {
    text: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_large_for_the_broker_fails_alone() {
    let broker = Broker::configured(&Setup {
        config: "max_message_size = 100000\n".to_owned(),
        ..Setup::default()
    })
    .await;
    let bus = Bus::builder(quick(broker.url())).start().await.unwrap();
    let sends = (0..40).map(|number| {
        let size = if number == 20 { 200_000 } else { 1000 };
        let text = "x".repeat(size);
        let bus = bus.clone();
        async move { bus.publish(&Blob { text }).await }
    });
    let outcomes = within("the outcomes", futures_util::future::join_all(sends)).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        if number == 20 {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), SendErrorKind::Refused, "{error}");
            assert!(error.to_string().contains("size"), "{error}");
        } else {
            outcome.unwrap();
        }
    }
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_a_broker_that_is_not_up_yet() {
    let proxy = Proxy::start(Broker::shared().await.host()).await;
    proxy.refuse(true);
    let timeout = Bus::builder(quick(&proxy.url()))
        .start_timeout(Duration::from_millis(700))
        .start()
        .await
        .unwrap_err();
    assert!(matches!(timeout, StartError::Timeout { .. }), "{timeout}");
    assert!(
        timeout.to_string().contains("rabbitmq://127.0.0.1"),
        "{timeout}"
    );
    assert_eq!(proxy.connections(), 0);
    let starting = tokio::spawn(Bus::builder(quick(&proxy.url())).start());
    proxy.refuse(false);
    let bus = within("the start", starting).await.unwrap().unwrap();
    assert_eq!(bus.health().transport, Health::Up);
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hosts_of_a_cluster_are_tried_in_turn() {
    let host = Broker::shared().await.host();
    let dead = Broker::free_port();
    let bus = within(
        "the start",
        Bus::builder(quick(&format!(
            "amqp://guest:guest@127.0.0.1:{dead},{host}"
        )))
        .start(),
    )
    .await
    .unwrap();
    bus.publish(&Ordered { number: 1 }).await.unwrap();
    bus.shutdown().await.unwrap();
    let added = quick(&format!("amqp://guest:guest@127.0.0.1:{dead}")).host(host);
    let bus = within("the start", Bus::builder(added).start())
        .await
        .unwrap();
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_have_names_and_heartbeats() {
    let broker = Broker::controlled().await;
    let name = unique("invoicing");
    let transport = RabbitMq::new(broker.url())
        .connection_name(&name)
        .heartbeat(Duration::from_secs(7));
    let endpoint = Endpoint::new(unique("named")).consumer(Recorder::<Ordered>::new());
    let bus = Bus::builder(transport)
        .endpoint(endpoint)
        .start()
        .await
        .unwrap();
    let ours = connections_of(broker, &name).await;
    for role in ["publish", "consume"] {
        let line = ours
            .iter()
            .find(|line| line.contains(&format!("{name} {role}")));
        assert!(
            line.is_some_and(|line| line.trim_end().ends_with('7')),
            "{ours:?}"
        );
    }
    bus.shutdown().await.unwrap();
}

async fn connections_of(broker: &Broker, name: &str) -> Vec<String> {
    let listed = broker
        .control(&["-q", "list_connections", "client_properties", "timeout"])
        .await;
    let ours = listed.lines().filter(|line| line.contains(name));
    ours.map(ToOwned::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_that_only_publishes_has_one_connection() {
    let broker = Broker::controlled().await;
    let name = unique("publishing");
    let transport = RabbitMq::new(broker.url()).connection_name(&name);
    let bus = Bus::builder(transport).start().await.unwrap();
    bus.publish(&Ordered { number: 1 }).await.unwrap();
    assert_eq!(bus.health().transport, Health::Up);
    let ours = connections_of(broker, &name).await;
    assert_eq!(ours.len(), 1, "{ours:?}");
    bus.shutdown().await.unwrap();
    eventually("the broker has forgotten it", async || {
        connections_of(broker, &name).await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn credentials_are_shown_nowhere() {
    const SECRET: &str = "pa55%2Fs3cret";
    const DECODED: &str = "pa55/s3cret";
    let broker = Broker::controlled().await;
    let user = unique("keeper");
    broker.control(&["add_user", &user, DECODED]).await;
    broker
        .control(&["set_permissions", &user, ".*", ".*", ".*"])
        .await;
    // One thread, so that all of the bus logs here.
    let (log, _guard) = Log::of_this_thread(tracing::Level::DEBUG);
    let proxy = Proxy::start(broker.host()).await;
    let address = proxy
        .url()
        .replace("guest:guest", &format!("{user}:{SECRET}"));
    let transport = quick(&address);
    let mut told = vec![format!("{transport:?}")];
    let queue = unique("secretive");
    let recorder = Recorder::<Place>::failing();
    let bus = Bus::builder(transport)
        .endpoint(
            Endpoint::new(&queue)
                .without_subscriptions()
                .consumer(recorder.clone()),
        )
        .start()
        .await
        .unwrap();
    told.push(format!("{bus:?} {:?}", bus.health()));
    bus.send_to(format!("queue:{queue}"), &Place { number: 1 })
        .await
        .unwrap();
    told.push(format!("{:?}", recorder.next().await.envelope()));
    proxy.cut();
    eventually("the loss is logged", async || log.text().contains("lost")).await;
    bus.send_to(format!("queue:{queue}"), &Place { number: 2 })
        .await
        .unwrap();
    recorder.next().await;
    bus.shutdown().await.unwrap();
    let wrong = address.replace("s3cret", "s3cret-wr0ng");
    let error = Bus::builder(quick(&wrong)).start().await.unwrap_err();
    told.push(format!("{error} {error:?}"));
    told.push(log.text());
    let told = told.concat();
    assert!(told.contains("connected to RabbitMQ"), "the log is read");
    for secret in [SECRET, DECODED, "s3cret"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
}

/// A broker without memory for messages takes none, for four times the deadline; the consumer has done its work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_is_not_run_again_because_its_output_waits_for_the_broker() {
    const BLOCKED: Duration = Duration::from_secs(20);
    let broker = Broker::private().await;
    let (input, output) = (unique("input"), unique("output"));
    let recorder = Recorder::<Place>::new();
    let bus = Bus::builder(quick(broker.url()))
        .deadline(Duration::from_secs(5))
        .endpoint(
            Endpoint::new(&input)
                .without_subscriptions()
                .retry(bus_core::Retry::immediate(5))
                .consumer(with(
                    (recorder.clone(), output.clone()),
                    async |(recorder, output): (Recorder<Place>, String),
                           ctx: ConsumeContext<Place>|
                           -> ConsumeResult {
                        recorder.note(&ctx);
                        let number = ctx.message().number;
                        ctx.send_to(format!("queue:{output}"), &Place { number })
                            .await?;
                        Ok(())
                    },
                )),
        )
        .start()
        .await
        .unwrap();
    // It works, before.
    let outputs = Recorder::<Place>::new();
    let reader = Endpoint::new(&output)
        .without_subscriptions()
        .consumer(outputs.clone());
    let reading = Bus::builder(quick(broker.url())).endpoint(reader);
    let reading = reading.start().await.unwrap();
    bus.send_to(format!("queue:{input}"), &Place { number: 1 })
        .await
        .unwrap();
    assert_eq!(outputs.next().await.message().number, 1);

    // The inputs are in the queue before the broker runs out of memory.
    let paused = bus.endpoint(&input).unwrap();
    paused.pause().await;
    for number in 2..=4 {
        bus.send_to(format!("queue:{input}"), &Place { number })
            .await
            .unwrap();
    }
    broker.raise_alarm().await;
    // The broker tells of it once it is sent something.
    let error = bus
        .send_to(format!("queue:{input}"), &Place { number: 99 })
        .deadline(Duration::from_secs(1))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error.kind(),
            SendErrorKind::TimedOut | SendErrorKind::Unreachable
        ),
        "{error}"
    );
    eventually("the bus knows", async || {
        matches!(bus.health().transport, Health::Degraded(_))
    })
    .await;
    paused.resume().await.unwrap();
    let blocked_since = Instant::now();
    while blocked_since.elapsed() < BLOCKED {
        assert!(recorder.calls() <= 4, "a consumer was run again");
        assert_eq!(outputs.calls(), 1);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(recorder.calls(), 4, "each was run once");
    broker.lift_alarm().await;
    let mut numbers = Vec::new();
    while numbers.len() < 3 {
        let arrived = outputs.next().await.message().number;
        if arrived != 99 {
            numbers.push(arrived);
        }
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3, 4]);
    bus.send_to(format!("queue:{input}"), &Place { number: 5 })
        .await
        .unwrap();
    while outputs.next().await.message().number != 5 {}
    let mut handled = bus_tests::numbers(&recorder.take(recorder.calls()).await);
    handled.dedup();
    assert_eq!(handled.len(), recorder.calls(), "one was run again");
    let queues = broker.control(&["-q", "list_queues", "name"]).await;
    assert!(!queues.contains("_error"), "{queues}");
    bus.shutdown().await.unwrap();
    reading.shutdown().await.unwrap();
}
