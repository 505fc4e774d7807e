//! Targets of published messages, made once for each type.

use std::any::TypeId;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use crate::error::{SendError, SendErrorKind};
use crate::message::Contract;
use crate::topology::{KeyOf, PublishTopologies};
use crate::transport::{Address, Target, Transport};

/// Target of the messages of one type.
#[derive(Clone)]
pub(super) struct PublishTarget {
    pub(super) target: Target,
    pub(super) address: Arc<str>,
    /// Function that makes the routing key of a message.
    pub(super) key: Option<Arc<KeyOf>>,
}

/// Targets that were made.
#[derive(Default)]
pub(super) struct Published(RwLock<HashMap<TypeId, PublishTarget>>);

impl Published {
    /// Returns the target of a type, made at the first call.
    ///
    /// # Errors
    /// That of [`PublishTarget::new`], at each call.
    pub(super) fn get_or_make(
        &self,
        type_id: TypeId,
        new: impl FnOnce() -> Result<PublishTarget, SendError>,
    ) -> Result<PublishTarget, SendError> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(&type_id) {
            return Ok(known.clone());
        }
        drop(known);
        let target = new()?;
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Ok(all.entry(type_id).or_insert(target).clone())
    }
}

impl PublishTarget {
    /// Creates the target of a type, named by the transport.
    ///
    /// # Errors
    /// [`Refused`](SendErrorKind::Refused) for an exchange whose name the transport does not take.
    pub(super) fn new(
        contract: &Contract,
        topologies: &PublishTopologies,
        transport: &dyn Transport,
        base: &str,
    ) -> Result<Self, SendError> {
        let message_type = &contract.message_type;
        let topology = topologies.publisher(message_type, &contract.bases);
        for exchange in &topology.exchanges {
            transport.check_name(&exchange.name).map_err(|error| {
                let text = format!("{message_type} cannot be published: {error}");
                SendError::new(SendErrorKind::Refused, text).with_source(error)
            })?;
        }
        let name = interned(topologies.exchange_of(message_type).name);
        Ok(Self {
            address: Address::exchange(name).to_uri(base).into(),
            target: Target::Exchange {
                name: name.into(),
                topology: Some(Arc::new(topology)),
            },
            key: topologies.key_of(message_type),
        })
    }
}

/// Returns the name with the lifetime of the program, for messages to borrow.
fn interned(name: String) -> &'static str {
    static ALL: LazyLock<RwLock<HashSet<&'static str>>> = LazyLock::new(RwLock::default);
    let mut all = ALL.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = all.get(name.as_str()) {
        return known;
    }
    // Leaked on purpose: one for each exchange that the program publishes to.
    let name: &'static str = name.leak();
    all.insert(name);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once() {
        let (first, again) = (interned("a".to_owned()), interned("a".to_owned()));
        assert!(std::ptr::eq(first, again));
        assert_eq!(interned("b".to_owned()), "b");
    }
}
