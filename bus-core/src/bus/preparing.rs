//! The stores on which endpoints work, prepared before anything is declared.

use crate::background::caught;
use crate::bus::builder::BusBuilder;
use crate::consume::Registration;
use crate::endpoint::{Endpoint, Guarantee};
use crate::error::{BoxError, StartError};

impl BusBuilder {
    /// Prepares the stores and units of work of all endpoints, one by one.
    pub(super) async fn prepare_stores(&self) -> Result<(), StartError> {
        for endpoint in &self.endpoints {
            let prepared = caught(self.prepare_stores_of(endpoint)).await;
            prepared.map_err(|source| StartError::Store {
                endpoint: endpoint.name.clone(),
                source,
            })?;
        }
        Ok(())
    }

    async fn prepare_stores_of(&self, endpoint: &Endpoint) -> Result<(), BoxError> {
        let policy = endpoint.policy.clone().over(&self.policy);
        let once = endpoint.guarantee == Guarantee::AtMostOnce;
        if let Some(idempotency) = policy.deduplicates().filter(|_| !once) {
            idempotency.prepare().await?;
        }
        let concurrency = policy.limits(endpoint.batched()).concurrency;
        let consumers = endpoint.registrations.iter();
        for unit in consumers.filter_map(Registration::unit_of_work) {
            unit.prepare(&endpoint.name, concurrency).await?;
        }
        Ok(())
    }
}
