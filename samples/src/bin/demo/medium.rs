//! What the messages of the demo travel on.

use std::fmt;
use std::time::Duration;

use bus_core::transport::Transport as _;
use bus_core::{Bus, BusBuilder};
use bus_inmemory::InMemory;
use bus_rabbitmq::RabbitMq;
use uuid::Uuid;

use crate::apart::Apart;

/// How long a broker is awaited.
const START: Duration = Duration::from_secs(10);

/// A broker of the run's own, in memory, or names of its own on a RabbitMQ that is given.
#[derive(Debug)]
pub(crate) enum Medium {
    InMemory(InMemory),
    RabbitMq {
        transport: Box<RabbitMq>,
        run: String,
    },
}

impl Medium {
    pub(crate) fn new(amqp: Option<&str>) -> Self {
        match amqp {
            None => Self::InMemory(InMemory::new()),
            Some(url) => {
                let run = Uuid::new_v4().simple().to_string().split_off(20);
                let transport = RabbitMq::new(url).connection_name(format!("demo {run}"));
                Self::RabbitMq {
                    transport: Box::new(transport),
                    run,
                }
            }
        }
    }

    /// Begins a bus on a connection of its own, as if it were another process.
    pub(crate) fn bus(&self) -> BusBuilder {
        let bus = match self {
            Self::InMemory(broker) => Bus::builder(broker.clone()),
            Self::RabbitMq { transport, run } => {
                Bus::builder(Apart::new(RabbitMq::clone(transport), run))
            }
        };
        bus.start_timeout(START)
    }
}

impl fmt::Display for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InMemory(_) => f.write_str("in memory"),
            Self::RabbitMq { transport, run } => {
                write!(f, "on {} as run {run}", transport.base_address())
            }
        }
    }
}
