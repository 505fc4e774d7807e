//! A share of cases, such as 0.2 for one in five.

use std::str::FromStr;

use uuid::Uuid;

/// How many of all cases: from 0, none, to 1, all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

impl Share {
    /// One in two.
    pub const HALF: Self = Self(0.5);

    /// Whether the next case is one of them, at random.
    pub fn draw(self) -> bool {
        // The random bits of a version 4 UUID, of which these four bytes hold no version.
        let [.., a, b, c, d] = Uuid::new_v4().into_bytes();
        f64::from(u32::from_be_bytes([a, b, c, d])) < self.0 * (f64::from(u32::MAX) + 1.0)
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self(share)),
            _ => Err("expected a share from 0 to 1, such as 0.2".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_from_0_to_1() {
        for text in ["0", "1", "0.25", "1e-3"] {
            assert!(text.parse::<Share>().is_ok(), "{text}");
        }
        for text in ["-0.1", "1.01", "NaN", "inf", "", "a fifth"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn none_and_all_leave_nothing_to_chance() {
        assert!((0..1000).all(|_| Share(1.0).draw() && !Share(0.0).draw()));
    }

    #[test]
    fn a_half_is_about_a_half() {
        let drawn = (0..10_000).filter(|_| Share::HALF.draw()).count();
        // Ten standard deviations on either side.
        assert!((4500..=5500).contains(&drawn), "{drawn}");
    }
}
