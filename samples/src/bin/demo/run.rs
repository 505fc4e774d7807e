//! What happens in the demo, in order.

use std::time::Duration;

use bus_core::error::StopTimeout;
use bus_core::{Bus, SendError, StartError};
use futures_util::{StreamExt as _, TryStreamExt as _};
use samples::client::{self, Shipments};
use samples::contracts::{CreateInvoice, TemperatureReading};
use tokio::time::{Instant, sleep};

use crate::business::Business;
use crate::medium::Medium;
use crate::options::Options;
use crate::payment;
use crate::progress::Progress;
use crate::report::{Report, Sent};
use crate::share::Share;

/// How long nothing may happen before the demo takes what has not come for lost.
const PATIENCE: Duration = Duration::from_secs(15);

/// The same for readings: a few may be lost, and nothing depends on them.
const READING_PATIENCE: Duration = Duration::from_secs(2);

/// How many commands are sent at most before shipping starts.
const BUFFERED: usize = 1000;

/// How many temperatures are read at most.
const READINGS: u32 = 200;

/// Why the demo could not run to its end. Numbers that do not agree are no error: the report shows them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// A bus did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A command or a reading could not be sent.
    #[error("a message could not be sent: {0}")]
    Send(#[from] SendError),
    /// The services did not stop in time.
    #[error(transparent)]
    Stop(#[from] StopTimeout),
}

/// Runs the demo.
///
/// # Errors
/// [`DemoError`]; a broker that cannot be reached is one of them, after ten seconds.
pub(crate) async fn run(options: &Options) -> Result<Report, DemoError> {
    let medium = Medium::new(options.amqp.as_deref());
    eprintln!(
        "{} commands, {} instances of each service, {medium}",
        options.commands, options.instances
    );
    let mut business = Business::new(&medium, options);
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
    async fn trade(&self, business: &mut Business<'_>, count: u32) -> Result<Report, DemoError> {
        let readings = count.min(READINGS);
        let count = count as usize;
        let commands = client::orders(count);
        self.shipments.expect(&commands);
        let mut sent = Sent::of(&commands);
        sent.readings = self.measure(readings).await?;

        let (early, late) = commands.split_at(count.div_ceil(2).min(BUFFERED));
        let mut progress = Progress::new("commands sent", count);
        sent.twice += self.send(early, 0, &mut progress).await?;
        let paid = || business.tally.of(payment::QUEUE).done();
        wait_until(|| paid() == early.len(), paid, PATIENCE).await;
        sent.while_closed = early.len();
        sent.shipped_while_closed = self.shipments.count();

        business.open_shipping().await?;
        sent.twice += self.send(late, early.len(), &mut progress).await?;
        drop(progress);
        let mut progress = Progress::new("invoices shipped", count);
        self.shipments
            .wait(PATIENCE, |shipped| progress.at(shipped))
            .await;
        drop(progress);
        let shipped = |command: &&CreateInvoice| self.shipments.includes(command.invoice_id);
        sent.shipped_after_opening = early.iter().filter(shipped).count();
        sent.documents = self.ask(&commands).await;
        Ok(self.settled(business, sent).await)
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

    /// Says how many queries were answered with the right document. One that was not shows in the report.
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

    /// The report, once what nobody waits for is done too: taps, duplicates, readings.
    async fn settled(&self, business: &Business<'_>, sent: Sent) -> Report {
        let report = || Report::of(&sent, business, &self.shipments);
        wait_until(|| report().agrees(), || report().progress(), PATIENCE).await;
        let read = || business.display.shown() + business.losing.failed();
        wait_until(|| read() == sent.readings, read, READING_PATIENCE).await;
        report()
    }
}

/// Waits until a condition holds, or nothing has changed for as long as `patience`: what is lost never comes.
async fn wait_until(holds: impl Fn() -> bool, measure: impl Fn() -> usize, patience: Duration) {
    let (mut last, mut since) = (measure(), Instant::now());
    while !holds() && since.elapsed() < patience {
        sleep(Duration::from_millis(10)).await;
        let now = measure();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}
