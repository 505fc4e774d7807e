//! The services and the client as processes of their own, on RabbitMQ.

use bus_tests::{RabbitMqTestBroker, TestBroker as _, eventually};

use crate::support::{Folder, Program, url_of, virtual_host};

mod support;

const INVOICE: &str = env!("CARGO_BIN_EXE_invoice-service");
const PAYMENT: &str = env!("CARGO_BIN_EXE_payment-service");
const SHIPPING: &str = env!("CARGO_BIN_EXE_shipping-service");
const CLIENT: &str = env!("CARGO_BIN_EXE_client");

async fn service(path: &str, url: &str, files: &Folder) -> Program {
    let database = files.database(path);
    let arguments = ["--amqp", url, "--database", &database, "--log", "json"];
    let service = Program::start(path, &arguments);
    service.says("\"message\":\"ready\"").await;
    service
}

#[tokio::test]
async fn services_and_client_work_together_and_stop_cleanly() {
    let (url, files) = (url_of(&virtual_host().await).await, Folder::new());
    let (invoice, payment, shipping) = tokio::join!(
        service(INVOICE, &url, &files),
        service(PAYMENT, &url, &files),
        service(SHIPPING, &url, &files)
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
    let (url, files) = (url_of(&virtual_host().await).await, Folder::new());
    // Known to the broker once, it need not be up.
    service(SHIPPING, &url, &files).await.ends_well().await;
    let (invoice, payment) = tokio::join!(
        service(INVOICE, &url, &files),
        service(PAYMENT, &url, &files)
    );
    let client = Program::start(CLIENT, &["--amqp", &url, "--commands", "20"]);
    client.says("sent 20 commands").await;
    let broker = RabbitMqTestBroker::at(&url).await;
    // 20 invoices, of which 6 are prepaid, and 14 payments.
    eventually("34 events wait for shipping", || async {
        broker.depth("shipping-service").await == Some(34)
    })
    .await;

    let shipping = service(SHIPPING, &url, &files).await;
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
    let (url, files) = (url_of(&virtual_host().await).await, Folder::new());
    let database = files.database(PAYMENT);
    let arguments = ["--amqp", &url, "--database", &database];
    let arguments = [&arguments[..], &["--log-level", "info,samples=debug"]].concat();
    let (first, second) = (
        Program::start(PAYMENT, &arguments),
        Program::start(PAYMENT, &arguments),
    );
    tokio::join!(first.says("ready"), second.says("ready"));
    let (invoice, shipping) = tokio::join!(
        service(INVOICE, &url, &files),
        service(SHIPPING, &url, &files)
    );
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
    let (url, files) = (url_of(&virtual_host().await).await, Folder::new());
    let invoice = service(INVOICE, &url, &files).await;
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
    let files = Folder::new();
    let database = files.database(INVOICE);
    let service = Program::start(INVOICE, &["--amqp", &url, "--database", &database]);
    service.says("is awaited").await;
    service.ends_well().await;
}

#[tokio::test]
async fn a_service_without_a_database_server_waits_and_stops_when_asked() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let host = port.local_addr().expect("bound");
    drop(port);
    let database = format!("postgres://clerk:secret@{host}/invoices");
    let service = Program::start(INVOICE, &["--database", &database]);
    service.says("is awaited").await;
    let output = service.ends_well().await;
    assert!(
        output.contains(&format!("postgres://{host}/invoices")),
        "{output}"
    );
    assert!(!output.contains("secret"), "{output}");
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_named_and_the_service_fails() {
    for (database, reason) in [
        (
            "mysql://clerk:secret@db/invoices",
            "neither `sqlite:FILE` nor",
        ),
        (
            "sqlite:/not/there/invoices.db",
            "sqlite:/not/there/invoices.db",
        ),
    ] {
        let (status, output) = Program::start(INVOICE, &["--database", database])
            .end()
            .await;
        assert_eq!(status.code(), Some(1), "{output}");
        assert!(output.contains(reason), "{output}");
        assert!(!output.contains("secret"), "{output}");
    }
}
