//! Requests that get no answer, or another one than they hoped for.

use std::time::{Duration, Instant};

use bus_core::error::SendErrorKind;
use bus_core::{ConsumeContext, Endpoint, RequestError};

use super::requests::{PATIENCE, responder, tell};
use crate::support::contracts::{Answered, Ask, Declined, LAST};
use crate::support::fixture::{reason, serial};
use crate::support::{Outcome, Recorder, envelope, eventually, raw, with, within};
use crate::test_broker::TestBroker;

/// A request without an answer ends at about its timeout, with an error that says
/// so.
async fn a_request_without_an_answer_times_out(broker: &dyn TestBroker) -> Outcome {
    let bus = broker.bus().start().await?;
    let limit = Duration::from_millis(200);
    let started = Instant::now();
    let asked = bus.request::<Answered>(&Ask { number: 1 }).deadline(limit);
    let outcome = within("the timeout", asked.into_future()).await;
    assert!(
        matches!(outcome, Err(RequestError::TimedOut { .. })),
        "{outcome:?}"
    );
    assert!(started.elapsed() >= limit);
    let address = format!("queue:{}", broker.name("silent"));
    let silent = bus
        .request::<Answered>(&Ask { number: 1 })
        .to(address)
        .deadline(limit)
        .await;
    let Err(RequestError::TimedOut { request, after, .. }) = silent else {
        panic!("the request must time out, not {silent:?}");
    };
    assert_eq!(
        (request.as_str(), after),
        ("urn:message:Conformance:Ask", limit)
    );
    assert_eq!(bus.pending_requests(), 0);
    bus.shutdown().await?;
    Ok(())
}

/// A reply of a type that was not asked for is an error that names both.
async fn an_unexpected_reply_is_an_error(broker: &dyn TestBroker) -> Outcome {
    let server = responder(broker).await?;
    let error = server
        .request::<Declined>(&Ask { number: 1 })
        .deadline(PATIENCE)
        .await;
    let Err(error @ RequestError::UnexpectedReply { .. }) = error else {
        panic!("the reply must be refused, not {error:?}");
    };
    let text = error.to_string();
    assert!(
        text.contains("Conformance:Answered") && text.contains("Conformance:Declined"),
        "{text}"
    );
    server.shutdown().await?;
    Ok(())
}

