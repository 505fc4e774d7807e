//! Messages that cannot be sent: an error for their sender, at no cost to others.

use std::collections::BTreeMap;
use std::time::Duration;

use bus_core::error::SendErrorKind;
use bus_core::send::SendContext;
use bus_core::transport::Capability;
use bus_core::{Address, ConsumeContext, Endpoint, Message, SendError};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::support::contracts::{LAST, Ordered, Place};
use crate::support::fixture::{place, serial};
use crate::support::{Outcome, Recorder, numbers, with};
use crate::test_broker::TestBroker;

/// Returns the error of a refused sending.
fn refusal(outcome: Result<(), SendError>) -> SendError {
    outcome.expect_err("the message must be refused")
}

/// A command without a route is refused, with its type and the cure.
async fn a_command_without_a_route_is_refused(broker: &dyn TestBroker) -> Outcome {
    let bus = broker.bus().start().await?;
    let error = refusal(bus.send(&Place { number: 1 }).await);
    assert_eq!(error.kind(), SendErrorKind::NoRoute);
    let text = error.to_string();
    assert!(
        text.contains("Conformance:Place") && text.contains(".route::<"),
        "{text}"
    );
    bus.shutdown().await?;
    Ok(())
}

/// More headers than any receiver reads are refused, with their number.
///
/// Two of them are those of the trace.
async fn a_message_with_too_many_headers_is_refused(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Place>::new();
    let queue = broker.name("many");
    let bus = broker.start(serial(&queue).consumer(seen.clone())).await?;
    let with_headers = |count: u32| {
        let send = bus.send_to(format!("queue:{queue}"), &Place { number: count });
        (0..count).fold(send, |send, number| send.header(format!("h{number}"), "v"))
    };
    let error = refusal(with_headers(999).await);
    assert_eq!(error.kind(), SendErrorKind::Refused);
    assert!(error.to_string().contains("1001 headers"), "{error}");
    with_headers(998).await?;
    assert_eq!(seen.next().await.headers().len(), 1000);
    bus.shutdown().await?;
    Ok(())
}

/// Addresses that cannot be read are refused, and say why.
async fn an_address_that_cannot_be_read_is_refused(broker: &dyn TestBroker) -> Outcome {
    let bus = broker.bus().start().await?;
    for address in [
        "orders",
        "queue:",
        "rabbitmq:orders",
        &format!("queue:{}", "x".repeat(256)),
    ] {
        let error = refusal(bus.send_to(address, &Place { number: 1 }).await);
        assert_eq!(error.kind(), SendErrorKind::NoRoute, "{address}: {error}");
    }
    bus.shutdown().await?;
    Ok(())
}

/// A command to an exchange that is not there is refused with its name, and costs
/// no other message.
async fn a_missing_exchange_is_an_error_of_that_message_alone(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Place>::new();
    let queue = broker.name("orders");
    let bus = broker
        .start(Endpoint::new(&queue).consumer(seen.clone()))
        .await?;
    let missing = broker.name("nowhere");
    let sends = (0..20).map(|number| {
        let address = if number == 7 {
            format!("exchange:{missing}")
        } else {
            format!("queue:{queue}")
        };
        bus.send_to(address, &Place { number }).into_future()
    });
    let outcomes = join_all(sends).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        if number == 7 {
            let error = refusal(outcome);
            assert_eq!(error.kind(), SendErrorKind::Unroutable);
            assert!(error.to_string().contains(&missing), "{error}");
        } else {
            outcome?;
        }
    }
    let expected: Vec<_> = (0..20).filter(|number| *number != 7).collect();
    assert_eq!(numbers(&seen.take(19).await), expected);
    bus.shutdown().await?;
    Ok(())
}

/// A mandatory event that no queue takes is an error, of exactly that event among
/// many.
async fn a_mandatory_event_without_a_queue_is_an_error(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let topology =
        bus_core::topology::PublishTopology::<Ordered>::direct().entity_name(broker.name("keyed"));
    let endpoint = Endpoint::new(broker.name("even"))
        .subscribe::<Ordered>("even")
        .consumer(seen.clone());
    let bus = broker
        .bus()
        .publish_topology(topology)
        .endpoint(endpoint)
        .start()
        .await?;
    let sends = (0..100).map(|number| {
        let key = if number % 2 == 0 { "even" } else { "odd" };
        bus.publish(&Ordered { number })
            .routing_key(key)
            .mandatory()
            .into_future()
    });
    for (number, outcome) in join_all(sends).await.into_iter().enumerate() {
        if number % 2 == 0 {
            outcome?;
        } else {
            assert_eq!(
                refusal(outcome).kind(),
                SendErrorKind::Unroutable,
                "{number}"
            );
        }
    }
    let even: Vec<_> = (0..100).step_by(2).collect();
    assert_eq!(numbers(&seen.take(50).await), even);
    bus.shutdown().await?;
    Ok(())
}

/// A hook that refuses a message gives its sender the error; the message does not
/// leave.
async fn a_hook_may_refuse_a_message(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Place>::new();
    let queue = broker.name("strict");
    let bus = broker
        .bus()
        .on_send(|context: &mut SendContext| match context.priority {
            Some(9) => Err(SendError::new(SendErrorKind::Refused, "no such hurry")),
            _ => Ok(()),
        })
        .endpoint(serial(&queue).consumer(seen.clone()))
        .start()
        .await?;
    let address = format!("queue:{queue}");
    let error = refusal(
        bus.send_to(address.as_str(), &Place { number: 1 })
            .priority(9)
            .await,
    );
    assert_eq!(error.to_string(), "no such hurry");
    bus.send_to(address.as_str(), &Place { number: LAST })
        .await?;
    assert_eq!(seen.until_last().await.len(), 0);
    bus.shutdown().await?;
    Ok(())
}

