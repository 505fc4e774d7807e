//! What happened, counted independently in several places, and whether the counts agree.

use std::fmt;

use samples::account::Balance;
use samples::audit;
use samples::client::Shipments;
use samples::contracts::{CreateInvoice, INVOICE_SERVICE};

use crate::business::Business;
use crate::databases::Books;
use crate::table::Table;
use crate::tally::Work;

/// What the client knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) commands: usize,
    pub(crate) prepaid: usize,
    pub(crate) payable_cents: u64,
    pub(crate) twice: usize,
    pub(crate) readings: usize,
    /// How many commands were sent while shipping was closed, and what was shipped of them, then
    /// and later.
    pub(crate) while_closed: usize,
    pub(crate) shipped_while_closed: usize,
    pub(crate) shipped_after_opening: usize,
    pub(crate) documents: usize,
}

impl Sent {
    pub(crate) fn of(commands: &[CreateInvoice]) -> Self {
        let payable = commands.iter().filter(|command| !command.prepaid);
        Self {
            commands: commands.len(),
            prepaid: commands.iter().filter(|command| command.prepaid).count(),
            payable_cents: payable.map(|command| command.amount_cents).sum(),
            ..Self::default()
        }
    }
}

/// What happened in a run. Its [`Display`](fmt::Display) is the table that the demo ends with.
#[derive(Debug)]
pub(crate) struct Report {
    table: Table,
    mismatches: Vec<String>,
    progress: usize,
}

impl Report {
    pub(crate) fn of(
        sent: &Sent,
        books: &Books,
        business: &Business<'_>,
        shipments: &Shipments,
    ) -> Self {
        let work = business.tally.all();
        let mut report = Self {
            table: Table::default(),
            mismatches: Vec::new(),
            progress: work.values().map(Work::deliveries).sum(),
        };
        report.invoices(sent, books, business);
        report.payments(sent, books);
        report.shipments(books, shipments);
        report.while_closed(sent);
        report.others(sent, business);
        report.attempts(business);
        report.table.machines(
            work.iter()
                .map(|(name, work)| (name.as_str(), &work.by_machine)),
        );
        report
    }

    /// Whether all counts agree.
    pub(crate) fn agrees(&self) -> bool {
        self.mismatches.is_empty()
    }

    /// How many deliveries were handled in all.
    pub(crate) fn progress(&self) -> usize {
        self.progress
    }

    fn invoices(&mut self, sent: &Sent, books: &Books, business: &Business<'_>) {
        let commands = ("commands sent", sent.commands);
        self.row(commands.0, commands.1);
        self.row("  of them prepaid", sent.prepaid);
        self.row("  of them sent twice", sent.twice);
        let duplicates = business.tally.of(INVOICE_SERVICE).duplicates;
        self.row("duplicates ignored", duplicates);
        // A command whose delivery was cut after its commit comes as a duplicate, too.
        self.at_least(
            ("duplicates ignored", duplicates),
            ("commands sent twice", sent.twice),
        );

        let copies = business.tally.of(audit::QUEUE).deliveries();
        self.row("copies tapped", copies);
        self.at_least(
            ("copies tapped", copies),
            ("commands and duplicates sent", sent.commands + sent.twice),
        );
        self.row("  different messages", books.overheard);
        self.equal(("different messages tapped", books.overheard), commands);

        self.row("invoices", books.invoices);
        self.equal(("invoices in the ledger", books.invoices), commands);
    }

    fn payments(&mut self, sent: &Sent, books: &Books) {
        let Balance { payments, cents } = books.balance;
        self.row("payments", payments);
        self.equal(
            ("payments booked", payments),
            (
                "invoices that were not prepaid",
                sent.commands - sent.prepaid,
            ),
        );
        if cents != sent.payable_cents {
            let payable = sent.payable_cents;
            self.mismatches
                .push(format!("{cents} cents booked, but {payable} cents payable"));
        }
    }

    fn shipments(&mut self, books: &Books, shipments: &Shipments) {
        let stock = books.stock;
        let shipped = ("shipments in the warehouse", stock.shipped);
        self.row("shipments", shipped.1);
        self.equal(shipped, ("invoices in the ledger", books.invoices));
        let seen = ("shipments that the client heard of", shipments.count());
        self.row("  seen by the client", seen.1);
        self.equal(seen, shipped);
        let again = ("shipments announced again", shipments.repeated());
        self.row("  announced again", again.1);
        self.equal(again, ("none", 0));
        self.row("  paid before invoiced", stock.paid_first);
        self.row("  parked still", stock.parked);
        self.equal(("halves that are parked still", stock.parked), ("none", 0));
    }

