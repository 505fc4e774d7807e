//! Memory of a process that does nothing else: the only test of its target, so that no neighbour allocates.

use std::sync::Arc;

use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint};
use bus_rabbitmq::RabbitMq;
use bus_tests::Broker;
use bus_tests::contracts::{Answered, Ask};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Requests of a round.
const ROUND: i64 = 8_000;

/// Rounds until the allocator and the pools have what they need.
const WARM: usize = 3;

/// Rounds that are compared.
const ROUNDS: usize = 10;

/// What a request may leave behind at most, in bytes: no thing that leaks is that small.
const NOISE: i64 = 50;

async fn echo(ctx: ConsumeContext<Ask>) -> ConsumeResult {
    let number = ctx.message().number;
    ctx.respond(&Answered { number }).await?;
    Ok(())
}

/// Resident memory of this process, in bytes.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let value = line.and_then(|line| line.split_whitespace().nth(1));
    let kib: i64 = value.and_then(|kib| kib.parse().ok()).expect("a number");
    kib * 1024
}

async fn ask_all(bus: &Bus, queue: &str) {
    let room = Arc::new(Semaphore::new(200));
    let mut tasks = JoinSet::new();
    for number in (0..).take(usize::try_from(ROUND).expect("few")) {
        let place = Arc::clone(&room).acquire_owned().await.expect("open");
        let (bus, to) = (bus.clone(), format!("queue:{queue}"));
        tasks.spawn(async move {
            let told: Answered = bus.request(&Ask { number }).to(to).await.expect("a reply");
            assert_eq!(told.number, number);
            drop(place);
        });
        while let Some(answered) = tasks.try_join_next() {
            answered.expect("no panic");
        }
    }
    while let Some(answered) = tasks.join_next().await {
        answered.expect("no panic");
    }
}

/// The median over all pairs of rounds of the growth for each request between them. What grows once, or goes up and
/// down, hardly moves it; what grows with each round does.
fn slope(sizes: &[i64]) -> i64 {
    let mut slopes = Vec::new();
    for (rounds, other) in (0..).zip(sizes) {
        let earlier = (0..).zip(sizes).take_while(|(first, _)| *first < rounds);
        slopes.extend(earlier.map(|(first, one)| (other - one) / (ROUND * (rounds - first))));
    }
    slopes.sort_unstable();
    slopes[slopes.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_requests_leave_nothing_behind() {
    let queue = format!("echo-{}", uuid::Uuid::new_v4().simple());
    let endpoint = Endpoint::new(&queue).without_subscriptions();
    let bus = Bus::builder(RabbitMq::new(Broker::shared().await.url()))
        .endpoint(endpoint.concurrency(64).consumer(echo))
        .start()
        .await
        .expect("the broker is up");
    let mut sizes = Vec::new();
    for _ in 0..WARM + ROUNDS {
        ask_all(&bus, &queue).await;
        assert_eq!(bus.pending_requests(), 0);
        sizes.push(resident());
    }
    let left = slope(&sizes[WARM..]);
    assert!(left < NOISE, "{left} bytes of each request stay: {sizes:?}");
    bus.shutdown().await.expect("in time");
}
