//! Work beside the endpoints that starts and stops with the bus.

pub(crate) mod service;
pub(crate) mod services;
pub(crate) mod stop_signal;
mod supervisor;

pub use service::BackgroundService;
pub(crate) use services::{Services, prepare};
pub use stop_signal::StopSignal;
pub(crate) use supervisor::caught;
