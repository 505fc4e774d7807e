//! Values that .NET writes in its own way.
//!
//! They are for the members of contracts shared with .NET services:
//!
//! | .NET | JSON | here |
//! |---|---|---|
//! | `decimal` | `"129.90"`, read from a number too, digit for digit | [`Decimal`] |
//! | `DateTime`, `DateTimeOffset` | `"2026-02-07T14:05:09.1234567Z"`, with an offset, or without one | [`DateTime`] |
//! | `TimeSpan` | `"1.02:03:04.5000000"` | [`TimeSpan`] |
//! | `byte[]` | `"AQID/w=="` | [`Base64`] |
//!
//! A GUID is a [`Uuid`](uuid::Uuid), an enum a number, a 64-bit integer a plain number.
//! Newtonsoft's serializer leaves out `null`, zero, `false` and unset dates: give such members
//! `#[serde(default)]`.
//!
//! ```
//! use bus_core::Message;
//! use bus_core::codec::decode_message;
//! use bus_core::serde_helpers::{DateTime, Decimal, TimeSpan};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, Message)]
//! #[serde(rename_all = "camelCase", default)]
//! #[message("Acme.Orders:SubmitOrder")]
//! #[derive(Default)]
//! struct SubmitOrder {
//!     total: Decimal,
//!     submitted_at: Option<DateTime>,
//!     patience: Option<TimeSpan>,
//! }
//!
//! let order: SubmitOrder = decode_message(br#"{"total":129.90,"patience":"00:00:30"}"#)?;
//! assert_eq!(order.total.as_str(), "129.90");
//! assert_eq!(order.patience.map(TimeSpan::ticks), Some(300_000_000));
//! # Ok::<(), bus_core::codec::DecodeError>(())
//! ```

mod base64;
mod date_time;
mod decimal;
mod text;
mod time_span;

pub use self::base64::Base64;
pub use date_time::DateTime;
pub(crate) use date_time::{serialize_instant, serialize_optional_instant};
pub use decimal::{Decimal, InvalidDecimal};
pub use time_span::{InvalidTimeSpan, TimeSpan};
