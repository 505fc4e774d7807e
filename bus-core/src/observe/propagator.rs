//! The trace that travels with messages, and who writes it.

use std::fmt;

use tracing::Span;

use crate::error::panics::caught;
use crate::message::{Headers, TraceContext};

/// Carries the context of a trace over from message to message.
///
/// The bus itself knows trace ids and no exporter: [`TraceHeaders`], the default, continues the ids
/// that came. A bridge to a tracing system replaces it: it takes the parent of the span in which a
/// message is consumed from the headers, and writes the context of the span in which a message is
/// sent.
///
/// ```
/// use bus_core::Headers;
/// use bus_core::message::TraceContext;
/// use bus_core::observe::Propagator;
/// use tracing::Span;
///
/// #[derive(Debug)]
/// struct Bridge;
///
/// impl Propagator for Bridge {
///     fn extract(&self, headers: &Headers, span: &Span) -> Option<TraceContext> {
///         // With tracing-opentelemetry: span.set_parent(…), then the context of `span`.
///         let _ = span;
///         TraceContext::from_headers(headers)
///     }
///
///     fn inject(&self, cause: Option<&TraceContext>, headers: &mut Headers) {
///         // With tracing-opentelemetry: the context of `Span::current()`, where it has one.
///         cause.map_or_else(TraceContext::root, TraceContext::child).write(headers);
///     }
/// }
/// // Bus::builder(transport).propagator(Bridge)
/// ```
pub trait Propagator: Send + Sync + fmt::Debug + 'static {
    /// Reads the context that came with a message; `None` if there is none.
    ///
    /// `span` is the one in which the message will be consumed, disabled where no subscriber wants
    /// it. What is returned is the step of the trace that the consumer is, as
    /// [`ConsumeContext::trace`](crate::ConsumeContext::trace) returns it; without one, the bus
    /// starts a trace.
    fn extract(&self, headers: &Headers, span: &Span) -> Option<TraceContext>;

    /// Writes the context of a message into its headers.
    ///
    /// Called when the message is published or sent, in the span of its sender. `cause` is the
    /// step of the trace in which the sender consumes a message; `None` outside of a consumer.
    fn inject(&self, cause: Option<&TraceContext>, headers: &mut Headers);
}

/// The default propagator: continues the ids in `MT-Activity-Id` and `traceparent`.
///
/// Each message is a step of its own, with a new span id.
///
/// ```
/// use bus_core::Headers;
/// use bus_core::observe::{Propagator, TraceHeaders};
///
/// let mut headers = Headers::new();
/// TraceHeaders::new().sampled().inject(None, &mut headers); // as for a message outside of a consumer
/// assert!(headers.text("traceparent").is_some_and(|trace| trace.ends_with("-01"))); // recorded
/// // Bus::builder(transport).propagator(TraceHeaders::new().sampled())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "give it to BusBuilder::propagator"]
pub struct TraceHeaders {
    sampled: bool,
}

impl TraceHeaders {
    /// Creates a propagator whose new traces are not marked as recorded.
    pub fn new() -> Self {
        Self::default()
    }

    /// Marks traces that begin here as recorded.
    ///
    /// Systems that follow the mark, as those of .NET do by default, then record what such a trace
    /// leads to. A mark that came with a message is kept in any case.
    pub fn sampled(mut self) -> Self {
        self.sampled = true;
        self
    }

    fn start(self) -> TraceContext {
        let root = TraceContext::root();
        if self.sampled { root.sampled() } else { root }
    }
}

impl Propagator for TraceHeaders {
    fn extract(&self, headers: &Headers, _: &Span) -> Option<TraceContext> {
        let received = TraceContext::from_headers(headers);
        Some(received.map_or_else(|| self.start(), |received| received.child()))
    }

    fn inject(&self, cause: Option<&TraceContext>, headers: &mut Headers) {
        let sent = cause.map_or_else(|| self.start(), TraceContext::child);
        sent.write(headers);
    }
}

/// Reads the context of a message; a panic of the propagator starts a new trace.
pub(crate) fn extract(propagator: &dyn Propagator, headers: &Headers, span: &Span) -> TraceContext {
    caught(|| propagator.extract(headers, span))
        .unwrap_or_else(|panic| {
            complain(&panic);
            None
        })
        .unwrap_or_else(TraceContext::root)
}

/// Writes the context of a message; after a panic of the propagator it has none.
pub(crate) fn inject(
    propagator: &dyn Propagator,
    cause: Option<&TraceContext>,
    headers: &mut Headers,
) {
    caught(|| propagator.inject(cause, headers)).unwrap_or_else(|panic| complain(&panic));
}

/// Logs a panic, as a lost trace is no reason to lose a message.
fn complain(panic: &str) {
    tracing::error!(panic, "a propagator panicked; the message is not affected");
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: u8 = 1;

    #[test]
    fn a_new_trace_is_marked_as_recorded_only_if_asked() {
        for (propagator, flags) in [
            (TraceHeaders::new(), 0),
            (TraceHeaders::new().sampled(), SAMPLED),
        ] {
            let mut headers = Headers::new();
            let started = propagator.extract(&headers, &Span::none()).unwrap();
            propagator.inject(None, &mut headers);
            let written = TraceContext::from_headers(&headers).unwrap();
            assert_eq!((started.flags, written.flags), (flags, flags));
        }
    }

    #[test]
    fn a_trace_goes_on_with_its_mark() {
        let first = TraceContext::root().sampled();
        let (mut headers, mut onward) = (Headers::new(), Headers::new());
        first.write(&mut headers);
        let propagator = TraceHeaders::new();
        let consumed = propagator.extract(&headers, &Span::none()).unwrap();
        propagator.inject(Some(&consumed), &mut onward);
        let sent = TraceContext::from_headers(&onward).unwrap();
        for step in [consumed, sent] {
            assert_eq!((step.trace_id, step.flags), (first.trace_id, SAMPLED));
        }
        assert!(sent.span_id != consumed.span_id && consumed.span_id != first.span_id);
    }

    #[test]
    fn a_propagator_that_panics_costs_the_trace_only() {
        #[derive(Debug)]
        struct Clumsy;
        impl Propagator for Clumsy {
            fn extract(&self, _: &Headers, _: &Span) -> Option<TraceContext> {
                panic!("clumsy");
            }
            fn inject(&self, _: Option<&TraceContext>, _: &mut Headers) {
                panic!("clumsy");
            }
        }
        let mut headers = Headers::new();
        let started = extract(&Clumsy, &headers, &Span::none());
        inject(&Clumsy, Some(&started), &mut headers);
        assert!(headers.is_empty());
    }
}
