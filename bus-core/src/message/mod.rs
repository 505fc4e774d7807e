//! Contracts, their names, and metadata: envelope, headers, trace context.
//!
//! ```text
//!  Message (a Rust type) ──► MessageType (a wire name) ──► URN in the envelope, name of an exchange
//!         │ codec
//!         ▼
//!  Envelope { ids, addresses, types, times, headers, host, message: JSON }
//! ```

pub(crate) mod contract;
#[doc(hidden)]
pub mod derive_support;
pub(crate) mod envelope;
pub(crate) mod headers;
pub(crate) mod intent;
pub(crate) mod iso8601;
pub(crate) mod name;
pub(crate) mod trace;

pub use contract::Contract;
pub(crate) use contract::Message;
pub use envelope::Envelope;
pub use headers::{HeaderName, HeaderValue};
pub(crate) use headers::{Headers, MAX_HEADERS};
pub use intent::Intent;
pub use name::{InvalidMessageType, MAX_NAME, MessageType};
pub use trace::TraceContext;
