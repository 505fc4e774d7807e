//! A case: a load, and what is compared with whom.

use crate::contender::Contender;
use crate::figures::{Figures, Middle};
use crate::load::Load;
use crate::outcome::{Bar, Outcome, Quantity};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::round;

#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) load: Load,
    pub(crate) measures: Vec<Measure>,
    once: bool,
}

/// One line of a case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measure {
    pub(crate) quantity: Quantity,
    pub(crate) against: Contender,
    pub(crate) bar: Bar,
    /// What our figure itself must be.
    pub(crate) limit: Bar,
}

impl Case {
    pub(crate) fn new(name: impl Into<String>, load: Load) -> Self {
        Self {
            name: name.into(),
            load,
            measures: Vec::new(),
            once: false,
        }
    }

    /// Ours must be at least so many times the other's.
    pub(crate) fn least(self, quantity: Quantity, against: Contender, ratio: f64) -> Self {
        self.measure(quantity, against, Bar::AtLeast(ratio))
    }

    /// Ours must be at most so many times the other's.
    pub(crate) fn most(self, quantity: Quantity, against: Contender, ratio: f64) -> Self {
        self.measure(quantity, against, Bar::AtMost(ratio))
    }

    fn measure(mut self, quantity: Quantity, against: Contender, bar: Bar) -> Self {
        self.measures.push(Measure {
            quantity,
            against,
            bar,
            limit: Bar::None,
        });
        self
    }

    /// Shows a figure beside that of another.
    pub(crate) fn beside(self, quantity: Quantity, against: Contender) -> Self {
        self.measure(quantity, against, Bar::None)
    }

    /// The figure of the last measure must meet this, whatever the other has.
    pub(crate) fn limit(mut self, limit: Bar) -> Self {
        if let Some(measure) = self.measures.last_mut() {
            measure.limit = limit;
        }
        self
    }

    /// One round is enough, as it takes long.
    pub(crate) fn once(mut self) -> Self {
        self.once = true;
        self
    }

    pub(crate) fn line_name(&self, measure: &Measure) -> String {
        let quantity = measure.quantity.suffix();
        format!("{}{quantity}{}", self.name, measure.against.suffix())
    }

    /// The lines that a plan asks for; nothing if there is none.
    pub(crate) fn selected(mut self, plan: &Plan) -> Option<Self> {
        let present = |against| against != Contender::MassTransit || plan.masstransit;
        let mut measures = std::mem::take(&mut self.measures);
        measures.retain(|measure| {
            self.line_name(measure).contains(&plan.filter) && present(measure.against)
        });
        self.measures = measures;
        (!self.measures.is_empty()).then_some(self)
    }

    /// Ours, and the contender that it is compared with.
    fn contenders(&self) -> Vec<Contender> {
        let mut contenders = vec![Contender::Bus];
        for measure in &self.measures {
            if measure.against != Contender::Earlier && !contenders.contains(&measure.against) {
                contenders.push(measure.against);
            }
        }
        contenders
    }

    /// Runs the contenders in turn, several times.
    pub(crate) async fn run(&self, plan: &Plan) -> Vec<Outcome> {
        let contenders = self.contenders();
        let rounds = if self.once { 1 } else { plan.rounds };
        let progress = Progress::of(self, rounds, plan.messages);
        let mut figures = Vec::new();
        for number in 0..rounds {
            progress.round(number);
            figures.push(round::run(self.load, &contenders, number, plan.messages).await);
        }
        progress.end();
        self.outcomes(&contenders, &figures)
    }

    /// `figures` has the contenders' of each round.
    fn outcomes(&self, contenders: &[Contender], figures: &[Vec<Figures>]) -> Vec<Outcome> {
        let of = |contender: Contender, quantity: Quantity| {
            let index = contenders.iter().position(|other| *other == contender);
            let figures = figures.iter().map(|round| match index {
                Some(index) => round[index],
                None => round[0].before(),
            });
            Middle::of(figures.map(|figures| quantity.of(&figures)).collect())
        };
        let outcome = |measure: &Measure| Outcome {
            name: self.line_name(measure),
            quantity: measure.quantity,
            ours: of(Contender::Bus, measure.quantity),
            baseline: of(measure.against, measure.quantity),
            bar: measure.bar,
            limit: measure.limit,
        };
        self.measures.iter().map(outcome).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Store, Work};

    fn case() -> Case {
        Case::new("publish-quorum", Load::new(Work::Publish, Store::Quorum))
            .least(Quantity::Rate, Contender::LAPIN, 0.9)
            .most(Quantity::Cpu, Contender::LAPIN, 1.6)
            .least(Quantity::Rate, Contender::MassTransit, 2.3)
    }

    fn plan(filter: &str, masstransit: bool) -> Plan {
        Plan {
            filter: filter.to_owned(),
            rounds: 1,
            messages: 1000,
            masstransit,
        }
    }

    fn names(case: Option<Case>) -> Vec<String> {
        case.map_or_else(Vec::new, |case| {
            let name = |measure| case.line_name(measure);
            case.measures.iter().map(name).collect()
        })
    }

    #[test]
    fn lines_are_selected_by_a_part_of_their_names() {
        let all = names(case().selected(&plan("quorum", true)));
        let expected = [
            "publish-quorum",
            "publish-quorum-cpu",
            "publish-quorum-vs-masstransit",
        ];
        assert_eq!(all, expected);
        let one = names(case().selected(&plan("-cpu", true)));
        assert_eq!(one, ["publish-quorum-cpu"]);
        assert!(case().selected(&plan("consume", true)).is_none());
    }

    #[test]
    fn a_baseline_that_is_absent_is_left_out() {
        let left = names(case().selected(&plan("", false)));
        assert_eq!(left, ["publish-quorum", "publish-quorum-cpu"]);
        assert!(case().selected(&plan("vs-masstransit", false)).is_none());
    }

    #[test]
    fn each_contender_is_compared_with_its_own_figures() {
        let figures = |rate, cpu| Figures {
            rate,
            cpu,
            ..Figures::default()
        };
        let contenders = case().contenders();
        assert_eq!(
            contenders,
            [Contender::Bus, Contender::LAPIN, Contender::MassTransit]
        );
        let round = vec![figures(95.0, 8.0), figures(100.0, 4.0), figures(38.0, 40.0)];
        let outcomes = case().outcomes(&contenders, &[round]);
        let ratios: Vec<_> = outcomes.iter().map(Outcome::ratio).collect();
        assert_eq!(ratios, [0.95, 2.0, 2.5]);
        let met: Vec<_> = outcomes.iter().map(Outcome::meets_its_bar).collect();
        assert_eq!(met, [true, false, true]);
    }

    #[test]
    fn the_bus_is_compared_with_itself_earlier() {
        let load = Load::new(Work::Resident, Store::Classic);
        let case = Case::new("resident", load).most(Quantity::Resident, Contender::Earlier, 1.1);
        let contenders = case.contenders();
        assert_eq!(contenders, [Contender::Bus]);
        let figures = Figures {
            resident: 22.0,
            resident_before: 20.0,
            ..Figures::default()
        };
        let outcomes = case.outcomes(&contenders, &[vec![figures]]);
        assert!((outcomes[0].ratio() - 1.1).abs() < 1e-9);
    }
}
