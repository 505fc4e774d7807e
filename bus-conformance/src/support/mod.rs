//! Helpers of the suite, for a transport's own tests too.

pub(crate) mod batches;
pub mod contracts;
pub(crate) mod counting_store;
mod diary;
pub(crate) mod fixture;
mod gate;
mod id;
mod outcome;
mod recorder;
mod renamed;
mod rigged;
pub(crate) mod scripted;
pub(crate) mod units;
mod wait;
mod wire;

pub(crate) use diary::Diary;
pub use gate::Gate;
pub use id::unique_id;
pub use outcome::{Failure, Outcome};
pub use recorder::{Recorder, numbers, with};
pub(crate) use renamed::Renamed;
pub use renamed::renamed;
pub use rigged::Rig;
pub(crate) use rigged::Rigged;
pub use wait::{becomes, eventually, until, within};
pub use wire::{Reader, Wire, envelope, raw};
