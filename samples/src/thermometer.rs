//! The thermometer of the warehouse: readings are handled at most once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use bus_core::{ConsumeContext, ConsumeResult, Consumer, Endpoint};

use crate::contracts::TemperatureReading;
use crate::locked;

/// The queue of the readings.
pub const QUEUE: &str = "thermometer";

/// What was shown.
#[derive(Clone, Debug, Default)]
pub struct Display(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    readings: HashSet<u32>,
    repeated: usize,
}

impl Display {
    /// How many readings were shown.
    pub fn shown(&self) -> usize {
        locked(&self.0).readings.len()
    }

    /// How often one was shown that had been shown before.
    pub fn repeated(&self) -> usize {
        locked(&self.0).repeated
    }

    fn show(&self, reading: u32) {
        let mut shown = locked(&self.0);
        if !shown.readings.insert(reading) {
            shown.repeated += 1;
        }
    }
}

/// Readings are acknowledged before they are handled: no retry, no error queue, and none comes again.
pub fn endpoint(display: Display) -> Endpoint {
    Endpoint::new(QUEUE)
        .at_most_once()
        .consumer(Thermometer { display })
}

struct Thermometer {
    display: Display,
}

impl Consumer<TemperatureReading> for Thermometer {
    async fn consume(&self, ctx: ConsumeContext<TemperatureReading>) -> ConsumeResult {
        let TemperatureReading { reading, celsius } = *ctx.message();
        self.display.show(reading);
        tracing::debug!(reading, celsius, "the warehouse is this warm");
        Ok(())
    }
}
