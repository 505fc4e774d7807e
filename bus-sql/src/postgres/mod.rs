//! PostgreSQL.

mod idempotency;
mod inbox;
mod operators;
mod outbox;
mod relay;
mod schema;