    fn while_closed(&mut self, sent: &Sent) {
        self.row("invoices while shipping was down", sent.while_closed);
        self.row("  shipped meanwhile", sent.shipped_while_closed);
        self.row("  shipped when it was up", sent.shipped_after_opening);
        self.equal(
            (
                "shipments while shipping was down",
                sent.shipped_while_closed,
            ),
            ("none", 0),
        );
        self.equal(
            (
                "buffered invoices that were shipped",
                sent.shipped_after_opening,
            ),
            ("invoices while shipping was down", sent.while_closed),
        );
    }

    fn others(&mut self, sent: &Sent, business: &Business<'_>) {
        self.row("queries", sent.commands);
        self.row("documents", sent.documents);
        self.equal(
            ("documents as ordered", sent.documents),
            ("queries", sent.commands),
        );

        let (shown, lost) = (business.display.shown(), business.losing.failed());
        self.row("temperature readings", sent.readings);
        self.row("  shown, at most once", shown);
        self.row("  lost with a consumer that failed", lost);
        self.equal(
            ("readings shown again", business.display.repeated()),
            ("none", 0),
        );
        if shown + lost > sent.readings {
            self.mismatches.push(format!(
                "{shown} readings shown and {lost} lost, but {} sent",
                sent.readings
            ));
        }
    }

    fn attempts(&mut self, business: &Business<'_>) {
        let work = business.tally.all();
        self.row("attempts that failed", business.failing.failed());
        let retries = work.values().map(|work| work.retries).sum();
        self.row("  tried again", retries);
        // A delivery that was cut after it failed is not tried again: it comes again.
        let cut = business.tally.cut();
        self.row("deliveries that a death cut", cut);
        self.at_least(
            ("attempts tried again, or cut", retries + cut),
            ("attempts that failed on purpose", business.failing.failed()),
        );
        let faults: usize = work.values().map(|work| work.faults).sum();
        self.row("deliveries that failed for good", faults);
        self.equal(("deliveries that failed for good", faults), ("none", 0));
        self.mismatches
            .extend(work.into_values().filter_map(|work| work.first_fault));
    }

    fn row(&mut self, label: &'static str, value: usize) {
        self.table.row(label, value);
    }

    fn equal(&mut self, (label, value): (&str, usize), (other, expected): (&str, usize)) {
        if value != expected {
            self.mismatches
                .push(format!("{label}: {value}, but {other}: {expected}"));
        }
    }

    fn at_least(&mut self, (label, value): (&str, usize), (other, least): (&str, usize)) {
        if value < least {
            self.mismatches
                .push(format!("{label}: only {value}, but {other}: {least}"));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.table)?;
        if self.agrees() {
            return write!(f, "the numbers agree");
        }
        write!(f, "THE NUMBERS DO NOT AGREE")?;
        self.mismatches
            .iter()
            .try_for_each(|mismatch| write!(f, "\n  - {mismatch}"))
    }
}

#[cfg(test)]
mod tests {
    use bus_core::error::BoxError;
    use clap::Parser as _;
    use samples::client;

    use super::*;
    use crate::medium::Medium;
    use crate::options::Options;

    async fn of(sent: &Sent) -> Result<Report, BoxError> {
        let medium = Medium::new(None);
        let business = Business::new(&medium, &Options::parse_from(["demo"])).await?;
        let books = business.databases.read().await?;
        Ok(Report::of(sent, &books, &business, &Shipments::default()))
    }

    #[tokio::test]
    async fn commands_that_were_not_handled_are_mismatches_that_name_both_numbers()
    -> Result<(), BoxError> {
        let report = of(&Sent::of(&client::orders(6))).await?;
        assert!(!report.agrees());
        let text = report.to_string();
        for line in [
            "invoices in the ledger: 0, but commands sent: 6",
            "payments booked: 0, but invoices that were not prepaid: 4",
            "copies tapped: only 0, but commands and duplicates sent: 6",
            "documents as ordered: 0, but queries: 6",
        ] {
            assert!(text.contains(line), "no `{line}` in\n{text}");
        }
        assert!(!text.contains("the numbers agree"), "{text}");
        Ok(())
    }

    #[tokio::test]
    async fn nothing_sent_and_nothing_handled_agree() -> Result<(), BoxError> {
        let report = of(&Sent::default()).await?;
        assert!(report.agrees(), "{report}");
        Ok(())
    }
}
