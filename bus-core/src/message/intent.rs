//! The reason for which a message leaves.

/// Why a message leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Intent {
    /// An event, to whoever subscribed.
    Publish,
    /// A command or request, to one address.
    Send,
    /// The answer to a request.
    Respond,
    /// The news that consuming failed.
    Fault,
}
