//! Exact decimal numbers as text.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// An exact decimal number: .NET's `decimal`, kept as the text that travels.
///
/// Written as text; read from text or a number, whose digits are kept as they stand. Calculate with
/// a decimal crate of your choice: parse [`as_str`](Self::as_str). Equality is that of the text, so
/// `1.0` and `1.00` differ.
///
/// A fraction that is a *number* is refused where serde reads the value into a buffer first, as for
/// `#[serde(flatten)]`, `#[serde(untagged)]`, `#[serde(tag = "…")]` and `serde_json::Value`: the
/// buffer keeps the nearest floating point number, which may be another amount. Text and integers
/// up to 64 bits are read there too.
///
/// ```
/// use bus_core::serde_helpers::Decimal;
///
/// let total: Decimal = "129.90".parse()?;
/// assert_eq!(total.to_string(), "129.90");
/// assert!("12,50".parse::<Decimal>().is_err());
/// # Ok::<(), bus_core::serde_helpers::InvalidDecimal>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decimal(String);

impl Decimal {
    /// Wraps text that is known to be a decimal number.
    pub(crate) fn of_digits(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text that travels, digit for digit.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the nearest floating point number.
    ///
    /// It is for display and statistics, not for money.
    pub fn to_f64(&self) -> f64 {
        self.0.parse().unwrap_or(f64::NAN)
    }
}

impl Default for Decimal {
    /// Returns zero.
    fn default() -> Self {
        Self("0".to_owned())
    }
}

impl FromStr for Decimal {
    type Err = InvalidDecimal;

    fn from_str(text: &str) -> Result<Self, InvalidDecimal> {
        if is_decimal(text) {
            Ok(Self::of_digits(text))
        } else {
            Err(InvalidDecimal(text.chars().take(100).collect()))
        }
    }
}

/// Returns `true` for `[-+]digits[.digits][e[-+]digits]`.
///
/// At least one side of the point must have a digit.
fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = |text: &str| text.strip_prefix(['-', '+']).unwrap_or(text).to_owned();
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(unsigned(exponent))),
        None => (text, None),
    };
    let mantissa = unsigned(mantissa);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((&mantissa, ""));
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(&exponent))
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Error for a text that is no decimal number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a decimal number; write it as 129.90")]
pub struct InvalidDecimal(String);
