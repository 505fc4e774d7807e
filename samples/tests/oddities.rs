//! A real service, as a black box, before messages that nobody should send: it goes on, and loses none.

use bus_core::Bus;
use bus_rabbitmq::RabbitMq;
use bus_tests::raw_amqp::RawAmqp;
use bus_tests::{Broker, RabbitMqTestBroker, TestBroker as _, eventually};
use samples::client::{self, Shipments};
use samples::contracts::INVOICE_SERVICE;

use crate::support::oddities::{self, Oddity};
use crate::support::{Program, url_of, virtual_host};

mod support;

const INVOICE: &str = env!("CARGO_BIN_EXE_invoice-service");

/// The service in a virtual host of its own, and a client that sends good commands.
struct Fixture {
    virtual_host: String,
    service: Program,
    watcher: RabbitMqTestBroker,
    client: Bus,
    raw: RawAmqp,
    sent: u32,
}

async fn raw(virtual_host: &str) -> RawAmqp {
    RawAmqp::connect_to(Broker::controlled().await.host(), virtual_host).await
}

impl Fixture {
    async fn start() -> Self {
        let virtual_host = virtual_host().await;
        let url = &url_of(&virtual_host).await;
        let service = Program::start(INVOICE, &["--amqp", url, "--log", "json"]);
        service.says("\"message\":\"ready\"").await;
        let client = client::configure(Bus::builder(RabbitMq::new(url)), Shipments::default());
        Self {
            service,
            watcher: RabbitMqTestBroker::at(url).await,
            client: client.start().await.expect("the broker is up"),
            raw: raw(&virtual_host).await,
            virtual_host,
            sent: 0,
        }
    }

    /// Sends a good command, which must make an invoice.
    async fn works(&self, after: &str) {
        let command = client::orders(1).remove(0);
        self.client.send(&command).await.expect("confirmed");
        eventually(&format!("an invoice after `{after}`"), async || {
            self.has_invoice(&command.number).await
        })
        .await;
    }

    async fn has_invoice(&self, number: &str) -> bool {
        let document = client::ask(&self.client, number).await;
        document.expect("the service answers queries").is_some()
    }

    /// How many messages the service has set aside.
    async fn set_aside(&self) -> u32 {
        let mut count = 0;
        for kind in ["error", "skipped"] {
            let queue = format!("{INVOICE_SERVICE}_{kind}");
            count += self.watcher.depth(&queue).await.unwrap_or(0);
        }
        count
    }

    /// Puts one into the queue, and a good command behind it: the first is set aside or handled, the second handled.
    async fn survives(&mut self, odd: &Oddity) {
        let offered = self.raw.offer(INVOICE_SERVICE, &odd.properties, &odd.body);
        if let Err(words) = offered.await {
            // Not even the broker takes it.
            assert!(
                words.contains("PRECONDITION_FAILED"),
                "{}: {words}",
                odd.name
            );
            self.raw = raw(&self.virtual_host).await;
            return;
        }
        self.works(&odd.name).await;
        eventually(
            &format!("`{}` is handled or set aside", odd.name),
            async || {
                let handled = self.has_invoice(&odd.name).await;
                self.set_aside().await + u32::from(handled) == self.sent + 1
            },
        )
        .await;
        if !self.has_invoice(&odd.name).await {
            self.sent += 1;
        }
    }

    async fn end(self) {
        assert_eq!(self.set_aside().await, self.sent, "none is lost");
        assert_eq!(self.watcher.depth(INVOICE_SERVICE).await, Some(0));
        self.client.shutdown().await.expect("in time");
        let log = self.service.ends_well().await;
        assert!(!log.contains("panicked"), "{log}");
    }
}

async fn the_service_survives(oddities: Vec<Oddity>) {
    let mut fixture = Fixture::start().await;
    fixture.works("nothing").await;
    for odd in &oddities {
        fixture.survives(odd).await;
    }
    // All at once, too.
    let mut offered = 0;
    for odd in &oddities {
        let taken = fixture
            .raw
            .offer(INVOICE_SERVICE, &odd.properties, &odd.body);
        match taken.await {
            Ok(()) if fixture.has_invoice(&odd.name).await => {}
            Ok(()) => offered += 1,
            Err(_) => fixture.raw = raw(&fixture.virtual_host).await,
        }
    }
    fixture.sent += offered;
    fixture.works("all of them").await;
    eventually("all are set aside", async || {
        fixture.set_aside().await == fixture.sent
    })
    .await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_survives_texts_that_are_none() {
    the_service_survives(oddities::texts_that_are_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_survives_headers_without_measure() {
    the_service_survives(oddities::headers_without_measure()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_survives_values_that_mean_nothing() {
    the_service_survives(oddities::values_that_mean_nothing()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_survives_bodies_that_are_wrong() {
    the_service_survives(oddities::bodies_that_are_wrong()).await;
}

/// It has to be moved with what the bus adds, for which the frame has no room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_survives_headers_that_fill_a_frame() {
    the_service_survives(vec![oddities::headers_of_a_whole_frame()]).await;
}
