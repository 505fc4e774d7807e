//! Contracts: types that may travel, each with a wire name.

use std::any::TypeId;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::name::MessageType;

/// A contract: a type that can be sent, published, requested or answered.
///
/// Derive it; the wire name is explicit, so that moving or renaming the Rust type does not change
/// what travels.
///
/// ```
/// use bus_core::Message;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Serialize, Deserialize, Message)]
/// #[serde(rename_all = "camelCase")]
/// #[message("Invoicing:InvoiceCreated", implements("Invoicing:InvoiceEvent"))]
/// struct InvoiceCreated {
///     number: String,
/// }
///
/// let name = InvoiceCreated::message_type();
/// assert_eq!(name.urn(), "urn:message:Invoicing:InvoiceCreated");
/// assert_eq!(name.entity_name(), "Invoicing:InvoiceCreated");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a message",
    label = "not a message",
    note = "add `#[derive(Serialize, Deserialize, Message)]` and `#[message(\"Namespace:Name\")]` to the type"
)]
pub trait Message: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Returns the name under which the type travels.
    fn message_type() -> MessageType;

    /// Returns the base contracts that the type fulfils.
    ///
    /// A consumer of one of them receives this type too. Default: none.
    fn implements() -> Vec<MessageType> {
        Vec::new()
    }

    /// Returns old names that consumers of this type still accept.
    ///
    /// Publishing uses the present name only. Default: none.
    fn aliases() -> Vec<MessageType> {
        Vec::new()
    }

    /// Returns the correlation id that the message itself carries.
    ///
    /// Zeros count as none. Default: none.
    fn correlation_id(&self) -> Option<Uuid> {
        None
    }
}

/// Data that the framework keeps of a contract, made once for each type.
#[derive(Debug)]
#[non_exhaustive]
pub struct Contract {
    /// Name of the type itself.
    pub message_type: MessageType,
    /// URNs of the `messageType` list: the type itself, then its base contracts.
    pub urns: Vec<Cow<'static, str>>,
    /// Names of the base contracts.
    pub bases: Vec<MessageType>,
    /// URNs that a consumer of the type matches: its own and its aliases'.
    pub accepted_urns: Vec<String>,
    /// Old names of the type.
    pub aliases: Vec<MessageType>,
    /// Name of the Rust type, for texts that people read.
    pub rust_name: &'static str,
}

impl Contract {
    /// Returns the contract of `M`.
    ///
    /// It is built at the first call, then looked up without a lock; it lives as long as the
    /// program.
    pub fn of<M: Message>() -> &'static Self {
        thread_local! {
            static NEAR: RefCell<HashMap<TypeId, &'static Contract>> = RefCell::default();
        }
        NEAR.with_borrow_mut(|near| {
            *near
                .entry(TypeId::of::<M>())
                .or_insert_with(Self::shared::<M>)
        })
    }

    fn shared<M: Message>() -> &'static Self {
        static ALL: LazyLock<RwLock<HashMap<TypeId, &'static Contract>>> =
            LazyLock::new(RwLock::default);
        let mut all = ALL.write().unwrap_or_else(PoisonError::into_inner);
        // Leaked on purpose: one for each message type of the program, alive as long as the
        // program.
        all.entry(TypeId::of::<M>())
            .or_insert_with(|| Box::leak(Box::new(Self::build::<M>())))
    }

    fn build<M: Message>() -> Self {
        let message_type = M::message_type();
        let bases = M::implements();
        let aliases = M::aliases();
        Self {
            urns: std::iter::once(&message_type)
                .chain(&bases)
                .map(|t| Cow::Owned(t.urn()))
                .collect(),
            accepted_urns: std::iter::once(&message_type)
                .chain(&aliases)
                .map(MessageType::urn)
                .collect(),
            bases,
            aliases,
            rust_name: std::any::type_name::<M>(),
            message_type,
        }
    }
}
