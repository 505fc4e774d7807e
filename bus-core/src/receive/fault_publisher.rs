//! The fault message of a delivery that failed.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::failure::{Failure, TIMESTAMP};
use crate::codec::{HostInfo, RawJson, to_json};
use crate::consume::{ReceiveContext, Stopped, Waits};
use crate::error::{ExceptionInfo, Fault, ReceiveFault, SendError, SendErrorKind};
use crate::message::{Contract, Intent, MessageType};
use crate::observe::FaultPublished;
use crate::send::reply::address_reply;
use crate::send::sent_ids::origin_id;
use crate::send::{Outbound, SealedMessage, SendContext};
use crate::serde_helpers::DateTime;
use crate::transport::{Address, Target};

/// Number of times that a fault which the broker refuses is sent again.
const RESENDS: u32 = 3;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Longest time spent on the delivery of a fault.
const FAULT_PATIENCE: Duration = Duration::from_secs(60);

/// Sends the fault to its address, else publishes it.
///
/// A fault that cannot be delivered within its deadline, or a minute if that is shorter, is dropped
/// and logged: it does not keep its message from the error queue.
pub(crate) async fn raise(failure: &Failure<'_>, publish: bool) {
    let received = failure.received;
    if received.endpoint.is_tap || is_fault(received) {
        return;
    }
    let context = match fault_context(failure) {
        Ok(context) if publish || context.intent != Intent::Publish => context,
        Ok(_) => return,
        Err(error) => {
            tracing::warn!(endpoint = %received.endpoint.name, %error, "the fault cannot be made");
            return;
        }
    };
    if let Err(error) = deliver(failure, context).await {
        tracing::warn!(endpoint = %received.endpoint.name, %error, "the fault cannot be delivered");
    }
}

async fn deliver(failure: &Failure<'_>, context: SendContext) -> Result<(), SendError> {
    let received = failure.received;
    let outbound = &received.endpoint.outbound;
    let mut sealed = outbound.pack(SendContext {
        intent: Intent::Fault,
        ..context
    })?;
    let patience = sealed.deadline.min(FAULT_PATIENCE);
    sealed.deadline = patience;
    let mut cancelled = received.endpoint.cancelled.clone();
    let delivered = tokio::time::timeout(patience, try_to_deliver(received, &sealed));
    let too_late = || {
        let text = format!("the broker has not taken it within {patience:?}");
        SendError::new(SendErrorKind::TimedOut, text)
    };
    tokio::select! {
        biased;
        outcome = delivered => outcome.unwrap_or_else(|_| Err(too_late()))?,
        _ = cancelled.wait_for(|cancelled| *cancelled) => return Err(too_late()),
    }
    let published = FaultPublished {
        endpoint: &received.endpoint.name,
        envelope: &received.envelope,
        fault: &sealed.envelope,
        error: failure.error,
    };
    let observers = &outbound.observers;
    observers.tell(|observer| observer.fault_published(&published));
    Ok(())
}

async fn try_to_deliver(
    received: &ReceiveContext,
    sealed: &SealedMessage,
) -> Result<(), SendError> {
    let outbound = &received.endpoint.outbound;
    let mut waits = Waits::new(received, FIRST_WAIT, LONGEST_WAIT);
    let mut refused = 0;
    loop {
        let error = match outbound.direct().dispatch(sealed.clone()).await {
            Err(error) if error.is_broker_away() => error,
            Err(error) if error.kind() == SendErrorKind::Nacked && refused < RESENDS => {
                refused += 1;
                error
            }
            outcome => return outcome,
        };
        received.slot.give_up();
        let troubles = &received.endpoint.troubles;
        let _waits = troubles.note("wait until their fault is delivered", error.to_string());
        waits.next().await.map_err(|Stopped| error)?;
    }
}

/// Returns `true` for a fault: a fault of a fault would never end.
fn is_fault(received: &ReceiveContext) -> bool {
    received.envelope.message_types.iter().any(|urn| {
        urn.starts_with("urn:message:MassTransit:Fault")
            || urn.starts_with("urn:message:MassTransit:ReceiveFault")
    })
}

fn fault_context(failure: &Failure<'_>) -> Result<SendContext, SendError> {
    let received = failure.received;
    let envelope = &received.envelope;
    let outbound = &received.endpoint.outbound;
    let fault_id = fault_id(received);
    let (types, body) = if failure.fault_types.is_empty() {
        receive_fault(failure, fault_id)
    } else {
        fault(failure, fault_id)
    };
    let urns: Vec<Cow<'static, str>> = types.iter().map(|name| Cow::Owned(name.urn())).collect();
    let mut context = outbound.context_of(urns.into(), body, Intent::Publish);
    received.origin().apply(&mut context);
    context.envelope.message_id = Some(fault_id);
    context.envelope.correlation_id = envelope.correlation_id;
    context.envelope.request_id = envelope.request_id;
    if failure.retries > 0 {
        context
            .envelope
            .headers
            .insert("MT-Fault-RetryCount", failure.retries);
    }
    let redeliveries = failure.redeliveries();
    if redeliveries > 0 {
        let headers = &mut context.envelope.headers;
        headers.insert("MT-Fault-RedeliveryCount", redeliveries);
    }
    match envelope
        .fault_address
        .as_ref()
        .or(envelope.response_address.as_ref())
    {
        Some(address) => {
            context.intent = Intent::Fault;
            address_reply(&mut context, address, envelope, outbound)?;
        }
        None => publish_to_types(&mut context, &types, outbound),
    }
    Ok(context)
}

/// Derives the id of the fault of a delivery.
///
/// A failure that is met again, as the process ended before the acknowledgement, raises the same
/// fault; a failure of a message that was moved back from the error queue raises another.
fn fault_id(received: &ReceiveContext) -> Uuid {
    let Some(origin) = origin_id(&received.envelope, &received.incoming) else {
        return Uuid::now_v7();
    };
    let moved_at = received
        .incoming
        .headers
        .text(TIMESTAMP)
        .unwrap_or_default();
    let name = format!("{}\0fault\0{moved_at}", received.endpoint.name);
    Uuid::new_v5(&origin, name.as_bytes())
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
    let own = std::iter::once(&contract.message_type);
    (
        own.chain(&contract.bases).cloned().collect(),
        to_json(&body),
    )
}

/// Publishes to the first type's exchange, which is bound to those of the others.
fn publish_to_types(context: &mut SendContext, types: &[MessageType], outbound: &Outbound) {
    let Some((first, bases)) = types.split_first() else {
        return;
    };
    let name = outbound.topologies.exchange_of(first).name;
    let topology = outbound.topologies.publisher(first, bases);
    let address = Address::exchange(name.clone()).to_uri(&outbound.base);
    context.envelope.destination_address = Some(address.into());
    context.target = Target::Exchange {
        name: Cow::Owned(name),
        topology: Some(Arc::new(topology)),
    };
}
