//! One delivery, as all its attempts see it.

use std::sync::Arc;

use tokio::sync::watch;

use super::control::Control;
use super::progress::Progress;
use super::slot::Slot;
use super::troubles::Troubles;
use crate::codec::Codec;
use crate::message::{Envelope, TraceContext};
use crate::request::Requests;
use crate::send::{Origin, Outbound};
use crate::transport::Incoming;

/// One delivery, as all its attempts see it.
pub(crate) struct ReceiveContext {
    pub(crate) incoming: Incoming,
    pub(crate) envelope: Envelope,
    pub(crate) endpoint: Arc<EndpointContext>,
    pub(crate) trace: TraceContext,
    pub(crate) progress: Progress,
    /// Concurrency slot of the delivery.
    pub(crate) slot: Slot,
}

/// State that all deliveries of an endpoint share.
pub(crate) struct EndpointContext {
    pub(crate) name: String,
    pub(crate) address: Arc<str>,
    pub(crate) codec: Codec,
    /// `true` for a tap, which overhears and must not answer the addresses of others.
    pub(crate) is_tap: bool,
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) requests: Arc<Requests>,
    pub(crate) cancelled: watch::Receiver<bool>,
    pub(crate) troubles: Arc<Troubles>,
    pub(crate) control: Arc<Control>,
}

impl ReceiveContext {
    pub(crate) fn origin(&self) -> Origin<'_> {
        Origin {
            envelope: &self.envelope,
            address: &self.endpoint.address,
            trace: &self.trace,
            propagator: self.endpoint.outbound.propagator(),
            priority: self.incoming.priority,
            codec: self.endpoint.codec,
        }
    }
}
