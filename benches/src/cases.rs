//! Every case with its bars. `docs/performance.md` says what they mean.

use crate::case::Case;
use crate::contender::Contender;
use crate::load::{Data, Load, Store, Work};
use crate::outcome::Bar;
use crate::outcome::Quantity::{Cpu, Latency, Peak, Rate, Resident, StartUp, Tail};

const LAPIN: Contender = Contender::LAPIN;
const LAPIN_50: Contender = Contender::Lapin { batch: 50 };
const MASSTRANSIT: Contender = Contender::MassTransit;

pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for store in [Store::Quorum, Store::Classic] {
        cases.extend([publish(store), consume(store), end_to_end(store)]);
    }
    cases.push(
        Case::new(
            "publish-beside-new",
            Load::new(Work::PublishBesideNew, Store::Classic),
        )
        .least(Rate, LAPIN, 0.7),
    );
    cases.push(
        Case::new(
            "consume-beside-held",
            Load::new(Work::ConsumeBesideHeld, Store::Classic),
        )
        .least(Rate, LAPIN, 0.9),
    );
    cases.extend(requests());
    let no_queue = |work| Load::new(work, Store::Classic);
    cases.push(
        Case::new("in-memory", no_queue(Work::InMemory))
            .least(Rate, Contender::Channel, 0.5)
            .least(Rate, MASSTRANSIT, 5.0),
    );
    let start_up = Case::new("start-up", no_queue(Work::StartUp));
    cases.push(start_up.most(StartUp, MASSTRANSIT, 0.2));
    let resident = Case::new("resident", no_queue(Work::Resident)).once();
    cases.push(resident.most(Resident, Contender::Earlier, 1.1));
    cases.extend(guarantees());
    cases.extend(times());
    cases
}

/// Bars differ where the broker is slower with one kind of queue.
fn bar(store: Store, quorum: f64, classic: f64) -> f64 {
    match store {
        Store::Quorum => quorum,
        Store::Classic => classic,
    }
}

fn case(name: &str, work: Work, store: Store) -> Case {
    Case::new(format!("{name}-{}", store.name()), Load::new(work, store))
}

fn publish(store: Store) -> Case {
    case("publish", Work::Publish, store)
        .least(Rate, LAPIN, 0.9)
        .most(Cpu, LAPIN, 1.6)
        .least(Rate, MASSTRANSIT, bar(store, 2.3, 1.3))
        .most(Cpu, MASSTRANSIT, 0.33)
        .most(Peak, MASSTRANSIT, 0.2)
}

fn consume(store: Store) -> Case {
    case("consume", Work::Consume, store)
        .least(Rate, LAPIN, 1.0)
        .least(Rate, LAPIN_50, bar(store, 0.7, 0.75))
        .most(Cpu, LAPIN, 2.0)
        .least(Rate, MASSTRANSIT, bar(store, 2.0, 1.7))
        .most(Cpu, MASSTRANSIT, 0.4)
        .most(Peak, MASSTRANSIT, 0.2)
}

fn end_to_end(store: Store) -> Case {
    case("end-to-end", Work::EndToEnd, store)
        .least(Rate, LAPIN, 0.85)
        .least(Rate, MASSTRANSIT, bar(store, 2.2, 1.2))
}

fn requests() -> [Case; 2] {
    let load = |asking| Load {
        asking,
        ..Load::new(Work::Request, Store::Classic)
    };
    [
        Case::new("request-100", load(100))
            .least(Rate, LAPIN, 0.75)
            .least(Rate, Contender::LapinAsSafe, 0.75)
            .least(Rate, MASSTRANSIT, 1.8),
        Case::new("request-latency", load(1))
            .most(Latency, LAPIN, 1.25)
            .most(Latency, Contender::LapinAsSafe, 1.25)
            .most(Latency, MASSTRANSIT, 0.7),
    ]
}

fn guarantees() -> Vec<Case> {
    let load = |work, data| Load {
        data,
        tasks: 8,
        ..Load::new(work, Store::Classic)
    };
    let postgres = |work| load(work, Data::Postgres);
    let five = |load| Load {
        together: 5,
        ..load
    };
    let without = Contender::Without;
    vec![
        Case::new("sql-outbox-5", five(postgres(Work::Outbox)))
            .beside(Rate, without)
            .limit(Bar::AtLeast(5000.0)),
        Case::new("sql-outbox-1", postgres(Work::Outbox))
            .least(Rate, without, 0.6)
            .limit(Bar::AtLeast(2000.0)),
        Case::new("sql-outbox-idle", postgres(Work::OutboxIdle))
            .beside(Latency, without)
            .limit(Bar::AtMost(5.0))
            .beside(Tail, without)
            .limit(Bar::AtMost(30.0)),
        Case::new("sql-consume", postgres(Work::Inbox))
            .least(Rate, without, 0.6)
            .limit(Bar::AtLeast(1500.0)),
        Case::new("sql-backlog", postgres(Work::Backlog))
            .once()
            .least(Rate, Contender::Earlier, 0.8)
            .most(Resident, Contender::Earlier, 1.1),
        Case::new("sql-full-inbox", postgres(Work::FullInbox))
            .once()
            .least(Rate, without, 0.9),
        Case::new("sql-outbox-sqlite", five(load(Work::Outbox, Data::Sqlite)))
            .least(Rate, without, 0.5),
        Case::new(
            "consume-idempotent",
            Load::new(Work::ConsumeIdempotent, Store::Classic),
        )
        .least(Rate, without, 0.95),
    ]
}

fn times() -> Vec<Case> {
    let together = |data| Load {
        data,
        ..Load::new(Work::DueTogether, Store::Classic)
    };
    // Until the last has come, after the time at which all are due.
    let due = |name, data| {
        let case = Case::new(name, together(data)).once();
        case.beside(Latency, Contender::Without)
            .limit(Bar::AtMost(5000.0))
    };
    let delayed = Load::new(Work::PublishDelayed, Store::Classic);
    vec![
        Case::new("publish-delayed", delayed).least(Rate, Contender::Without, 0.4),
        due("due-together", Data::None),
        due("sql-due-together", Data::Postgres),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_line_has_a_name_of_its_own() {
        let names: Vec<_> = all()
            .iter()
            .flat_map(|case| case.measures.iter().map(|measure| case.line_name(measure)))
            .collect();
        let different: HashSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
    }
}
