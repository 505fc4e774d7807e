//! Publishers and requesters that go on until they are stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bus_core::Bus;
use bus_tests::contracts::{Answered, Ask};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::books::Books;
use crate::contracts::{Straw, Work};
use crate::lane::Lane;

/// How many publishes of a lane are under way at once.
const AT_ONCE: usize = 10;

/// Between two of one publisher.
const PAUSE: Duration = Duration::from_millis(10);

/// No two messages have the same id.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// What became of the requests.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pub(crate) answered: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) wrong: AtomicU64,
}

/// The load on all lanes.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Load {
    pub(crate) fn start(lanes: &[Lane], requests: &Arc<Requests>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for lane in lanes {
            let bus = &lane.publisher;
            for _ in 0..AT_ONCE {
                let (bus, books) = (bus.clone(), lane.books.clone());
                tasks.spawn(until(Arc::clone(&stop), PAUSE, async move || {
                    publish(&bus, &books).await;
                }));
            }
            let (bus, to) = (bus.clone(), format!("queue:{}", lane.straws()));
            tasks.spawn(until(Arc::clone(&stop), PAUSE * 10, async move || {
                // It may be lost, and its sender may be told so.
                let _ = bus.send_to(to.as_str(), &Straw {}).await;
            }));
            let (bus, to) = (lane.publisher.clone(), format!("queue:{}", lane.answers()));
            let requests = Arc::clone(requests);
            tasks.spawn(until(Arc::clone(&stop), PAUSE * 5, async move || {
                ask(&bus, &to, &requests).await;
            }));
        }
        Self { stop, tasks }
    }

    /// Ends it, once each publish and each request has its outcome; the words of those who panicked.
    pub(crate) async fn stop(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut panics = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            panics.extend(ended.err().map(|error| error.to_string()));
        }
        panics
    }
}

async fn until(stop: Arc<AtomicBool>, pause: Duration, mut act: impl AsyncFnMut()) {
    while !stop.load(Ordering::Relaxed) {
        act().await;
        sleep(pause).await;
    }
}

async fn publish(bus: &Bus, books: &Books) {
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let work = Work {
        id,
        text: "x".repeat(200),
    };
    books.attempt(id);
    // Mandatory: while its exchange has no subscribers, `Ok` would say nothing.
    match bus.publish(&work).mandatory().await {
        Ok(()) => books.confirm(id),
        Err(error) => books.fail(id, error.kind()),
    }
}

async fn ask(bus: &Bus, to: &str, requests: &Requests) {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let asked = bus.request::<Answered>(&Ask { number }).to(to);
    let count = match asked.deadline(Duration::from_secs(5)).await {
        Ok(told) if told.number == number => &requests.answered,
        Ok(_) => &requests.wrong,
        Err(_) => &requests.failed,
    };
    count.fetch_add(1, Ordering::Relaxed);
}