/// A routing key longer than the protocol allows is a typed error, and the bus goes
/// on.
async fn an_over_long_routing_key_is_refused(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let endpoint = serial(broker.name("next")).consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    let error = refusal(
        bus.publish(&Ordered { number: 1 })
            .routing_key("k".repeat(256))
            .await,
    );
    assert_eq!(error.kind(), SendErrorKind::Refused, "{error}");
    bus.publish(&Ordered { number: LAST }).await?;
    assert_eq!(seen.until_last().await.len(), 0);
    bus.shutdown().await?;
    Ok(())
}

/// A bus that is shut down sends nothing more and says so.
async fn a_stopped_bus_refuses_to_send(broker: &dyn TestBroker) -> Outcome {
    let bus = broker.bus().start().await?;
    bus.publish(&Ordered { number: 1 }).await?;
    bus.shutdown().await?;
    let error = refusal(bus.publish(&Ordered { number: 2 }).await);
    assert_eq!(error.kind(), SendErrorKind::Closed, "{error}");
    Ok(())
}

/// A message that its type cannot write is refused before it leaves, with its name.
async fn a_message_that_cannot_be_written_is_refused(broker: &dyn TestBroker) -> Outcome {
    #[derive(Debug, Serialize, Deserialize, Message)]
    #[message("Conformance:Ledger")]
    struct Ledger {
        lines: BTreeMap<(u32, u32), u32>,
    }
    let bus = broker.bus().start().await?;
    let ledger = Ledger {
        lines: [((1, 2), 3)].into_iter().collect(),
    };
    let error = refusal(bus.publish(&ledger).await);
    assert_eq!(error.kind(), SendErrorKind::Encode);
    assert!(error.to_string().contains("Conformance:Ledger"), "{error}");
    bus.publish(&Ordered { number: 1 }).await?;
    bus.shutdown().await?;
    Ok(())
}

/// A deadline that is over before the broker had a chance is an error of that
/// message, which is not sent later.
async fn a_deadline_that_is_over_is_an_error(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("late");
    let seen = Recorder::<Place>::new();
    let bus = broker.start(serial(&queue).consumer(seen.clone())).await?;
    let address = format!("queue:{queue}");
    let late = bus
        .send_to(address.as_str(), &Place { number: 1 })
        .deadline(Duration::ZERO);
    let error = refusal(late.await);
    let expected = [SendErrorKind::Unreachable, SendErrorKind::TimedOut];
    assert!(
        expected.contains(&error.kind()) && error.is_transient(),
        "{error}"
    );
    bus.send_to(address.as_str(), &Place { number: LAST })
        .await?;
    assert_eq!(seen.until_last().await.len(), 0);
    bus.shutdown().await?;
    Ok(())
}

/// A command to the queue of a process that is gone is an error, and brings no
/// queue into being.
async fn a_command_to_a_process_that_is_gone_is_an_error(broker: &dyn TestBroker) -> Outcome {
    let gone = broker.name("gone");
    let bus = broker.bus().start().await?;
    let error = refusal(
        bus.send_to(Address::temporary(gone.clone()), &Place { number: 1 })
            .await,
    );
    assert_eq!(error.kind(), SendErrorKind::Unroutable, "{error}");
    assert_eq!(broker.depth(&gone).await, None);
    bus.shutdown().await?;
    Ok(())
}

/// A message that no broker could take is refused at the call, not at the flush.
async fn what_cannot_be_sent_is_refused_at_once(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("sender");
    let claimed = broker.transport().capabilities();
    let delays = claimed.has(Capability::DelayedDelivery);
    let ordered = Recorder::<Ordered>::new();
    let refused = with((), move |(), ctx: ConsumeContext<Place>| async move {
        let event = Ordered { number: 1 };
        let long = || "k".repeat(256);
        let keyed = ctx.publish(&event).routing_key(long());
        let headed = ctx.publish(&event).header(long(), 1);
        let lost = ctx.send_to("no address", &event);
        let mut sends = vec![
            (keyed, SendErrorKind::Refused),
            (headed, SendErrorKind::Refused),
            (lost, SendErrorKind::NoRoute),
        ];
        if !delays {
            let delayed = ctx.publish(&event).deliver_in(Duration::from_secs(1));
            sends.push((delayed, SendErrorKind::Unsupported));
        }
        for (sending, kind) in sends {
            let error = sending.await.expect_err("it cannot be sent");
            assert_eq!(error.kind(), kind, "{error}");
        }
        Ok(ctx.publish(&Ordered { number: LAST }).await?)
    });
    let bus = broker
        .bus()
        .endpoint(Endpoint::new(&queue).consumer(refused))
        .endpoint(Endpoint::new(broker.name("ordered")).consumer(ordered.clone()))
        .start()
        .await?;
    place(&bus, &queue, 1).await?;
    assert_eq!(ordered.until_last().await.len(), 0);
    bus.shutdown().await?;
    Ok(())
}

behaviours! { refusals:
    what_cannot_be_sent_is_refused_at_once needs RoutingKeys,
    a_command_without_a_route_is_refused,
    a_message_with_too_many_headers_is_refused,
    an_address_that_cannot_be_read_is_refused,
    a_missing_exchange_is_an_error_of_that_message_alone,
    a_mandatory_event_without_a_queue_is_an_error needs Mandatory & RoutingKeys,
    a_hook_may_refuse_a_message,
    an_over_long_routing_key_is_refused needs RoutingKeys,
    a_stopped_bus_refuses_to_send,
    a_message_that_cannot_be_written_is_refused,
    a_deadline_that_is_over_is_an_error,
    a_command_to_a_process_that_is_gone_is_an_error needs Mandatory,
}
