//! Replies of programs that know no bus: read as an endpoint would, and never
//! waited for in vain.

use bus_core::transport::Outgoing;
use bus_core::{Address, Bus, Message, RequestError};
use serde_json::{Value, json};

use super::requests::PATIENCE;
use crate::support::contracts::{Answered, Ask};
use crate::support::{Outcome, Reader, Wire, raw, within};
use crate::test_broker::TestBroker;

/// A requester, and a queue whose requests the test answers by hand.
struct Counter {
    bus: Bus,
    wire: Wire,
    queue: String,
    reader: Reader,
}

impl Counter {
    async fn start(broker: &dyn TestBroker) -> Outcome<Self> {
        let queue = broker.name("by-hand");
        let bus = broker.bus().start().await?;
        let wire = broker.wire().await;
        let reader = wire.read(&queue).await;
        Ok(Self {
            bus,
            wire,
            queue,
            reader,
        })
    }

    /// Asks, and answers with what `answer` makes of the reply queue's name and the
    /// request id.
    async fn ask(
        &self,
        answer: impl FnOnce(&str, &str) -> Outgoing,
    ) -> Outcome<Result<Answered, RequestError>> {
        let request = self
            .bus
            .request::<Answered>(&Ask { number: 7 })
            .to(format!("queue:{}", self.queue))
            .deadline(PATIENCE);
        let waiting = tokio::spawn(request.into_future());
        let asked: Value = serde_json::from_slice(&self.reader.next().await.body)?;
        let member = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
        let address: Address = member("responseAddress").parse()?;
        self.wire
            .send(answer(address.name(), &member("requestId")))
            .await;
        Ok(within("the request ends", waiting).await?)
    }

    async fn stop(self) -> Outcome {
        assert_eq!(self.bus.pending_requests(), 0);
        self.bus.shutdown().await?;
        self.wire.close().await;
        Ok(())
    }
}

fn told(id: &str) -> Value {
    json!({
        "requestId": id,
        "messageType": [Answered::message_type().urn()],
        "message": { "number": 7 },
    })
}

/// A reply is read as an endpoint reads a message.
///
/// Its content type may be in a header; it may have a byte order mark, or blank ids.
async fn a_foreign_reply_is_read_as_an_endpoint_reads(broker: &dyn TestBroker) -> Outcome {
    let counter = Counter::start(broker).await?;
    for header in ["Content-Type", "ContentType"] {
        let outcome = counter.ask(|queue, id| {
            let mut bare = raw(queue, r#"{"number":7}"#);
            bare.headers.insert(header, "application/json");
            bare.headers.insert("RequestId", id);
            bare.headers
                .insert("MT-MessageType", Answered::message_type().urn());
            bare
        });
        assert_eq!(outcome.await??.number, 7, "{header}");
    }
    let marked = counter.ask(|queue, id| raw(queue, format!("\u{feff}{}", told(id))));
    assert_eq!(marked.await??.number, 7);
    let blank = counter.ask(|queue, id| {
        let mut reply = told(id);
        for member in [
            "messageId",
            "correlationId",
            "conversationId",
            "initiatorId",
        ] {
            reply[member] = "".into();
        }
        raw(queue, reply.to_string())
    });
    assert_eq!(blank.await??.number, 7);
    counter.stop().await
}

/// Breaks a reply.
type Break = fn(&mut Value) -> String;

/// Replies that cannot be read, by the reason.
const BREAKS: [(&str, Break); 5] = [
    ("order 66", |reply| {
        reply["correlationId"] = "order 66".into();
        reply.to_string()
    }),
    ("`message`", |reply| {
        reply.as_object_mut().map(|reply| reply.remove("message"));
        reply.to_string()
    }),
    ("not a message envelope", |reply| {
        reply["messageType"] = 7.into();
        reply.to_string()
    }),
    ("not JSON", |reply| {
        format!(r#"{{"RequestID":{},"message":{{"#, reply["requestId"])
    }),
    ("null", |reply| {
        reply["message"] = Value::Null;
        reply.to_string()
    }),
];

/// A reply that cannot be read ends its request with the reason, if its request id
/// can be read.
async fn a_broken_reply_is_an_error_and_no_timeout(broker: &dyn TestBroker) -> Outcome {
    let counter = Counter::start(broker).await?;
    for (reason, spoil) in BREAKS {
        let outcome = counter.ask(|queue, id| raw(queue, spoil(&mut told(id))));
        expect_undecodable(outcome.await?, reason);
    }
    let unknown = counter.ask(|queue, id| Outgoing {
        content_type: Some("application/xml".into()),
        ..raw(queue, told(id).to_string())
    });
    expect_undecodable(unknown.await?, "application/xml");
    let empty = counter.ask(|queue, id| {
        let mut empty = raw(queue, "");
        empty.headers.insert("RequestId", id);
        empty
    });
    expect_undecodable(empty.await?, "empty");
    counter.stop().await
}

fn expect_undecodable(outcome: Result<Answered, RequestError>, reason: &str) {
    let Err(RequestError::Decode(error)) = outcome else {
        panic!("the reply cannot be read ({reason}), but {outcome:?}");
    };
    assert!(error.to_string().contains(reason), "{reason}: {error}");
}

behaviours! { foreign_replies:
    a_foreign_reply_is_read_as_an_endpoint_reads,
    a_broken_reply_is_an_error_and_no_timeout,
}
