//! Background services: prepared first, supervised, stopped last.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bus_core::observe::BackgroundState;
use bus_core::topology::Topology;
use bus_core::transport::{TransportError, TransportErrorKind};
use bus_core::{Bus, BusBuilder, ConsumeContext, StartError, async_trait};

use crate::support::contracts::{Cancelled, Ordered, Place};
use crate::support::fixture::{place, serial};
use crate::support::scripted::{Log, Scripted, noting};
use crate::support::{Gate, Outcome, Recorder, Rig, eventually, with, within};
use crate::test_broker::TestBroker;

fn state(bus: &Bus, name: &str) -> BackgroundState {
    let health = bus.health();
    let service = health.background_service(name);
    service.expect("the bus has the service").state
}

fn reason(bus: &Bus, name: &str) -> String {
    let health = bus.health();
    let service = health.background_service(name);
    service
        .and_then(|one| one.reason.clone())
        .unwrap_or_default()
}

/// Rig that notes declarations, and may refuse to consume.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub(super) log: Log,
    /// Gate before a queue is consumed, whose opening means a refusal.
    refusal: Option<Gate>,
}

#[async_trait]
impl Rig for Noted {
    async fn declare(&self, _: &Topology) -> Result<(), TransportError> {
        self.log.note("declared");
        Ok(())
    }

    async fn listen(&self, _: &str) -> Result<(), TransportError> {
        let Some(gate) = &self.refusal else {
            return Ok(());
        };
        gate.pass().await;
        let kind = TransportErrorKind::AccessRefused;
        Err(TransportError::new(kind, "not for this user"))
    }
}

/// Services are prepared in order and before anything is declared.
async fn services_are_prepared_before_anything_is_declared(broker: &dyn TestBroker) -> Outcome {
    let rig = Arc::new(Noted::default());
    let endpoint = serial(broker.name("late")).consumer(Recorder::<Place>::new());
    let bus = broker
        .rigged(&rig)
        .endpoint(endpoint)
        .background(noting("first", &rig.log))
        .background(noting("second", &rig.log));
    let bus = bus.start().await?;
    eventually("both run", || async { rig.log.events().len() == 5 }).await;
    let events = rig.log.events();
    let expected = ["first is prepared", "second is prepared", "declared"];
    assert_eq!(events[..3], expected, "{events:?}");
    assert!(bus.health().is_healthy());
    assert_eq!(state(&bus, "second"), BackgroundState::Running);
    bus.shutdown().await?;
    assert_eq!(state(&bus, "second"), BackgroundState::Stopped);
    Ok(())
}

/// Expects that a bus with a service that cannot be prepared does not start.
async fn expect_no_start(broker: &dyn TestBroker, failing: Scripted, why: &str) {
    let rig = Arc::new(Noted::default());
    let endpoint = serial(broker.name("never")).consumer(Recorder::<Place>::new());
    let bus = broker
        .rigged(&rig)
        .endpoint(endpoint)
        .background(noting("sound", &rig.log))
        .background(failing);
    let started = bus.start().await;
    let Err(error @ StartError::Background { .. }) = started else {
        panic!("the bus must not start: {started:?}");
    };
    let text = error.to_string();
    assert!(text.contains("`broken`") && text.contains(why), "{text}");
    assert_eq!(
        rig.log.events(),
        ["sound is prepared"],
        "nothing else began"
    );
}

/// A service that cannot be prepared ends the start, before anything runs or is
/// declared.
async fn a_service_that_cannot_be_prepared_ends_the_start(broker: &dyn TestBroker) -> Outcome {
    let fails = || async { Err("there is no table".into()) };
    let failing = Scripted::new("broken").preparing(fails);
    expect_no_start(broker, failing, "there is no table").await;
    let panics = || async { panic!("no table at all") };
    let panicking = Scripted::new("broken").preparing(panics);
    expect_no_start(broker, panicking, "no table at all").await;
    Ok(())
}

