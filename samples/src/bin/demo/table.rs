//! Figures in columns.

use std::collections::BTreeMap;
use std::fmt;

/// Labelled figures, and the work of each endpoint on each machine.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<(&'static str, usize)>,
    work: Vec<(String, Vec<usize>)>,
}

impl Table {
    pub(crate) fn row(&mut self, label: &'static str, value: usize) {
        self.rows.push((label, value));
    }

    /// What each machine handled. One that got nothing shows as 0.
    pub(crate) fn machines<'a>(
        &mut self,
        work: impl Iterator<Item = (&'a str, &'a BTreeMap<u32, usize>)>,
    ) {
        let work = work.map(|(endpoint, by_machine)| {
            let last = by_machine.keys().next_back().copied().unwrap_or_default();
            let counts =
                (1..=last).map(|machine| by_machine.get(&machine).copied().unwrap_or_default());
            (endpoint.to_owned(), counts.collect())
        });
        self.work.extend(work);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (label, value) in &self.rows {
            writeln!(f, "{label:<36}{value:>10}")?;
        }
        let machines = self
            .work
            .iter()
            .map(|(_, counts)| counts.len())
            .max()
            .unwrap_or_default();
        write!(f, "\n{:<36}", "deliveries by machine")?;
        for machine in 1..=machines {
            write!(f, "{:>10}", format!("#{machine}"))?;
        }
        for (endpoint, counts) in &self.work {
            write!(f, "\n  {endpoint:<34}")?;
            counts
                .iter()
                .try_for_each(|count| write!(f, "{count:>10}"))?;
        }
        writeln!(f)
    }
}
