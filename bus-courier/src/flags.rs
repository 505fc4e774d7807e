//! Events that a subscription asks for, and what they hold.

use std::ops::{BitOr, BitOrAssign};

use serde::{Deserialize, Serialize};

/// Events of a routing slip that a subscription asks for.
///
/// Joined by `|`, as in `SlipEvents::COMPLETED | SlipEvents::FAULTED`. They are MassTransit's
/// `RoutingSlipEvents`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SlipEvents(u32);

impl SlipEvents {
    /// All events.
    pub const ALL: Self = Self(0);
    /// The slip has completed.
    pub const COMPLETED: Self = Self(1);
    /// The slip has failed, and what was done is compensated.
    pub const FAULTED: Self = Self(2);
    /// The slip has failed, and its compensation too.
    pub const COMPENSATION_FAILED: Self = Self(4);
    /// An activity has ended the slip.
    pub const TERMINATED: Self = Self(8);
    /// An activity has changed the itinerary.
    pub const REVISED: Self = Self(16);
    /// An activity has completed.
    pub const ACTIVITY_COMPLETED: Self = Self(256);
    /// An activity has failed.
    pub const ACTIVITY_FAULTED: Self = Self(512);
    /// An activity was compensated.
    pub const ACTIVITY_COMPENSATED: Self = Self(1024);
    /// An activity could not be compensated.
    pub const ACTIVITY_COMPENSATION_FAILED: Self = Self(2048);
    /// No event: the subscription does not take the place of a publication.
    ///
    /// Alone, it asks for all events.
    pub const SUPPLEMENTAL: Self = Self(65_536);

    const OF_EVENTS: u32 = 0xFFFF;

    /// Returns `true` if all of `events` are among these, by name.
    pub fn contains(self, events: Self) -> bool {
        self.0 & events.0 == events.0
    }

    /// Returns `true` if a subscription to these events gets this one.
    pub(crate) fn asks_for(self, event: Self) -> bool {
        self.0 & Self::OF_EVENTS == 0 || self.contains(event)
    }
}

impl BitOr for SlipEvents {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for SlipEvents {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

/// Contents of the events of a subscription.
///
/// MassTransit's `RoutingSlipEventContents`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SlipContents(u32);

impl SlipContents {
    /// Everything.
    pub const ALL: Self = Self(0);
    /// The variables of the slip.
    pub const VARIABLES: Self = Self(1);
    /// The arguments of the activity.
    pub const ARGUMENTS: Self = Self(2);
    /// The log of the activity.
    pub const DATA: Self = Self(4);
    /// The itineraries, of a revision or a termination.
    pub const ITINERARY: Self = Self(8);
    /// Nothing of these.
    pub const NONE: Self = Self(256);

    /// Returns `true` if events with these contents hold `part`.
    pub(crate) fn holds(self, part: Self) -> bool {
        self.0 == 0 || self.0 & part.0 == part.0
    }
}

impl BitOr for SlipContents {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for SlipContents {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_supplemental_alone_ask_for_every_event() {
        assert!(SlipEvents::ALL.asks_for(SlipEvents::FAULTED));
        assert!(SlipEvents::SUPPLEMENTAL.asks_for(SlipEvents::FAULTED));
        let two = SlipEvents::COMPLETED | SlipEvents::ACTIVITY_FAULTED;
        assert!(two.asks_for(SlipEvents::ACTIVITY_FAULTED));
        assert!(!two.asks_for(SlipEvents::FAULTED));
        assert!(!(two | SlipEvents::SUPPLEMENTAL).asks_for(SlipEvents::REVISED));
    }

    #[test]
    fn none_holds_nothing_and_all_everything() {
        assert!(SlipContents::ALL.holds(SlipContents::DATA));
        assert!(!SlipContents::NONE.holds(SlipContents::DATA));
        let two = SlipContents::VARIABLES | SlipContents::DATA;
        assert!(two.holds(SlipContents::DATA) && !two.holds(SlipContents::ITINERARY));
    }
}
