//! The table at the end, and the verdict.

use std::collections::BTreeMap;

use crate::lane::Figures;

/// What was seen on both databases.
#[derive(Debug, Default)]
pub(crate) struct Report {
    lanes: Vec<Figures>,
}

impl Report {
    pub(crate) fn add(&mut self, lane: Figures) {
        self.lanes.push(lane);
    }

    /// Prints it; true if nothing was wrong.
    pub(crate) fn print(&self) -> bool {
        println!("database     kills  attempted  confirmed    effects   arrivals    handled");
        for lane in &self.lanes {
            println!(
                "{:<9} {:>8} {:>10} {:>10} {:>10} {:>10} {:>10}",
                lane.name,
                lane.kills.values().sum::<usize>(),
                lane.attempted,
                lane.confirmed,
                lane.effects,
                lane.arrivals,
                lane.taken,
            );
        }
        let mut kills = BTreeMap::<_, usize>::new();
        for (point, count) in self.lanes.iter().flat_map(|lane| &lane.kills) {
            *kills.entry(*point).or_default() += count;
        }
        let points: Vec<_> = kills
            .iter()
            .map(|(point, count)| format!("{count} {point}"))
            .collect();
        println!("killed at: {}", points.join(", "));
        let violations = self.lanes.iter().flat_map(|lane| {
            let name = lane.name;
            lane.violations
                .iter()
                .map(move |what| format!("{name}: {what}"))
        });
        let violations: Vec<_> = violations.collect();
        for violation in &violations {
            println!("WRONG: {violation}");
        }
        let is_well = violations.is_empty();
        let total: usize = kills.values().sum();
        let verdict = if is_well {
            "each effect happened once"
        } else {
            "NOT well"
        };
        println!("{total} kills: {verdict}");
        is_well
    }
}