/// A start that fails after services have begun to run stops them first.
async fn a_start_that_fails_stops_its_services(broker: &dyn TestBroker) -> Outcome {
    let refusal = Gate::closed();
    let rig = Arc::new(Noted {
        refusal: Some(refusal.clone()),
        ..Noted::default()
    });
    let log = Log::default();
    let endpoint = serial(broker.name("refused")).consumer(Recorder::<Place>::new());
    let bus = broker
        .rigged(&rig)
        .endpoint(endpoint)
        .background(noting("relay", &log));
    let starting = tokio::spawn(bus.start());
    eventually("the relay runs", || async { log.events().len() == 2 }).await;
    refusal.open();
    let started = within("the start", starting).await?;
    assert!(
        matches!(started, Err(StartError::Endpoint { .. })),
        "{started:?}"
    );
    let expected = ["relay is prepared", "relay runs", "relay ends"];
    assert_eq!(log.events(), expected);
    Ok(())
}

/// Returns a service that sends a message to `end` once it is to stop.
fn saying_goodbye(name: &'static str, log: &Log, end: &str) -> Scripted {
    let (log, end) = (log.clone(), end.to_owned());
    Scripted::new(name).running(move |sender, stop| {
        let (log, end) = (log.clone(), end.clone());
        async move {
            stop.requested().await;
            log.note(format!("{name} ends"));
            let address = format!("queue:{end}");
            Ok(sender.send_to(address, &Cancelled { number: 1 }).await?)
        }
    })
}

/// Services end after the consumers, the last one first, and may send until then.
async fn services_stop_after_consumers_and_in_reverse(broker: &dyn TestBroker) -> Outcome {
    let (queue, end) = (broker.name("busy"), broker.name("end"));
    let (log, gate) = (Log::default(), Gate::closed());
    let consumer = with(
        (log.clone(), gate.clone()),
        |(log, gate), _: ConsumeContext<Place>| async move {
            gate.pass().await;
            log.note("the consumer ends");
            Ok(())
        },
    );
    let bus = broker
        .bus()
        .endpoint(serial(&queue).consumer(consumer))
        .background(saying_goodbye("first", &log, &end))
        .background(saying_goodbye("last", &log, &end));
    let bus = bus.start().await?;
    place(&bus, &queue, 1).await?;
    gate.holds(1).await;
    let stopping = tokio::spawn({
        let bus = bus.clone();
        async move { bus.shutdown().await }
    });
    let stopped = || async { !bus.health().endpoints[0].is_running() };
    eventually("the endpoint takes no more", stopped).await;
    assert_eq!(log.events(), [""; 0], "the consumer still runs");
    gate.open();
    within("the stop", stopping).await??;
    let expected = ["the consumer ends", "last ends", "first ends"];
    assert_eq!(log.events(), expected);
    assert_eq!(broker.depth(&end).await, Some(2), "both have sent");
    Ok(())
}

/// Returns a service that fails, then panics past the gate, then runs.
///
/// It publishes the number of each run.
fn failing_twice(gate: Gate) -> Scripted {
    let runs = Arc::new(AtomicU32::new(0));
    Scripted::new("moody").running(move |sender, stop| {
        let number = 1 + runs.fetch_add(1, Ordering::SeqCst);
        let gate = gate.clone();
        async move {
            sender.publish(&Ordered { number }).await?;
            match number {
                1 => return Err("the lease is lost".into()),
                2 => {
                    gate.pass().await;
                    panic!("an index is out of bounds")
                }
                _ => stop.requested().await,
            }
            Ok(())
        }
    })
}

