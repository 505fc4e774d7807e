//! Reasons for which a message is sent.

use serde::{Deserialize, Serialize};

/// Reason for which a message is sent.
///
/// A publish that no queue takes is fine by default; a send or a reply that none takes is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Intent {
    /// An event, to all subscribers.
    Publish,
    /// A command or request, to one address.
    Send,
    /// The answer to a request.
    Respond,
    /// The report that consuming failed.
    Fault,
}
