//! Consumption of a queue, across losses of connection, channel and queue.

mod ack_window;
mod keeper;
mod listener;
mod redeliveries;
mod settler;
mod stream;
mod subscription;

pub(crate) use listener::QueueListener;
