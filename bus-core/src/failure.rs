//! What becomes of a delivery that failed: a fault message, and the delivery itself in the error queue.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use uuid::Uuid;

use crate::codec::{RawJson, is_noise, to_json};
use crate::context::{Received, address_reply};
use crate::cutting::is_reason;
use crate::error::ConsumeError;
use crate::fault::{ExceptionInfo, Fault, ReceiveFault, cut};
use crate::headers::Headers;
use crate::host::HostInfo;
use crate::iso8601;
use crate::message::{Contract, MessageType};
use crate::outgoing::{Draft, Intent, Parcel};
use crate::pause::Backoff;
use crate::send_error::{SendError, SendErrorKind};
use crate::serde_helpers::DateTime;
use crate::topology::{Binding, Exchange, Node, Topology};
use crate::transport::{Outgoing, Target};

/// When a message was moved to the error queue.
const TIMESTAMP: &str = "MT-Fault-Timestamp";

/// How often it is tried to deliver a fault that the broker refuses.
const FAULT_TRIES: u32 = 3;

/// How long at most it is tried to deliver a fault.
const FAULT_PATIENCE: Duration = Duration::from_secs(60);

/// A failed delivery and what is known of it.
pub(crate) struct Failure<'a> {
    pub(crate) received: &'a Received,
    pub(crate) error: &'a ConsumeError,
    /// The types of the fault; none where the type of the message is not known.
    pub(crate) fault_types: &'a [MessageType],
    pub(crate) consumer_type: Option<&'a str>,
    pub(crate) retries: u32,
}

/// Sends the fault to its address, else publishes it. One that cannot be delivered within its deadline, or a minute if
/// that is shorter, is dropped and logged: it does not keep its message from the error queue.
pub(crate) async fn raise(failure: &Failure<'_>, publish: bool) {
    let received = failure.received;
    if received.site.is_tap || is_fault(received) {
        return;
    }
    let draft = match fault_draft(failure) {
        Ok(draft) if publish || draft.intent != Intent::Publish => draft,
        Ok(_) => return,
        Err(error) => {
            tracing::warn!(endpoint = %received.site.endpoint, %error, "the fault cannot be made");
            return;
        }
    };
    if let Err(error) = deliver(received, draft).await {
        tracing::warn!(endpoint = %received.site.endpoint, %error, "the fault cannot be delivered");
    }
}

async fn deliver(received: &Received, draft: Draft) -> Result<(), SendError> {
    let outbound = &received.site.outbound;
    let mut parcel = outbound.pack(Draft {
        intent: Intent::Fault,
        ..draft
    })?;
    let patience = parcel.deadline.min(FAULT_PATIENCE);
    parcel.deadline = patience;
    let mut cancelled = received.site.cancelled.clone();
    let delivered = tokio::time::timeout(patience, try_to_deliver(received, &parcel));
    let too_late = || {
        let text = format!("the broker has not taken it within {patience:?}");
        SendError::new(SendErrorKind::TimedOut, text)
    };
    tokio::select! {
        biased;
        outcome = delivered => outcome.unwrap_or_else(|_| Err(too_late())),
        _ = cancelled.wait_for(|cancelled| *cancelled) => Err(too_late()),
    }
}

async fn try_to_deliver(received: &Received, parcel: &Parcel) -> Result<(), SendError> {
    let outbound = &received.site.outbound;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    let mut refused = 0;
    loop {
        let error = match outbound.direct().dispatch(parcel.clone()).await {
            Err(error) if error.is_broker_away() => error,
            Err(error) if error.kind() == SendErrorKind::Nacked && refused < FAULT_TRIES => {
                refused += 1;
                error
            }
            outcome => return outcome,
        };
        received.slot.give_up();
        let troubles = &received.site.troubles;
        let _waits = troubles.note("wait until their fault is delivered", error.to_string());
        backoff.wait().await;
    }
}

/// A fault of a fault would never end.
fn is_fault(received: &Received) -> bool {
    received.envelope.message_types.iter().any(|urn| {
        urn.starts_with("urn:message:MassTransit:Fault")
            || urn.starts_with("urn:message:MassTransit:ReceiveFault")
    })
}

fn fault_draft(failure: &Failure<'_>) -> Result<Draft, SendError> {
    let received = failure.received;
    let envelope = &received.envelope;
    let outbound = &received.site.outbound;
    // A message that was moved back, and fails again, has another fault.
    let moved_at = received.incoming.headers.text(TIMESTAMP);
    let fault_id = received.effect("fault", moved_at.unwrap_or_default().as_bytes());
    let (types, body) = if failure.fault_types.is_empty() {
        receive_fault(failure, fault_id)
    } else {
        fault(failure, fault_id)
    };
    let urns: Vec<Cow<'static, str>> = types.iter().map(|name| Cow::Owned(name.urn())).collect();
    let mut draft = outbound.draft_of(urns.into(), body, Intent::Publish);
    received.origin().apply(&mut draft);
    draft.envelope.message_id = Some(fault_id);
    draft.envelope.correlation_id = envelope.correlation_id;
    draft.envelope.request_id = envelope.request_id;
    if failure.retries > 0 {
        draft
            .envelope
            .headers
            .insert("MT-Fault-RetryCount", failure.retries);
    }
    match envelope
        .fault_address
        .as_ref()
        .or(envelope.response_address.as_ref())
    {
        Some(address) => {
            draft.intent = Intent::Fault;
            address_reply(&mut draft, address, envelope)?;
        }
        None => publish_to_types(&mut draft, &types, &outbound.base),
    }
    Ok(draft)
}

