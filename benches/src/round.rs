//! One round of a load: each contender once, in turn.

use crate::child::Place;
use crate::contender::Contender;
use crate::database::Database;
use crate::figures::Figures;
use crate::load::{Load, QUEUE, Work};
use crate::vhost::VirtualHost;
use crate::{backlog, bus, child, inbox, masstransit, raw, start_up};

/// Runs the contenders one after the other, beginning with another one in each round, and gives their figures in the
/// order in which they are named.
pub(crate) async fn run(
    load: Load,
    contenders: &[Contender],
    number: usize,
    messages: usize,
) -> Vec<Figures> {
    let mut figures = vec![Figures::default(); contenders.len()];
    let vhost = VirtualHost::open().await;
    for turn in 0..contenders.len() {
        let index = (turn + number) % contenders.len();
        let contender = contenders[index];
        let database = Database::open(load.data).await;
        let place = Place {
            url: vhost.url().to_owned(),
            database: database.url(),
        };
        figures[index] = on_its_own(contender, load, &place, messages).await;
        database.close().await;
    }
    vhost.close().await;
    figures
}

/// One contender, with a queue that no other uses now.
async fn on_its_own(contender: Contender, load: Load, place: &Place, messages: usize) -> Figures {
    let (url, count) = (&place.url, contender.count(&load, messages));
    match load.work {
        Work::StartUp => start_up::run(contender, load, place).await,
        Work::Publish
        | Work::PublishBesideNew
        | Work::PublishDelayed
        | Work::Outbox
        | Work::OutboxIdle => {
            declare(contender, load, url).await;
            let figures = contender.run(load, place, count).await;
            raw::purge(url, queue(contender, load)).await;
            figures
        }
        Work::Consume | Work::ConsumeBesideHeld => {
            let sample = match contender {
                Contender::MassTransit => masstransit::sample(url, load.store).await,
                _ => child::sample(url, load).await,
            };
            raw::fill(url, queue(contender, load), &sample, count).await;
            contender.run(load, place, count).await
        }
        Work::ConsumeIdempotent => {
            // Copies of one message would be duplicates.
            bus::declare(url, load).await;
            bus::publish(url, load, count).await;
            contender.run(load, place, count).await
        }
        Work::Inbox | Work::FullInbox => {
            inbox::prepare(contender, load, place, messages).await;
            contender.run(load, place, count).await
        }
        Work::Backlog => {
            backlog::prepare(place, count).await;
            contender.run(load, place, count).await
        }
        _ => contender.run(load, place, count).await,
    }
}

async fn declare(contender: Contender, load: Load, url: &str) {
    match contender {
        Contender::MassTransit => masstransit::declare(url, load.store).await,
        _ => bus::declare(url, load).await,
    }
}

fn queue(contender: Contender, load: Load) -> &'static str {
    match contender {
        Contender::MassTransit => masstransit::queue(load.store),
        _ => QUEUE,
    }
}
