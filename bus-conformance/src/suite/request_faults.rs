//! Requests that are answered with a fault.

use bus_core::{Endpoint, Policy, RequestError, Retry, middleware};

use super::requests::PATIENCE;
use crate::support::contracts::{Answered, Ask};
use crate::support::{Outcome, Recorder};
use crate::test_broker::TestBroker;

/// A failing responder gives the requester type, text and message types of the
/// failure, before its timeout.
async fn a_failing_responder_answers_with_a_fault(broker: &dyn TestBroker) -> Outcome {
    let endpoint =
        Endpoint::new(broker.name("responder")).consumer(Recorder::<Ask>::deciding(|_| {
            Err("12x".parse::<u32>().expect_err("no number").into())
        }));
    let bus = broker.start(endpoint).await?;
    let error = bus
        .request::<Answered>(&Ask { number: 1 })
        .deadline(PATIENCE)
        .await;
    let Err(RequestError::Fault(fault)) = error else {
        panic!("the request must end with a fault, not {error:?}");
    };
    assert_eq!(fault.exceptions[0].message, "invalid digit found in string");
    assert!(
        fault.exceptions[0]
            .exception_type
            .ends_with("ParseIntError")
    );
    assert_eq!(
        fault.fault_message_types.as_deref(),
        Some(&["urn:message:Conformance:Ask".to_owned()][..])
    );
    assert_eq!(bus.pending_requests(), 0);
    bus.shutdown().await?;
    Ok(())
}

/// A responder that is retried and still fails answers once.
async fn a_retried_request_is_answered_with_one_fault(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ask>::failing();
    let queue = broker.name("responder");
    let endpoint = Endpoint::new(&queue)
        .retry(Retry::immediate(4))
        .consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    let wire = broker.wire().await;
    let replies = broker.name("replies");
    let reader = wire.read(&replies).await;
    for number in [1, 2] {
        bus.send_to(format!("queue:{queue}"), &Ask { number })
            .response_address(format!("queue:{replies}"))
            .request_id(uuid::Uuid::now_v7())
            .await?;
        // The second reply is the sentinel: between them there is room for no other.
        let reply = reader.next().await;
        let body: serde_json::Value = serde_json::from_slice(&reply.body)?;
        assert_eq!(body["message"]["message"]["number"], number, "{body}");
    }
    assert_eq!(seen.calls(), 10);
    assert_eq!(broker.depth(&replies).await, Some(0));
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// A request that cannot be decoded is answered with a fault that says why.
async fn a_request_that_cannot_be_read_is_answered_with_a_fault(
    broker: &dyn TestBroker,
) -> Outcome {
    /// The contract of an older requester, under the same name.
    #[derive(Debug, serde::Serialize, serde::Deserialize, bus_core::Message)]
    #[message("Conformance:Ask")]
    struct AskByName {
        number: String,
    }
    let queue = broker.name("responder");
    let seen = Recorder::<Ask>::new();
    let bus = broker
        .start(Endpoint::new(&queue).consumer(seen.clone()))
        .await?;
    let request = AskByName {
        number: "seven".to_owned(),
    };
    let outcome = bus
        .request::<Answered>(&request)
        .to(format!("queue:{queue}"))
        .deadline(PATIENCE)
        .await;
    let Err(RequestError::Fault(fault)) = outcome else {
        panic!("the request must end with a fault, not {outcome:?}");
    };
    assert!(fault.exceptions[0].message.contains("u32"), "{fault}");
    assert_eq!(seen.calls(), 0);
    bus.shutdown().await?;
    Ok(())
}

/// A request that a middleware refuses is answered with a fault.
async fn a_request_that_middleware_refuses_is_answered_with_a_fault(
    broker: &dyn TestBroker,
) -> Outcome {
    let seen = Recorder::<Ask>::new();
    let endpoint = Endpoint::new(broker.name("responder"))
        .policy(Policy::new().middleware(middleware::from_fn(|_, _| async {
            Err("not today".into())
        })))
        .consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    let outcome = bus
        .request::<Answered>(&Ask { number: 1 })
        .deadline(PATIENCE)
        .await;
    assert!(
        matches!(&outcome, Err(RequestError::Fault(fault)) if fault.exceptions[0].message == "not today"),
        "{outcome:?}"
    );
    assert_eq!(seen.calls(), 0);
    bus.shutdown().await?;
    Ok(())
}

/// A responder that panics answers with a fault.
async fn a_panicking_responder_answers_with_a_fault(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ask>::deciding(|_| panic!("out of paper"));
    let endpoint = Endpoint::new(broker.name("responder")).consumer(seen);
    let bus = broker.start(endpoint).await?;
    let outcome = bus
        .request::<Answered>(&Ask { number: 7 })
        .deadline(PATIENCE)
        .await;
    assert!(
        matches!(&outcome, Err(RequestError::Fault(fault)) if fault.to_string().contains("out of paper")),
        "{outcome:?}"
    );
    bus.shutdown().await?;
    Ok(())
}

/// A requester gets a fault also where nothing failed is kept or published.
async fn a_request_that_fails_at_most_once_is_answered_with_a_fault(
    broker: &dyn TestBroker,
) -> Outcome {
    let queue = broker.name("responder");
    let endpoint = Endpoint::new(&queue)
        .at_most_once()
        .consumer(Recorder::<Ask>::failing());
    let bus = broker.start(endpoint).await?;
    let outcome = bus
        .request::<Answered>(&Ask { number: 7 })
        .deadline(PATIENCE)
        .await;
    assert!(
        matches!(&outcome, Err(RequestError::Fault(fault)) if fault.to_string().contains("broken")),
        "{outcome:?}"
    );
    bus.shutdown().await?;
    assert_eq!(broker.depth(&format!("{queue}_error")).await, None);
    Ok(())
}

behaviours! { request_faults:
    a_failing_responder_answers_with_a_fault,
    a_retried_request_is_answered_with_one_fault,
    a_request_that_cannot_be_read_is_answered_with_a_fault,
    a_request_that_middleware_refuses_is_answered_with_a_fault,
    a_panicking_responder_answers_with_a_fault,
    a_request_that_fails_at_most_once_is_answered_with_a_fault,
}
