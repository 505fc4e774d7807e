//! Whole slips on the in-memory transport, on paused time.

mod support;

use std::time::Duration;

use bus_core::idempotency::MemoryIdempotencyStore;
use bus_core::{ConsumeError, Endpoint, Policy, Retry};
use bus_courier::{
    ActivityEndpoint, Courier, RoutingSlip, RoutingSlipActivityCompensated,
    RoutingSlipActivityCompensationFailed, RoutingSlipActivityCompleted,
    RoutingSlipActivityFaulted, RoutingSlipBuilder, RoutingSlipCompensationFailed,
    RoutingSlipCompleted, RoutingSlipFaulted, RoutingSlipRevised, RoutingSlipTerminated,
    SlipContents, SlipEvents, execute,
};
use bus_inmemory::Harness;
use serde_json::json;
use support::{Diary, Last, Step, services, slip};

type Result = std::result::Result<(), Box<dyn std::error::Error>>;

async fn run(harness: &Harness, slip: RoutingSlipBuilder) -> Result {
    harness.bus().execute(&slip.build()?).await?;
    harness.quiescent().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_slip_visits_its_activities_in_order() -> Result {
    let diary = Diary::default();
    let harness = Harness::start(|bus| services(bus, &diary, Last::Succeeds)).await?;
    run(&harness, slip().variable("Order", "A-7")).await?;

    assert_eq!(diary.entries(), ["do a", "do b", "last of A-7 after b"]);
    let completed = harness.published::<RoutingSlipCompleted>().only();
    assert_eq!(
        completed.variables.get::<String>("order")?.as_deref(),
        Some("A-7")
    );
    assert_eq!(
        completed.variables.get::<String>("done")?.as_deref(),
        Some("b")
    );
    let steps = harness.published::<RoutingSlipActivityCompleted>();
    assert_eq!(steps.count(), 3);
    let first = steps.all().remove(0).into_message();
    assert_eq!(
        (first.activity_name.as_str(), first.arguments.json("name")),
        ("A", Some(r#""a""#))
    );
    assert_eq!(first.data.json("undo"), Some(r#""a""#));
    assert!(harness.published::<RoutingSlipFaulted>().none());
    Ok(harness.shutdown().await?)
}

#[tokio::test(start_paused = true)]
async fn what_was_done_is_undone_in_reverse_order() -> Result {
    let diary = Diary::default();
    let harness = Harness::start(|bus| services(bus, &diary, Last::Fails)).await?;
    run(&harness, slip()).await?;

    let expected = ["do a", "do b", "last of none after b", "undo b", "undo a"];
    assert_eq!(diary.entries(), expected);
    let faulted = harness.published::<RoutingSlipFaulted>().only();
    assert_eq!(faulted.activity_exceptions.len(), 1);
    let exception = &faulted.activity_exceptions[0];
    assert_eq!(
        (
            exception.name.as_str(),
            exception.exception_info.message.as_str()
        ),
        ("Last", "no")
    );
    assert_eq!(
        faulted.variables.get::<String>("undone")?.as_deref(),
        Some("a")
    );
    assert_eq!(harness.published::<RoutingSlipActivityFaulted>().count(), 1);
    assert_eq!(
        harness
            .published::<RoutingSlipActivityCompensated>()
            .count(),
        2
    );
    assert!(harness.published::<RoutingSlipCompleted>().none());
    assert!(
        harness.faulted::<RoutingSlip>().none(),
        "the failure is that of the slip"
    );
    assert_eq!(
        harness
            .transport()
            .waiting("last_execute_error")
            .unwrap_or(0),
        0
    );
    Ok(harness.shutdown().await?)
}

#[tokio::test(start_paused = true)]
async fn only_the_last_retry_fails_the_slip() -> Result {
    let diary = Diary::default();
    let harness = Harness::start(|bus| {
        let retry = Policy::new().retry(Retry::interval(3, Duration::from_secs(60)));
        services(bus.policy(retry), &diary, Last::FailsTimes(3))
    })
    .await?
    .timeout(Duration::from_secs(3600));
    run(&harness, slip()).await?;
    assert_eq!(harness.published::<RoutingSlipCompleted>().count(), 1);
    assert!(harness.published::<RoutingSlipActivityFaulted>().none());
    let last = diary.entries();
    assert_eq!(
        last.iter()
            .filter(|entry| entry.starts_with("last"))
            .count(),
        4
    );
    Ok(harness.shutdown().await?)
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_comes_before_the_failure() -> Result {
    let diary = Diary::default();
    let later = Policy::new().redelivery(Retry::interval(1, Duration::from_secs(60)));
    let harness = Harness::start(|bus| services(bus.policy(later), &diary, Last::Fails)).await?;
    run(&harness, slip()).await?;
    assert!(harness.published::<RoutingSlipActivityFaulted>().none());
    assert_eq!(harness.delayed(), 1);
    tokio::time::sleep(Duration::from_secs(61)).await;
    harness.quiescent().await;
    let expected = [
        "do a",
        "do b",
        "last of none after b",
        "last of none after b",
        "undo b",
        "undo a",
    ];
    assert_eq!(diary.entries(), expected);
    assert_eq!(harness.published::<RoutingSlipFaulted>().count(), 1);
    for record in harness.sent::<RoutingSlip>().all() {
        // The redelivery is of one hop, and its count is not that of the next one.
        assert!(
            record
                .envelope()
                .headers
                .get("MT-Redelivery-Count")
                .is_none()
        );
    }
    Ok(harness.shutdown().await?)
}

#[tokio::test(start_paused = true)]
async fn a_failed_compensation_ends_the_slip() -> Result {
    let diary = Diary::failing("undo b");
    let harness = Harness::start(|bus| services(bus, &diary, Last::Fails)).await?;
    run(&harness, slip()).await?;
    assert_eq!(
        diary.entries(),
        ["do a", "do b", "last of none after b", "undo b"]
    );
    let failed = harness
        .published::<RoutingSlipActivityCompensationFailed>()
        .only();
    assert_eq!(failed.activity_name, "B");
    assert_eq!(failed.data.json("undo"), Some(r#""b""#));
    let failed = harness.published::<RoutingSlipCompensationFailed>().only();
    assert_eq!(failed.exception_info.message, "undo b fails");
    assert!(harness.published::<RoutingSlipFaulted>().none());
    assert!(harness.faulted::<RoutingSlip>().none());
    Ok(harness.shutdown().await?)
}

#[tokio::test(start_paused = true)]
async fn an_activity_may_end_the_slip() -> Result {
    let diary = Diary::default();
    let harness = Harness::start(|bus| services(bus, &diary, Last::Terminates)).await?;
    run(
        &harness,
        slip().activity("A", "queue:a_execute", &json!({ "name": "again" })),
    )
    .await?;
    assert_eq!(diary.entries(), ["do a", "do b", "last of none after b"]);
    let terminated = harness.published::<RoutingSlipTerminated>().only();
    assert_eq!(terminated.activity_name, "Last");
    assert_eq!(terminated.discarded_itinerary.len(), 1);
    assert!(harness.published::<RoutingSlipFaulted>().none());
    Ok(harness.shutdown().await?)
}

#[tokio::test(start_paused = true)]
async fn an_activity_may_change_the_itinerary() -> Result {
    let diary = Diary::default();
    let harness = Harness::start(|bus| services(bus, &diary, Last::Revises)).await?;
    run(
        &harness,
        slip().activity("B", "queue:b_execute", &json!({ "name": "z" })),
    )
    .await?;
    let expected = [
        "do a",
        "do b",
        "last of none after b",
        "do inserted",
        "do z",
    ];
    assert_eq!(diary.entries(), expected);
    let revised = harness.published::<RoutingSlipRevised>().only();
    assert_eq!(
        (revised.itinerary.len(), revised.discarded_itinerary.len()),
        (2, 1)
    );
    assert_eq!(harness.published::<RoutingSlipCompleted>().count(), 1);
    Ok(harness.shutdown().await?)
}

#[tokio::test(start_paused = true)]
async fn arguments_that_cannot_be_read_fail_the_slip() -> Result {
    let diary = Diary::default();
    let harness = Harness::start(|bus| services(bus, &diary, Last::Succeeds)).await?;
    let slip = RoutingSlip::builder()
        .activity("A", "queue:a_execute", &json!({ "name": "a" }))
        .activity("B", "queue:b_execute", &json!({ "name": 7 }));
    run(&harness, slip).await?;
    assert_eq!(diary.entries(), ["do a", "undo a"]);
    let faulted = harness.published::<RoutingSlipFaulted>().only();
    let info = &faulted.activity_exceptions[0].exception_info;
    assert_eq!(info.message, "the arguments of `B` cannot be read");
    Ok(harness.shutdown().await?)
}

#[tokio::test(start_paused = true)]
async fn subscriptions_choose_events_contents_and_activity() -> Result {
    let diary = Diary::default();
    let harness = Harness::start(|bus| services(bus, &diary, Last::Succeeds)).await?;
    let slip = slip()
        .variable("Order", "A-7")
        .subscribe_with("queue:end", SlipEvents::COMPLETED, SlipContents::NONE)
        .subscribe_to("B", "queue:of-b", SlipEvents::ACTIVITY_COMPLETED);
    run(&harness, slip).await?;
    let broker = harness.transport();
    assert_eq!(
        (broker.waiting("end"), broker.waiting("of-b")),
        (Some(1), Some(1))
    );
    let end = harness.sent::<RoutingSlipCompleted>().only();
    assert!(end.variables.is_empty());
    let of_b = harness.sent::<RoutingSlipActivityCompleted>().only();
    assert_eq!(of_b.activity_name, "B");
    assert_eq!(of_b.arguments.json("name"), Some(r#""b""#));
    assert!(
        harness.published::<RoutingSlipCompleted>().none(),
        "a subscription takes its place"
    );
    Ok(harness.shutdown().await?)
}

#[tokio::test(start_paused = true)]
async fn supplemental_subscriptions_leave_events_published() -> Result {
    let diary = Diary::default();
    let harness = Harness::start(|bus| services(bus, &diary, Last::Succeeds)).await?;
    let slip = slip().subscribe("queue:all", SlipEvents::SUPPLEMENTAL);
    run(&harness, slip).await?;
    assert_eq!(harness.transport().waiting("all"), Some(4));
    assert_eq!(harness.published::<RoutingSlipCompleted>().count(), 1);
    assert_eq!(
        harness.published::<RoutingSlipActivityCompleted>().count(),
        3
    );
    Ok(harness.shutdown().await?)
}

#[tokio::test(start_paused = true)]
async fn a_slip_without_activities_is_completed() -> Result {
    let harness = Harness::start(|bus| bus).await?;
    run(&harness, RoutingSlip::builder().variable("Order", "A-7")).await?;
    let completed = harness.published::<RoutingSlipCompleted>().only();
    assert_eq!(completed.variables.len(), 1);
    Ok(harness.shutdown().await?)
}

#[tokio::test(start_paused = true)]
async fn a_slip_may_visit_an_idempotent_endpoint_twice() -> Result {
    let diary = Diary::default();
    let once = Policy::new().idempotency(MemoryIdempotencyStore::new());
    let harness = Harness::start(|bus| services(bus.policy(once), &diary, Last::Fails))
        .await?
        .deliver_twice();
    let slip = RoutingSlip::builder()
        .activity("A", "queue:a_execute", &json!({ "name": "one" }))
        .activity("A", "queue:a_execute", &json!({ "name": "two" }))
        .activity("Last", "queue:last_execute", &());
    run(&harness, slip).await?;
    // Each delivery comes twice, and each hop happens once.
    let last = "last of none after two";
    assert_eq!(
        diary.entries(),
        ["do one", "do two", last, "undo two", "undo one"]
    );
    assert_eq!(harness.published::<RoutingSlipFaulted>().count(), 1);
    assert_eq!(harness.published::<RoutingSlipActivityFaulted>().count(), 1);
    Ok(harness.shutdown().await?)
}

#[tokio::test(start_paused = true)]
async fn a_panic_fails_the_slip() -> Result {
    let diary = Diary::default();
    let harness = Harness::start(|bus| services(bus, &diary, Last::Panics)).await?;
    run(&harness, slip()).await?;
    assert_eq!(diary.entries().last().map(String::as_str), Some("undo a"));
    let faulted = harness.published::<RoutingSlipFaulted>().only();
    let info = &faulted.activity_exceptions[0].exception_info;
    assert!(info.message.contains("panicked"), "{}", info.message);
    Ok(harness.shutdown().await?)
}

#[tokio::test(start_paused = true)]
async fn a_slip_that_can_go_nowhere_is_in_the_error_queue() -> Result {
    let diary = Diary::default();
    let harness = Harness::start(|bus| services(bus, &diary, Last::Succeeds)).await?;
    let slip = RoutingSlip::builder()
        .activity("A", "queue:a_execute", &json!({ "name": "a" }))
        .activity("Gone", "exchange:gone", &());
    run(&harness, slip).await?;
    // The activity has had its effect, which no log says: people decide.
    assert_eq!(diary.entries(), ["do a"]);
    assert_eq!(harness.transport().waiting("a_execute_error"), Some(1));
    assert!(harness.published::<RoutingSlipFaulted>().none());
    harness
        .send_to("queue:a_execute", &RoutingSlip::builder().build()?)
        .await?;
    harness.quiescent().await;
    assert_eq!(harness.transport().waiting("a_execute_error"), Some(2));
    Ok(harness.shutdown().await?)
}

#[tokio::test(start_paused = true)]
async fn a_published_slip_reaches_no_activity() -> Result {
    let diary = Diary::default();
    let step = Step::new("only", &diary, |_| {
        Err(ConsumeError::permanent("never called"))
    });
    let endpoint = Endpoint::new("only_execute").activity(execute(step));
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await?;
    harness.publish(&slip().build()?).await?;
    harness.quiescent().await;
    assert!(harness.consumed::<RoutingSlip>().none() && harness.faulted::<RoutingSlip>().none());
    Ok(harness.shutdown().await?)
}
