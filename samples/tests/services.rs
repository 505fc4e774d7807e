//! The services on the in-memory harness: one at a time, and what they do with what comes twice, early or not at all.

use std::error::Error;

use bus_core::BusBuilder;
use bus_inmemory::Harness;
use samples::account::Account;
use samples::audit::{self, Journal};
use samples::client::{self, Shipments};
use samples::contracts::{
    CreateInvoice, InvoiceCreated, PaymentReceived, ShipmentSent, TemperatureReading,
};
use samples::ledger::Ledger;
use samples::thermometer::{self, Display};
use samples::warehouse::Warehouse;
use uuid::Uuid;

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

fn invoicing(ledger: &Ledger) -> impl FnOnce(BusBuilder) -> BusBuilder {
    let ledger = ledger.clone();
    move |bus| {
        client::configure(bus, Shipments::default())
            .endpoint(invoice::commands(ledger.clone()))
            .endpoint(invoice::queries(ledger))
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

#[tokio::test(start_paused = true)]
async fn a_command_makes_an_invoice_and_says_so() -> Outcome {
    let ledger = Ledger::default();
    let harness = Harness::start(invoicing(&ledger)).await?;
    let command = order();
    harness.bus().send(&command).await?;
    harness.quiescent().await;
    assert_eq!(ledger.count(), 1);
    let created = harness.published::<InvoiceCreated>().all();
    assert_eq!(created.len(), 1);
    assert_eq!(*created[0].message(), invoice_of(&command));
    assert_eq!(
        created[0].envelope().correlation_id,
        Some(command.invoice_id)
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_command_that_comes_twice_makes_one_invoice() -> Outcome {
    let ledger = Ledger::default();
    let harness = Harness::start(invoicing(&ledger)).await?;
    let command = order();
    let id = Uuid::now_v7();
    harness.bus().send(&command).message_id(id).await?;
    harness.bus().send(&command).message_id(id).await?;
    // The same order with an id of its own is still the same order.
    harness.bus().send(&command).await?;
    harness.quiescent().await;
    assert_eq!(ledger.count(), 1);
    assert_eq!(harness.published::<InvoiceCreated>().count(), 1);
    let consumed = harness.consumed::<CreateInvoice>().all();
    assert_eq!(
        consumed
            .iter()
            .filter(|record| record.is_duplicate())
            .count(),
        2
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn instances_that_share_a_ledger_make_one_invoice_of_one_command() -> Outcome {
    let ledger = Ledger::default();
    let harness = Harness::start(invoicing(&ledger)).await?;
    let second = harness.start_bus(invoicing(&ledger)).await?;
    let command = order();
    for _ in 0..6 {
        harness.bus().send(&command).await?;
    }
    harness.quiescent().await;
    assert_eq!(ledger.count(), 1);
    assert_eq!(harness.published::<InvoiceCreated>().count(), 1);
    second.shutdown().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_number_that_is_used_for_something_else_is_a_fault() -> Outcome {
    let ledger = Ledger::default();
    let harness = Harness::start(invoicing(&ledger)).await?;
    let first = order();
    let second = CreateInvoice {
        number: first.number.clone(),
        ..order()
    };
    harness.bus().send(&first).await?;
    harness.quiescent().await;
    harness.bus().send(&second).await?;
    harness.quiescent().await;
    assert_eq!(ledger.count(), 1);
    assert_eq!(harness.faulted::<CreateInvoice>().count(), 1);
    assert_eq!(
        harness.transport().waiting("invoice-service_error"),
        Some(1)
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_query_returns_the_document_or_says_that_there_is_none() -> Outcome {
    let harness = Harness::start(invoicing(&Ledger::default())).await?;
    let command = order();
    assert_eq!(client::ask(harness.bus(), &command.number).await?, None);
    harness.bus().send(&command).await?;
    harness.quiescent().await;
    let document = client::ask(harness.bus(), &command.number)
        .await?
        .ok_or("no document")?;
    assert_eq!(document.invoice_id, command.invoice_id);
    assert_eq!(document.customer, command.customer);
    assert_eq!(document.amount_cents, command.amount_cents);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_invoice_is_paid_once_and_a_prepaid_one_not_again() -> Outcome {
    let account = Account::default();
    let harness = Harness::start(|bus| bus.endpoint(payment::endpoint(account.clone()))).await?;
    let unpaid = InvoiceCreated {
        prepaid: false,
        ..invoice_of(&order())
    };
    let prepaid = InvoiceCreated {
        prepaid: true,
        ..invoice_of(&order())
    };
    for invoice in [&unpaid, &prepaid, &unpaid] {
        harness.publish(invoice).await?;
    }
    harness.quiescent().await;
    assert_eq!(account.count(), 1);
    assert_eq!(account.total_cents(), unpaid.amount_cents);
    let payments = harness.published::<PaymentReceived>().all();
    assert_eq!(payments.len(), 1);
    assert_eq!(payments[0].message().invoice_id, unpaid.invoice_id);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn goods_ship_when_invoice_and_payment_are_there_in_either_order() -> Outcome {
    let warehouse = Warehouse::default();
    let harness = Harness::start(|bus| bus.endpoint(shipping::endpoint(warehouse.clone()))).await?;
    let (first, second) = (order(), order());

    harness.publish(&invoice_of(&first)).await?;
    harness.publish(&payment_of(&second)).await?;
    harness.quiescent().await;
    assert_eq!((warehouse.shipped(), warehouse.parked()), (0, 2));
    assert!(harness.published::<ShipmentSent>().none());

    harness.publish(&payment_of(&first)).await?;
    harness.publish(&invoice_of(&second)).await?;
    harness.quiescent().await;
    assert_eq!((warehouse.shipped(), warehouse.parked()), (2, 0));
    assert_eq!(warehouse.paid_first(), 1);
    for command in [&first, &second] {
        let shipments = harness
            .published::<ShipmentSent>()
            .matching(|sent| sent.number == command.number);
        assert_eq!(shipments.len(), 1, "{}", command.number);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn prepaid_goods_ship_without_a_payment() -> Outcome {
    let warehouse = Warehouse::default();
    let harness = Harness::start(|bus| bus.endpoint(shipping::endpoint(warehouse.clone()))).await?;
    let invoice = InvoiceCreated {
        prepaid: true,
        ..invoice_of(&order())
    };
    harness.publish(&invoice).await?;
    harness.quiescent().await;
    assert_eq!(warehouse.shipped(), 1);
    assert_eq!(harness.published::<ShipmentSent>().count(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn goods_ship_once_however_often_the_halves_come() -> Outcome {
    let warehouse = Warehouse::default();
    let harness = Harness::start(|bus| bus.endpoint(shipping::endpoint(warehouse.clone()))).await?;
    let command = order();
    for _ in 0..3 {
        harness.publish(&invoice_of(&command)).await?;
        harness.publish(&payment_of(&command)).await?;
    }
    harness.quiescent().await;
    assert_eq!(warehouse.shipped(), 1);
    assert_eq!(harness.published::<ShipmentSent>().count(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_audit_overhears_every_command_and_every_copy() -> Outcome {
    let (ledger, journal) = (Ledger::default(), Journal::default());
    let harness =
        Harness::start(|bus| invoicing(&ledger)(bus).endpoint(audit::endpoint(journal.clone())))
            .await?;
    let command = order();
    let id = Uuid::now_v7();
    harness.bus().send(&command).message_id(id).await?;
    harness.bus().send(&command).message_id(id).await?;
    harness.bus().send(&order()).await?;
    harness.quiescent().await;
    assert_eq!(
        harness.consumed::<CreateInvoice>().on(audit::QUEUE).count(),
        3
    );
    assert_eq!(journal.count(), 2);
    assert_eq!(ledger.count(), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_down_finds_its_messages() -> Outcome {
    let warehouse = Warehouse::default();
    let harness = Harness::start(|bus| bus.endpoint(shipping::endpoint(warehouse.clone()))).await?;
    let endpoint = harness
        .bus()
        .endpoint(shipping::QUEUE)
        .ok_or("no endpoint")?;
    endpoint.pause().await;
    let command = order();
    harness.publish(&invoice_of(&command)).await?;
    harness.publish(&payment_of(&command)).await?;
    assert_eq!(harness.transport().waiting(shipping::QUEUE), Some(2));
    assert_eq!(warehouse.shipped(), 0);
    endpoint.resume().await?;
    harness.quiescent().await;
    assert_eq!(warehouse.shipped(), 1);
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
