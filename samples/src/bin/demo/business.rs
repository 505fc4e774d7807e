//! The services on several machines: each has one instance of every service, on a bus and a
//! connection of its own, as processes would have. What the instances of one service share is in
//! its database, and nowhere else.

use std::time::Duration;

use bus_core::error::BoxError;
use bus_core::{Bus, Policy, StartError};
use bus_sql::sqlx::{Postgres, Sqlite};
use futures_util::future::join_all;
use samples::service::{self, Service};
use samples::thermometer::{self, Display};
use samples::unreliable::Unreliable;

use crate::databases::Databases;
use crate::medium::Medium;
use crate::options::Options;
use crate::services::{InvoiceService, PaymentService, Shipping};
use crate::shipping;
use crate::tally::Tally;
use crate::waiting::{Look, wait_until};

/// The machine that dies.
const UNLUCKY: u32 = 1;

/// How long the demo waits until that machine has work which its death can interrupt.
const PATIENCE: Duration = Duration::from_secs(5);

/// All services, and what is known of their work.
#[derive(Debug)]
pub(crate) struct Business<'a> {
    medium: &'a Medium,
    /// The buses of each machine, from machine 1.
    machines: Vec<Vec<Bus>>,
    thermometer: Option<Bus>,
    pub(crate) databases: Databases,
    pub(crate) tally: Tally,
    pub(crate) failing: Unreliable,
    pub(crate) losing: Unreliable,
    pub(crate) display: Display,
}

impl<'a> Business<'a> {
    pub(crate) async fn new(medium: &'a Medium, options: &Options) -> Result<Self, BoxError> {
        Ok(Self {
            medium,
            machines: (0..options.instances).map(|_| Vec::new()).collect(),
            thermometer: None,
            databases: Databases::create().await?,
            tally: Tally::default(),
            failing: Unreliable::retried(options.fail_rate),
            losing: Unreliable::lossy(options.fail_rate),
            display: Display::default(),
        })
    }

    /// Starts everything but shipping. That service is down, yet known: its queue is there, and
    /// takes what it missed.
    pub(crate) async fn open(&mut self) -> Result<(), BoxError> {
        let shipping = shipping::endpoint(self.databases.shipping());
        self.medium
            .bus()
            .endpoint(shipping)
            .deploy_topology()
            .await?;
        for machine in self.machines() {
            self.start::<InvoiceService>(machine).await?;
            self.start::<PaymentService>(machine).await?;
        }
        self.thermometer = Some(self.read_temperatures().await?);
        Ok(())
    }

    /// Starts shipping.
    pub(crate) async fn open_shipping(&mut self) -> Result<(), BoxError> {
        for machine in self.machines() {
            self.start::<Shipping>(machine).await?;
        }
        Ok(())
    }

    /// Lets a machine die while it works, and starts it again on the same databases.
    ///
    /// Its buses are dropped: each delivery, transaction and relay ends at the await at which it
    /// is, and nothing is said to the broker or to the database.
    pub(crate) async fn crash(&mut self) -> Result<(), BoxError> {
        let tally = self.tally.clone();
        let works = |expected: bool| {
            let progress = tally.machine(UNLUCKY).under_way;
            let done = (progress > 0) == expected;
            Ok(Look { done, progress })
        };
        wait_until(async || works(true), PATIENCE).await?;
        drop(std::mem::take(&mut self.machines[UNLUCKY as usize - 1]));
        wait_until(async || works(false), PATIENCE).await?;
        eprintln!(
            "machine {UNLUCKY} has died in the middle of {} deliveries, and starts again; what it had committed and not sent \
             waits for another relay, for ten seconds at most",
            tally.machine(UNLUCKY).cut
        );
        self.start::<InvoiceService>(UNLUCKY).await?;
        self.start::<PaymentService>(UNLUCKY).await?;
        self.start::<Shipping>(UNLUCKY).await
    }

    /// Stops everything.
    pub(crate) async fn close(&self) -> Result<(), BoxError> {
        let buses = self.machines.iter().flatten().chain(&self.thermometer);
        let stopped = join_all(buses.map(Bus::shutdown)).await;
        Ok(stopped.into_iter().collect::<Result<(), _>>()?)
    }

    fn machines(&self) -> impl Iterator<Item = u32> + use<> {
        (1..).take(self.machines.len())
    }

    async fn start<S>(&mut self, machine: u32) -> Result<(), BoxError>
    where
        S: Service<Postgres> + Service<Sqlite>,
    {
        let bus = self
            .medium
            .bus()
            .observe(self.tally.of_machine(machine))
            .policy(Policy::new().around_attempt(self.failing.clone()));
        let bus = service::start::<S>(bus, &self.databases.of::<S>()).await?;
        self.machines[machine as usize - 1].push(bus);
        Ok(())
    }

    async fn read_temperatures(&self) -> Result<Bus, StartError> {
        self.medium
            .bus()
            .policy(Policy::new().around_attempt(self.losing.clone()))
            .endpoint(thermometer::endpoint(self.display.clone()))
            .start()
            .await
    }
}
