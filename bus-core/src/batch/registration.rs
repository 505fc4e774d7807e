//! Batch consumers on an endpoint, as consumers of single messages.

use std::any::type_name;
use std::hash::Hash;
use std::sync::Arc;

use super::collector::{Collecting, Collector};
use super::consumer::BatchConsumer;
use super::settings::Batching;
use crate::consume::Registration;
use crate::message::Message;

impl Registration {
    /// Registers a consumer of batches.
    pub(crate) fn of_batches<M, K, C>(batching: Batching<M, K>, consumer: C) -> Self
    where
        M: Message,
        K: Eq + Hash + Send + Sync + 'static,
        C: BatchConsumer<M>,
    {
        let limits = batching.limits;
        let collector = Arc::new(Collector::new(batching, consumer));
        Self::collecting::<M, _>(Collecting(collector), type_name::<C>(), limits)
    }
}
