//! Background services made of functions, and what they note.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bus_core::background::{BackgroundService, StopSignal};
use bus_core::error::BoxError;
use bus_core::send::Sender;
use futures_util::future::BoxFuture;

use super::Gate;

/// Events of several services and consumers, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn note(&self, event: impl Into<String>) {
        self.0.lock().expect("no panic").push(event.into());
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }
}

type Step<T> = dyn Fn(T) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync;

/// A service made of functions.
pub(crate) struct Scripted {
    name: String,
    prepare: Box<Step<()>>,
    run: Box<Step<(Sender, StopSignal)>>,
}

impl Scripted {
    /// A service that runs until it is stopped.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            prepare: Box::new(|()| Box::pin(async { Ok(()) })),
            run: Box::new(|(_, stop)| {
                Box::pin(async move {
                    stop.requested().await;
                    Ok(())
                })
            }),
        }
    }

    pub(crate) fn preparing<Fut>(
        mut self,
        prepare: impl Fn() -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.prepare = Box::new(move |()| Box::pin(prepare()));
        self
    }

    pub(crate) fn running<Fut>(
        mut self,
        run: impl Fn(Sender, StopSignal) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.run = Box::new(move |(sender, stop)| Box::pin(run(sender, stop)));
        self
    }

    /// A service that stands at a gate, and ignores the stop.
    pub(crate) fn at(name: &str, gate: &Gate) -> Self {
        let gate = gate.clone();
        Self::new(name).running(move |_, _| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok(())
            }
        })
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[async_trait]
impl BackgroundService for Scripted {
    fn name(&self) -> &str {
        &self.name
    }

    async fn prepare(&self) -> Result<(), BoxError> {
        (self.prepare)(()).await
    }

    async fn run(&self, sender: Sender, stop: StopSignal) -> Result<(), BoxError> {
        (self.run)((sender, stop)).await
    }
}

/// A service that notes its preparation, each run and its end.
pub(crate) fn noting(name: &'static str, log: &Log) -> Scripted {
    let (prepared, running) = (log.clone(), log.clone());
    Scripted::new(name)
        .preparing(move || {
            prepared.note(format!("{name} is prepared"));
            async { Ok(()) }
        })
        .running(move |_, stop| {
            let log = running.clone();
            async move {
                log.note(format!("{name} runs"));
                stop.requested().await;
                log.note(format!("{name} ends"));
                Ok(())
            }
        })
}
