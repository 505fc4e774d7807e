//! Three processes of each service, whose consumers fail, to which commands come twice, and of
//! which one each is killed in the middle: the numbers agree.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use bus_core::{Bus, ConsumeContext, ConsumeResult, Consumer, Endpoint};
use bus_rabbitmq::RabbitMq;
use bus_sql::Backend;
use bus_sql::sqlx::Pool;
use bus_tests::{PostgresServer, RabbitMqTestBroker, TestBroker as _, eventually};
use samples::account::{Account, Balance};
use samples::audit::Journal;
use samples::contracts::ShipmentSent;
use samples::database::{self, Database};
use samples::ledger::Ledger;
use samples::warehouse::{Stock, Warehouse};
use uuid::Uuid;

use crate::support::{Folder, Program, url_of, virtual_host};

mod support;

const INVOICE: &str = env!("CARGO_BIN_EXE_invoice-service");
const PAYMENT: &str = env!("CARGO_BIN_EXE_payment-service");
const SHIPPING: &str = env!("CARGO_BIN_EXE_shipping-service");
const PROGRAMS: [&str; 3] = [INVOICE, PAYMENT, SHIPPING];
const CLIENT: &str = env!("CARGO_BIN_EXE_client");

const QUEUES: [&str; 5] = [
    "invoice-service",
    "audit",
    "payment-service",
    "shipping-service",
    "announced",
];

/// How many invoices are ordered, two thirds of which are to be paid.
const COMMANDS: usize = 240;

/// How many of them are made when a process of each service is killed.
const EARLY: usize = 30;

