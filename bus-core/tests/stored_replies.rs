//! Replies as stores keep them.

use bus_core::Headers;
use bus_core::idempotency::StoredReply;
use bus_core::message::HeaderValue;

#[test]
fn a_reply_is_kept_without_loss() -> Result<(), serde_json::Error> {
    let mut headers = Headers::default();
    headers.insert("Count", HeaderValue::Int(7));
    headers.insert("Key", HeaderValue::Bytes(vec![0, 255]));
    headers.insert("At", HeaderValue::Timestamp(3));
    let reply = StoredReply {
        message_types: vec!["urn:message:Shop:Answered".to_owned()],
        message: br#"{"number":1.50}"#.as_slice().into(),
        headers,
    };
    let json = serde_json::to_string(&reply)?;
    assert_eq!(serde_json::from_str::<StoredReply>(&json)?, reply);
    Ok(())
}
