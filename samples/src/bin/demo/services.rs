//! The services as the demo runs them.

use bus_core::BusBuilder;
use bus_sql::{Backend, Sql};
use samples::service::Service;
use samples::warehouse::{self, Warehouse};

pub(crate) use crate::invoice::InvoiceService;
pub(crate) use crate::payment::PaymentService;
use crate::shipping;

/// The shipping service without its thermometer: the demo has one thermometer, whose readings it
/// counts.
pub(crate) struct Shipping;

impl<DB: Backend<Connection: Warehouse>> Service<DB> for Shipping {
    const NAME: &'static str = shipping::QUEUE;
    const TABLES: &'static [&'static str] = &[warehouse::TABLE];

    fn configure(bus: BusBuilder, sql: Sql<DB>) -> BusBuilder {
        bus.background(sql.relay())
            .endpoint(shipping::endpoint(sql))
    }
}
