//! Routing slips whose activities have the inbox and the outbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bus_core::{ConsumeResult, Endpoint};
use bus_courier::{
    ActivityEndpoint, Execute, ExecuteActivity, Executed, NoLog, RoutingSlip, RoutingSlipFaulted,
    execute,
};
use bus_tests::{InMemoryTestBroker, Recorder, TestBroker};
use uuid::Uuid;

use crate::databases::{TestDatabase, on_each_database};

on_each_database! {
    the_failure_of_an_activity_is_committed_once,
}

/// An activity that fails each time.
#[derive(Clone, Default)]
struct Charge(Arc<AtomicU32>);

impl ExecuteActivity for Charge {
    type Arguments = ();
    type Log = NoLog;

    async fn execute(&self, _: Execute<()>) -> ConsumeResult<Executed<NoLog>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err("the card was refused".into())
    }
}

async fn the_failure_of_an_activity_is_committed_once<DB: TestDatabase>() {
    let broker: Box<dyn TestBroker> = Box::new(InMemoryTestBroker::new());
    let db = DB::open().await;
    let (charge, faulted) = (Charge::default(), Recorder::<RoutingSlipFaulted>::new());
    let queue = broker.name("charge");
    let charging = Endpoint::new(&queue).concurrency(1);
    let events = Endpoint::new(broker.name("events")).concurrency(1);
    let bus = broker
        .bus()
        .background(db.sql.relay())
        .endpoint(charging.activity(db.sql.around(execute(charge.clone()))))
        .endpoint(events.consumer(faulted.clone()))
        .start()
        .await
        .unwrap();
    let address = format!("queue:{queue}");
    let slip = || {
        RoutingSlip::builder()
            .activity("Charge", address.as_str(), &())
            .build()
            .unwrap()
    };
    let (twice, last) = (slip(), slip());
    let id = Uuid::now_v7();
    for _ in 0..2 {
        let sending = bus.send_to(address.as_str(), &twice);
        sending.message_id(id).await.unwrap();
    }
    bus.send_to(address.as_str(), &last).await.unwrap();
    let ends = faulted.take(2).await;
    let slips: Vec<_> = ends
        .iter()
        .map(|faulted| faulted.message().tracking_number)
        .collect();
    assert_eq!(slips, [twice.tracking_number, last.tracking_number]);
    assert_eq!(charge.0.load(Ordering::SeqCst), 2, "a duplicate is known");
    assert_eq!(db.rows("inbox").await, 2);
    bus.shutdown().await.unwrap();
}
