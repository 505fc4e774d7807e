//! One round of a load: each contender once, in turn.

use crate::contender::Contender;
use crate::figures::Figures;
use crate::load::{Load, QUEUE, Work};
use crate::vhost::VirtualHost;
use crate::{bus, child, masstransit, raw, start_up};

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
        figures[index] = on_its_own(contender, load, vhost.url(), messages).await;
    }
    vhost.close().await;
    figures
}

/// One contender, with a queue that nobody else uses now.
async fn on_its_own(contender: Contender, load: Load, url: &str, messages: usize) -> Figures {
    let count = contender.count(&load, messages);
    match load.work {
        Work::StartUp => start_up::run(contender, load, url).await,
        Work::Publish | Work::PublishBesideNew => {
            declare(contender, load, url).await;
            let figures = contender.run(load, url, count).await;
            raw::purge(url, queue(contender, load)).await;
            figures
        }
        Work::Consume | Work::ConsumeBesideHeld => {
            let sample = match contender {
                Contender::MassTransit => masstransit::sample(url, load.store).await,
                _ => child::sample(url, load).await,
            };
            raw::fill(url, queue(contender, load), &sample, count).await;
            contender.run(load, url, count).await
        }
        _ => contender.run(load, url, count).await,
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
