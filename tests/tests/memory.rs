//! Memory of a process that does nothing else: the only test of its target, so that no neighbour allocates. The bytes
//! are counted at the allocator, which shows a leak in fewer requests than the size of the process does.

use std::sync::Arc;

use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint};
use bus_rabbitmq::RabbitMq;
use bus_tests::Broker;
use bus_tests::contracts::{Answered, Ask};
use peak_alloc::PeakAlloc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Requests of a round.
const ROUND: i64 = 1_200;

/// Rounds until the buffers and the pools have what they need; also the rounds that leak.
const WARM: usize = 4;

/// Rounds that are compared.
const ROUNDS: usize = 10;

/// Bytes that a request leaves behind on purpose, to show that they are seen.
const LEAK: usize = 256;

/// What a request may leave behind at most, in bytes: no thing that leaks is that small.
const NOISE: i64 = 50;

async fn echo(ctx: ConsumeContext<Ask>) -> ConsumeResult {
    let number = ctx.message().number;
    ctx.respond(&Answered { number }).await?;
    Ok(())
}

/// Bytes that this process has allocated and not freed.
fn allocated() -> i64 {
    i64::try_from(ALLOCATOR.current_usage()).expect("few")
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

/// Asks for some rounds; returns the bytes that each request leaves behind, `kept` of them on purpose.
async fn left_by(rounds: usize, bus: &Bus, queue: &str, kept: usize) -> i64 {
    let mut sizes = Vec::with_capacity(rounds);
    let mut leak = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        ask_all(bus, queue).await;
        assert_eq!(bus.pending_requests(), 0);
        leak.push(vec![0_u8; kept * usize::try_from(ROUND).expect("few")]);
        sizes.push(allocated());
    }
    drop(leak);
    slope(&sizes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_requests_leave_nothing_behind() {
    let queue = format!("echo-{}", uuid::Uuid::new_v4().simple());
    let endpoint = Endpoint::new(&queue).without_subscriptions();
    let bus = Bus::builder(RabbitMq::new(Broker::shared().await.url()))
        .endpoint(endpoint.concurrency(64).consumer(echo))
        .start()
        .await
        .expect("the broker is up");
    left_by(WARM, &bus, &queue, 0).await;
    let left = left_by(ROUNDS, &bus, &queue, 0).await;
    assert!(left < NOISE, "{left} bytes of each request stay");
    let seen = left_by(WARM, &bus, &queue, LEAK).await;
    assert!(seen > NOISE, "a leak goes unseen: {seen} bytes");
    bus.shutdown().await.expect("in time");
}
