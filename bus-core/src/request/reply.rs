//! Types of replies that a requester accepts.

use crate::codec::{DecodeError, decode_message};
use crate::message::{Contract, Envelope, HeaderValue, Headers, Message};

/// Reply to a request: a message, or one of several types.
///
/// Several are named by [`OneOf2`] and [`OneOf3`]. A reply of another type ends the request with
/// [`UnexpectedReply`](crate::RequestError::UnexpectedReply).
///
/// ```
/// # use bus_core::request::OneOf2;
/// # use bus_core::{Bus, Message, RequestError};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)] #[message("Stock:CheckStock")] struct CheckStock { sku: String }
/// # #[derive(Serialize, Deserialize, Message)] #[message("Stock:StockLevels")] struct StockLevels { on_hand: u32 }
/// # #[derive(Serialize, Deserialize, Message)] #[message("Stock:SkuUnknown")] struct SkuUnknown { sku: String }
/// async fn on_hand(bus: &Bus) -> Result<u32, RequestError> {
///     match bus.request(&CheckStock { sku: "A-7".into() }).await? {
///         OneOf2::First(StockLevels { on_hand }) => Ok(on_hand),
///         OneOf2::Second(SkuUnknown { .. }) => Ok(0),
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the reply of a request",
    label = "neither a message nor an enum of messages",
    note = "derive `Message` for a message, or `Reply` for an enum whose variants each hold one"
)]
pub trait Reply: Sized + Send + 'static {
    /// The accepted contracts.
    fn contracts() -> Vec<&'static Contract>;

    /// Decodes the reply if it is of an accepted type; `None` if it is not.
    fn from_envelope(envelope: &Envelope) -> Option<Result<Self, DecodeError>>;

    /// The URNs of all accepted types, as they travel with the request.
    fn accept_types() -> Vec<HeaderValue> {
        Self::contracts()
            .iter()
            .filter_map(|contract| contract.urns.first())
            .map(|urn| urn.as_ref().into())
            .collect()
    }
}

impl<M: Message> Reply for M {
    fn contracts() -> Vec<&'static Contract> {
        vec![Contract::of::<M>()]
    }

    fn from_envelope(envelope: &Envelope) -> Option<Result<Self, DecodeError>> {
        let accepted = Contract::of::<M>()
            .accepted_urns
            .iter()
            .any(|urn| envelope.is_of_type(urn));
        accepted.then(|| decode_message(&envelope.message))
    }
}

macro_rules! one_of {
    ($(#[$doc:meta])* $name:ident { $($variant:ident($type:ident)),+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(clippy::exhaustive_enums)]
        pub enum $name<$($type),+> {
            $(
                /// The reply is of this type.
                $variant($type),
            )+
        }

        impl<$($type: Message),+> Reply for $name<$($type),+> {
            fn contracts() -> Vec<&'static Contract> {
                vec![$(Contract::of::<$type>()),+]
            }

            fn from_envelope(envelope: &Envelope) -> Option<Result<Self, DecodeError>> {
                $(
                    if let Some(reply) = $type::from_envelope(envelope) {
                        return Some(reply.map(Self::$variant));
                    }
                )+
                None
            }
        }
    };
}

one_of! {
    /// Reply of one of two types.
    OneOf2 { First(A), Second(B) }
}

one_of! {
    /// Reply of one of three types.
    OneOf3 { First(A), Second(B), Third(C) }
}

/// Reply with its metadata.
#[derive(Clone, Debug)]
pub struct Response<R> {
    message: R,
    envelope: Envelope,
}

impl<R> Response<R> {
    pub(crate) fn new(message: R, envelope: Envelope) -> Self {
        Self { message, envelope }
    }

    /// The reply.
    pub fn message(&self) -> &R {
        &self.message
    }

    /// The reply, without its metadata.
    pub fn into_message(self) -> R {
        self.message
    }

    /// Metadata of the reply: ids and addresses.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Headers of the reply.
    pub fn headers(&self) -> &Headers {
        &self.envelope.headers
    }
}
