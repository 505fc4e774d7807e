//! Effects of a step: the messages that it sends, as data.

use std::any::TypeId;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bus_core::consume::AnyMessage;
use bus_core::send::{Requester, Sending};
use bus_core::transport::ScheduleToken;
use bus_core::{Address, ConsumeContext, Message, SendError, queue};
use uuid::Uuid;

/// Header with the token of a timeout, as MassTransit names it.
pub(crate) const TOKEN: &str = "MT-Scheduling-TokenId";

/// One effect of a step.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Send(Leaving),
    /// Cancels a timeout.
    Cancel(Uuid),
}

/// Message that leaves with the commit.
#[derive(Clone)]
pub(crate) struct Leaving {
    pub(crate) message: Arc<AnyMessage>,
    pub(crate) type_id: TypeId,
    pub(crate) way: Way,
    name: &'static str,
    send: fn(&Leaving, &ConsumeContext) -> Sending,
}

/// Way of a message.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    Publish,
    Send,
    SendTo(Address),
    Respond,
    /// To the requester of an earlier event.
    RespondTo(Requester),
    /// To the saga itself, later.
    Later {
        saga: Uuid,
        token: Uuid,
        wait: Duration,
    },
    /// To another service, or to its subscriber; the reply comes to the saga.
    Ask {
        saga: Uuid,
        to: Option<Address>,
        token: Uuid,
    },
}

impl Leaving {
    pub(crate) fn new<M: Message>(way: Way, message: M) -> Self {
        Self {
            message: Arc::new(message),
            type_id: TypeId::of::<M>(),
            way,
            name: std::any::type_name::<M>(),
            send: sending::<M>,
        }
    }

    /// Hands the message to the outbox of the attempt.
    pub(crate) async fn leave(&self, ctx: &ConsumeContext) -> Result<(), SendError> {
        (self.send)(self, ctx).await
    }
}

impl fmt::Debug for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaving")
            .field("message", &self.name)
            .field("way", &self.way)
            .finish_non_exhaustive()
    }
}

fn sending<M: Message>(leaving: &Leaving, ctx: &ConsumeContext) -> Sending {
    let message = leaving.message.downcast_ref::<M>();
    let message: &M = message.expect("`new` is the only place where it is made");
    let own = || queue(ctx.endpoint().to_owned());
    match &leaving.way {
        Way::Publish => ctx.publish(message),
        Way::Send => ctx.send(message),
        Way::SendTo(address) => ctx.send_to(address.clone(), message),
        Way::Respond => ctx.respond(message),
        Way::RespondTo(requester) => ctx.respond_to(requester, message),
        Way::Later { saga, token, wait } => {
            let sending = ctx
                .send_to(own(), message)
                .deliver_in(*wait)
                .correlation_id(*saga)
                .header(TOKEN, token.to_string());
            if ctx.dispatch().keeps_until_due() {
                sending.schedule_token(ScheduleToken::from(*token))
            } else {
                sending
            }
        }
        Way::Ask { saga, to, token } => match to {
            Some(address) => ctx.send_to(address.clone(), message),
            None => ctx.publish(message),
        }
        .correlation_id(*saga)
        .request_id(*token)
        .response_address(own()),
    }
}
