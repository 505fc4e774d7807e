//! The derives of `bus_core`, and its attribute for consumers; use them through it.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod consumers;
mod expand;
mod name;
mod options;
mod reply;
mod saga_state;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `Message`: gives a type the name under which it travels.
///
/// ```
/// use bus_core::Message;
/// use serde::{Deserialize, Serialize};
/// use uuid::Uuid;
///
/// #[derive(Serialize, Deserialize, Message)]
/// #[message(
///     "Invoicing:InvoiceCreated",
///     implements("Invoicing:InvoiceEvent"),
///     alias("Billing:InvoiceMade"),
///     correlation = "invoice_id"
/// )]
/// struct InvoiceCreated {
///     invoice_id: Uuid,
/// }
///
/// #[derive(Serialize, Deserialize, Message)]
/// #[message("Invoicing:Changed")]
/// struct Changed<T> {
///     after: T,
/// }
///
/// assert_eq!(
///     Changed::<InvoiceCreated>::message_type().urn(),
///     "urn:message:Invoicing:Changed[[Invoicing:InvoiceCreated]]"
/// );
/// ```
///
/// | in `#[message(…)]` | means |
/// |---|---|
/// | `"Namespace:Name"` | the wire name, first, with a namespace; nested types are joined by `+` |
/// | `implements("A:B", …)` | base contracts: their consumers receive this type too |
/// | `alias("A:Old", …)` | names that consumers of this type still accept |
/// | `correlation = "member"` | the member, a `Uuid` or `Option<Uuid>`, that gives the correlation id |
///
/// A member of another type cannot carry the correlation id:
///
/// ```compile_fail,E0277
/// use bus_core::Message;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Message)]
/// #[message("Invoicing:InvoiceCreated", correlation = "number")]
/// struct InvoiceCreated {
///     number: u32,
/// }
/// ```
///
/// Names are checked when the crate is compiled. The type parameters of a generic message are
/// messages themselves, and become part of its name. No member is taken for the correlation id by
/// its name alone.
#[proc_macro_derive(Message, attributes(message))]
pub fn derive_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::message(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Implements `Reply` for an enum whose variants each hold a message.
///
/// They are the replies that a request accepts.
///
/// ```
/// use bus_core::{Bus, Message, Reply, RequestError};
/// use serde::{Deserialize, Serialize};
///
/// # #[derive(Serialize, Deserialize, Message)] #[message("Stock:CheckStock")] struct CheckStock { sku: String }
/// #[derive(Serialize, Deserialize, Message)]
/// #[message("Stock:StockLevels")]
/// struct StockLevels { on_hand: u32 }
///
/// #[derive(Serialize, Deserialize, Message)]
/// #[message("Stock:SkuUnknown")]
/// struct SkuUnknown { sku: String }
///
/// #[derive(Reply)]
/// enum StockAnswer {
///     Levels(StockLevels),
///     Unknown(SkuUnknown),
/// }
///
/// async fn on_hand(bus: &Bus, sku: &str) -> Result<u32, RequestError> {
///     match bus.request(&CheckStock { sku: sku.to_owned() }).await? {
///         StockAnswer::Levels(levels) => Ok(levels.on_hand),
///         StockAnswer::Unknown(_) => Ok(0),
///     }
/// }
/// ```
///
/// A reply of a type that no variant holds ends the request with `RequestError::UnexpectedReply`.
#[proc_macro_derive(Reply)]
pub fn derive_reply(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    reply::reply(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Implements `SagaState` of `bus_saga` for an enum without data.
///
/// A state is stored under the name of its variant, or under the one of `#[state("…")]`, which a
/// variant keeps when it is renamed. Use it through `bus_saga`, whose documentation has an example.
#[proc_macro_derive(SagaState, attributes(state))]
pub fn derive_saga_state(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    saga_state::saga_state(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes each method of an `impl` block the consumer of the message that it takes.
///
/// One instance is shared by all of them: `Endpoint::consumers` takes it. Each method is a
/// `Consumer` of its message, and may return any error that becomes a `ConsumeError`. A method
/// `fn unit_of_work(&self) -> Arc<dyn UnitOfWork>` gives that of all of them. Other methods
/// belong in another `impl` block.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use bus_core::consume::consumers;
/// use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message, SendError};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)] #[message("Shop:OrderPaid")] struct OrderPaid {}
/// # #[derive(Serialize, Deserialize, Message)] #[message("Shop:OrderShipped")] struct OrderShipped {}
///
/// #[derive(Default)]
/// struct Shipping {
///     shipped: AtomicU32,
/// }
///
/// #[consumers]
/// impl Shipping {
///     async fn ship(&self, ctx: ConsumeContext<OrderPaid>) -> Result<(), SendError> {
///         ctx.publish(&OrderShipped {}).await
///     }
///
///     async fn count(&self, _: ConsumeContext<OrderShipped>) -> ConsumeResult {
///         self.shipped.fetch_add(1, Relaxed);
///         Ok(())
///     }
/// }
///
/// let endpoint = Endpoint::new("shipping").consumers(Shipping::default());
/// # let _ = endpoint;
/// ```
#[proc_macro_attribute]
pub fn consumers(options: TokenStream, item: TokenStream) -> TokenStream {
    let written = proc_macro2::TokenStream::from(item.clone());
    let expanded = consumers::consumers(&options.into(), item.into());
    expanded
        .unwrap_or_else(|error| {
            let error = error.into_compile_error();
            // The block stays, so that its own errors are seen, and no others follow.
            quote::quote!(#written #error)
        })
        .into()
}
