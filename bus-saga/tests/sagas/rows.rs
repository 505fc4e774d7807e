//! Rows that this program cannot read.

use std::sync::Arc;

use bus_core::consume::UnitOfWork;
use bus_core::error::BoxError;
use bus_core::{ConsumeContext, ConsumeResult, Endpoint, async_trait};
use bus_inmemory::Harness;
use bus_saga::{Find, MemorySagas, SagaRepository, Sagas, StoredInstance};
use uuid::Uuid;

use crate::order::{Order, OrderPaid, ShipOrder, find, order_saga, placed};

/// Instances as another version of the program would have stored them.
#[derive(Debug)]
struct Altered(MemorySagas, fn(&mut StoredInstance));

#[async_trait]
impl SagaRepository for Altered {
    fn unit_of_work(&self) -> Arc<dyn UnitOfWork> {
        self.0.unit_of_work()
    }

    async fn load(
        &self,
        ctx: &ConsumeContext,
        saga: &str,
        find: &Find,
    ) -> ConsumeResult<Option<StoredInstance>> {
        let mut row = self.0.load(ctx, saga, find).await?;
        row.iter_mut().for_each(self.1);
        Ok(row)
    }

    async fn save(
        &self,
        ctx: &ConsumeContext,
        saga: &str,
        instance: StoredInstance,
    ) -> ConsumeResult {
        self.0.save(ctx, saga, instance).await
    }

    async fn read(&self, saga: &str, find: &Find) -> Result<Option<StoredInstance>, BoxError> {
        self.0.read(saga, find).await
    }
}

/// The error of an event that finds such a row; the row and the event are kept.
async fn error_of(alter: fn(&mut StoredInstance)) -> String {
    let sagas = MemorySagas::new();
    let altered = Altered(sagas.clone(), alter);
    let endpoint = order_saga().stored_in(altered).on(Endpoint::new("orders"));
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await.unwrap();
    let order_id = Uuid::now_v7();
    harness.publish(&placed(order_id, "A-7")).await.unwrap();
    harness.quiescent().await;
    harness.publish(&OrderPaid { order_id }).await.unwrap();
    harness.quiescent().await;
    assert!(harness.published::<ShipOrder>().none());
    assert_eq!(harness.transport().waiting("orders_error"), Some(1));
    assert_eq!(find(&Sagas::<Order>::of(sagas), order_id).await.revision, 1);
    let failed = harness.faulted::<OrderPaid>().all();
    let error = failed[0]
        .error()
        .unwrap()
        .replace(&order_id.to_string(), "#");
    harness.shutdown().await.unwrap();
    error
}

#[tokio::test(start_paused = true)]
async fn a_state_that_is_gone_is_an_error_that_says_so() {
    let error = error_of(|row| row.state = Some("AwaitingReview".to_owned())).await;
    let text = "saga `order`: # is stored in state `AwaitingReview`, which this program does not \
                know: add it, or rename one by #[state(\"AwaitingReview\")]";
    assert_eq!(error, text);
}

#[tokio::test(start_paused = true)]
async fn a_row_of_a_newer_version_is_refused() {
    let error = error_of(|row| row.meta = r#"{"version":2,"timers":[]}"#.to_owned()).await;
    let text = "saga `order`: # is stored in version 2, and this program reads up to 1";
    assert_eq!(error, text);
}

#[tokio::test(start_paused = true)]
async fn data_that_cannot_be_read_is_refused() {
    let error = error_of(|row| row.data = "{}".to_owned()).await;
    let text = "saga `order`: the data of # cannot be converted: missing field `number`";
    assert!(error.starts_with(text), "{error}");
}

#[tokio::test(start_paused = true)]
async fn members_that_a_newer_program_adds_are_ignored() {
    let sagas = MemorySagas::new();
    let altered = Altered(sagas.clone(), |row| {
        row.meta = row.meta.replacen('{', r#"{"new":true,"#, 1);
        row.data = row.data.replacen('{', r#"{"new":true,"#, 1);
    });
    let endpoint = order_saga().stored_in(altered).on(Endpoint::new("orders"));
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await.unwrap();
    let order_id = Uuid::now_v7();
    harness.publish(&placed(order_id, "A-7")).await.unwrap();
    harness.quiescent().await;
    harness.publish(&OrderPaid { order_id }).await.unwrap();
    harness.quiescent().await;
    assert_eq!(harness.published::<ShipOrder>().count(), 1);
    harness.shutdown().await.unwrap();
}
