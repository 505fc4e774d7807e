//! What is done to the lanes and their broker, one after the other.

use std::time::Duration;

use bus_tests::{Broker, Proxy};
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Connection, ConnectionProperties};
use tokio::time::sleep;

use crate::lane::Lane;

/// One kind of fault.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Cut,
    DeleteExchanges,
    DeleteQueues,
    Refuse,
    Freeze,
    DropAnswers,
    Kill,
}

impl Fault {
    /// All of a round.
    pub(crate) const ALL: [Self; 7] = [
        Self::Cut,
        Self::DeleteExchanges,
        Self::DeleteQueues,
        Self::Refuse,
        Self::Freeze,
        Self::DropAnswers,
        Self::Kill,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cut => "connections are cut",
            Self::DeleteExchanges => "exchanges are deleted",
            Self::DeleteQueues => "queues are deleted",
            Self::Refuse => "connections are refused",
            Self::Freeze => "the wire is frozen",
            Self::DropAnswers => "answers are lost",
            Self::Kill => "the broker is killed",
        }
    }

    /// Lets it happen, until it is over.
    pub(crate) async fn strike(self, broker: &Broker, lanes: &[Lane]) {
        let wires = || lanes.iter().flat_map(Lane::wires);
        match self {
            Self::Cut => {
                for _ in 0..5 {
                    wires().for_each(Proxy::cut);
                    sleep(Duration::from_millis(500)).await;
                }
            }
            Self::DeleteExchanges | Self::DeleteQueues => {
                for _ in 0..3 {
                    self.delete(broker, lanes).await;
                    sleep(Duration::from_millis(500)).await;
                }
            }
            Self::Refuse => {
                wires().for_each(|wire| wire.refuse(true));
                wires().for_each(Proxy::cut);
                sleep(Duration::from_secs(3)).await;
                wires().for_each(|wire| wire.refuse(false));
            }
            Self::Freeze => {
                wires().for_each(|wire| wire.freeze(true));
                sleep(Duration::from_secs(7)).await;
                wires().for_each(|wire| wire.freeze(false));
            }
            Self::DropAnswers => {
                wires().for_each(|wire| wire.drop_answers(true));
                sleep(Duration::from_secs(1)).await;
                wires().for_each(Proxy::cut);
                wires().for_each(|wire| wire.drop_answers(false));
            }
            Self::Kill => {
                broker.kill().await;
                broker.start_again().await;
            }
        }
    }

    async fn delete(self, broker: &Broker, lanes: &[Lane]) {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(broker.url(), properties).await;
        let connection = connection.expect("the broker is up");
        let channel = connection.create_channel().await.expect("a channel");
        for lane in lanes {
            let deleted = if matches!(self, Self::DeleteExchanges) {
                let options = ExchangeDeleteOptions::default();
                channel
                    .exchange_delete(lane.exchange().into(), options)
                    .await
            } else {
                let options = QueueDeleteOptions::default();
                let deleted = channel.queue_delete(lane.straws().into(), options).await;
                deleted.map(|_| ())
            };
            deleted.expect("deleted, or not there");
        }
        connection.close(200, "done".into()).await.expect("closed");
    }
}
