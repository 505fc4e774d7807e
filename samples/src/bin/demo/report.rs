//! What happened, counted independently in several places, and whether the counts agree.

use std::fmt;

use samples::audit;
use samples::client::Shipments;
use samples::contracts::{CreateInvoice, INVOICE_SERVICE};

use crate::business::Business;
use crate::table::Table;
use crate::{payment, shipping};

/// What the client knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) commands: usize,
    pub(crate) prepaid: usize,
    pub(crate) payable_cents: u64,
    pub(crate) twice: usize,
    pub(crate) readings: usize,
    /// How many commands were sent while shipping was closed, and what was shipped of them, then and later.
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
    pub(crate) fn of(sent: &Sent, business: &Business<'_>, shipments: &Shipments) -> Self {
        let work = business.tally.all();
        let mut report = Self {
            table: Table::default(),
            mismatches: Vec::new(),
            progress: 0,
        };
        report.invoices(sent, business);
        report.shipments(sent, business, shipments);
        report.others(sent, business);
        let faults: usize = work.values().map(|work| work.faults).sum();
        report.row("deliveries that failed for good", faults);
        report.equal(("deliveries that failed for good", faults), ("none", 0));
        report
            .mismatches
            .extend(work.values().filter_map(|work| work.first_fault.clone()));
        report.table.instances(
            work.iter()
                .map(|(name, work)| (name.as_str(), &work.by_instance)),
        );
        report.progress = work
            .values()
            .flat_map(|work| work.by_instance.values())
            .sum();
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

    fn invoices(&mut self, sent: &Sent, business: &Business<'_>) {
        let work = business.tally.of(INVOICE_SERVICE);
        let commands = ("commands sent", sent.commands);
        self.row(commands.0, commands.1);
        self.row("  of them prepaid", sent.prepaid);
        self.row("  of them sent twice", sent.twice);
        self.row("duplicates ignored", work.duplicates);
        self.equal(
            ("duplicates ignored", work.duplicates),
            ("commands sent twice", sent.twice),
        );

        let tapped = business.tally.of(audit::QUEUE).done();
        self.row("copies tapped", tapped);
        let audited = ("different messages tapped", business.journal.count());
        self.equal(audited, commands);
        self.equal(
            ("copies tapped", tapped),
            ("commands and duplicates sent", sent.commands + sent.twice),
        );

        let invoices = ("invoices in the ledger", business.ledger.count());
        self.row("invoices", invoices.1);
        self.equal(invoices, commands);

        let payments = ("payments booked", business.account.count());
        self.row("payments", payments.1);
        self.equal(
            payments,
            (
                "invoices that were not prepaid",
                sent.commands - sent.prepaid,
            ),
        );
        if business.account.total_cents() != sent.payable_cents {
            let (booked, payable) = (business.account.total_cents(), sent.payable_cents);
            self.mismatches.push(format!(
                "{booked} cents booked, but {payable} cents payable"
            ));
        }
        let announced = business.tally.of(payment::QUEUE).done();
        self.equal(("invoices that payment heard of", announced), invoices);
    }

    fn shipments(&mut self, sent: &Sent, business: &Business<'_>, shipments: &Shipments) {
        let shipped = ("shipments in the warehouse", business.warehouse.shipped());
        self.row("shipments", shipped.1);
        self.equal(shipped, ("invoices in the ledger", business.ledger.count()));
        let seen = ("shipments that the client heard of", shipments.count());
        self.row("  seen by the client", seen.1);
        self.equal(seen, shipped);
        self.row("  announced again", shipments.repeated());
        self.equal(
            ("shipments announced again", shipments.repeated()),
            ("none", 0),
        );
        self.row("  paid before invoiced", business.warehouse.paid_first());
        self.row("  parked still", business.warehouse.parked());
        self.equal(
            ("halves that are parked still", business.warehouse.parked()),
            ("none", 0),
        );
        let heard = business.tally.of(shipping::QUEUE).done();
        let events = business.ledger.count() + business.account.count();
        self.equal(
            ("events that shipping handled", heard),
            ("invoices and payments", events),
        );

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

        let failed = ("attempts that failed on purpose", business.failing.failed());
        let retries = business.tally.all().values().map(|work| work.retries).sum();
        self.row("attempts that failed", failed.1);
        self.row("  tried again", retries);
        self.equal(("attempts tried again", retries), failed);
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
    use clap::Parser as _;
    use samples::client;

    use super::*;
    use crate::medium::Medium;
    use crate::options::Options;

    #[test]
    fn commands_that_were_not_handled_are_mismatches_that_name_both_numbers() {
        let options = Options::parse_from(["demo"]);
        let medium = Medium::new(None);
        let business = Business::new(&medium, &options);
        let sent = Sent::of(&client::orders(6));
        let report = Report::of(&sent, &business, &Shipments::default());
        assert!(!report.agrees());
        let text = report.to_string();
        for line in [
            "invoices in the ledger: 0, but commands sent: 6",
            "payments booked: 0, but invoices that were not prepaid: 4",
            "copies tapped: 0, but commands and duplicates sent: 6",
            "documents as ordered: 0, but queries: 6",
        ] {
            assert!(text.contains(line), "no `{line}` in\n{text}");
        }
        assert!(!text.contains("the numbers agree"), "{text}");
    }

    #[test]
    fn nothing_sent_and_nothing_handled_agree() {
        let options = Options::parse_from(["demo"]);
        let medium = Medium::new(None);
        let business = Business::new(&medium, &options);
        let report = Report::of(&Sent::default(), &business, &Shipments::default());
        assert!(report.agrees(), "{report}");
    }
}
