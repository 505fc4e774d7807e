//! Slips and events on the wire: what MassTransit writes is read, and goes on as it came.

use bus_core::Message;
use bus_core::codec::{decode_message, encode_message};
use bus_courier::{RoutingSlip, RoutingSlipFaulted, SlipContents, SlipEvents, Values};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

/// A slip on its way back, in the members that MassTransit writes, and some more.
fn slip() -> Value {
    json!({
        "trackingNumber": "5c1d0000-0aff-0242-8f3a-08de65f1c2a4",
        "createTimestamp": "2026-02-07T14:05:09.1234567Z",
        "itinerary": [{
            "name": "Charge",
            "address": "queue:mt-charge_execute",
            "arguments": { "amount": "129.90", "Ratio": 0.1 },
            "priority": 3
        }],
        "activityLogs": [{
            "executionId": "5c1d0000-0aff-0242-0001-08de65f1c2a4",
            "name": "Reserve",
            "timestamp": "2026-02-07T14:05:10Z",
            "duration": "00:00:00.0120000",
            "host": { "machineName": "web-1", "processName": "shop", "processId": 7,
                "assembly": "Shop", "assemblyVersion": "1.0.0.0", "frameworkVersion": "10.0.0",
                "massTransitVersion": "8.5.11.0", "operatingSystemVersion": "Unix 6.1.0" }
        }],
        "compensateLogs": [{
            "executionId": "5c1d0000-0aff-0242-0001-08de65f1c2a4",
            "address": "rabbitmq://localhost/mt-reserve_compensate",
            "data": { "reservationId": "5c1d0000-0aff-0242-0002-08de65f1c2a4", "Sku": "A-7" }
        }],
        "variables": { "OrderNumber": "A-1007", "reserved": 2, "none": null },
        "activityExceptions": [],
        "subscriptions": [{
            "address": "queue:monitor", "events": 3, "include": 1,
            "activityName": "Charge", "message": { "message": { "text": "hello" } }
        }],
        "region": { "of": "a newer version" }
    })
}

fn read(json: &Value) -> RoutingSlip {
    decode_message(json.to_string().as_bytes()).expect("a slip")
}

fn written(message: &impl Message) -> Value {
    let bytes = encode_message(message).expect("JSON");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[test]
fn a_slip_goes_on_as_it_came() {
    let came = slip();
    let slip = read(&came);
    assert_eq!(written(&slip), came);
    assert_eq!(slip.itinerary[0].arguments.json("ratio"), Some("0.1"));
    assert_eq!(
        slip.variables
            .get::<String>("orderNumber")
            .unwrap()
            .as_deref(),
        Some("A-1007")
    );
    assert_eq!(slip.variables.get::<u32>("none").unwrap(), None);
    let subscription = &slip.subscriptions[0];
    assert_eq!(
        subscription.events,
        SlipEvents::COMPLETED | SlipEvents::FAULTED
    );
    assert_eq!(subscription.include, SlipContents::VARIABLES);
    assert_eq!(slip.correlation_id(), Some(slip.tracking_number));
}

#[test]
fn digits_that_no_number_of_rust_has_are_kept() {
    let json = r#"{"trackingNumber":"5c1d0000-0aff-0242-8f3a-08de65f1c2a4","createTimestamp":"2026-02-07T14:05:09Z","variables":{"total":12345678901234567890.10}}"#;
    let slip: RoutingSlip = decode_message(json.as_bytes()).expect("a slip");
    let bytes = encode_message(&slip).expect("JSON");
    let text = std::str::from_utf8(&bytes).expect("text");
    assert!(
        text.contains(r#""total":12345678901234567890.10"#),
        "{text}"
    );
}

#[test]
fn the_spelling_of_newtonsoft_is_read() {
    let json = json!({
        "TrackingNumber": "5c1d0000-0aff-0242-8f3a-08de65f1c2a4",
        "CreateTimestamp": "2026-02-07T14:05:09Z",
        "Itinerary": [{ "Name": "Charge", "Address": "queue:charge" }],
        "CompensateLogs": null
    });
    let slip = read(&json);
    assert_eq!(slip.itinerary[0].name, "Charge");
    assert!(slip.itinerary[0].arguments.is_empty() && slip.compensate_logs.is_empty());
    assert!(slip.other.is_empty());
}

#[test]
fn what_is_missing_is_named() {
    let mut json = slip();
    json["itinerary"][0]["address"] = Value::Null;
    let error = decode_message::<RoutingSlip>(json.to_string().as_bytes());
    let text = format!("{:?}", error.expect_err("no address"));
    assert!(text.contains("address"), "{text}");
    let error = decode_message::<RoutingSlip>(b"{}").expect_err("nothing at all");
    assert!(format!("{error:?}").contains("trackingNumber"), "{error:?}");
}

#[test]
fn an_event_names_its_members_as_masstransit_does() {
    let json = json!({
        "trackingNumber": "5c1d0000-0aff-0242-8f3a-08de65f1c2a4",
        "timestamp": "2026-02-07T14:05:09Z",
        "duration": "00:00:01",
        "activityExceptions": [{
            "executionId": "5c1d0000-0aff-0242-0003-08de65f1c2a4",
            "timestamp": "2026-02-07T14:05:09Z", "elapsed": "00:00:00.5000000", "name": "Charge",
            "host": slip()["activityLogs"][0]["host"].clone(),
            "exceptionInfo": { "exceptionType": "System.InvalidOperationException",
                "innerException": null, "stackTrace": "at …", "message": "Too expensive",
                "source": "Shop", "data": null }
        }],
        "variables": { "OrderNumber": "A-1007" }
    });
    let event: RoutingSlipFaulted = decode_message(json.to_string().as_bytes()).expect("an event");
    assert_eq!(
        event.activity_exceptions[0].exception_info.message,
        "Too expensive"
    );
    assert_eq!(written(&event), json);
    let name = RoutingSlipFaulted::message_type().urn();
    assert_eq!(
        name,
        "urn:message:MassTransit.Courier.Contracts:RoutingSlipFaulted"
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-zA-Z]{1,6}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn values_and_unknown_members_survive(
        variables in prop::collection::btree_map("[a-z]{1,8}", any_json(), 0..6),
        unknown in any_json(),
        number in any::<u128>(),
    ) {
        let mut json = slip();
        json["trackingNumber"] = json!(Uuid::from_u128(number));
        json["variables"] = json!(variables);
        json["unknown"] = unknown.clone();
        json["itinerary"][0]["later"] = unknown;
        prop_assert_eq!(written(&read(&json)), json);
    }

    #[test]
    fn a_name_is_set_once_in_any_case(name in "[a-zA-Z]{1,8}", first in any::<i32>(), second in any::<i32>()) {
        let mut values = Values::default();
        values.set(name.to_uppercase(), &first).unwrap();
        values.set(name.to_lowercase(), &second).unwrap();
        prop_assert_eq!(values.len(), 1);
        prop_assert_eq!(values.get::<i32>(&name).unwrap(), Some(second));
        values.set(name, &()).unwrap();
        prop_assert!(values.is_empty());
    }
}
