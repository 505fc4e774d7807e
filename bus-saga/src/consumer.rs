//! The consumer of one event of a saga.

use std::marker::PhantomData;
use std::sync::Arc;

use bus_core::consume::UnitOfWork;
use bus_core::{ConsumeContext, ConsumeResult, Consumer, Endpoint, Message};
use futures_util::future::BoxFuture;

/// Handler of the deliveries of all events of a saga.
pub(crate) trait Deliveries: Send + Sync {
    fn handle<'a>(&'a self, event: usize, ctx: &'a ConsumeContext) -> BoxFuture<'a, ConsumeResult>;

    fn unit_of_work(&self) -> Arc<dyn UnitOfWork>;
}

/// Function that adds the consumer of an event to an endpoint.
pub(crate) type Attach = fn(Endpoint, Arc<dyn Deliveries>, usize) -> Endpoint;

/// Adds the consumer of an event that others publish or send.
pub(crate) fn attach<S: 'static, M: Message>(
    endpoint: Endpoint,
    deliveries: Arc<dyn Deliveries>,
    event: usize,
) -> Endpoint {
    endpoint.consumer::<M, _>(EventConsumer::<S> {
        deliveries,
        event,
        saga: PhantomData,
    })
}

/// Adds the consumer of an event that is sent to the queue.
///
/// By the saga itself, or by the service that it has asked.
pub(crate) fn attach_own<S: 'static, M: Message>(
    endpoint: Endpoint,
    deliveries: Arc<dyn Deliveries>,
    event: usize,
) -> Endpoint {
    attach::<S, M>(endpoint, deliveries, event).without_subscription::<M>()
}

/// Consumer of one event of the saga `S`, which names it in errors.
struct EventConsumer<S> {
    deliveries: Arc<dyn Deliveries>,
    event: usize,
    saga: PhantomData<fn(S)>,
}

impl<S: 'static, M: Send + Sync + 'static> Consumer<M> for EventConsumer<S> {
    async fn consume(&self, ctx: ConsumeContext<M>) -> ConsumeResult {
        let ctx = ctx.erase();
        self.deliveries.handle(self.event, &ctx).await
    }

    fn unit_of_work(&self) -> Option<Arc<dyn UnitOfWork>> {
        Some(self.deliveries.unit_of_work())
    }
}