/// A service that fails or panics is run again; the health says why it did not run.
async fn a_service_that_fails_is_run_again(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let endpoint = serial(broker.name("seen")).consumer(seen.clone());
    let gate = Gate::closed();
    let bus = broker.bus().endpoint(endpoint);
    let bus = bus.background(failing_twice(gate.clone()));
    let bus = bus.start().await?;
    for why in [
        "the lease is lost",
        "it panicked: an index is out of bounds",
    ] {
        seen.next().await;
        eventually(why, || async { reason(&bus, "moody").contains(why) }).await;
        let health = bus.health();
        assert!(!health.is_healthy() && health.is_ready() && health.is_live());
        gate.open();
    }
    assert_eq!(seen.next().await.message().number, 3);
    let service = bus.health();
    let service = service.background_service("moody").ok_or("it is there")?;
    assert!(service.is_running(), "{service:?}");
    bus.shutdown().await?;
    Ok(())
}

/// A service that returns before the stop is done, which is no failure.
async fn a_service_may_be_done(broker: &dyn TestBroker) -> Outcome {
    let log = Log::default();
    let noted = log.clone();
    let brief = Scripted::new("brief").running(move |_, _| {
        noted.note("ran");
        async { Ok(()) }
    });
    let bus = broker.bus().background(brief).start().await?;
    let done = || async { state(&bus, "brief") == BackgroundState::Done };
    eventually("it is done", done).await;
    assert!(bus.health().is_healthy());
    bus.shutdown().await?;
    assert_eq!(log.events(), ["ran"]);
    Ok(())
}

/// A service that does not stop in time is aborted, and the stop names it.
async fn a_service_that_does_not_stop_is_aborted(broker: &dyn TestBroker) -> Outcome {
    let (gate, log) = (Gate::closed(), Log::default());
    let bus = broker
        .bus()
        .stop_timeout(Duration::from_millis(200))
        .background(noting("sound", &log))
        .background(Scripted::at("stubborn", &gate));
    let bus = bus.start().await?;
    gate.holds(1).await;
    let late = within("the stop", bus.shutdown()).await;
    let late = late.expect_err("one does not stop");
    assert_eq!(late.aborted_services().collect::<Vec<_>>(), ["stubborn"]);
    assert!(late.to_string().contains("`stubborn`"), "{late}");
    assert_eq!(gate.waiting(), 0, "its future is gone");
    assert_eq!(state(&bus, "stubborn"), BackgroundState::Stopped);
    assert!(reason(&bus, "stubborn").contains("aborted"));
    assert_eq!(log.events().last().map(String::as_str), Some("sound ends"));
    Ok(())
}

/// A bus that is dropped without shutdown ends its services.
async fn a_bus_that_is_dropped_ends_its_services(broker: &dyn TestBroker) -> Outcome {
    let gate = Gate::closed();
    let bus = broker.bus().background(Scripted::at("relay", &gate));
    let bus = bus.start().await?;
    gate.holds(1).await;
    drop(bus);
    gate.holds(0).await;
    Ok(())
}

/// Two services of one name are a mistake, found before anything is prepared.
async fn two_services_of_one_name_are_a_mistake(broker: &dyn TestBroker) -> Outcome {
    let log = Log::default();
    let services = ["relay", "clock", "relay"].map(|name| noting(name, &log));
    let bus = services
        .into_iter()
        .fold(broker.bus(), BusBuilder::background);
    let started = bus.start().await;
    let Err(StartError::Configuration(mistakes)) = started else {
        panic!("the bus must not start: {started:?}");
    };
    let mistakes: Vec<_> = mistakes.iter().collect();
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert!(mistakes[0].contains("`relay` is there twice"));
    assert_eq!(log.events(), [""; 0]);
    Ok(())
}

behaviours! { background:
    services_are_prepared_before_anything_is_declared,
    a_service_that_cannot_be_prepared_ends_the_start,
    a_start_that_fails_stops_its_services,
    services_stop_after_consumers_and_in_reverse,
    a_service_that_fails_is_run_again,
    a_service_may_be_done,
    a_service_that_does_not_stop_is_aborted,
    a_bus_that_is_dropped_ends_its_services,
    two_services_of_one_name_are_a_mistake,
}
