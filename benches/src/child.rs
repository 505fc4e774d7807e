//! The process of a contender: this program, called with a job.

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::bus::{self, Counter, Subject};
use crate::contender::Contender;
use crate::figures::Figures;
use crate::load::{Load, QUEUE, Work};
use crate::process::resident_memory;
use crate::raw::{self, Sample};
use crate::raw_request::{self, Care};
use crate::{backlog, bus_request, delayed, inbox, memory, outbox};

/// The first argument of this program where it is a child.
const CHILD: &str = "child";

/// Who does what, as the second argument.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) contender: Contender,
    pub(crate) load: Load,
    pub(crate) place: Place,
    pub(crate) count: usize,
}

/// Where a contender works.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The virtual host of the broker.
    pub(crate) url: String,
    /// The database of the loads that have one.
    pub(crate) database: String,
}

impl Job {
    /// The job of this process, if it is a child.
    pub(crate) fn from_arguments() -> Option<Self> {
        let mut arguments = std::env::args().skip(1);
        if arguments.next()? != CHILD {
            return None;
        }
        let job = arguments.next().unwrap_or_default();
        Some(serde_json::from_str(&job).expect("a job"))
    }

    pub(crate) fn command(&self) -> Command {
        let program = std::env::current_exe().expect("this program");
        let job = serde_json::to_string(self).expect("JSON");
        let mut command = Command::new(program);
        command.args([CHILD, &job]);
        command
    }

    /// Does it, and prints the line.
    pub(crate) async fn run(self) {
        let figures = match self.contender {
            Contender::Channel => memory::channel(self.count).await,
            Contender::Lapin { batch } => self.lapin(batch, Care::Bare).await,
            Contender::LapinAsSafe => self.lapin(1, Care::AsTheBus).await,
            Contender::Without => self.without().await,
            _ => self.bus().await,
        };
        println!("{}", serde_json::to_string(&figures).expect("JSON"));
    }

    async fn bus(&self) -> Figures {
        let Self {
            place, load, count, ..
        } = self;
        let (url, load, count) = (&place.url, *load, *count);
        match load.work {
            Work::Publish | Work::PublishBesideNew => bus::publish(url, load, count).await,
            Work::Consume | Work::ConsumeBesideHeld | Work::ConsumeIdempotent => {
                bus::consume(url, load, count).await
            }
            Work::Outbox => outbox::run(place, load, count).await,
            Work::OutboxIdle => outbox::idle(place, count).await,
            Work::Inbox | Work::FullInbox => inbox::consume(place, load, count).await,
            Work::Backlog => backlog::relay(place, count).await,
            Work::PublishDelayed => delayed::publish(place, count).await,
            Work::DueTogether => delayed::due_together(place, load, count).await,
            Work::EndToEnd | Work::Spread => bus::end_to_end(url, load, count).await,
            Work::Request => bus_request::request(url, load, count).await,
            Work::InMemory => memory::bus(count).await,
            Work::Resident => resident(url, load, count).await,
            Work::StartUp => start_up(url, load).await,
        }
    }

    /// The same without what the case is about.
    async fn without(&self) -> Figures {
        let Self {
            place, load, count, ..
        } = self;
        let (load, count) = (*load, *count);
        match load.work {
            Work::Outbox => outbox::without(place, load, count).await,
            Work::OutboxIdle => outbox::idle_without(place, count).await,
            Work::Inbox => inbox::without_a_bus(place, count).await,
            Work::PublishDelayed => delayed::publish_without(place, count).await,
            Work::DueTogether => delayed::due_at_once(place, load, count).await,
            Work::FullInbox => {
                let load = Load {
                    work: Work::Inbox,
                    ..load
                };
                inbox::consume(place, load, count).await
            }
            _ => {
                let load = Load {
                    work: Work::Consume,
                    ..load
                };
                bus::consume(&place.url, load, count).await
            }
        }
    }

    async fn lapin(&self, batch: usize, care: Care) -> Figures {
        let (url, load, count) = (&self.place.url, self.load, self.count);
        match load.work {
            Work::Publish | Work::PublishBesideNew => {
                raw::publish(url, load, &sample(url, load).await, count).await
            }
            Work::Consume | Work::ConsumeBesideHeld => raw::consume(url, load, batch, count).await,
            Work::Request => {
                bus_request::leave_a_question(url).await;
                let question = raw::sample(url, bus_request::QUEUE).await;
                raw_request::request(url, load, care, question, count).await
            }
            _ => raw::end_to_end(url, load, &sample(url, load).await, count).await,
        }
    }
}

/// A message of the bus, as it comes to the broker.
pub(crate) async fn sample(url: &str, load: Load) -> Sample {
    bus::declare(url, load).await;
    bus::publish(url, load, 1).await;
    let queues = load.queue_names();
    raw::sample(url, queues.first().map_or(QUEUE, String::as_str)).await
}

async fn resident(url: &str, load: Load, count: usize) -> Figures {
    let subject = Subject::start(url, load, Counter::default()).await;
    subject.end_to_end(count).await;
    let resident_before = resident_memory();
    let figures = subject.end_to_end(count * 9).await;
    let resident = resident_memory();
    subject.stop().await;
    Figures {
        resident,
        resident_before,
        ..figures
    }
}

/// Says when the first message is consumed, and ends at the end of its input.
async fn start_up(url: &str, load: Load) -> Figures {
    let counter = Counter::expecting(1);
    let subject = Subject::start(url, load, counter.clone()).await;
    counter.complete().await;
    println!(r#"{{"event":"consumed"}}"#);
    let mut rest = Vec::new();
    // An input that cannot be read has ended.
    let _ = tokio::io::stdin().read_to_end(&mut rest).await;
    subject.stop().await;
    Figures::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Store;

    #[test]
    fn a_job_is_the_second_argument() {
        let job = Job {
            contender: Contender::LAPIN,
            load: Load::new(Work::Publish, Store::Quorum),
            place: Place {
                url: "amqp://localhost".to_owned(),
                database: String::new(),
            },
            count: 7,
        };
        let command = job.command();
        let arguments: Vec<_> = command.as_std().get_args().collect();
        assert_eq!(arguments[0], CHILD);
        let text = arguments[1].to_str().expect("JSON");
        let read: Job = serde_json::from_str(text).expect("a job");
        assert_eq!(
            (read.contender, read.load, read.count),
            (job.contender, job.load, job.count)
        );
    }
}