/// The services under test, and the pools by which the test reads their databases.
struct Services<DB: Backend> {
    url: String,
    /// The address of the database of each program.
    databases: [(&'static str, String); 3],
    invoicing: Pool<DB>,
    payments: Pool<DB>,
    shipping: Pool<DB>,
}

impl<DB: Backend<Connection: Ledger + Journal + Account + Warehouse>> Services<DB> {
    async fn start(&self, path: &str) -> Program {
        let of_path = |(program, _): &&(&str, String)| *program == path;
        let (_, database) = self.databases.iter().find(of_path).expect("one of them");
        let arguments = [
            "--amqp",
            &self.url,
            "--database",
            database,
            "--fail-rate",
            "0.1",
        ];
        let service = Program::start(path, &arguments);
        service.says("ready").await;
        service
    }

    async fn start_each(&self) -> [Program; 3] {
        let starts = (
            self.start(INVOICE),
            self.start(PAYMENT),
            self.start(SHIPPING),
        );
        tokio::join!(starts.0, starts.1, starts.2).into()
    }

    async fn invoices(&self) -> usize {
        let mut ledger = self.invoicing.acquire().await.expect("a database");
        ledger.invoices().await.expect("a table")
    }

    /// Kills processes while there is work.
    async fn lose(&self, doomed: [Program; 3]) {
        let under_way = async || self.invoices().await >= EARLY;
        eventually("some invoices are made", under_way).await;
        for service in doomed {
            service.killed().await;
        }
        let invoices = self.invoices().await;
        assert!(invoices < COMMANDS, "they were killed in the middle");
    }

    /// Waits until nothing is left to do; nothing may have failed.
    async fn settle(&self) {
        let broker = RabbitMqTestBroker::at(&self.url).await;
        for queue in QUEUES {
            let is_empty = async || broker.depth(queue).await == Some(0);
            eventually(&format!("`{queue}` is empty"), is_empty).await;
            let failed = broker.depth(&format!("{queue}_error")).await;
            assert_eq!(failed.unwrap_or(0), 0, "{queue}");
        }
    }

    /// Each effect happened once.
    async fn agree(&self) {
        assert_eq!(self.invoices().await, COMMANDS);
        let mut journal = self.invoicing.acquire().await.expect("a database");
        assert_eq!(journal.overheard().await.expect("a table"), COMMANDS);
        let mut account = self.payments.acquire().await.expect("a database");
        // As the client orders them: every third is prepaid.
        let payable = (0..COMMANDS as u64).filter(|index| index % 3 != 2);
        let balance = Balance {
            payments: COMMANDS / 3 * 2,
            cents: payable.map(|index| 995 + 100 * (index % 41)).sum(),
        };
        assert_eq!(account.balance().await.expect("a table"), balance);
        let mut warehouse = self.shipping.acquire().await.expect("a database");
        let Stock {
            shipped, parked, ..
        } = warehouse.stock().await.expect("a table");
        assert_eq!((shipped, parked), (COMMANDS, 0));
    }
}

/// Which shipments were announced: by the invoice, and by the message, which may come again with
/// its id.
#[derive(Clone, Default)]
struct Announced(Arc<Mutex<BTreeSet<Announcement>>>);

type Announcement = (Uuid, Option<Uuid>);

impl Announced {
    async fn listen(&self, url: &str) -> Bus {
        let endpoint = Endpoint::new("announced").consumer(self.clone());
        let bus = Bus::builder(RabbitMq::new(url)).endpoint(endpoint);
        bus.start().await.expect("the broker is up")
    }

    /// One event for each invoice, with one id.
    fn agree(&self) {
        let messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(messages.len(), COMMANDS);
        let invoices: BTreeSet<_> = messages.iter().map(|(invoice, _)| *invoice).collect();
        assert_eq!(invoices.len(), COMMANDS);
    }
}

impl Consumer<ShipmentSent> for Announced {
    async fn consume(&self, ctx: ConsumeContext<ShipmentSent>) -> ConsumeResult {
        let message = (ctx.message().invoice_id, ctx.message_id());
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(message);
        Ok(())
    }
}

async fn three_processes_of_each_service_agree<DB>(services: Services<DB>)
where
    DB: Backend<Connection: Ledger + Journal + Account + Warehouse>,
{
    let announced = Announced::default();
    let bus = announced.listen(&services.url).await;
    // The first ones have the leases of the relays.
    let doomed = services.start_each().await;
    let others = [services.start_each().await, services.start_each().await];

    let commands = COMMANDS.to_string();
    let arguments = ["--amqp", &services.url, "--commands", &commands];
    let arguments = [&arguments[..], &["--duplicates", "0.2", "--timeout", "60"]].concat();
    let client = Program::start(CLIENT, &arguments);
    services.lose(doomed).await;
    let again = services.start_each().await;
    let (status, output) = client.end().await;
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(output.contains("all 240 shipped"), "{output}");
    assert!(!output.contains(" 0 of them twice"), "{output}");

    services.settle().await;
    for service in others.into_iter().flatten().chain(again) {
        service.ends_well().await;
    }
    bus.shutdown().await.expect("in time");
    services.agree().await;
    announced.agree();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_of_each_service_agree_on_sqlite() {
    let files = Folder::new();
    let databases = PROGRAMS.map(|program| (program, files.database(program)));
    let [invoicing, payments, shipping] = &databases;
    let open = async |(_, address): &(&str, String)| {
        let Ok(Database::Sqlite(options)) = address.parse() else {
            panic!("{address} is the address of a file");
        };
        database::open_file(&options, &[]).await.expect("a file")
    };
    let services = Services {
        url: url_of(&virtual_host().await).await,
        invoicing: open(invoicing).await,
        payments: open(payments).await,
        shipping: open(shipping).await,
        databases,
    };
    three_processes_of_each_service_agree(services).await;
}

/// All services in one database, as each has tables of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_of_each_service_agree_on_postgres() {
    let database = PostgresServer::shared().await.database().await;
    let Ok(Database::Postgres(options)) = database.url().parse() else {
        panic!("{} is the address of a server", database.url());
    };
    let pool = database::connect(&options, &[]).await.expect("a server");
    let services = Services {
        url: url_of(&virtual_host().await).await,
        databases: PROGRAMS.map(|program| (program, database.url().to_owned())),
        invoicing: pool.clone(),
        payments: pool.clone(),
        shipping: pool,
    };
    three_processes_of_each_service_agree(services).await;
}