/// A responder that fails after it responded has answered with its fault alone.
async fn a_reply_of_a_failed_attempt_never_leaves(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("responder");
    let endpoint = serial(&queue).consumer(with((), |(), ctx: ConsumeContext<Ask>| async move {
        tell(ctx.clone()).await?;
        if ctx.message().number == LAST {
            Ok(())
        } else {
            Err("after the response".into())
        }
    }));
    let bus = broker.start(endpoint).await?;
    let wire = broker.wire().await;
    let replies = broker.name("replies");
    let reader = wire.read(&replies).await;
    for number in [1, LAST] {
        bus.send_to(format!("queue:{queue}"), &Ask { number })
            .response_address(format!("queue:{replies}"))
            .await?;
    }
    let types = |incoming: &bus_core::transport::Incoming| -> Outcome<String> {
        let body: serde_json::Value = serde_json::from_slice(&incoming.body)?;
        Ok(body["messageType"][0].to_string())
    };
    let first = reader.next().await;
    assert!(types(&first)?.contains("MassTransit:Fault[[Conformance:Ask]]"));
    let second = reader.next().await;
    assert!(types(&second)?.contains("Conformance:Answered"));
    assert_eq!(broker.depth(&replies).await, Some(0));
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// Shutting down ends every wait at once.
async fn shutdown_releases_callers_that_wait_for_a_reply(broker: &dyn TestBroker) -> Outcome {
    let bus = broker.bus().start().await?;
    let address = format!("queue:{}", broker.name("silent"));
    let request = bus.request::<Answered>(&Ask { number: 1 }).to(address);
    let waiting = tokio::spawn(request.deadline(Duration::from_secs(600)).into_future());
    eventually("the request is pending", || async {
        bus.pending_requests() == 1
    })
    .await;
    within("the stop", bus.shutdown()).await?;
    let outcome = within("the waiter is released", waiting).await?;
    assert!(matches!(outcome, Err(RequestError::Stopped)), "{outcome:?}");
    assert_eq!(bus.pending_requests(), 0);
    Ok(())
}

/// The answer to a requester that is gone is dropped; others are answered.
async fn a_requester_that_is_gone_costs_nothing(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("responder");
    let server = broker.start(serial(&queue).consumer(tell)).await?;
    let wire = broker.wire().await;
    for scheme in ["queue", "exchange"] {
        let mut orphan = envelope::<Ask>(&queue, &serde_json::json!({ "number": 1 }));
        let mut body: serde_json::Value = serde_json::from_slice(&orphan.body)?;
        body["responseAddress"] = format!("{scheme}:{}", broker.name("gone")).into();
        body["requestId"] = uuid::Uuid::now_v7().to_string().into();
        orphan.body = body.to_string().into();
        wire.send(orphan).await;
    }
    let told: Answered = server
        .request(&Ask { number: 2 })
        .deadline(PATIENCE)
        .await?;
    assert_eq!(told.number, 2);
    server.shutdown().await?;
    assert_eq!(broker.depth(&queue).await, Some(0), "the orphans are done");
    assert_eq!(
        broker.depth(&format!("{queue}_error")).await.unwrap_or(0),
        0
    );
    assert_eq!(
        broker.depth(&broker.name("gone")).await,
        None,
        "an address from the wire creates nothing"
    );
    wire.close().await;
    Ok(())
}

/// A request that cannot be sent is an error at once, not a timeout.
async fn a_request_that_cannot_be_sent_fails_at_once(broker: &dyn TestBroker) -> Outcome {
    let bus = broker.bus().start().await?;
    let address = format!("exchange:{}", broker.name("nowhere"));
    let request = bus
        .request::<Answered>(&Ask { number: 1 })
        .to(address)
        .deadline(Duration::from_secs(600));
    let outcome = within("the error", request).await;
    let Err(RequestError::Send(error)) = outcome else {
        panic!("the request must not be sent, but {outcome:?}");
    };
    assert_eq!(error.kind(), SendErrorKind::Unroutable);
    assert_eq!(bus.pending_requests(), 0);
    bus.shutdown().await?;
    Ok(())
}

/// A bus that is shut down asks nothing more and says so at once.
async fn a_stopped_bus_refuses_to_ask(broker: &dyn TestBroker) -> Outcome {
    let bus = broker.bus().start().await?;
    bus.shutdown().await?;
    let request = bus
        .request::<Answered>(&Ask { number: 1 })
        .deadline(Duration::from_secs(600));
    let outcome = within("the error", request).await;
    let Err(RequestError::Send(error)) = outcome else {
        panic!("the bus is stopped, but {outcome:?}");
    };
    assert_eq!(error.kind(), SendErrorKind::Closed);
    assert_eq!(bus.pending_requests(), 0);
    Ok(())
}

/// A reply of the right type that cannot be read is an error that says why, not a
/// timeout.
async fn a_reply_that_cannot_be_read_is_an_error(broker: &dyn TestBroker) -> Outcome {
    /// The contract of a newer responder, under the same name.
    #[derive(Debug, serde::Serialize, serde::Deserialize, bus_core::Message)]
    #[message("Conformance:Answered")]
    struct ToldInWords {
        number: String,
    }
    let endpoint = Endpoint::new(broker.name("responder")).consumer(with(
        (),
        |(), ctx: ConsumeContext<Ask>| async move {
            let number = "seven".to_owned();
            Ok(ctx.respond(&ToldInWords { number }).await?)
        },
    ));
    let bus = broker.start(endpoint).await?;
    let outcome = bus
        .request::<Answered>(&Ask { number: 7 })
        .deadline(PATIENCE)
        .await;
    let Err(RequestError::Decode(error)) = outcome else {
        panic!("the reply cannot be read, but {outcome:?}");
    };
    assert!(error.to_string().contains("seven"), "{error}");
    bus.shutdown().await?;
    Ok(())
}

/// A request that was not consumed in time leaves its queue.
async fn a_request_expires_with_its_timeout(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("silent");
    let address = format!("queue:{queue}");
    let bus = broker.bus().start().await?;
    let asked = bus
        .request::<Answered>(&Ask { number: 1 })
        .to(address.as_str())
        .deadline(Duration::from_millis(200));
    let outcome = asked.await;
    assert!(
        matches!(outcome, Err(RequestError::TimedOut { .. })),
        "{outcome:?}"
    );
    // It was sent before this one, which stays.
    bus.send_to(address.as_str(), &Ask { number: LAST }).await?;
    broker.until_depth(&queue, 1).await;
    let seen = Recorder::<Ask>::new();
    let endpoint = serial(&queue).consumer(seen.clone());
    let answering = broker.start(endpoint).await?;
    assert_eq!(seen.until_last().await.len(), 0, "it had expired");
    answering.shutdown().await?;
    bus.shutdown().await?;
    Ok(())
}

/// Replies and faults go only to addresses that the bus allows; what names others
/// fails, and reaches nothing there.
async fn an_address_that_is_not_allowed_gets_no_answer(broker: &dyn TestBroker) -> Outcome {
    let (queue, private) = (broker.name("answers"), broker.name("private"));
    let (allowed, failing) = (broker.name("replies"), broker.name("failing"));
    let allowed_name = allowed.clone();
    let wire = broker.wire().await;
    let (secret, open) = (wire.read(&private).await, wire.read(&allowed).await);
    let errors = wire.read(&format!("{queue}_error")).await;
    let failed = wire.read(&format!("{failing}_error")).await;
    let fails = async |_: ConsumeContext<Ask>| Err("never works");
    let bus = broker
        .bus()
        .reply_addresses(move |address| address.name() == allowed_name)
        .endpoint(serial(&queue).without_subscriptions().consumer(tell))
        .endpoint(serial(&failing).without_subscriptions().consumer(fails))
        .start()
        .await?;
    let ask = |to: &str, number| bus.send_to(format!("queue:{to}"), &Ask { number });
    let to_private = format!("queue:{private}");
    ask(&queue, 1).response_address(to_private.as_str()).await?;
    let refused = errors.next().await;
    let reason = reason(&refused);
    assert!(
        reason.contains("reply_addresses") && reason.contains(&private),
        "{reason}"
    );
    ask(&failing, 2).fault_address(to_private.as_str()).await?;
    failed.next().await;
    ask(&queue, 3)
        .response_address(format!("queue:{allowed}"))
        .await?;
    open.next().await;
    bus.shutdown().await?;
    // A sentinel: nothing else has reached the queue before it.
    wire.send(raw(&private, "sentinel")).await;
    assert_eq!(secret.next().await.body.as_ref(), b"sentinel");
    wire.close().await;
    Ok(())
}

behaviours! { unanswered:
    an_address_that_is_not_allowed_gets_no_answer,
    a_request_without_an_answer_times_out,
    an_unexpected_reply_is_an_error,
    a_reply_of_a_failed_attempt_never_leaves,
    shutdown_releases_callers_that_wait_for_a_reply,
    a_requester_that_is_gone_costs_nothing,
    a_request_that_cannot_be_sent_fails_at_once,
    a_stopped_bus_refuses_to_ask,
    a_reply_that_cannot_be_read_is_an_error,
    a_request_expires_with_its_timeout needs MessageTtl,
}
