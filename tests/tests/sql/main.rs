//! The outbox and inbox of `bus-sql`, on PostgreSQL and on SQLite.

// Each test is a function that runs on both, called by a test for each.
#![allow(clippy::unwrap_used)]

mod databases;
mod service;

mod bad_input;
mod brokers;
mod cancelled;
mod clocks;
mod commits;
mod conflicts;
mod consuming;
mod errors;
mod full_disk;
mod killed;
mod migrations;
mod operators;
mod other_libraries;
mod outages;
mod outside;
mod parking;
mod plans;
mod quiet;
mod records;
mod recurring;
mod relay_reads;
mod relaying;
mod relays;
mod saga_brokers;
mod saga_conflicts;
mod sagas;
mod scheduled;
mod scheduler;
mod slips;
mod starting;
