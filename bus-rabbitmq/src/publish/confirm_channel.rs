//! Channel in confirm mode (`confirm.select`), and what the broker has read on it.
//!
//! Without `confirm.select` the client would report every publish as done at once, and none of them
//! would be known to have arrived.

use bus_core::transport::TransportError;
use futures_util::future::{Either, select};
use lapin::options::{BasicQosOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Error, PublisherConfirm};
use tokio::sync::oneshot;

use crate::connection::Live;
use crate::error::failed;

/// Opens a channel and puts it into confirm mode.
pub(super) async fn open(live: &Live) -> Result<Channel, TransportError> {
    let channel = live.channel().await?;
    let confirming = channel
        .confirm_select(ConfirmSelectOptions::default())
        .await;
    confirming.map_err(|error| failed("publisher confirms cannot be switched on", error))?;
    Ok(channel)
}

/// Waits for a confirm, and reports when the broker has read the message.
///
/// RabbitMQ processes the methods of a channel in order, so it has read a message once it answers a
/// method that was sent after it. `basic.qos` is such a method: it is answered at once, and changes
/// nothing on a channel without consumers. A confirm may come much later, or never while a quorum
/// queue has lost its majority.
pub(super) async fn watched(
    channel: &Channel,
    confirm: PublisherConfirm,
    read: oneshot::Sender<()>,
) -> Result<Confirmation, Error> {
    let asked = channel.basic_qos(0, BasicQosOptions::default());
    tokio::pin!(asked);
    match select(confirm, asked).await {
        Either::Left((confirmation, _)) => confirmation,
        Either::Right((answer, confirm)) => {
            if answer.is_ok() {
                // The publisher may be gone.
                let _ = read.send(());
            }
            confirm.await
        }
    }
}
