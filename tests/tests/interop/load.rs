//! Many messages both ways at once, while either side is killed and started again.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bus_tests::acme::{OrderEvent, OrderSubmitted};
use bus_tests::peer::{Answer, Command, Killed};
use bus_tests::{Peer, eventually, within};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use uuid::Uuid;

use crate::support::{Host, shipped};

const COUNT: u32 = 20_000;

/// How many publishes of one side are under way at once.
const AT_ONCE: usize = 100;

/// How far one way may be ahead of the other.
const LEAD: u32 = 3000;

fn submitting(number: u32) -> Command {
    let event = OrderSubmitted {
        correlation_id: Uuid::new_v4(),
        order_number: number.to_string(),
        total: "1".parse().expect("a decimal"),
        user: None,
    };
    Command::publish("OrderSubmitted", &event)
}

fn shipping(number: u32) -> Command {
    Command::publish("OrderShipped", &shipped(&number.to_string()))
}

/// Has `peer` publish all numbers, not too far ahead of what arrived the other way: both ways end at about the same time.
fn publish_all(peer: &Arc<Peer>, event: fn(u32) -> Command, other_way: &Arrived) -> JoinHandle<()> {
    let next = Arc::new(AtomicU32::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (peer, next, other_way) = (Arc::clone(peer), Arc::clone(&next), other_way.clone());
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= COUNT {
                    return;
                }
                other_way.reach(number.saturating_sub(LEAD)).await;
                publish(&peer, || event(number)).await;
            }
        });
    }
    tokio::spawn(async move {
        while let Some(ended) = workers.join_next().await {
            ended.expect("no panic");
        }
    })
}

/// What was under way when the peer was killed is published again.
async fn publish(peer: &Peer, event: impl Fn() -> Command) {
    loop {
        match peer.run(event()).await {
            Ok(Answer::Done) => return,
            Err(Killed) => eventually("it is started again", || peer.is_running()).await,
            other => panic!("not published: {other:?}"),
        }
    }
}

/// The numbers that were consumed at an endpoint, each once.
#[derive(Clone, Default)]
struct Arrived(Arc<watch::Sender<BTreeSet<u32>>>);

impl Arrived {
    fn at(peer: &Arc<Peer>, endpoint: &'static str) -> Self {
        let (arrived, peer) = (Self::default(), Arc::clone(peer));
        let noted = arrived.clone();
        tokio::spawn(async move {
            while noted.len() < COUNT {
                let event: OrderEvent = peer.consumed(endpoint).await.message();
                let number = event.order_number.parse().expect("a number");
                noted.0.send_modify(|numbers| _ = numbers.insert(number));
            }
        });
        arrived
    }

    fn len(&self) -> u32 {
        u32::try_from(self.0.borrow().len()).expect("few")
    }

    async fn reach(&self, count: u32) {
        let mut numbers = self.0.subscribe();
        let reached = numbers.wait_for(|numbers| numbers.len() >= count as usize);
        let outcome = within(&format!("{count} messages arrived"), reached).await;
        drop(outcome.expect("the sender lives as long as this"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_either_side_is_killed_under_load() {
    let host = Host::new().await;
    let program = PathBuf::from(env!("CARGO_BIN_EXE_interop-service"));
    let rust = Arc::new(Peer::launch(program, &[&host.url], &["rs-shipped"]).await);
    let dotnet = Arc::new(host.peer(&["mt-order-submitted"]).await);
    let to_rust = Arrived::at(&rust, "rs-shipped");
    let to_dotnet = Arrived::at(&dotnet, "mt-order-submitted");
    let publishing = [
        publish_all(&rust, submitting, &to_rust),
        publish_all(&dotnet, shipping, &to_dotnet),
    ];

    for (killed, part) in [(&rust, 1), (&dotnet, 2), (&rust, 3), (&dotnet, 4)] {
        to_rust.reach(part * COUNT / 6).await;
        to_dotnet.reach(part * COUNT / 6).await;
        killed.kill().await;
        assert!(
            to_rust.len() < COUNT && to_dotnet.len() < COUNT,
            "in the middle"
        );
        killed.start_again().await;
    }
    for ended in publishing {
        let ended = timeout(Duration::from_secs(180), ended).await;
        ended.expect("all are published in time").expect("no panic");
    }
    to_rust.reach(COUNT).await;
    to_dotnet.reach(COUNT).await;
}
