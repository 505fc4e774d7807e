//! Requests and their replies.

pub(crate) mod error;
mod inbox;
mod pending;
pub(crate) mod reply;
pub(crate) mod requesting;

pub use error::RemoteFault;
pub(crate) use inbox::Requests;
pub(crate) use reply::Reply;
pub use reply::{OneOf2, OneOf3, Response};
pub use requesting::{Asked, Requesting};
