//! The services on the in-memory harness and SQLite in memory: one at a time, and what they do with
//! what comes twice, early or not at all.

use std::error::Error;

use bus_core::{BusBuilder, ConsumeContext, Next, Policy, middleware};
use bus_inmemory::Harness;
use bus_sql::Sql;
use bus_sql::sqlx::pool::PoolConnection;
use bus_sql::sqlx::sqlite::SqlitePoolOptions;
use bus_sql::sqlx::{self, Sqlite};
use bus_tests::eventually;
use samples::account::{Account as _, Balance};
use samples::audit::{self, Journal as _};
use samples::client::{self, Shipments};
use samples::contracts::{
    CreateInvoice, INVOICE_SERVICE, InvoiceCreated, PaymentReceived, ShipmentSent,
    TemperatureReading,
};
use samples::ledger::Ledger as _;
use samples::service::{Service, of_service};
use samples::thermometer::{self, Display};
use samples::warehouse::{Stock, Warehouse as _};
use uuid::Uuid;

use crate::invoice::InvoiceService;
use crate::payment::PaymentService;
use crate::shipping::ShippingService;

#[path = "../src/bin/invoice-service.rs"]
#[expect(dead_code, reason = "here it is a module, and has no `main`")]
mod invoice;
#[path = "../src/bin/payment-service.rs"]
#[expect(dead_code, reason = "as above")]
mod payment;
#[path = "../src/bin/shipping-service.rs"]
#[expect(dead_code, reason = "as above")]
mod shipping;

type Outcome = Result<(), Box<dyn Error>>;

fn order() -> CreateInvoice {
    client::orders(1).remove(0)
}

/// A service on the harness, and its database.
struct Shop {
    harness: Harness,
    sql: Sql<Sqlite>,
}

impl Shop {
    async fn of<S: Service<Sqlite>>() -> Result<Self, Box<dyn Error>> {
        Self::with::<S>(|bus| bus).await
    }

    async fn with<S: Service<Sqlite>>(
        configure: impl FnOnce(BusBuilder) -> BusBuilder,
    ) -> Result<Self, Box<dyn Error>> {
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect("sqlite::memory:")
            .await?;
        for table in S::TABLES {
            sqlx::query(*table).execute(&pool).await?;
        }
        let sql = of_service::<S, _>(Sql::sqlite(pool));
        let harness = Harness::start(|bus| {
            let bus = client::configure(configure(bus), Shipments::default());
            S::configure(bus, sql.clone())
        });
        let harness = harness.await?;
        Ok(Self { harness, sql })
    }

    /// A connection to its database; keep it no longer than needed, as there is one.
    async fn tables(&self) -> sqlx::Result<PoolConnection<Sqlite>> {
        self.sql.pool().acquire().await
    }

    /// Waits until everything is consumed, and what was committed has left.
    async fn settled(&self) {
        self.harness.quiescent().await;
        eventually("nothing waits to leave", async || {
            let backlog = self.sql.backlog().await.expect("a database");
            backlog.waiting == 0
        })
        .await;
        self.harness.quiescent().await;
    }
}

fn invoice_of(command: &CreateInvoice) -> InvoiceCreated {
    let CreateInvoice {
        invoice_id,
        number,
        amount_cents,
        prepaid,
        ..
    } = command.clone();
    InvoiceCreated {
        invoice_id,
        number,
        amount_cents,
        prepaid,
    }
}

fn payment_of(command: &CreateInvoice) -> PaymentReceived {
    PaymentReceived {
        invoice_id: command.invoice_id,
        amount_cents: command.amount_cents,
    }
}

#[tokio::test]
async fn a_command_makes_an_invoice_and_says_so() -> Outcome {
    let shop = Shop::of::<InvoiceService>().await?;
    let command = order();
    shop.harness.bus().send(&command).await?;
    shop.settled().await;
    assert_eq!(shop.tables().await?.invoices().await?, 1);
    let created = shop.harness.published::<InvoiceCreated>().all();
    assert_eq!(created.len(), 1);
    assert_eq!(*created[0].message(), invoice_of(&command));
    assert_eq!(
        created[0].envelope().correlation_id,
        Some(command.invoice_id)
    );
    Ok(())
}

