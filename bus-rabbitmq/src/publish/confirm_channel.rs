//! A channel whose messages the broker confirms.

use bus_core::transport::TransportError;
use futures_util::future::{Either, select};
use lapin::options::{BasicQosOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Error, PublisherConfirm};
use tokio::sync::oneshot;

use crate::connection::Live;
use crate::error::failed;

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
/// The broker has read it once it answers a later request.
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
