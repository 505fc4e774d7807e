//! The services, several instances of each. Every instance has a bus and a connection of its own, as a process would;
//! the instances of one service share a state handle, which stands for their database.

use bus_core::error::StopTimeout;
use bus_core::{Bus, Endpoint, Policy, StartError};
use futures_util::future::join_all;
use samples::account::Account;
use samples::audit::{self, Journal};
use samples::ledger::Ledger;
use samples::thermometer::{self, Display};
use samples::warehouse::Warehouse;

use crate::medium::Medium;
use crate::options::Options;
use crate::tally::Tally;
use crate::unreliable::Unreliable;
use crate::{invoice, payment, shipping};

/// All services, and what they know.
#[derive(Debug)]
pub(crate) struct Business<'a> {
    medium: &'a Medium,
    instances: u32,
    buses: Vec<Bus>,
    pub(crate) tally: Tally,
    pub(crate) failing: Unreliable,
    pub(crate) losing: Unreliable,
    pub(crate) ledger: Ledger,
    pub(crate) account: Account,
    pub(crate) warehouse: Warehouse,
    pub(crate) journal: Journal,
    pub(crate) display: Display,
}

impl<'a> Business<'a> {
    pub(crate) fn new(medium: &'a Medium, options: &Options) -> Self {
        Self {
            medium,
            instances: options.instances,
            buses: Vec::new(),
            tally: Tally::default(),
            failing: Unreliable::retried(options.fail_rate),
            losing: Unreliable::lossy(options.fail_rate),
            ledger: Ledger::default(),
            account: Account::default(),
            warehouse: Warehouse::default(),
            journal: Journal::default(),
            display: Display::default(),
        }
    }

    /// Starts everything but shipping. That service is down, yet known: its queue is there, and takes what it missed.
    pub(crate) async fn open(&mut self) -> Result<(), StartError> {
        self.medium
            .bus()
            .endpoint(shipping::endpoint(self.warehouse.clone()))
            .deploy_topology()
            .await?;
        for instance in 1..=self.instances {
            let invoices = invoice::commands(self.ledger.clone());
            self.start(instance, [invoices, invoice::queries(self.ledger.clone())])
                .await?;
            self.start(instance, [payment::endpoint(self.account.clone())])
                .await?;
        }
        self.start(1, [audit::endpoint(self.journal.clone())])
            .await?;
        let thermometer = thermometer::endpoint(self.display.clone());
        let bus = self
            .medium
            .bus()
            .policy(Policy::new().around_attempt(self.losing.clone()))
            .endpoint(thermometer);
        self.buses.push(bus.start().await?);
        Ok(())
    }

    /// Starts shipping.
    pub(crate) async fn open_shipping(&mut self) -> Result<(), StartError> {
        for instance in 1..=self.instances {
            self.start(instance, [shipping::endpoint(self.warehouse.clone())])
                .await?;
        }
        Ok(())
    }

    async fn start<const N: usize>(
        &mut self,
        instance: u32,
        endpoints: [Endpoint; N],
    ) -> Result<(), StartError> {
        let bus = self
            .medium
            .bus()
            .observe(self.tally.of_instance(instance))
            .policy(Policy::new().around_attempt(self.failing.clone()));
        let bus = endpoints
            .into_iter()
            .fold(bus, bus_core::BusBuilder::endpoint);
        self.buses.push(bus.start().await?);
        Ok(())
    }

    /// Stops everything.
    pub(crate) async fn close(&self) -> Result<(), StopTimeout> {
        join_all(self.buses.iter().map(Bus::shutdown))
            .await
            .into_iter()
            .collect()
    }
}
