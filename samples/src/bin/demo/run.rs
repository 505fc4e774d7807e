//! What happens in the demo, in order.

use std::time::Duration;

use bus_core::error::BoxError;
use bus_core::{Bus, SendError};
use futures_util::{StreamExt as _, TryStreamExt as _};
use samples::client::{self, Shipments};
use samples::contracts::{CreateInvoice, TemperatureReading};
use samples::share::Share;

use crate::business::Business;
use crate::medium::Medium;
use crate::options::Options;
use crate::payment;
use crate::progress::Progress;
use crate::report::{Report, Sent};
use crate::waiting::{Look, wait_until};

/// How long nothing may happen before the demo takes what has not come for lost. What a relay has
/// left that died waits for ten seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same for readings: a few may be lost, and nothing depends on them.
const READING_PATIENCE: Duration = Duration::from_secs(2);

/// How many commands are sent at most before shipping starts.
const BUFFERED: usize = 1000;

/// How many temperatures are read at most.
const READINGS: u32 = 200;

/// Runs the demo. Numbers that do not agree are no error: the report shows them.
///
/// # Errors
/// A service that does not start, a message that cannot be sent, a database that cannot be read. A
/// broker that cannot be reached is one of them, after ten seconds.
pub(crate) async fn run(options: &Options) -> Result<Report, BoxError> {
    let medium = Medium::new(options.amqp.as_deref());
    let mut business = Business::new(&medium, options).await?;
    eprintln!(
        "{} commands to {} machines with an instance of each service, {medium}, databases in {}",
        options.commands,
        options.instances,
        business.databases.folder().display()
    );
    business.open().await?;
    let shipments = Shipments::default();
    let bus = client::configure(medium.bus(), shipments.clone())
        .start()
        .await?;
    let customer = Customer {
        bus,
        shipments,
        duplicates: options.duplicates,
    };
    let report = customer.trade(&mut business, options.commands).await?;
    customer.bus.shutdown().await?;
    business.close().await?;
    Ok(report)
}

/// The client of the demo.
struct Customer {
    bus: Bus,
    shipments: Shipments,
    duplicates: Share,
}

impl Customer {
    async fn trade(&self, business: &mut Business<'_>, count: u32) -> Result<Report, BoxError> {
        let readings = count.min(READINGS);
        let count = count as usize;
        let commands = client::orders(count);
        self.shipments.expect(&commands);
        let mut sent = Sent::of(&commands);
        sent.readings = self.measure(readings).await?;

        let (early, late) = commands.split_at(count.div_ceil(2).min(BUFFERED));
        let mut progress = Progress::new("commands sent", count);
        sent.twice += self.send(early, 0, &mut progress).await?;
        let paid = || {
            let progress = business.tally.of(payment::QUEUE).done();
            let done = progress == early.len();
            Ok(Look { done, progress })
        };
        wait_until(async || paid(), PATIENCE).await?;
        sent.while_closed = early.len();
        sent.shipped_while_closed = self.shipments.count();

        business.open_shipping().await?;
        let (before, after) = late.split_at(late.len().div_ceil(2));
        sent.twice += self.send(before, early.len(), &mut progress).await?;
        business.crash().await?;
        let done = early.len() + before.len();
        sent.twice += self.send(after, done, &mut progress).await?;
        drop(progress);
        let mut progress = Progress::new("invoices shipped", count);
        self.shipments
            .wait(PATIENCE, |shipped| progress.at(shipped))
            .await;
        drop(progress);
        let shipped = |command: &&CreateInvoice| self.shipments.includes(command.invoice_id);
        sent.shipped_after_opening = early.iter().filter(shipped).count();
        sent.documents = self.ask(&commands).await;
        self.settled(business, sent).await
    }

    async fn measure(&self, count: u32) -> Result<usize, SendError> {
        let reading = |reading: u32| TemperatureReading {
            reading,
            celsius: 4.0 + f64::from(reading % 10) / 10.0,
        };
        let readings: Vec<_> = (0..count).map(reading).collect();
        self.bus
            .publish_all(&readings)
            .await
            .into_iter()
            .collect::<Result<(), _>>()?;
        Ok(readings.len())
    }

    /// Says how many commands were sent twice.
    async fn send(
        &self,
        commands: &[CreateInvoice],
        done: usize,
        progress: &mut Progress,
    ) -> Result<usize, SendError> {
        let sending = client::send_all(&self.bus, commands, || self.duplicates.draw()).enumerate();
        let copies = sending.map(|(index, copies)| {
            progress.at(done + index + 1);
            copies
        });
        copies
            .try_fold(0, |sum, copies| async move { Ok(sum + copies) })
            .await
    }

    /// Says how many queries were answered with the right document. One that was not shows in the
    /// report.
    async fn ask(&self, commands: &[CreateInvoice]) -> usize {
        let mut progress = Progress::new("invoices queried", commands.len());
        let mut right = 0;
        let mut answers = client::ask_all(&self.bus, commands).enumerate();
        while let Some((index, answer)) = answers.next().await {
            progress.at(index + 1);
            match answer {
                Ok(is_right) => right += usize::from(is_right),
                Err(error) => eprintln!("a query has no answer: {error}"),
            }
        }
        right
    }

    /// The report, once what is not awaited above is done too: taps, duplicates, readings.
    async fn settled(&self, business: &Business<'_>, sent: Sent) -> Result<Report, BoxError> {
        let report = async || {
            let books = business.databases.read().await?;
            Ok::<_, BoxError>(Report::of(&sent, &books, business, &self.shipments))
        };
        let reported = async || {
            let report = report().await?;
            let (done, progress) = (report.agrees(), report.progress());
            Ok(Look { done, progress })
        };
        wait_until(reported, PATIENCE).await?;
        let read = || {
            let progress = business.display.shown() + business.losing.failed();
            let done = progress == sent.readings;
            Ok(Look { done, progress })
        };
        wait_until(async || read(), READING_PATIENCE).await?;
        report().await
    }
}
