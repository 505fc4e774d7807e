//! PostgreSQL.

mod idempotency;
mod inbox;
mod operators;
mod outbox;
mod recurring;
mod relay;
mod sagas;
mod schema;
