//! The begin of a delivery: in the order of its key, and with a slot.

use super::receiver::Receiver;
use crate::consume::{ConsumeContext, Place};
use crate::endpoint::Guarantee;
use crate::error::{ConsumeError, panics};

impl Receiver {
    /// Waits for earlier messages of the same key, then for a slot.
    ///
    /// # Errors
    /// A panic of a key; and a cancellation if the endpoint takes leave before, so that the
    /// delivery goes back.
    pub(crate) async fn begin(
        &self,
        ctx: &ConsumeContext,
        arrival: Option<Place>,
    ) -> Result<(), ConsumeError> {
        let slot = &ctx.received().slot;
        if arrival.is_some() {
            let key = || self.partition_keys.iter().find_map(|key| key.of(ctx));
            let key = panics::caught(key).map_err(|panic| ConsumeError::panicked(&panic))?;
            if let Some(key) = key {
                slot.join(key);
            }
            drop(arrival);
        }
        match self.guarantee {
            // It is acknowledged already, so it cannot go back.
            Guarantee::AtMostOnce => slot.enter().await,
            Guarantee::AtLeastOnce if slot.begin().await => {}
            Guarantee::AtLeastOnce => return Err(ConsumeError::cancelled()),
        }
        Ok(())
    }
}
