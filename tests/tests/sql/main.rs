//! The outbox and inbox of `bus-sql`, on PostgreSQL and on SQLite.

// Each test is a function that runs on both, called by a test for each.
#![allow(clippy::unwrap_used)]

mod databases;
mod service;

mod brokers;
mod commits;
mod consuming;
mod errors;
mod killed;
mod migrations;
mod operators;
mod outages;
mod outside;
mod records;
mod relaying;
mod relays;
