//! Capabilities that are not claimed: they are refused before they are needed.

use std::sync::Arc;
use std::time::Duration;

use bus_core::error::SendErrorKind;
use bus_core::topology::{Overflow, PublishTopology, Queue};
use bus_core::transport::{Capabilities, Capability, Outgoing, ScheduleToken, TransportErrorKind};
use bus_core::{Endpoint, Policy, Retry, StartError};
use tokio::time::Instant;

use crate::support::contracts::{Answered, Ask, Cancelled, Ordered, Place};
use crate::support::fixture::serial;
use crate::support::{Outcome, Recorder, Rig, raw, within};
use crate::test_broker::TestBroker;

/// Claims nothing.
struct Masked;
impl Rig for Masked {
    fn capabilities(&self, _: Capabilities) -> Capabilities {
        Capabilities::NONE
    }
}

/// Endpoints of which each needs the capabilities beside it.
fn demanding() -> [(Endpoint, Vec<Capability>); 8] {
    let minute = Duration::from_secs(60);
    let limited = Queue::classic("limited").max_length(1, Overflow::DropHead);
    let alone = Queue::classic("alone").single_active_consumer();
    let later = Policy::new().redelivery(Retry::interval(1, minute));
    [
        (
            Endpoint::on(Queue::quorum("quorum")),
            vec![Capability::QuorumQueues],
        ),
        (
            Endpoint::on(Queue::stream("stream")),
            vec![Capability::Streams],
        ),
        (
            Endpoint::on(Queue::classic("urgent").max_priority(3).message_ttl(minute)),
            vec![Capability::Priorities, Capability::MessageTtl],
        ),
        (Endpoint::on(limited), vec![Capability::QueueLimits]),
        (Endpoint::on(alone), vec![Capability::SingleActiveConsumer]),
        (
            Endpoint::new("exclusive").exclusive(),
            vec![Capability::ExclusiveConsumers],
        ),
        (
            Endpoint::new("preferred").consumer_priority(1),
            vec![Capability::ConsumerPriorities],
        ),
        (
            Endpoint::new("later").policy(later),
            vec![Capability::DelayedDelivery],
        ),
    ]
}

/// Needs beyond the transport's claims are mistakes of the configuration.
async fn what_is_not_claimed_is_a_mistake(broker: &dyn TestBroker) -> Outcome {
    let bus = broker.rigged(&Arc::new(Masked));
    let mut bus = bus
        .publish_topology(PublishTopology::<Ordered>::topic().entity_name("by-key"))
        .publish_topology(PublishTopology::<Cancelled>::fanout().alternate_exchange("rest"));
    let (mut expected, mut count) = (Vec::new(), 2);
    for (endpoint, needs) in demanding() {
        let endpoint = endpoint.without_subscriptions();
        let text = format!("{endpoint:?}");
        bus = bus.endpoint(endpoint.consumer(Recorder::<Place>::new()));
        let name = text.split('"').nth(1).unwrap_or_default().to_owned();
        expected.extend(needs.into_iter().map(|need| (name.clone(), need)));
        count += 1;
    }
    expected.push(("by-key".to_owned(), Capability::RoutingKeys));
    expected.push(("Cancelled".to_owned(), Capability::AlternateExchanges));
    let started = bus.start().await;
    let Err(StartError::Configuration(mistakes)) = &started else {
        panic!("the bus must not start: {started:?}");
    };
    let mistakes: Vec<_> = mistakes.iter().collect();
    for (place, need) in expected {
        let need = format!("no {need}");
        let is_named = |mistake: &&&str| mistake.contains(&place) && mistake.contains(&need);
        let named = mistakes.iter().find(is_named);
        assert!(named.is_some(), "{place}: {need} is not in {mistakes:#?}");
    }
    assert_eq!(mistakes.len(), count, "{mistakes:#?}");
    Ok(())
}

/// A message that needs more than is claimed is refused at the call.
///
/// A wish has no effect, and requests go on.
async fn a_message_that_needs_more_is_refused_at_the_call(broker: &dyn TestBroker) -> Outcome {
    let (queue, seen) = (broker.name("plain"), Recorder::<Place>::new());
    let answering = async |ctx: bus_core::ConsumeContext<Ask>| {
        let number = ctx.message().number;
        ctx.respond(&Answered { number }).await
    };
    let endpoint = serial(&queue).consumer(seen.clone()).consumer(answering);
    let bus = broker.rigged(&Arc::new(Masked)).endpoint(endpoint);
    let bus = bus.start().await?;
    let to = format!("queue:{queue}");
    let send = |number| bus.send_to(to.as_str(), &Place { number });
    let (second, token) = (Duration::from_secs(1), ScheduleToken::new());
    for (sending, need) in [
        (send(1).ttl(second), Capability::MessageTtl),
        (send(2).deliver_in(second), Capability::DelayedDelivery),
        (send(2).schedule_token(token), Capability::CancelScheduled),
    ] {
        let error = sending.await.expect_err("it is not claimed");
        assert_eq!(error.kind(), SendErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains(&need.to_string()), "{error}");
    }
    send(3).priority(5).await?;
    assert_eq!(seen.next().await.message().number, 3);
    let answer: Answered = bus.request(&Ask { number: 4 }).to(to.as_str()).await?;
    assert_eq!(answer.number, 4);
    bus.shutdown().await?;
    Ok(())
}

/// A transport refuses a raw message that needs what it does not claim.
async fn a_transport_refuses_what_it_does_not_claim(broker: &dyn TestBroker) -> Outcome {
    let (queue, minute) = (broker.name("plain"), Duration::from_secs(60));
    let transport = broker.transport();
    within("a connection", transport.connect()).await?;
    let brief = Outgoing {
        ttl: Some(minute),
        ..raw(&queue, "brief")
    };
    let late = Outgoing {
        deliver_at: Some(Instant::now() + minute),
        ..raw(&queue, "late")
    };
    for (need, outgoing) in [
        (Capability::MessageTtl, brief),
        (Capability::DelayedDelivery, late),
    ] {
        if !transport.capabilities().has(need) {
            let refused = within("the refusal", transport.send(outgoing)).await;
            let error = refused.expect_err("it is not claimed");
            assert_eq!(error.kind(), TransportErrorKind::Unsupported, "{error}");
        }
    }
    transport.close().await;
    Ok(())
}

behaviours! { capabilities:
    what_is_not_claimed_is_a_mistake,
    a_message_that_needs_more_is_refused_at_the_call,
    a_transport_refuses_what_it_does_not_claim,
}
