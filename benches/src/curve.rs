//! How the rates grow with the work: curves without a cliff.

use crate::case::Case;
use crate::contender::Contender;
use crate::load::{Load, Store, Work};
use crate::outcome::{Bar, Outcome, Quantity};
use crate::plan::Plan;
use crate::plot::{Plot, Scale, Series};

/// A cliff is a point where the share of the client's rate is less than this part of the share at the point before.
/// What makes the client itself slower, as large bodies do, is none.
const CLIFF: f64 = 0.5;

/// Curves that are drawn together.
pub(crate) struct Curves {
    name: &'static str,
    title: &'static str,
    axis: &'static str,
    file: &'static str,
    rates: Scale,
    points: &'static [usize],
    loads: Vec<Curve>,
}

/// What a curve is called, and its load at a point.
type Curve = (&'static str, fn(usize) -> Load);

pub(crate) fn all() -> Vec<Curves> {
    vec![
        Curves {
            name: "curve-body",
            title: "Rate against body size",
            axis: "text in each message, in bytes",
            file: "rate-by-body-size.svg",
            rates: Scale::Logarithmic,
            points: &[100, 700, 10_000, 100_000, 1_000_000],
            loads: vec![
                ("publish", |text| Load {
                    text,
                    ..Load::new(Work::Publish, Store::Quorum)
                }),
                ("consume", |text| Load {
                    text,
                    ..Load::new(Work::Consume, Store::Quorum)
                }),
            ],
        },
        Curves {
            name: "curve-endpoints",
            title: "Rate against endpoints",
            axis: "endpoints, each with a queue",
            file: "rate-by-endpoints.svg",
            rates: Scale::Linear,
            points: &[1, 10, 100],
            loads: vec![("send and consume", |queues| Load {
                queues,
                ..Load::new(Work::Spread, Store::Quorum)
            })],
        },
        Curves {
            name: "curve-tasks",
            title: "Rate against publishing tasks",
            axis: "tasks that publish",
            file: "rate-by-tasks.svg",
            rates: Scale::Linear,
            points: &[1, 8, 64],
            loads: vec![("publish", |tasks| Load {
                tasks,
                ..Load::new(Work::Publish, Store::Quorum)
            })],
        },
    ]
}

impl Curves {
    /// The cases of one curve, a point each.
    fn cases(&self, label: &str, load: fn(usize) -> Load) -> Vec<Case> {
        let several = self.loads.len() > 1;
        let name = if several {
            format!("{}-{label}", self.name)
        } else {
            self.name.to_owned()
        };
        let case = |point: &usize| {
            Case::new(format!("{name}-{point}"), load(*point)).least(
                Quantity::Rate,
                Contender::LAPIN,
                CLIFF,
            )
        };
        self.points.iter().map(case).collect()
    }

    /// Whether a plan asks for one of the points: they are run together, as each is judged by the one before.
    pub(crate) fn is_selected(&self, plan: &Plan) -> bool {
        let mut cases = self
            .loads
            .iter()
            .flat_map(|(label, load)| self.cases(label, *load));
        cases.any(|case| case.name.contains(&plan.filter))
    }

    /// Runs all points, and draws them.
    pub(crate) async fn run(&self, plan: &Plan, mut told: impl FnMut(Outcome)) {
        let mut plot = Plot::new(self.title, self.axis, self.rates);
        for (label, load) in &self.loads {
            let mut curve = Vec::new();
            for case in self.cases(label, *load) {
                for outcome in case.run(plan).await {
                    let outcome = beside(curve.last(), outcome);
                    told(outcome.clone());
                    curve.push(outcome);
                }
            }
            let points = |of: fn(&Outcome) -> f64| {
                self.points
                    .iter()
                    .copied()
                    .zip(curve.iter().map(of))
                    .collect()
            };
            plot.add(Series::solid(
                format!("{label}, bus"),
                points(|outcome| outcome.ours.value),
            ));
            plot.add(Series::thin(
                format!("{label}, lapin alone"),
                points(|outcome| outcome.baseline.value),
            ));
        }
        plot.write(self.file);
    }
}

/// The outcome at a point, with the bar that the point before sets.
fn beside(before: Option<&Outcome>, outcome: Outcome) -> Outcome {
    // A share above the client's own is luck or a short run of the client; no point must live up to it.
    let bar = before.map_or(1.0, |before| before.ratio().min(1.0)) * CLIFF;
    Outcome {
        bar: Bar::AtLeast((bar * 100.0).round() / 100.0),
        ..outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Middle;

    fn point(ours: f64, baseline: f64) -> Outcome {
        let middle = |value| Middle { value, spread: 0.0 };
        Outcome {
            name: String::new(),
            quantity: Quantity::Rate,
            ours: middle(ours),
            baseline: middle(baseline),
            bar: Bar::AtLeast(0.0),
            limit: Bar::None,
        }
    }

    #[test]
    fn a_sudden_fall_is_a_cliff() {
        let first = beside(None, point(90.0, 100.0));
        assert!(first.meets_its_bar());
        assert!(!beside(Some(&first), point(40.0, 100.0)).meets_its_bar());
        assert!(!beside(None, point(40.0, 100.0)).meets_its_bar());
        let lucky = point(130.0, 100.0);
        assert!(beside(Some(&lucky), point(51.0, 100.0)).meets_its_bar());
    }

    #[test]
    fn what_slows_the_client_too_is_none() {
        let first = beside(None, point(90.0, 100.0));
        assert!(beside(Some(&first), point(0.8, 1.0)).meets_its_bar());
    }

    #[test]
    fn curves_are_selected_as_a_whole() {
        let plan = |filter: &str| Plan {
            filter: filter.to_owned(),
            rounds: 1,
            messages: 1000,
            masstransit: false,
        };
        let selected = |filter| {
            let plan = plan(filter);
            let curves = all()
                .into_iter()
                .filter(move |curves| curves.is_selected(&plan));
            curves.map(|curves| curves.name).collect::<Vec<_>>()
        };
        assert_eq!(selected("curve-body-consume"), ["curve-body"]);
        assert_eq!(selected("curve").len(), 3);
        assert!(selected("publish-quorum").is_empty());
    }
}
