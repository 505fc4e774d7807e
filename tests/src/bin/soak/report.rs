//! The table at the end, and the verdict.

use std::sync::atomic::Ordering;

use crate::books::Sums;
use crate::lane::Kind;
use crate::load::Requests;
use crate::vitals::{MEASURES, Vitals, growth};

/// What was seen in all rounds.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) sums: Vec<(Kind, Sums)>,
    pub(crate) vitals: Vec<Vitals>,
    pub(crate) violations: Vec<String>,
}

impl Report {
    /// Adds the sums of a round.
    pub(crate) fn add(&mut self, kind: Kind, sums: &Sums) {
        match self.sums.iter_mut().find(|(of, _)| *of == kind) {
            Some((_, all)) => all.add(sums),
            None => self.sums.push((kind, sums.clone())),
        }
    }

    /// Prints it; true if nothing was wrong.
    pub(crate) fn print(mut self, requests: &Requests) -> bool {
        let rounds = self.vitals.len();
        println!("queues    attempted  confirmed    handled      again  failures");
        for (kind, sums) in &self.sums {
            let failures: Vec<_> = sums
                .failures
                .iter()
                .map(|(kind, count)| format!("{count} {kind}"))
                .collect();
            println!(
                "{:<9} {:>9} {:>10} {:>10} {:>10}  {}",
                format!("{kind:?}").to_lowercase(),
                sums.attempted,
                sums.confirmed,
                sums.handled,
                sums.again,
                failures.join(", ")
            );
        }
        let [answered, failed, wrong] = [&requests.answered, &requests.failed, &requests.wrong]
            .map(|count| count.load(Ordering::Relaxed));
        println!("requests: {answered} answered, {failed} failed");
        if wrong > 0 {
            self.violations
                .push(format!("{wrong} requests got the answer to another one"));
        }
        self.print_vitals();
        for violation in &self.violations {
            println!("WRONG: {violation}");
        }
        println!(
            "{rounds} rounds: {}",
            if self.violations.is_empty() {
                "all is well"
            } else {
                "NOT well"
            }
        );
        self.violations.is_empty()
    }

    fn print_vitals(&mut self) {
        println!("at rest after each round:");
        for (name, read, ..) in MEASURES {
            let values: Vec<_> = self
                .vitals
                .iter()
                .map(|vitals| read(vitals).to_string())
                .collect();
            println!("  {name:<12} {}", values.join(" "));
        }
        let Some(compared) = growth(&self.vitals) else {
            println!("  too few rounds to tell what grows: three are the least");
            return;
        };
        for (name, before, after, grown) in compared {
            if grown {
                self.violations
                    .push(format!("{name} grew from {before} to {after}"));
            }
        }
    }
}
