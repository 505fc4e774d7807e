//! Consumers that work in the transaction of their delivery.

use std::future::Future;

use bus_core::{ConsumeContext, ConsumeResult};

use crate::backend::Backend;
use crate::tx::Tx;

/// Consumes messages of type `M` in a transaction of the database `DB`.
///
/// Its statements in the transaction, and the messages that it publishes, sends or schedules
/// through its context, are committed together, or not at all. A message that was handled before is
/// not handled again.
///
/// Write a struct, or an `async fn(ConsumeContext<M>, &mut Tx<DB>) -> ConsumeResult`. A closure
/// does not do, as its type cannot say that the transaction is borrowed.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # mod example {
/// use bus_core::{ConsumeContext, ConsumeResult, Message};
/// use bus_sql::{Tx, TxConsumer, sqlx};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Message)]
/// #[message("Invoicing:CreateInvoice")]
/// struct CreateInvoice { number: String }
///
/// #[derive(Serialize, Deserialize, Message)]
/// #[message("Invoicing:InvoiceCreated")]
/// struct InvoiceCreated { number: String }
///
/// struct Invoices;
///
/// impl TxConsumer<CreateInvoice, sqlx::Sqlite> for Invoices {
///     async fn consume(
///         &self,
///         ctx: ConsumeContext<CreateInvoice>,
///         tx: &mut Tx<sqlx::Sqlite>,
///     ) -> ConsumeResult {
///         let number = ctx.message().number.clone();
///         sqlx::query("INSERT INTO invoice (number) VALUES ($1)")
///             .bind(&number)
///             .execute(tx.conn())
///             .await?;
///         ctx.publish(&InvoiceCreated { number }).await?;
///         Ok(())
///     }
/// }
/// # }
/// ```
///
/// The transaction of another database does not compile, nor does one that is kept:
///
/// ```compile_fail,E0277
/// use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
/// use bus_sql::{Sql, Tx, TxConsumer, sqlx};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Invoicing:CreateInvoice")]
/// # struct CreateInvoice { number: String }
/// # struct Invoices;
/// impl TxConsumer<CreateInvoice, sqlx::Sqlite> for Invoices {
///     # async fn consume(
///     #     &self, _: ConsumeContext<CreateInvoice>, _: &mut Tx<sqlx::Sqlite>,
///     # ) -> ConsumeResult { Ok(()) }
///     // …
/// }
///
/// fn endpoint(sql: &Sql<sqlx::Postgres>) -> Endpoint {
///     Endpoint::new("invoices").consumer(sql.consumer(Invoices))
/// }
/// ```
///
/// ```compile_fail,E0521
/// use bus_core::{ConsumeContext, ConsumeResult};
/// use bus_sql::{Tx, sqlx};
///
/// async fn keep<M>(_: ConsumeContext<M>, tx: &mut Tx<sqlx::Sqlite>) -> ConsumeResult {
///     tokio::spawn(async move { tx.conn(); });
///     Ok(())
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not consume `{M}` in a transaction of `{DB}`",
    label = "not a consumer in a transaction of `{DB}`",
    note = "a function is one if it is `async`, takes `ConsumeContext<Message>` and `&mut Tx<Database>`, and returns `ConsumeResult`",
    note = "a type is one if it implements `TxConsumer<Message, Database>`, for the database of this `Sql`"
)]
pub trait TxConsumer<M, DB: Backend>: Send + Sync + 'static {
    /// Handles one message.
    ///
    /// `Ok` commits, an error rolls back. The future may be dropped at any await, when its timeout
    /// has passed or the endpoint stops; that rolls back too.
    fn consume(
        &self,
        ctx: ConsumeContext<M>,
        tx: &mut Tx<DB>,
    ) -> impl Future<Output = ConsumeResult> + Send;
}

/// Async functions of a context and a borrowed transaction.
///
/// Their future borrows the transaction as well.
pub trait TxFn<'t, M, DB: Backend>:
    Fn(ConsumeContext<M>, &'t mut Tx<DB>) -> Self::Consuming
{
    /// Future of the function.
    type Consuming: Future<Output = ConsumeResult> + Send + 't;
}

impl<'t, M, DB, F, Consuming> TxFn<'t, M, DB> for F
where
    DB: Backend,
    F: Fn(ConsumeContext<M>, &'t mut Tx<DB>) -> Consuming,
    Consuming: Future<Output = ConsumeResult> + Send + 't,
{
    type Consuming = Consuming;
}

#[diagnostic::do_not_recommend]
impl<M, DB, F> TxConsumer<M, DB> for F
where
    M: Send + Sync + 'static,
    DB: Backend,
    F: for<'t> TxFn<'t, M, DB> + Send + Sync + 'static,
{
    fn consume(
        &self,
        ctx: ConsumeContext<M>,
        tx: &mut Tx<DB>,
    ) -> impl Future<Output = ConsumeResult> + Send {
        self(ctx, tx)
    }
}
