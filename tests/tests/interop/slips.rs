//! Routing slips through activities of both kinds.

use std::sync::{Arc, Mutex, PoisonError};

use bus_core::codec::encode_message;
use bus_core::idempotency::MemoryIdempotencyStore;
use bus_core::serde_helpers::Decimal;
use bus_core::{Bus, BusBuilder, ConsumeContext, ConsumeResult, Endpoint, Message};
use bus_courier::{
    ActivityEndpoint, Compensate, CompensateActivity, Compensated, Courier, Execute,
    ExecuteActivity, Executed, NoLog, RoutingSlip, RoutingSlipActivityCompensated,
    RoutingSlipActivityCompleted, RoutingSlipActivityFaulted, RoutingSlipCompleted,
    RoutingSlipFaulted, SlipEvents, compensate, execute, execute_compensated,
};
use bus_tests::Recorder;
use bus_tests::peer::Command;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::Host;

/// What the activities of Rust did, in order.
#[derive(Clone, Debug, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn write(&self, entry: String) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(entry);
    }

    fn entries(&self) -> Vec<String> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.clone()
    }
}

/// What is written again is what came, also if another service wrote it.
fn assert_kept<M: Message>(ctx: &ConsumeContext<M>) {
    let came: Value = serde_json::from_slice(&ctx.envelope().message).expect("JSON");
    let again = encode_message(ctx.message()).expect("JSON");
    let again: Value = serde_json::from_slice(&again).expect("JSON");
    assert_eq!(again, came);
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChargeArguments {
    amount: Decimal,
    order_number: String,
    reserved: u32,
}

/// The second activity of the peer's slip, in Rust.
struct Charge(Diary);

impl ExecuteActivity for Charge {
    type Arguments = ChargeArguments;
    type Log = NoLog;

    async fn execute(&self, ctx: Execute<ChargeArguments>) -> ConsumeResult<Executed<NoLog>> {
        assert_kept(&ctx);
        let ChargeArguments {
            amount,
            order_number,
            reserved,
        } = ctx.arguments();
        self.0
            .write(format!("charge {amount} for {reserved} of {order_number}"));
        if amount.as_str().parse::<f64>()? > 1000.0 {
            return Err("the card was refused".into());
        }
        Ok(Executed::done().variable("Charged", amount))
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReserveArguments {
    sku: String,
    quantity: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reservation {
    sku: String,
    place: u32,
}

/// An activity in Rust that can be undone.
#[derive(Clone)]
struct Reserve(Diary);

impl ExecuteActivity for Reserve {
    type Arguments = ReserveArguments;
    type Log = Reservation;

    async fn execute(
        &self,
        ctx: Execute<ReserveArguments>,
    ) -> ConsumeResult<Executed<Reservation>> {
        assert_kept(&ctx);
        let ReserveArguments { sku, quantity } = ctx.arguments();
        self.0.write(format!("reserve {sku}"));
        let log = Reservation {
            sku: sku.clone(),
            place: *quantity,
        };
        Ok(Executed::with_log(log).variable("Reserved", quantity))
    }
}

impl CompensateActivity for Reserve {
    type Log = Reservation;

    async fn compensate(&self, ctx: Compensate<Reservation>) -> ConsumeResult<Compensated> {
        assert_kept(&ctx);
        let Reservation { sku, place } = ctx.log();
        self.0.write(format!("release {sku} at {place}"));
        Ok(Compensated::done())
    }
}

/// Consumers of the events of slips.
#[derive(Clone)]
struct Events {
    completed: Recorder<RoutingSlipCompleted>,
    faulted: Recorder<RoutingSlipFaulted>,
    activity_completed: Recorder<RoutingSlipActivityCompleted>,
    activity_faulted: Recorder<RoutingSlipActivityFaulted>,
    compensated: Recorder<RoutingSlipActivityCompensated>,
}

impl Events {
    fn new() -> Self {
        Self {
            completed: Recorder::new(),
            faulted: Recorder::new(),
            activity_completed: Recorder::new(),
            activity_faulted: Recorder::new(),
            compensated: Recorder::new(),
        }
    }

    fn endpoint(&self, name: &str) -> Endpoint {
        Endpoint::new(name)
            .concurrency(1)
            .consumer(self.completed.clone())
            .consumer(self.faulted.clone())
            .consumer(self.activity_completed.clone())
            .consumer(self.activity_faulted.clone())
            .consumer(self.compensated.clone())
    }

    /// A bus with these endpoints of activities, and one for the events.
    async fn serve(&self, host: &Host, activities: impl IntoIterator<Item = Endpoint>) -> Bus {
        let events = host.builder().endpoint(self.endpoint("rs-slip-events"));
        let builder = activities.into_iter().fold(events, BusBuilder::endpoint);
        builder.start().await.expect("the bus starts")
    }
}

/// The only exception of a slip.
fn reason(faulted: &RoutingSlipFaulted) -> (&str, &str) {
    let [exception] = faulted.activity_exceptions.as_slice() else {
        panic!("not one exception: {faulted:?}");
    };
    (&exception.name, &exception.exception_info.message)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slip_of_dotnet_goes_through_rust_and_completes() {
    let host = Host::new().await;
    let (diary, events) = (Diary::default(), Events::new());
    let charging = Endpoint::new("mt-charge_execute").activity(execute(Charge(diary.clone())));
    let bus = events.serve(&host, [charging]).await;
    let peer = host
        .peer(&["mt-reserve_execute", "mt-reserve_compensate"])
        .await;
    peer.does(Command::slip(12)).await;

    let completed = events.completed.next().await;
    assert_eq!(diary.entries(), ["charge 12 for 2 of A-1007"]);
    let variables = &completed.message().variables;
    assert_eq!(
        variables
            .get::<Decimal>("charged")
            .unwrap()
            .unwrap()
            .as_str(),
        "12"
    );
    let reserved = events.activity_completed.next().await;
    assert_kept(&reserved);
    assert_eq!(reserved.message().activity_name, "Reserve");
    assert_eq!(
        reserved
            .message()
            .data
            .get::<String>("sku")
            .unwrap()
            .as_deref(),
        Some("A-7")
    );
    assert_eq!(
        reserved.correlation_id(),
        Some(reserved.message().execution_id)
    );
    let charged = events.activity_completed.next().await;
    assert_eq!(charged.message().activity_name, "Charge");
    assert_eq!(
        charged.message().tracking_number,
        reserved.message().tracking_number
    );
    assert_eq!(completed.conversation_id(), reserved.conversation_id());
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_in_rust_is_compensated_in_dotnet() {
    let host = Host::new().await;
    let (diary, events) = (Diary::default(), Events::new());
    let charging = Endpoint::new("mt-charge_execute").activity(execute(Charge(diary.clone())));
    let bus = events.serve(&host, [charging]).await;
    let peer = host
        .peer(&["mt-reserve_execute", "mt-reserve_compensate"])
        .await;
    peer.does(Command::slip(2000)).await;

    let faulted = events.faulted.next().await;
    assert_kept(&faulted);
    assert_eq!(
        reason(faulted.message()),
        ("Charge", "the card was refused")
    );
    assert_eq!(
        faulted.envelope().source_address,
        Some(host.address("mt-reserve_compensate"))
    );
    let compensated = events.compensated.next().await;
    assert_kept(&compensated);
    assert_eq!(compensated.message().activity_name, "Reserve");
    let failed = events.activity_faulted.next().await;
    assert_eq!(
        failed.message().exception_info.message,
        "the card was refused"
    );
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_in_dotnet_is_compensated_in_rust() {
    let host = Host::new().await;
    let (reserve, events) = (Reserve(Diary::default()), Events::new());
    let executing = execute_compensated(reserve.clone(), "mt-reserve_compensate");
    let activities = [
        Endpoint::new("mt-reserve_execute").activity(executing),
        Endpoint::new("mt-reserve_compensate").activity(compensate(reserve.clone())),
    ];
    let bus = events.serve(&host, activities).await;
    let peer = host.peer(&["mt-charge_execute"]).await;
    peer.does(Command::slip(2000)).await;

    let faulted = events.faulted.next().await;
    assert_eq!(reserve.0.entries(), ["reserve A-7", "release A-7 at 2"]);
    assert_eq!(reason(faulted.message()), ("Charge", "Too expensive"));
    let failed = events.activity_faulted.next().await;
    assert_kept(&failed);
    assert_eq!(
        failed.message().exception_info.exception_type,
        "System.InvalidOperationException"
    );
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slip_of_rust_is_undone_in_reverse_order_across_both() {
    let host = Host::new().await;
    let (reserve, events) = (Reserve(Diary::default()), Events::new());
    let monitor = Events::new();
    let executing = execute_compensated(reserve.clone(), "rs-reserve_compensate");
    let activities = [
        Endpoint::new("rs-reserve_execute").activity(executing),
        Endpoint::new("rs-reserve_compensate").activity(compensate(reserve.clone())),
        monitor.endpoint("rs-monitor").without_subscriptions(),
    ];
    let bus = events.serve(&host, activities).await;
    let _peer = host
        .peer(&[
            "mt-reserve_execute",
            "mt-reserve_compensate",
            "mt-charge_execute",
        ])
        .await;
    let sku = |sku: &str, quantity: u32| json!({ "sku": sku, "quantity": quantity });
    let slip = RoutingSlip::builder()
        .activity("First", "queue:rs-reserve_execute", &sku("A-1", 1))
        .activity("Second", "queue:mt-reserve_execute", &sku("A-2", 2))
        .activity("Third", "queue:rs-reserve_execute", &sku("A-3", 3))
        .activity(
            "Charge",
            "queue:mt-charge_execute",
            &json!({ "amount": 2000 }),
        )
        .variable("OrderNumber", "A-1007")
        .subscribe(
            "queue:rs-monitor",
            SlipEvents::FAULTED | SlipEvents::ACTIVITY_COMPENSATED,
        )
        .build()
        .unwrap();
    bus.execute(&slip).await.unwrap();

    let faulted = monitor.faulted.next().await;
    assert_eq!(faulted.message().tracking_number, slip.tracking_number);
    assert_eq!(reason(faulted.message()), ("Charge", "Too expensive"));
    let order = [
        "reserve A-1",
        "reserve A-3",
        "release A-3 at 3",
        "release A-1 at 1",
    ];
    assert_eq!(reserve.0.entries(), order);
    for name in ["Third", "Second", "First"] {
        let compensated = monitor.compensated.next().await;
        assert_eq!(compensated.message().activity_name, name);
    }
    assert_eq!(monitor.activity_completed.calls(), 0, "not subscribed to");
    // A slip without activities is published as completed, behind what was published before.
    let last = RoutingSlip::builder().build().unwrap();
    bus.execute(&last).await.unwrap();
    events.completed.next().await;
    assert_eq!(
        events.faulted.calls(),
        0,
        "a subscription takes the place of a publication"
    );
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slip_visits_an_idempotent_endpoint_of_rust_twice() {
    let host = Host::new().await;
    let (reserve, events) = (Reserve(Diary::default()), Events::new());
    let executing = execute_compensated(reserve.clone(), "rs-reserve_compensate");
    let reserving = Endpoint::new("rs-reserve_execute")
        .idempotency(MemoryIdempotencyStore::new())
        .activity(executing);
    let bus = events.serve(&host, [reserving]).await;
    let _peer = host.peer(&["mt-reserve_execute"]).await;
    let sku = |sku: &str| json!({ "sku": sku, "quantity": 1 });
    let slip = RoutingSlip::builder()
        .activity("First", "queue:rs-reserve_execute", &sku("A-1"))
        .activity("Second", "queue:mt-reserve_execute", &sku("A-2"))
        .activity("Third", "queue:rs-reserve_execute", &sku("A-3"))
        .build()
        .unwrap();
    bus.execute(&slip).await.unwrap();
    events.completed.next().await;
    assert_eq!(reserve.0.entries(), ["reserve A-1", "reserve A-3"]);
    bus.shutdown().await.unwrap();
}