fn fault(failure: &Failure<'_>, fault_id: Uuid) -> (Vec<MessageType>, Bytes) {
    let envelope = &failure.received.envelope;
    let body = Fault {
        fault_id,
        faulted_message_id: envelope.message_id,
        timestamp: Some(DateTime::now()),
        exceptions: vec![ExceptionInfo::of(failure.error)],
        host: Some(HostInfo::current().clone()),
        fault_message_types: Some(
            envelope
                .message_types
                .iter()
                .map(ToString::to_string)
                .collect(),
        ),
        message: RawJson::new(&envelope.message),
    };
    (failure.fault_types.to_vec(), to_json(&body))
}

fn receive_fault(failure: &Failure<'_>, fault_id: Uuid) -> (Vec<MessageType>, Bytes) {
    let received = failure.received;
    let types = &received.envelope.message_types;
    let contract = Contract::of::<ReceiveFault>();
    let body = ReceiveFault {
        fault_id,
        faulted_message_id: received.envelope.message_id,
        timestamp: Some(DateTime::now()),
        exceptions: vec![ExceptionInfo::of(failure.error)],
        host: Some(HostInfo::current().clone()),
        fault_message_types: (!types.is_empty())
            .then(|| types.iter().map(ToString::to_string).collect()),
        content_type: received.incoming.content_type.clone(),
    };
    let base = <ReceiveFault as crate::message::Message>::implements();
    (
        std::iter::once(contract.message_type.clone())
            .chain(base)
            .collect(),
        to_json(&body),
    )
}

fn now() -> String {
    iso8601::format(SystemTime::now()).as_str().to_owned()
}

/// Publishes to the first type's exchange, which is bound to those of the others.
fn publish_to_types(draft: &mut Draft, types: &[MessageType], base: &str) {
    let entities: Vec<String> = types.iter().map(MessageType::entity_name).collect();
    let Some((first, bases)) = entities.split_first() else {
        return;
    };
    let topology = Topology {
        exchanges: entities.iter().map(Exchange::fanout).collect(),
        bindings: bases
            .iter()
            .map(|base| Binding::new(first, Node::Exchange(base.clone())))
            .collect(),
        ..Topology::default()
    };
    draft.envelope.destination_address = Some(
        crate::address::Address::exchange(first.clone())
            .to_uri(base)
            .into(),
    );
    draft.target = Target::Exchange {
        name: Cow::Owned(first.clone()),
        topology: Some(Arc::new(topology)),
    };
}

/// The headers that say why a message is in the error queue.
pub(crate) fn error_headers(failure: &Failure<'_>) -> Headers {
    let info = ExceptionInfo::of(failure.error);
    let innermost = std::iter::successors(Some(&info), |info| info.inner_exception.as_deref())
        .last()
        .unwrap_or(&info);
    let mut headers = host_headers();
    headers.insert("MT-Reason", "fault");
    headers.insert("MT-Fault-ExceptionType", info.exception_type.as_str());
    headers.insert("MT-Fault-Message", info.message.as_str());
    headers.insert(
        "MT-Fault-InputAddress",
        failure.received.site.address.as_ref(),
    );
    headers.insert(TIMESTAMP, now());
    if !std::ptr::eq(innermost, &raw const info) {
        headers.insert("MT-Fault-StackTrace", cut(&causes(&info)));
    }
    if let Some(consumer) = failure.consumer_type {
        headers.insert("MT-Fault-ConsumerType", consumer);
    }
    if let Some(urn) = failure.received.envelope.message_types.first() {
        headers.insert(
            "MT-Fault-MessageType",
            urn.trim_start_matches("urn:message:")
                .replace([':', '+'], "."),
        );
    }
    if failure.retries > 0 {
        headers.insert("MT-Fault-RetryCount", failure.retries);
    }
    headers
}

fn causes(info: &ExceptionInfo) -> String {
    let chain = std::iter::successors(info.inner_exception.as_deref(), |info| {
        info.inner_exception.as_deref()
    });
    chain
        .map(|cause| format!("caused by: {}", cause.message))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The headers that say why a message is in the skipped queue.
pub(crate) fn skipped_headers() -> Headers {
    let mut headers = host_headers();
    headers.insert("MT-Reason", "dead-letter");
    headers
}

fn host_headers() -> Headers {
    let host = HostInfo::current();
    let named = [
        ("MT-Host-MachineName", &host.machine_name),
        ("MT-Host-ProcessName", &host.process_name),
        (
            "MT-Host-ProcessId",
            &host.process_id.map(|id| id.to_string()),
        ),
        ("MT-Host-Assembly", &host.assembly),
        ("MT-Host-AssemblyVersion", &host.assembly_version),
        ("MT-Host-FrameworkVersion", &host.framework_version),
        (
            "MT-Host-OperatingSystemVersion",
            &host.operating_system_version,
        ),
    ];
    named
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
        .collect()
}

/// The delivery as it came, on its way to a queue that keeps it.
pub(crate) fn moved(
    received: &Received,
    queue: String,
    topology: &Arc<Topology>,
    why: Headers,
) -> Outgoing {
    let incoming = &received.incoming;
    let mut headers = incoming.headers.clone();
    // Also not those of the transfer: a broker routes by CC, and reads x-death as a loop.
    // Reasons of an earlier move do not pile up.
    headers.retain(|name, _| !is_reason(name) && !is_noise(name));
    headers.extend(why);
    let target = Target::Exchange {
        name: Cow::Owned(queue),
        topology: Some(Arc::clone(topology)),
    };
    Outgoing {
        routing_key: Cow::Owned(incoming.routing_key.clone()),
        content_type: incoming.content_type.clone().map(Cow::Owned),
        message_id: incoming.message_id.clone(),
        correlation_id: incoming.correlation_id.clone(),
        headers,
        priority: incoming.priority,
        mandatory: true,
        ..Outgoing::new(target, incoming.body.clone())
    }
}
