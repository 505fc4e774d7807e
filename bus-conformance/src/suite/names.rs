//! Names of queues and exchanges, which the transport gives and checks.

use std::error::Error;
use std::sync::Arc;

use bus_core::error::SendErrorKind;
use bus_core::topology::PublishTopology;
use bus_core::transport::InvalidName;
use bus_core::{Bus, ConsumeContext, ConsumeResult, Fault, Message, RawMessage, StartError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::support::contracts::{Cancelled, Ordered, Place};
use crate::support::fixture::serial;
use crate::support::{Outcome, Recorder, Renamed};
use crate::test_broker::TestBroker;

macro_rules! contracts {
    ($($name:ident = $wire:literal $(, implements($base:literal))?;)+) => {
        $(
            /// Contracts keep their own exchanges, so each message names its test.
            #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Message)]
            #[message($wire $(, implements($base))?)]
            struct $name {
                run: Uuid,
            }
        )+
    };
}

contracts! {
    Event = "Conformance.Names:Event";
    Created = "Conformance.Names:Created", implements("Conformance.Names:Event");
    Question = "Conformance.Names:Question";
    Answer = "Conformance.Names:Answer";
    Long = "Conformance.Names:ANameThatFitsInEightyCharactersWhileThatOfItsFaultDoesNot";
    TooLong = "Conformance.Names:ANameThatDoesNotFitInEightyCharactersAsItGoesOnAndOnFarBeyondAllOfThem";
}

/// A contract whose name has that of another one as its argument.
#[derive(Debug, Serialize, Deserialize, Message)]
#[message(
    "Conformance.Names:AGenericNameOfManyCharacters_AGenericNameOfManyCharacters_AGenericNameOfManyCharacters"
)]
#[serde(bound = "")]
struct Of<T: Message> {
    inner: T,
}

async fn answer(ctx: ConsumeContext<Question>) -> ConsumeResult {
    let run = ctx.message().run;
    Ok(ctx.respond(&Answer { run }).await?)
}

/// A bus whose consumer of `Created` fails, with all that can hear of it.
struct Heard {
    bus: Bus,
    created: Recorder<Created>,
    events: Recorder<Event>,
    taps: Recorder<RawMessage>,
    faults: Recorder<Fault<Created>>,
}

impl Heard {
    async fn start(broker: &dyn TestBroker, names: &Arc<Renamed>) -> Outcome<Self> {
        let (created, events) = (Recorder::failing(), Recorder::new());
        let (taps, faults) = (Recorder::new(), Recorder::new());
        let queue = broker.name("named");
        let bus = broker
            .rigged(names)
            .endpoint(serial(&queue).consumer(created.clone()))
            .endpoint(serial(broker.name("base")).consumer(events.clone()))
            .endpoint(serial(broker.name("faults")).consumer(faults.clone()))
            .endpoint(serial(broker.name("answers")).consumer(answer))
            .endpoint(
                serial(broker.name("tap"))
                    .tap(queue)
                    .consume_any(taps.clone()),
            );
        Ok(Self {
            bus: bus.start().await?,
            created,
            events,
            taps,
            faults,
        })
    }
}

/// Everything that a bus declares, consumes and sends to has the transport's names.
async fn every_name_is_the_transports(broker: &dyn TestBroker) -> Outcome {
    let names = Arc::<Renamed>::default();
    let heard = Heard::start(broker, &names).await?;
    let run = Uuid::now_v7();
    heard.bus.publish(&Created { run }).await?;
    let call = next_of(&heard.created, run, |created| created.run).await;
    assert_eq!(call.incoming().exchange, "Conformance.Names_Created");
    let address = call.envelope().destination_address.clone();
    let address = address.unwrap_or_default();
    assert!(address.ends_with("/Conformance.Names_Created"), "{address}");
    next_of(&heard.events, run, |event| event.run).await;
    let faulted = |fault: &Fault<Created>| fault.message.as_ref().map_or(Uuid::nil(), |it| it.run);
    next_of(&heard.faults, run, faulted).await;
    heard.taps.next().await;
    let error_queue = format!("{}_error", broker.name("named"));
    broker.until_depth(&error_queue, 1).await;
    // Published, as nothing routes it.
    let answer: Answer = heard.bus.request(&Question { run }).await?;
    assert_eq!(answer.run, run);
    heard.bus.shutdown().await?;
    let used = names.used();
    let expected = [
        "Conformance.Names_Created",
        "Conformance.Names_Event",
        "Conformance.Names_Question",
        "MassTransit_Fault--Conformance.Names_Created--",
        "MassTransit_Fault",
        &error_queue,
    ];
    for name in expected {
        assert!(used.contains(name), "{name} is not in {used:#?}");
    }
    assert!(used.iter().any(|name| name.starts_with("replies-")));
    Ok(())
}

/// Waits for a message of this run; others on the broker publish the same types.
async fn next_of<M: Message>(
    seen: &Recorder<M>,
    run: Uuid,
    of: impl Fn(&M) -> Uuid,
) -> ConsumeContext<M> {
    loop {
        let call = seen.next().await;
        if of(call.message()) == run {
            return call;
        }
    }
}

