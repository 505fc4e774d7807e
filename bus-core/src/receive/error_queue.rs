//! The form in which a delivery goes to the error queue, or to the skipped queue.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use super::cutting::is_reason;
use super::failure::{Failure, TIMESTAMP};
use super::moving::forwarded;
use crate::codec::{HostInfo, is_noise};
use crate::consume::ReceiveContext;
use crate::error::ExceptionInfo;
use crate::error::fault::cut;
use crate::message::{Headers, iso8601};
use crate::topology::Topology;
use crate::transport::{Outgoing, Target};

/// Builds the headers that say why a message is in the error queue.
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
        failure.received.endpoint.address.as_ref(),
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
    let redeliveries = failure.redeliveries();
    if redeliveries > 0 {
        headers.insert("MT-Fault-RedeliveryCount", redeliveries);
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

/// Builds the headers that say why a message is in the skipped queue.
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

/// Builds the message that takes a delivery, as it came, to a queue that keeps it.
pub(crate) fn moved(
    received: &ReceiveContext,
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
    forwarded(incoming, target, headers)
}

fn now() -> String {
    iso8601::format(SystemTime::now()).as_str().to_owned()
}
