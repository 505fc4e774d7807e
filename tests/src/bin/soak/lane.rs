//! One kind of queue: a publisher and a worker behind wires of their own, and the books of both.

use std::time::Duration;

use bus_core::observe::BusHealth;
use bus_core::topology::{PublishTopology, Queue};
use bus_core::{Bus, BusBuilder, ConsumeContext, ConsumeResult, Endpoint, Retry};
use bus_rabbitmq::RabbitMq;
use bus_tests::contracts::{Answered, Ask};
use bus_tests::{Proxy, with};

use crate::books::Books;
use crate::contracts::{Done, Straw, Work};

/// How the queues of a lane are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Classic,
    Quorum,
}

/// A publisher and a worker.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) kind: Kind,
    pub(crate) books: Books,
    pub(crate) publisher: Bus,
    worker: Bus,
    wires: [Proxy; 2],
}

impl Lane {
    pub(crate) async fn start(kind: Kind, broker: &str) -> Self {
        let wires = [Proxy::start(broker).await, Proxy::start(broker).await];
        let books = Books::default();
        let publisher = bus(&wires[0], kind)
            .start()
            .await
            .expect("the broker is up");
        let worker = bus(&wires[1], kind)
            .endpoint(work(kind, &books))
            .endpoint(follow_ups(kind, &books))
            .endpoint(answers(kind))
            .endpoint(straws(kind));
        Self {
            kind,
            books,
            publisher,
            worker: worker.start().await.expect("the broker is up"),
            wires,
        }
    }

    /// The exchange of the work.
    pub(crate) fn exchange(&self) -> String {
        exchange(self.kind)
    }

    /// The queue that may be deleted.
    pub(crate) fn straws(&self) -> String {
        queue(self.kind, "straws")
    }

    /// The queue of the requests.
    pub(crate) fn answers(&self) -> String {
        queue(self.kind, "answers")
    }

    pub(crate) fn wires(&self) -> impl Iterator<Item = &Proxy> {
        self.wires.iter()
    }

    pub(crate) fn is_up(&self) -> bool {
        let mut buses = [&self.publisher, &self.worker].into_iter();
        buses.all(|bus| bus.health().is_healthy())
    }

    /// Returns the health of the bus that consumes, for a report.
    pub(crate) fn health(&self) -> BusHealth {
        self.worker.health()
    }

    pub(crate) async fn stop(self) -> Result<(), String> {
        for bus in [self.publisher, self.worker] {
            bus.shutdown().await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

fn queue(kind: Kind, purpose: &str) -> String {
    format!("soak-{kind:?}-{purpose}").to_lowercase()
}

fn exchange(kind: Kind) -> String {
    format!("Soak:{kind:?}Work")
}

/// Notices soon what is gone, and comes back soon, so that a round takes less than a minute.
fn bus(wire: &Proxy, kind: Kind) -> BusBuilder {
    let transport = RabbitMq::new(wire.url())
        .heartbeat(Duration::from_secs(2))
        .connect_timeout(Duration::from_secs(2))
        .rebind_interval(Duration::from_millis(500))
        .reconnect_backoff(Duration::from_millis(50), Duration::from_secs(1));
    Bus::builder(transport)
        .deadline(Duration::from_secs(10))
        .publish_topology(PublishTopology::<Work>::fanout().entity_name(exchange(kind)))
}

fn endpoint(kind: Kind, purpose: &str) -> Endpoint {
    let name = queue(kind, purpose);
    Endpoint::on(match kind {
        Kind::Classic => Queue::classic(name),
        Kind::Quorum => Queue::quorum(name),
    })
}

/// Each message is followed up; every 97th fails at first, after it has sent its follow-up.
fn work(kind: Kind, books: &Books) -> Endpoint {
    let done = format!("queue:{}", queue(kind, "done"));
    let consumer = with(
        (books.clone(), done),
        async |(books, done): (Books, String), ctx: ConsumeContext<Work>| -> ConsumeResult {
            let id = ctx.message().id;
            let of_failed_attempt = id.is_multiple_of(97) && ctx.attempt() == 1;
            let follow_up = Done {
                id,
                of_failed_attempt,
            };
            ctx.send_to(done.as_str(), &follow_up).await?;
            if of_failed_attempt {
                return Err("fails at first".into());
            }
            books.handle(id);
            Ok(())
        },
    );
    let retry = Retry::immediate(3);
    endpoint(kind, "work").retry(retry).consumer(consumer)
}

fn follow_ups(kind: Kind, books: &Books) -> Endpoint {
    let consumer = with(
        books.clone(),
        async |books: Books, ctx: ConsumeContext<Done>| -> ConsumeResult {
            books.follow(ctx.message().id, ctx.message().of_failed_attempt);
            Ok(())
        },
    );
    let endpoint = endpoint(kind, "done").without_subscriptions();
    endpoint.consumer(consumer)
}

fn answers(kind: Kind) -> Endpoint {
    Endpoint::new(queue(kind, "answers"))
        .without_subscriptions()
        .consumer(async |ctx: ConsumeContext<Ask>| -> ConsumeResult {
            let number = ctx.message().number;
            Ok(ctx.respond(&Answered { number }).await?)
        })
}

fn straws(kind: Kind) -> Endpoint {
    endpoint(kind, "straws")
        .without_subscriptions()
        .consumer(async |_: ConsumeContext<Straw>| -> ConsumeResult { Ok(()) })
}
