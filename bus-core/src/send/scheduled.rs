//! Sends that give what is not due yet to a scheduler.

use std::sync::Arc;

use async_trait::async_trait;

use super::dispatch::{Direct, Dispatch};
use super::due::Due;
use super::scheduler::Scheduler;
use super::sealed::SealedMessage;
use crate::error::SendError;
use crate::transport::ScheduleToken;

/// Sends at once what is due, and has the rest kept.
#[derive(Debug)]
pub(crate) struct Scheduled {
    direct: Arc<Direct>,
    scheduler: Arc<dyn Scheduler>,
}

impl Scheduled {
    pub(crate) fn new(direct: Arc<Direct>, scheduler: Arc<dyn Scheduler>) -> Self {
        Self { direct, scheduler }
    }

    fn past(&self) -> Arc<dyn Dispatch> {
        Arc::clone(&self.direct) as Arc<dyn Dispatch>
    }

    pub(crate) async fn cancel(&self, token: ScheduleToken) -> Result<bool, SendError> {
        self.scheduler.cancel(token, self.past()).await
    }
}

#[async_trait]
impl Dispatch for Scheduled {
    async fn dispatch(self: Arc<Self>, sealed: SealedMessage) -> Result<(), SendError> {
        if sealed.due.and_then(Due::instant).is_none() {
            return Arc::clone(&self.direct).dispatch(sealed).await;
        }
        let watch = self.direct.watch(&sealed);
        let kept = self.scheduler.schedule(sealed, self.past()).await;
        if let Some(watch) = watch {
            watch.end(&kept);
        }
        kept
    }

    fn keeps_until_due(&self) -> bool {
        true
    }
}
