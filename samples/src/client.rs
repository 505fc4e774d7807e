//! Who wants invoices: sends the commands, subscribes to what comes of them, and asks.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bus_core::idempotency::MemoryIdempotencyStore;
use bus_core::request::OneOf2;
use bus_core::{
    Bus, BusBuilder, ConsumeContext, ConsumeResult, Consumer, Endpoint, RequestError, SendError,
};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::watch;
use uuid::Uuid;

use crate::contracts::{
    CreateInvoice, GetInvoice, INVOICE_QUERIES, INVOICE_SERVICE, InvoiceDocument, InvoiceUnknown,
    ShipmentSent,
};

/// How many commands or queries are under way at once.
const AT_ONCE: usize = 64;

/// Makes a client of a bus: it knows where commands and queries go, and hears of every shipment.
pub fn configure(bus: BusBuilder, shipments: Shipments) -> BusBuilder {
    bus.route::<CreateInvoice>(format!("queue:{INVOICE_SERVICE}").as_str())
        .route::<GetInvoice>(format!("queue:{INVOICE_QUERIES}").as_str())
        // Every client gets every event, so each has a queue of its own. It lives as long as the
        // client, and so does what is known of the messages: a relay that died may send one again,
        // with the same id.
        .endpoint(
            Endpoint::per_instance("client")
                .idempotency(MemoryIdempotencyStore::new())
                .consumer(shipments),
        )
}

/// Commands for this many invoices, every third of them prepaid. No two calls give the same
/// numbers.
pub fn orders(count: usize) -> Vec<CreateInvoice> {
    let series = Uuid::new_v4().simple().to_string().split_off(24);
    let order = |index: usize| CreateInvoice {
        invoice_id: Uuid::now_v7(),
        number: format!("{series}-{:05}", index + 1),
        customer: format!("customer {}", index % 17 + 1),
        amount_cents: 995 + 100 * (index as u64 % 41),
        prepaid: index % 3 == 2,
    };
    (0..count).map(order).collect()
}

/// Sends each command, and those that `twice` says a second time, with the same message id, as a
/// sender does that does not know whether the first one arrived. Yields for each command how many
/// copies went beyond the first.
pub fn send_all<'a>(
    bus: &'a Bus,
    commands: &'a [CreateInvoice],
    twice: impl Fn() -> bool + 'a,
) -> impl Stream<Item = Result<usize, SendError>> + 'a {
    let sending = move |command: &'a CreateInvoice| {
        let twice = twice();
        async move {
            let id = Uuid::now_v7();
            bus.send(command).message_id(id).await?;
            if twice {
                bus.send(command).message_id(id).await?;
            }
            Ok(usize::from(twice))
        }
    };
    stream::iter(commands)
        .map(sending)
        .buffer_unordered(AT_ONCE)
}

/// Asks for each invoice. Yields whether the document says what the command said.
pub fn ask_all<'a>(
    bus: &'a Bus,
    commands: &'a [CreateInvoice],
) -> impl Stream<Item = Result<bool, RequestError>> + 'a {
    let asking = move |command: &'a CreateInvoice| async move {
        let document = ask(bus, &command.number).await?;
        Ok(document.is_some_and(|document| is_of(&document, command)))
    };
    stream::iter(commands).map(asking).buffer_unordered(AT_ONCE)
}

/// The document of an invoice; none if nobody knows its number.
pub async fn ask(bus: &Bus, number: &str) -> Result<Option<InvoiceDocument>, RequestError> {
    let query = GetInvoice {
        number: number.to_owned(),
    };
    let answer: OneOf2<InvoiceDocument, InvoiceUnknown> = bus.request(&query).await?;
    Ok(match answer {
        OneOf2::First(document) => Some(document),
        OneOf2::Second(InvoiceUnknown { .. }) => None,
    })
}

fn is_of(document: &InvoiceDocument, command: &CreateInvoice) -> bool {
    let InvoiceDocument {
        invoice_id,
        number,
        customer,
        amount_cents,
    } = document;
    *invoice_id == command.invoice_id
        && *number == command.number
        && *customer == command.customer
        && *amount_cents == command.amount_cents
}

/// The shipments that a client awaits, and those it has heard of. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Shipments(Arc<watch::Sender<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    awaited: HashSet<Uuid>,
    sent: HashSet<Uuid>,
    repeated: usize,
}

impl Shipments {
    /// Awaits the shipments of these commands too. Call it before they are sent, or shipments are
    /// missed.
    pub fn expect(&self, commands: &[CreateInvoice]) {
        let ids = commands.iter().map(|command| command.invoice_id);
        self.0.send_modify(|heard| heard.awaited.extend(ids));
    }

    /// How many awaited shipments were sent.
    pub fn count(&self) -> usize {
        self.0.borrow().sent.len()
    }

    /// How often one was announced that had been announced before.
    pub fn repeated(&self) -> usize {
        self.0.borrow().repeated
    }

    /// Whether the goods of an invoice are on their way.
    pub fn includes(&self, invoice_id: Uuid) -> bool {
        self.0.borrow().sent.contains(&invoice_id)
    }

    /// Waits until all are sent, or none has been for as long as `patience`. Says how many are
    /// still awaited; calls `progress` with how many are sent.
    pub async fn wait(&self, patience: Duration, mut progress: impl FnMut(usize)) -> usize {
        let mut news = self.0.subscribe();
        loop {
            let (awaited, sent) = {
                let heard = news.borrow_and_update();
                (heard.awaited.len(), heard.sent.len())
            };
            progress(sent);
            let changed = async { news.changed().await };
            if awaited == 0 || !matches!(tokio::time::timeout(patience, changed).await, Ok(Ok(())))
            {
                return awaited;
            }
        }
    }
}

impl Consumer<ShipmentSent> for Shipments {
    async fn consume(&self, ctx: ConsumeContext<ShipmentSent>) -> ConsumeResult {
        let id = ctx.message().invoice_id;
        self.0.send_if_modified(|heard| {
            // The shipments of other clients are of no interest here.
            if heard.awaited.remove(&id) {
                return heard.sent.insert(id);
            }
            heard.repeated += usize::from(heard.sent.contains(&id));
            false
        });
        Ok(())
    }
}
