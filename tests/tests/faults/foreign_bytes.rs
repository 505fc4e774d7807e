//! Messages whose properties no client library writes, nor reads.

use bus_core::transport::Incoming;
use bus_tests::raw_amqp::{Property, RawAmqp, entry, nested, text};

use super::*;

const MASSTRANSIT: &[u8] = b"application/vnd.masstransit+json";

fn ordered(number: u32) -> String {
    format!(
        r#"{{"messageType":["urn:message:Conformance:Ordered"],"message":{{"number":{number}}}}}"#
    )
}

/// Each with a content type that says how its body is to be read.
fn oddities() -> Vec<(&'static str, Property)> {
    vec![
        ("app id", Property::app_id(b"Caf\xe9")),
        ("type", Property::kind(b"\xff\xfe\xfd")),
        ("message id", Property::message_id(&[0x80; 16])),
        ("correlation id", Property::correlation_id(&[0xf0; 255])),
        (
            "header name",
            Property::headers(&[entry(b"stra\xdfe", text(b"x"))]),
        ),
        (
            "header value",
            Property::headers(&[entry(b"h", text(b"\xff"))]),
        ),
        (
            "nested lists",
            Property::headers(&[entry(b"n", nested(2_000))]),
        ),
        (
            "lists nested nearly as deep as a frame has room",
            Property::headers(&[entry(b"n", nested(20_000))]),
        ),
    ]
}

/// Publishes every oddity to the endpoint's queue, and gives how each was delivered.
async fn delivered(queue: &str, proxy: &Proxy) -> Vec<Incoming> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let bus = Bus::builder(quick(&proxy.url()))
        .endpoint(
            Endpoint::new(queue)
                .without_subscriptions()
                .concurrency(1)
                .consumer(with(
                    Arc::clone(&seen),
                    async |seen: Arc<Mutex<Vec<Incoming>>>,
                           ctx: ConsumeContext<Ordered>|
                           -> ConsumeResult {
                        seen.lock().expect("no panic").push(ctx.incoming().clone());
                        Ok(())
                    },
                )),
        )
        .endpoint(
            Endpoint::new(format!("{queue}-other"))
                .without_subscriptions()
                .consumer(async |ctx: ConsumeContext<Ask>| -> ConsumeResult {
                    let number = ctx.message().number;
                    Ok(ctx.respond(&Answered { number }).await?)
                }),
        )
        .start()
        .await
        .expect("the broker is up");
    let connections = proxy.connections();
    let mut raw = RawAmqp::connect(Broker::shared().await.host()).await;
    let oddities = oddities();
    for (number, (_, property)) in (0..).zip(&oddities) {
        let properties = [Property::content_type(MASSTRANSIT), property.clone()];
        let body = ordered(number);
        raw.publish(queue, &properties, body.as_bytes()).await;
        let asked = bus.request::<Answered>(&Ask { number });
        let told = within(
            "the neighbours go on",
            asked.to(format!("queue:{queue}-other")),
        )
        .await;
        assert_eq!(told.expect("an answer").number, number);
    }
    eventually("every oddity is consumed", async || {
        seen.lock().expect("no panic").len() == oddities.len()
    })
    .await;
    assert_eq!(proxy.connections(), connections, "none was lost");
    bus.shutdown().await.expect("in time");
    let seen = seen.lock().expect("no panic");
    assert!(seen.iter().all(|incoming| !incoming.redelivered));
    seen.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn properties_that_no_client_can_read_do_no_harm() {
    let (queue, proxy) = (unique("foreign"), proxy().await);
    let seen = delivered(&queue, &proxy).await;
    assert_eq!(seen[2].message_id.as_deref(), Some(&*"?".repeat(16)));
    assert_eq!(seen[3].correlation_id.as_deref(), Some(&*"?".repeat(255)));
    assert_eq!(seen[4].headers.text("stra?e"), Some("x"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_client_can_read_lands_in_the_error_queue_like_any_other() {
    let queue = unique("foreign-fails");
    let bus = Bus::builder(quick(Broker::shared().await.url()))
        .endpoint(Endpoint::new(&queue).without_subscriptions().consumer(
            async |_: ConsumeContext<Ordered>| -> ConsumeResult { Err("never works".into()) },
        ))
        .start()
        .await
        .unwrap();
    let mut raw = RawAmqp::connect(Broker::shared().await.host()).await;
    let count = oddities().len();
    for (number, (_, property)) in (0..).zip(oddities()) {
        let properties = [Property::content_type(MASSTRANSIT), property];
        let body = ordered(number);
        raw.publish(&queue, &properties, body.as_bytes()).await;
    }
    let errors = format!("{queue}_error");
    eventually("all are in the error queue", async || {
        waiting(&errors).await as usize == count
    })
    .await;
    bus.shutdown().await.unwrap();
}
