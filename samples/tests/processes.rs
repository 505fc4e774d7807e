//! The services and the client as processes of their own, on RabbitMQ.

use bus_tests::{RabbitMqTestBroker, TestBroker as _, eventually};

use crate::support::{Program, url_of, virtual_host};

mod support;

const INVOICE: &str = env!("CARGO_BIN_EXE_invoice-service");
const PAYMENT: &str = env!("CARGO_BIN_EXE_payment-service");
const SHIPPING: &str = env!("CARGO_BIN_EXE_shipping-service");
const CLIENT: &str = env!("CARGO_BIN_EXE_client");

async fn service(path: &str, url: &str) -> Program {
    let service = Program::start(path, &["--amqp", url, "--log", "json"]);
    service.says("\"message\":\"ready\"").await;
    service
}

#[tokio::test]
async fn services_and_client_work_together_and_stop_cleanly() {
    let url = url_of(&virtual_host().await).await;
    let (invoice, payment, shipping) = tokio::join!(
        service(INVOICE, &url),
        service(PAYMENT, &url),
        service(SHIPPING, &url)
    );
    let (status, output) = Program::start(CLIENT, &["--amqp", &url, "--commands", "20"])
        .end()
        .await;
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(output.contains("all 20 shipped"), "{output}");
    assert_eq!(output.matches(" customer ").count(), 20, "{output}");
    tokio::join!(
        invoice.ends_well(),
        payment.ends_well(),
        shipping.ends_well()
    );
}

#[tokio::test]
async fn a_service_that_was_down_finds_its_messages() {
    let url = url_of(&virtual_host().await).await;
    // Known to the broker once, it need not be up.
    service(SHIPPING, &url).await.ends_well().await;
    let (invoice, payment) = tokio::join!(service(INVOICE, &url), service(PAYMENT, &url));
    let client = Program::start(CLIENT, &["--amqp", &url, "--commands", "20"]);
    client.says("sent 20 commands").await;
    let broker = RabbitMqTestBroker::at(&url).await;
    // 20 invoices, of which 6 are prepaid, and 14 payments.
    eventually("34 events wait for shipping", || async {
        broker.depth("shipping-service").await == Some(34)
    })
    .await;

    let shipping = service(SHIPPING, &url).await;
    let (status, output) = client.end().await;
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(output.contains("all 20 shipped"), "{output}");
    assert_eq!(broker.depth("shipping-service").await, Some(0));
    tokio::join!(
        invoice.ends_well(),
        payment.ends_well(),
        shipping.ends_well()
    );
}

#[tokio::test]
async fn two_instances_of_a_service_compete_for_its_messages() {
    let url = url_of(&virtual_host().await).await;
    let debug = |path| Program::start(path, &["--amqp", &url, "--log-level", "info,samples=debug"]);
    let (first, second) = (debug(PAYMENT), debug(PAYMENT));
    tokio::join!(first.says("ready"), second.says("ready"));
    let (invoice, shipping) = tokio::join!(service(INVOICE, &url), service(SHIPPING, &url));
    let client = Program::start(CLIENT, &["--amqp", &url, "--commands", "30"]);
    let (status, output) = client.end().await;
    assert_eq!(status.code(), Some(0), "{output}");
    let count = |output: &str| output.matches("payment booked").count();
    let (first, second) = tokio::join!(first.ends_well(), second.ends_well());
    let (first, second) = (count(&first), count(&second));
    assert!(first > 0 && second > 0, "one did all: {first} and {second}");
    assert_eq!(first + second, 20, "30 invoices, of which 10 are prepaid");
    tokio::join!(invoice.ends_well(), shipping.ends_well());
}

#[tokio::test]
async fn a_client_whose_goods_do_not_come_says_so_and_fails() {
    let url = url_of(&virtual_host().await).await;
    let invoice = service(INVOICE, &url).await;
    let arguments = ["--amqp", &url, "--commands", "3", "--timeout", "1"];
    let (status, output) = Program::start(CLIENT, &arguments).end().await;
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("3 of 3 did not ship"), "{output}");
    invoice.ends_well().await;
}

#[tokio::test]
async fn a_service_without_a_broker_waits_and_stops_when_asked() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("amqp://{}", port.local_addr().expect("bound"));
    let service = Program::start(INVOICE, &["--amqp", &url]);
    service.says("a broker that is not up is awaited").await;
    service.ends_well().await;
}
