//! Calls that go on when their caller is dropped.

use std::future::Future;
use std::panic::resume_unwind;

use tracing::Instrument;

use crate::error::{SqlError, SqlErrorKind};

/// Runs a call to its end in a task of its own.
///
/// A timeout or a shutdown drops the future of a consumer at any await. A dropped `begin` would put
/// a connection with an open transaction back into the pool (sqlx 0.8.4 to 0.9.0,
/// transact-rs/sqlx#4385), and a dropped `commit` would leave its outcome open.
pub(crate) async fn to_the_end<T, E>(
    call: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, SqlError>
where
    T: Send + 'static,
    E: Into<SqlError> + Send + 'static,
{
    match tokio::spawn(call.in_current_span()).await {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(error) => Err(SqlError::new(
                SqlErrorKind::Unavailable,
                "the runtime is being shut down",
            )
            .with_source(error)),
        },
    }
}