/// Expects that a bus does not start, with mistakes that hold these texts.
fn expect_mistakes(started: &Result<Bus, StartError>, expected: &[[&str; 3]]) {
    let Err(StartError::Configuration(mistakes)) = started else {
        panic!("the bus must not start: {started:?}");
    };
    let mistakes: Vec<_> = mistakes.iter().collect();
    for texts in expected {
        let has_all = |mistake: &&&str| texts.iter().all(|text| mistake.contains(text));
        let found = mistakes.iter().find(has_all);
        assert!(found.is_some(), "{texts:?} is not in {mistakes:#?}");
    }
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
}

/// A name that the transport refuses is a mistake, with its place and the rule.
async fn a_name_that_the_transport_refuses_is_a_mistake(broker: &dyn TestBroker) -> Outcome {
    let long = "x".repeat(74);
    let started = broker
        .rigged(&Arc::<Renamed>::default())
        .route::<Place>("queue:to:eu")
        .publish_topology(PublishTopology::<Ordered>::fanout().entity_name("by:key"))
        .endpoint(serial("orders:eu").consumer(Recorder::<Event>::new()))
        .endpoint(serial(&long).consumer(Recorder::<Event>::new()))
        .endpoint(serial("tap").tap("a:b").consume_any(Recorder::new()))
        .endpoint(serial("long").consumer(Recorder::<Long>::new()))
        .endpoint(
            serial("unsubscribed")
                .consumer(Recorder::<Long>::new())
                .without_subscriptions(),
        )
        .start()
        .await;
    let fault = "MassTransit_Fault--Conformance.Names_ANameThat";
    expect_mistakes(
        &started,
        &[
            ["route of Conformance:Place", "`to:eu`", "letters"],
            ["publish_topology", "`by:key`", "letters"],
            ["endpoint `orders:eu`", "`orders:eu` cannot", "letters"],
            [&long, "_skipped`", "80 characters"],
            ["endpoint `tap`", "`a:b`", "letters"],
            ["endpoint `long`", fault, "80 characters"],
            ["endpoint `unsubscribed`", fault, "80 characters"],
        ],
    );
    Ok(())
}

/// The name of an alternate exchange is checked, too.
async fn an_alternate_exchange_that_the_transport_refuses_is_a_mistake(
    broker: &dyn TestBroker,
) -> Outcome {
    let topology = PublishTopology::<Cancelled>::fanout()
        .entity_name("cancelled")
        .alternate_exchange("rest:eu");
    let bus = broker.rigged(&Arc::<Renamed>::default());
    let started = bus.publish_topology(topology).start().await;
    expect_mistakes(&started, &[["publish_topology", "`rest:eu`", "letters"]]);
    Ok(())
}

/// A type that the transport cannot name is refused at the call, with the rule.
async fn a_type_that_cannot_be_named_is_refused_at_the_call(broker: &dyn TestBroker) -> Outcome {
    let names = Arc::<Renamed>::default();
    let bus = broker.rigged(&names).start().await?;
    let run = Uuid::now_v7();
    for _ in 0..2 {
        let refused = bus.publish(&TooLong { run }).await;
        let error = refused.expect_err("the name is too long");
        assert_eq!(error.kind(), SendErrorKind::Refused, "{error}");
        let cause = error.source().and_then(|cause| cause.downcast_ref());
        let Some::<&InvalidName>(cause) = cause else {
            panic!("the cause is a name: {error:?}");
        };
        assert!(cause.name().starts_with("Conformance.Names_AName"));
        assert!(error.to_string().contains(cause.rule()), "{error}");
    }
    bus.publish(&Event { run }).await?;
    assert!(names.used().contains("Conformance.Names_Event"));
    bus.shutdown().await?;
    Ok(())
}

/// A generic name that its arguments make too long is a mistake, or refused.
async fn the_arguments_of_a_generic_name_count(broker: &dyn TestBroker) -> Outcome {
    let consumer = Recorder::<Of<Of<Of<Event>>>>::new();
    let endpoint = serial(broker.name("generic")).consumer(consumer);
    let started = broker.start(endpoint).await;
    let generic = "Conformance.Names:AGenericName";
    let (name, fault) = (
        format!("exchange of {generic}"),
        "exchange of MassTransit:Fault",
    );
    expect_mistakes(
        &started,
        &[[&name, generic, "too long"], [fault, generic, "too long"]],
    );
    let bus = broker.bus().start().await?;
    let event = Event {
        run: Uuid::now_v7(),
    };
    let inner = Of {
        inner: Of { inner: event },
    };
    let refused = bus.publish(&Of { inner }).await;
    let error = refused.expect_err("the name is too long");
    assert_eq!(error.kind(), SendErrorKind::Refused, "{error}");
    assert!(error.to_string().contains("too long"), "{error}");
    bus.shutdown().await?;
    Ok(())
}

behaviours! { names:
    every_name_is_the_transports,
    a_name_that_the_transport_refuses_is_a_mistake,
    an_alternate_exchange_that_the_transport_refuses_is_a_mistake needs AlternateExchanges,
    a_type_that_cannot_be_named_is_refused_at_the_call,
    the_arguments_of_a_generic_name_count,
}
