//! Several messages handed over at once.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use bus_core::error::SendErrorKind;
use bus_core::send::{Dispatch, MessageMetadata, MessageRecord, SealedMessage};
use bus_core::{SendError, async_trait};
use tokio::sync::Barrier;

const METADATA: &str = r#"{"version":1,"intent":"send","target":{"queue":"orders"},
    "content_type":"application/json","durable":true,"mandatory":false,
    "deadline":{"secs":30,"nanos":0}}"#;

fn message(number: usize) -> SealedMessage {
    let record = MessageRecord {
        metadata: MessageMetadata::from_json(METADATA).unwrap(),
        body: number.to_string().into(),
    };
    SealedMessage::from_record(record, |_| None).unwrap()
}

/// Takes messages once so many of them are there; refuses the second.
#[derive(Debug)]
struct Together {
    taken: Mutex<Vec<String>>,
    all_are_there: Barrier,
}

#[async_trait]
impl Dispatch for Together {
    async fn dispatch(self: Arc<Self>, sealed: SealedMessage) -> Result<(), SendError> {
        let body = String::from_utf8_lossy(&sealed.outgoing.body).into_owned();
        let is_second = body == "1";
        self.taken.lock().unwrap().push(body);
        self.all_are_there.wait().await;
        if is_second {
            return Err(SendError::new(SendErrorKind::Refused, "the second"));
        }
        Ok(())
    }
}

/// More than `join_all` polls in turn: from thirty on, only those that were woken.
const MANY: usize = 100;

#[tokio::test]
async fn messages_are_handed_over_at_once_and_in_order() {
    let together = Arc::new(Together {
        taken: Mutex::default(),
        all_are_there: Barrier::new(MANY),
    });
    let messages = (0..MANY).map(message).collect();
    let outcomes = Arc::clone(&together).dispatch_all(messages).await;
    let numbers: Vec<_> = (0..MANY).map(|number| number.to_string()).collect();
    assert_eq!(*together.taken.lock().unwrap(), numbers);
    let refused = outcomes.iter().map(Result::is_err);
    assert!(refused.eq((0..MANY).map(|number| number == 1)));
}
