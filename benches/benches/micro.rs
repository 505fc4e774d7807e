//! `cargo bench -p bus-bench`: what single steps of a message cost, without a broker, in a minute.

use std::hint::black_box;
use std::time::Duration;

use bus_core::codec::{Codec, decode_message, encode_message};
use bus_core::message::Envelope;
use bus_core::transport::Incoming;
use bus_core::{Bus, ConsumeContext, Endpoint, Headers, Message};
use bus_inmemory::InMemory;
use criterion::{BatchSize, Criterion, Throughput};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use uuid::Uuid;

/// An event whose envelope has about 1000 bytes, as that of the other benchmarks.
#[derive(Clone, Serialize, Deserialize, Message)]
#[message("Bench.Orders:OrderPlaced")]
struct OrderPlaced {
    number: u64,
    customer: String,
    skus: Vec<String>,
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    codecs(&mut criterion);
    headers(&mut criterion);
    hop(&mut criterion);
    criterion.final_summary();
}

fn order() -> OrderPlaced {
    OrderPlaced {
        number: 4711,
        customer: "Acme Trading Company".to_owned(),
        skus: ["A-1007", "B-2009", "C-3011"].map(str::to_owned).to_vec(),
    }
}

fn some_headers() -> Headers {
    let mut headers = Headers::new();
    for name in ["tenant", "region", "user", "trace"] {
        headers.insert(name, "0123456789abcdef");
    }
    headers
}

fn envelope() -> Envelope {
    Envelope {
        message_id: Some(Uuid::now_v7()),
        conversation_id: Some(Uuid::now_v7()),
        source_address: Some("rabbitmq://localhost/order-service".into()),
        destination_address: Some("rabbitmq://localhost/Bench.Orders:OrderPlaced".into()),
        message_types: vec![OrderPlaced::message_type().urn().into()].into(),
        message: encode_message(&order()).expect("an order is JSON"),
        headers: some_headers(),
        ..Envelope::default()
    }
}

fn codecs(criterion: &mut Criterion) {
    let (order, envelope) = (order(), envelope());
    criterion.bench_function("encode/message", |bencher| {
        bencher.iter(|| encode_message(black_box(&order)));
    });
    criterion.bench_function("decode/message", |bencher| {
        bencher.iter(|| decode_message::<OrderPlaced>(black_box(&envelope.message)));
    });
    for (name, codec) in [
        ("envelope", Codec::MassTransit),
        ("raw-json", Codec::RawJson),
    ] {
        criterion.bench_function(&format!("encode/{name}"), |bencher| {
            bencher.iter(|| codec.encode(black_box(&envelope)));
        });
        let encoded = codec.encode(&envelope);
        let incoming = Incoming {
            body: encoded.body,
            headers: encoded.headers,
            ..Incoming::default()
        };
        criterion.bench_function(&format!("decode/{name}"), |bencher| {
            bencher.iter(|| codec.decode(black_box(&incoming)));
        });
    }
}

fn headers(criterion: &mut Criterion) {
    let headers = some_headers();
    criterion.bench_function("headers/build-4", |bencher| bencher.iter(some_headers));
    criterion.bench_function("headers/get", |bencher| {
        bencher.iter(|| headers.text(black_box("trace")).is_some());
    });
    criterion.bench_function("headers/clone", |bencher| bencher.iter(|| headers.clone()));
    criterion.bench_function("headers/clone-and-insert", |bencher| {
        let insert = |mut headers: Headers| {
            headers.insert("attempt", 2);
            headers
        };
        bencher.iter_batched(|| headers.clone(), insert, BatchSize::SmallInput);
    });
}

/// From `publish` to the consumer, in memory: one message at a time, and a hundred at once.
fn hop(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let (consumed, mut arrivals) = mpsc::unbounded_channel();
    let consume = move |ctx: ConsumeContext<OrderPlaced>| {
        let outcome = consumed.send(ctx.message().number);
        async move { outcome }
    };
    let endpoint = Endpoint::new("orders").consumer(consume);
    let starting = Bus::builder(InMemory::new()).endpoint(endpoint).start();
    let bus = runtime.block_on(starting).expect("nothing is in its way");
    let mut group = criterion.benchmark_group("hop");
    for count in [1, 100] {
        let orders = vec![order(); count];
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(count.to_string(), |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    bus.publish_all(&orders).await;
                    for _ in 0..count {
                        arrivals.recv().await;
                    }
                });
            });
        });
    }
    group.finish();
    runtime.block_on(bus.shutdown()).expect("in time");
}
