//! What is sent while the soak runs.

use bus_core::Message;
use serde::{Deserialize, Serialize};

/// To be handled.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message("Soak:Work")]
pub(crate) struct Work {
    pub(crate) id: u64,
    /// Weight.
    pub(crate) text: String,
}

/// The follow-up of one that was handled.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message("Soak:Done")]
pub(crate) struct Done {
    pub(crate) id: u64,
    /// It left an attempt that then failed, and must never be seen.
    pub(crate) of_failed_attempt: bool,
}

/// Goes to a queue that is deleted now and then: it may be lost.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message("Soak:Straw")]
pub(crate) struct Straw {}