#[tokio::test]
async fn a_command_that_comes_twice_makes_one_invoice() -> Outcome {
    let shop = Shop::of::<InvoiceService>().await?;
    let command = order();
    let id = Uuid::now_v7();
    let bus = shop.harness.bus();
    bus.send(&command).message_id(id).await?;
    bus.send(&command).message_id(id).await?;
    // The same order with an id of its own is still the same order.
    bus.send(&command).await?;
    shop.settled().await;
    assert_eq!(shop.tables().await?.invoices().await?, 1);
    assert_eq!(shop.harness.published::<InvoiceCreated>().count(), 1);
    let consumed = shop.harness.consumed::<CreateInvoice>().on(INVOICE_SERVICE);
    let duplicates = consumed.all().iter().filter(|it| it.is_duplicate()).count();
    assert_eq!(duplicates, 2);
    Ok(())
}

#[tokio::test]
async fn instances_that_share_a_database_make_one_invoice_of_one_command() -> Outcome {
    let shop = Shop::of::<InvoiceService>().await?;
    let again = |bus| InvoiceService::configure(bus, shop.sql.clone());
    let second = shop.harness.start_bus(again).await?;
    let command = order();
    for _ in 0..6 {
        shop.harness.bus().send(&command).await?;
    }
    shop.settled().await;
    assert_eq!(shop.tables().await?.invoices().await?, 1);
    assert_eq!(shop.harness.published::<InvoiceCreated>().count(), 1);
    second.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn a_number_that_is_used_for_something_else_is_a_fault() -> Outcome {
    let shop = Shop::of::<InvoiceService>().await?;
    let first = order();
    let second = CreateInvoice {
        number: first.number.clone(),
        ..order()
    };
    shop.harness.bus().send(&first).await?;
    shop.settled().await;
    shop.harness.bus().send(&second).await?;
    shop.settled().await;
    assert_eq!(shop.tables().await?.invoices().await?, 1);
    assert_eq!(shop.harness.faulted::<CreateInvoice>().count(), 1);
    let set_aside = shop.harness.transport().waiting("invoice-service_error");
    assert_eq!(set_aside, Some(1));
    Ok(())
}

/// The work of the attempt is undone, and the event about it never leaves.
#[tokio::test]
async fn an_attempt_that_fails_after_its_work_leaves_nothing_behind() -> Outcome {
    let late = middleware::from_fn(|ctx: ConsumeContext, next: Next| async move {
        let is_first = ctx.attempt() == 1;
        next.run(ctx).await?;
        if is_first {
            Err("too late".into())
        } else {
            Ok(())
        }
    });
    let late = |bus: BusBuilder| bus.policy(Policy::new().around_attempt(late));
    let shop = Shop::with::<InvoiceService>(late).await?;
    shop.harness.bus().send(&order()).await?;
    shop.settled().await;
    assert_eq!(shop.tables().await?.invoices().await?, 1);
    assert_eq!(shop.harness.published::<InvoiceCreated>().count(), 1);
    let consumed = shop.harness.consumed::<CreateInvoice>().on(INVOICE_SERVICE);
    assert_eq!(consumed.all()[0].attempts(), 2);
    Ok(())
}

#[tokio::test]
async fn a_query_returns_the_document_or_says_that_there_is_none() -> Outcome {
    let shop = Shop::of::<InvoiceService>().await?;
    let (bus, command) = (shop.harness.bus(), order());
    assert_eq!(client::ask(bus, &command.number).await?, None);
    bus.send(&command).await?;
    shop.settled().await;
    let document = client::ask(bus, &command.number)
        .await?
        .ok_or("no document")?;
    assert_eq!(document.invoice_id, command.invoice_id);
    assert_eq!(document.customer, command.customer);
    assert_eq!(document.amount_cents, command.amount_cents);
    Ok(())
}

#[tokio::test]
async fn an_invoice_is_paid_once_and_a_prepaid_one_not_again() -> Outcome {
    let shop = Shop::of::<PaymentService>().await?;
    let unpaid = InvoiceCreated {
        prepaid: false,
        ..invoice_of(&order())
    };
    let prepaid = InvoiceCreated {
        prepaid: true,
        ..invoice_of(&order())
    };
    for invoice in [&unpaid, &prepaid, &unpaid] {
        shop.harness.publish(invoice).await?;
    }
    shop.settled().await;
    let balance = Balance {
        payments: 1,
        cents: unpaid.amount_cents,
    };
    assert_eq!(shop.tables().await?.balance().await?, balance);
    let payments = shop.harness.published::<PaymentReceived>().all();
    assert_eq!(payments.len(), 1);
    assert_eq!(payments[0].message().invoice_id, unpaid.invoice_id);
    Ok(())
}

#[tokio::test]
async fn goods_ship_when_invoice_and_payment_are_there_in_either_order() -> Outcome {
    let shop = Shop::of::<ShippingService>().await?;
    let (first, second) = (order(), order());

    shop.harness.publish(&invoice_of(&first)).await?;
    shop.harness.publish(&payment_of(&second)).await?;
    shop.settled().await;
    let mut stock = Stock {
        shipped: 0,
        parked: 2,
        paid_first: 1,
    };
    assert_eq!(shop.tables().await?.stock().await?, stock);
    assert!(shop.harness.published::<ShipmentSent>().none());

    shop.harness.publish(&payment_of(&first)).await?;
    shop.harness.publish(&invoice_of(&second)).await?;
    shop.settled().await;
    (stock.shipped, stock.parked) = (2, 0);
    assert_eq!(shop.tables().await?.stock().await?, stock);
    for command in [&first, &second] {
        let shipments = shop
            .harness
            .published::<ShipmentSent>()
            .matching(|sent| sent.number == command.number);
        assert_eq!(shipments.len(), 1, "{}", command.number);
    }
    Ok(())
}

#[tokio::test]
async fn prepaid_goods_ship_once_and_without_a_payment() -> Outcome {
    let shop = Shop::of::<ShippingService>().await?;
    let command = order();
    let invoice = InvoiceCreated {
        prepaid: true,
        ..invoice_of(&command)
    };
    shop.harness.publish(&invoice).await?;
    shop.settled().await;
    assert_eq!(shop.tables().await?.stock().await?.shipped, 1);
    // Paid a second time, it does not ship a second time.
    shop.harness.publish(&payment_of(&command)).await?;
    shop.settled().await;
    assert_eq!(shop.harness.published::<ShipmentSent>().count(), 1);
    Ok(())
}

#[tokio::test]
async fn goods_ship_once_however_often_the_halves_come() -> Outcome {
    let shop = Shop::of::<ShippingService>().await?;
    let command = order();
    for _ in 0..3 {
        shop.harness.publish(&invoice_of(&command)).await?;
        shop.harness.publish(&payment_of(&command)).await?;
    }
    shop.settled().await;
    assert_eq!(shop.tables().await?.stock().await?.shipped, 1);
    assert_eq!(shop.harness.published::<ShipmentSent>().count(), 1);
    Ok(())
}

#[tokio::test]
async fn the_audit_overhears_every_command_and_every_copy() -> Outcome {
    let shop = Shop::of::<InvoiceService>().await?;
    let command = order();
    let id = Uuid::now_v7();
    let bus = shop.harness.bus();
    bus.send(&command).message_id(id).await?;
    bus.send(&command).message_id(id).await?;
    bus.send(&order()).await?;
    shop.settled().await;
    let copies = shop.harness.consumed::<CreateInvoice>().on(audit::QUEUE);
    assert_eq!(copies.count(), 3);
    assert_eq!(shop.tables().await?.overheard().await?, 2);
    assert_eq!(shop.tables().await?.invoices().await?, 2);
    Ok(())
}

#[tokio::test]
async fn a_service_that_was_down_finds_its_messages() -> Outcome {
    let shop = Shop::of::<ShippingService>().await?;
    let harness = &shop.harness;
    let endpoint = harness
        .bus()
        .endpoint(shipping::QUEUE)
        .ok_or("no endpoint")?;
    endpoint.pause().await;
    let command = order();
    harness.publish(&invoice_of(&command)).await?;
    harness.publish(&payment_of(&command)).await?;
    assert_eq!(harness.transport().waiting(shipping::QUEUE), Some(2));
    assert_eq!(shop.tables().await?.stock().await?.shipped, 0);
    endpoint.resume().await?;
    shop.settled().await;
    assert_eq!(shop.tables().await?.stock().await?.shipped, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn readings_are_shown_and_never_again() -> Outcome {
    let display = Display::default();
    let harness =
        Harness::start(|bus| bus.endpoint(thermometer::endpoint(display.clone()))).await?;
    for reading in 0..5 {
        harness
            .publish(&TemperatureReading {
                reading,
                celsius: 4.5,
            })
            .await?;
    }
    harness.quiescent().await;
    assert_eq!((display.shown(), display.repeated()), (5, 0));
    Ok(())
}
