//! A delivery as a lane has pulled it.

use crate::consume::{Place, Slot};
use crate::transport::Delivery;

/// A delivery that has not begun.
pub(crate) struct Pulled {
    pub(crate) delivery: Delivery,
    pub(crate) slot: Slot,
    /// Place in the order of arrival, where messages have keys.
    pub(crate) arrival: Option<Place>,
}
