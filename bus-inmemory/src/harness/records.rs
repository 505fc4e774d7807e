//! Records of all messages of a type: counted, looked through, waited for.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bus_core::Message;
use bus_core::message::Contract;

use super::in_flight::InFlight;
use super::journal::{Event, Happening};
use super::record::Record;
use super::watch::Watch;

/// Events of messages of type `M`, up to now and from now on.
///
/// A message counts as an `M` by the types that it travels with: also if `M` is a base contract or
/// an alias of its type.
///
/// ```
/// # use bus_core::Message;
/// # use bus_inmemory::Harness;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Invoicing:InvoiceCreated")]
/// # struct InvoiceCreated { number: String }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let harness = Harness::start(|bus| bus).await?;
/// harness.publish(&InvoiceCreated { number: "A-7".into() }).await?;
///
/// let published = harness.published::<InvoiceCreated>();
/// assert_eq!(published.count(), 1);
/// assert!(published.any(|invoice| invoice.number == "A-7"));
///
/// let missing = published.wait_for(|invoice| invoice.number == "B-1").await;
/// assert!(missing.unwrap_err().to_string().contains(r#"{"number":"A-7"}"#));
/// # Ok(()) }
/// ```
pub struct Records<M> {
    watch: Watch,
    happening: Happening,
    endpoint: Option<String>,
    distinct: bool,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Records<M> {
    pub(super) fn new(watch: Watch, happening: Happening) -> Self {
        Self {
            watch,
            happening,
            endpoint: None,
            distinct: false,
            message: PhantomData,
        }
    }

    /// Restricts the records to the events on this endpoint.
    ///
    /// Events of sending belong to no endpoint, so none of them is left.
    #[must_use]
    pub fn on(&self, endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: Some(endpoint.into()),
            ..self.clone()
        }
    }

    /// Restricts the records to the first one of each message, by its id.
    ///
    /// A message that several endpoints handle counts once for each. One without an id is never
    /// taken for another.
    ///
    /// ```
    /// # use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
    /// # use bus_inmemory::Harness;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize, Message)]
    /// # #[message("Invoicing:InvoiceCreated")]
    /// # struct InvoiceCreated { number: String }
    /// # async fn pay(_: ConsumeContext<InvoiceCreated>) -> ConsumeResult { Ok(()) }
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let payments = Endpoint::new("payments").consumer(pay);
    /// let harness = Harness::start(|bus| bus.endpoint(payments)).await?.deliver_twice();
    /// harness.publish(&InvoiceCreated { number: "A-7".into() }).await?;
    /// harness.quiescent().await;
    ///
    /// let consumed = harness.consumed::<InvoiceCreated>();
    /// assert_eq!((consumed.count(), consumed.distinct().count()), (2, 1));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn distinct(&self) -> Self {
        Self {
            distinct: true,
            ..self.clone()
        }
    }

    /// Number of events so far, including those of unreadable messages.
    pub fn count(&self) -> usize {
        self.of(&self.watch.journal.events()).count()
    }

    /// Returns `true` if there is no event so far.
    pub fn none(&self) -> bool {
        self.count() == 0
    }

    /// Returns `true` if the message of an event so far fulfils `predicate`.
    ///
    /// Unreadable messages fulfil none.
    pub fn any(&self, predicate: impl Fn(&M) -> bool) -> bool {
        !self.matching(predicate).is_empty()
    }

    /// Returns all records so far, in order.
    pub fn all(&self) -> Vec<Record<M>> {
        self.of(&self.watch.journal.events())
            .map(Record::new)
            .collect()
    }

    /// Returns the message of the only record.
    ///
    /// ```
    /// # use bus_core::Message;
    /// # use bus_inmemory::Harness;
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Debug, PartialEq, Serialize, Deserialize, Message)]
    /// #[message("Invoicing:InvoiceCreated")]
    /// struct InvoiceCreated { number: String }
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let harness = Harness::start(|bus| bus).await?;
    /// harness.publish(&InvoiceCreated { number: "A-7".into() }).await?;
    /// let published = harness.published::<InvoiceCreated>();
    /// assert_eq!(published.only(), InvoiceCreated { number: "A-7".into() });
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    /// If there was none or more than one, naming what happened, or if it cannot be read.
    #[track_caller]
    pub fn only(&self) -> M {
        let records = self.all();
        match <[Record<M>; 1]>::try_from(records) {
            Ok([record]) => record.into_message(),
            Err(records) => panic!(
                "exactly one was expected, not {}: {records:?}",
                records.len()
            ),
        }
    }

    /// Returns the records so far whose message fulfils `predicate`, in order.
    ///
    /// Unreadable messages fulfil none.
    pub fn matching(&self, predicate: impl Fn(&M) -> bool) -> Vec<Record<M>> {
        let mut records = self.all();
        records.retain(|record| record.try_message().is_ok_and(&predicate));
        records
    }

    /// Waits for the first record, which may exist already.
    ///
    /// The future can be spawned or kept.
    ///
    /// # Errors
    /// [`NotSeen`] after the harness's timeout.
    pub fn wait(&self) -> impl Future<Output = Result<Record<M>, NotSeen>> + use<M> {
        let records = self.clone();
        async move { records.find(|_| true).await }
    }

    /// Waits for the first record whose message fulfils `predicate`.
    ///
    /// It may exist already. The future can be spawned or kept.
    ///
    /// # Errors
    /// [`NotSeen`] after the harness's timeout.
    pub fn wait_for<P: Fn(&M) -> bool>(
        &self,
        predicate: P,
    ) -> impl Future<Output = Result<Record<M>, NotSeen>> + use<M, P> {
        let records = self.clone();
        async move {
            let fulfils = |record: &Record<M>| record.try_message().is_ok_and(&predicate);
            records.find(fulfils).await
        }
    }

    async fn find(&self, wanted: impl Fn(&Record<M>) -> bool) -> Result<Record<M>, NotSeen> {
        let search = async {
            let mut seen = 0;
            loop {
                // Created before looking: an event that is recorded in between is not missed.
                let news = self.watch.journal.news().notified();
                let events = self.watch.journal.events();
                let new = events.get(seen..).unwrap_or_default();
                if let Some(found) = self.of(new).map(Record::new).find(&wanted) {
                    return found;
                }
                seen = events.len();
                news.await;
            }
        };
        let found = tokio::time::timeout(self.watch.timeout, search).await;
        found.map_err(|_| NotSeen {
            wanted: self.happening.verb(),
            message_type: Contract::of::<M>().message_type.qualified(),
            after: self.watch.timeout,
            events: self.watch.journal.events(),
            in_flight: self.watch.in_flight(),
        })
    }

    fn of<'a>(&'a self, events: &'a [Arc<Event>]) -> impl Iterator<Item = Arc<Event>> + 'a {
        let urns = &Contract::of::<M>().accepted_urns;
        let mut seen = HashSet::new();
        let events = events.iter().filter(move |event| {
            event.happening == self.happening
                && (self.endpoint.is_none() || self.endpoint == event.endpoint)
                && urns.iter().any(|urn| event.envelope.is_of_type(urn))
                && (!self.distinct
                    || event
                        .envelope
                        .message_id
                        .is_none_or(|id| seen.insert((id, event.endpoint.as_deref()))))
        });
        events.cloned()
    }
}

