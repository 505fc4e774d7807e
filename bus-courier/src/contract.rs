//! Shape of MassTransit's contracts: members in any case, unknown ones kept.

use serde::de::DeserializeOwned;
use serde::ser::SerializeMap;
use serde_json::value::RawValue;

use crate::values::{Values, is_null};

/// Members of a contract, taken one by one; what is left is kept as it came.
pub(crate) struct Members(pub(crate) Values);

impl Members {
    /// Takes a member that must be there.
    pub(crate) fn required<T: DeserializeOwned, E: serde::de::Error>(
        &mut self,
        name: &'static str,
    ) -> Result<T, E> {
        let value = self.0.take(name).ok_or_else(|| E::missing_field(name))?;
        read(name, &value)
    }

    /// Takes a member that may be absent or `null`.
    pub(crate) fn defaulted<T: DeserializeOwned + Default, E: serde::de::Error>(
        &mut self,
        name: &'static str,
    ) -> Result<T, E> {
        match self.0.take(name) {
            Some(value) if !is_null(&value) => read(name, &value),
            _ => Ok(T::default()),
        }
    }
}

fn read<T: DeserializeOwned, E: serde::de::Error>(name: &str, value: &RawValue) -> Result<T, E> {
    serde_json::from_str(value.get()).map_err(|error| E::custom(format!("{name}: {error}")))
}

/// Writes a value as JSON into a list of members.
pub(crate) fn write_rest<M: SerializeMap>(map: &mut M, rest: &Values) -> Result<(), M::Error> {
    rest.iter()
        .try_for_each(|(name, value)| map.serialize_entry(name, value))
}

/// Defines contracts whose members are found in any case of letters.
///
/// Members that the type does not name travel on as they came. `required` members must be there,
/// `defaulted` ones may be absent or `null`.
macro_rules! contract {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$doc:meta])* pub $field:ident: $type:ty = $how:ident $member:literal, )*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            $( $(#[$doc])* pub $field: $type, )*
            /// Members that are not known here, as they came.
            pub other: $crate::values::Values,
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                let mut map = serializer.serialize_map(None)?;
                $( map.serialize_entry($member, &self.$field)?; )*
                $crate::contract::write_rest(&mut map, &self.other)?;
                map.end()
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let values = serde::Deserialize::deserialize(deserializer)?;
                let mut members = $crate::contract::Members(values);
                Ok(Self {
                    $( $field: members.$how($member)?, )*
                    other: members.0,
                })
            }
        }
    )*};
}

pub(crate) use contract;
