//! The consumers of one endpoint, and the choice of the one for a message.

use std::collections::HashMap;

use crate::codec::Codec;
use crate::consume::Registration;
use crate::consume::consumer::is_untyped;
use crate::error::ConsumeError;
use crate::message::Envelope;

/// The consumers of an endpoint by the URN that they accept.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    typed: Vec<Registration>,
    by_urn: HashMap<String, usize>,
    any: Option<Registration>,
}

impl Consumers {
    pub(crate) fn new(registrations: &[Registration]) -> Self {
        let mut consumers = Self::default();
        for registration in registrations {
            let Some(contract) = registration.contract else {
                consumers.any = Some(registration.clone());
                continue;
            };
            for urn in &contract.accepted_urns {
                consumers
                    .by_urn
                    .insert(urn.to_ascii_lowercase(), consumers.typed.len());
                consumers.by_urn.insert(urn.clone(), consumers.typed.len());
            }
            consumers.typed.push(registration.clone());
        }
        consumers
    }

    /// Finds the consumer of the most specific type.
    ///
    /// An envelope lists its types from the most specific on.
    pub(crate) fn find(
        &self,
        codec: Codec,
        envelope: &Envelope,
    ) -> Result<Option<&Registration>, ConsumeError> {
        if is_untyped(codec, envelope) {
            return match (self.typed.as_slice(), &self.any) {
                ([only], None) => Ok(Some(only)),
                (_, Some(any)) => Ok(Some(any)),
                _ => Err(ConsumeError::permanent(
                    "raw JSON without an MT-MessageType header reached an endpoint with several consumers; \
                     send the header, or give the type an endpoint of its own",
                )),
            };
        }
        let index = |urn: &str| {
            self.by_urn
                .get(urn)
                .or_else(|| self.by_urn.get(&urn.to_ascii_lowercase()))
                .copied()
        };
        let typed = envelope
            .message_types
            .iter()
            .find_map(|urn| index(urn))
            .map(|index| &self.typed[index]);
        Ok(typed.or(self.any.as_ref()))
    }

    /// Returns the consumer of everything that no other one accepts.
    pub(crate) fn any(&self) -> Option<&Registration> {
        self.any.as_ref()
    }
}
