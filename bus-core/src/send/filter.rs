//! Filters that change every outgoing message.

use std::fmt;

use super::context::SendContext;
use crate::error::SendError;

/// Filter that changes every outgoing message, for headers such as a tenant.
///
/// Closures are filters too.
///
/// ```
/// use bus_core::send::SendContext;
/// use bus_core::SendError;
///
/// fn tenant(context: &mut SendContext) -> Result<(), SendError> {
///     context.envelope.headers.insert("Tenant", "north");
///     Ok(())
/// }
/// // Bus::builder(transport).on_send(tenant)
/// ```
pub trait SendFilter: Send + Sync + 'static {
    /// Changes or refuses one message, before it is encoded.
    ///
    /// Called once for each message, when it is published, before it is held by an outbox.
    ///
    /// # Errors
    /// An error refuses the message; its sender gets it. A panic refuses it too.
    fn prepare(&self, context: &mut SendContext) -> Result<(), SendError>;
}

impl<F> SendFilter for F
where
    F: Fn(&mut SendContext) -> Result<(), SendError> + Send + Sync + 'static,
{
    fn prepare(&self, context: &mut SendContext) -> Result<(), SendError> {
        self(context)
    }
}

impl fmt::Debug for dyn SendFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendFilter")
    }
}
