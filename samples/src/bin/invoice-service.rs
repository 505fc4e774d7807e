//! `cargo run -p samples --bin invoice-service -- --amqp amqp://localhost`
//!
//! Makes invoices of commands, answers queries about them, and audits the commands. An invoice and
//! the event that it was made are one commit: whenever the process dies, there are both or none.
//! Start it twice: the two share the work.

use std::process::ExitCode;

use bus_core::{BusBuilder, ConsumeContext, ConsumeResult, Endpoint};
use bus_sql::sqlx::Pool;
use bus_sql::{Backend, Sql, Tx};
use samples::audit::{self, Journal};
use samples::contracts::{
    CreateInvoice, GetInvoice, INVOICE_QUERIES, INVOICE_SERVICE, InvoiceCreated, InvoiceUnknown,
};
use samples::database::consume_error;
use samples::ledger::{self, Ledger};
use samples::retry;
use samples::service::{self, Service};

#[tokio::main]
async fn main() -> ExitCode {
    service::run::<InvoiceService>().await
}

pub(crate) struct InvoiceService;

impl<DB: Backend<Connection: Ledger + Journal>> Service<DB> for InvoiceService {
    const NAME: &'static str = INVOICE_SERVICE;
    const TABLES: &'static [&'static str] = &[ledger::TABLE, audit::TABLE];

    fn configure(bus: BusBuilder, sql: Sql<DB>) -> BusBuilder {
        // A number makes one invoice, however often and with whichever ids its command comes. The
        // same number with other content is a mistake of the sender and ends in the error queue.
        let sql = sql.by(|command: &CreateInvoice| command.number.clone());
        let commands = Endpoint::new(INVOICE_SERVICE).consumer(sql.consumer(create_invoice::<DB>));
        // A queue of its own: a query never waits behind commands.
        let queries =
            Endpoint::new(INVOICE_QUERIES).consumer_with(sql.pool().clone(), get_invoice::<DB>);
        bus.background(sql.relay())
            .endpoint(commands.retry(retry()))
            .endpoint(queries.retry(retry()))
            .endpoint(audit::endpoint(sql.pool().clone()))
    }
}

async fn create_invoice<DB: Backend<Connection: Ledger>>(
    ctx: ConsumeContext<CreateInvoice>,
    tx: &mut Tx<DB>,
) -> ConsumeResult {
    let command = ctx.message();
    tx.conn().enter(&command.into()).await?;
    ctx.publish(&InvoiceCreated::from(command)).await?; // a row of the same commit
    Ok(())
}

async fn get_invoice<DB: Backend<Connection: Ledger>>(
    pool: Pool<DB>,
    ctx: ConsumeContext<GetInvoice>,
) -> ConsumeResult {
    let number = ctx.message().number.clone();
    let mut ledger = pool.acquire().await.map_err(consume_error)?;
    match ledger.find(&number).await.map_err(consume_error)? {
        Some(document) => ctx.respond(&document).await?,
        None => ctx.respond(&InvoiceUnknown { number }).await?,
    }
    Ok(())
}