impl<M> Clone for Records<M> {
    fn clone(&self) -> Self {
        Self {
            watch: self.watch.clone(),
            happening: self.happening,
            endpoint: self.endpoint.clone(),
            distinct: self.distinct,
            message: PhantomData,
        }
    }
}

impl<M: Message> fmt::Debug for Records<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all()).finish()
    }
}

/// Error for an awaited event that did not happen within the harness's timeout.
///
/// Its text lists the events that did happen, and a test that returns the error prints the list.
///
/// ```
/// # use bus_core::Message;
/// # use bus_inmemory::Harness;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Invoicing:InvoiceCreated")]
/// # struct InvoiceCreated { number: String }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let harness = Harness::start(|bus| bus).await?;
/// let missing = harness.published::<InvoiceCreated>().wait().await.unwrap_err();
/// assert_eq!(
///     missing.to_string(),
///     "no Invoicing:InvoiceCreated that matches was published within 30s; nothing happened at all"
/// );
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct NotSeen {
    wanted: &'static str,
    message_type: String,
    after: Duration,
    events: Vec<Arc<Event>>,
    in_flight: Vec<InFlight>,
}

impl fmt::Display for NotSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            wanted,
            message_type,
            after,
            ..
        } = self;
        write!(
            f,
            "no {message_type} that matches was {wanted} within {after:?}; "
        )?;
        if self.events.is_empty() {
            f.write_str("nothing happened at all")?;
        } else {
            f.write_str("this happened:")?;
        }
        for event in &self.events {
            write!(f, "\n  - {event}")?;
        }
        if !self.in_flight.is_empty() {
            f.write_str("\nand this is in flight:")?;
        }
        for one in &self.in_flight {
            write!(f, "\n  - {one}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for NotSeen {
    /// Formats as [`Display`](fmt::Display) does.
    ///
    /// A test that fails with `?` prints errors in this form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for NotSeen {}
