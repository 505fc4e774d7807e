//! A propagator of the user's own reads and writes the trace that travels.

use bus_core::message::TraceContext;
use bus_core::observe::Propagator;
use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, Headers, Message};
use bus_inmemory::InMemory;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tracing::Span;

#[derive(Serialize, Deserialize, Message)]
#[message("Tests.Propagated:Cause")]
struct Cause {}

#[derive(Serialize, Deserialize, Message)]
#[message("Tests.Propagated:Effect")]
struct Effect {}

/// Writes whether there is a cause, and reads one and the same trace.
#[derive(Debug)]
struct Bridge(TraceContext);

impl Propagator for Bridge {
    fn extract(&self, headers: &Headers, _: &Span) -> Option<TraceContext> {
        headers.text("Trace").map(|_| self.0)
    }

    fn inject(&self, cause: Option<&TraceContext>, headers: &mut Headers) {
        let cause = cause.map_or_else(|| "none".to_owned(), ToString::to_string);
        headers.insert("Trace", cause);
    }
}

/// The trace header, the trace of the consumer, and the header of the default propagator.
type Traced = (Option<String>, TraceContext, Option<String>);

fn traced<M>(ctx: &ConsumeContext<M>) -> Traced {
    let text = |name| ctx.headers().text(name).map(str::to_owned);
    (text("Trace"), *ctx.trace(), text("traceparent"))
}

#[tokio::test]
async fn it_replaces_the_default_one() {
    let trace = TraceContext::root();
    let (record, mut traces) = unbounded_channel();
    let cause = {
        let record: UnboundedSender<Traced> = record.clone();
        move |ctx: ConsumeContext<Cause>| {
            let record = record.clone();
            async move {
                record.send(traced(&ctx))?;
                ctx.publish(&Effect {}).await?;
                ConsumeResult::Ok(())
            }
        }
    };
    let effect = move |ctx: ConsumeContext<Effect>| {
        let sent = record.send(traced(&ctx));
        async move { ConsumeResult::Ok(sent?) }
    };
    let bus = Bus::builder(InMemory::new())
        .propagator(Bridge(trace))
        .endpoint(Endpoint::new("cause").consumer::<Cause, _>(cause))
        .endpoint(Endpoint::new("effect").consumer::<Effect, _>(effect));
    let bus = bus.start().await.unwrap();
    bus.publish(&Cause {}).await.unwrap();
    for header in ["none".to_owned(), trace.to_string()] {
        assert_eq!(traces.recv().await, Some((Some(header), trace, None)));
    }
    bus.shutdown().await.unwrap();
}
