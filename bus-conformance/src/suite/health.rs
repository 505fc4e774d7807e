//! The health of a bus.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus_core::observe::{EndpointHealth, EndpointState};
use bus_core::transport::Health;
use bus_core::{ConsumeContext, ConsumeResult, Endpoint, RequestError};

use crate::support::contracts::{Answered, Ask, Ordered};
use crate::support::{Outcome, Recorder, Rig};
use crate::test_broker::TestBroker;

/// A bus that runs is healthy; one that stopped says that it is down.
async fn it_says_whether_the_bus_runs(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("healthy");
    let endpoint = Endpoint::new(&queue).consumer(Recorder::<Ordered>::new());
    let bus = broker.start(endpoint).await?;
    let health = bus.health();
    assert!(health.is_healthy(), "{health:?}");
    assert_eq!(health.transport, Health::Up);
    let endpoint = health.endpoint(&queue).ok_or("the endpoint is there")?;
    assert_eq!(
        (endpoint.state, endpoint.is_running(), &endpoint.reason),
        (EndpointState::Running, true, &None)
    );
    assert!(health.is_live() && health.is_ready());
    bus.shutdown().await?;
    let health = bus.health();
    assert!(!health.is_healthy() && !health.is_live() && !health.is_ready());
    assert!(matches!(health.transport, Health::Down(_)));
    assert_eq!(health.endpoints[0].state, EndpointState::Stopped);
    Ok(())
}

/// A paused endpoint takes no messages, says so, and is healthy.
async fn a_paused_endpoint_says_so(broker: &dyn TestBroker) -> Outcome {
    let (queue, other) = (broker.name("pausing"), broker.name("other"));
    let endpoint = |name| Endpoint::new(name).consumer(Recorder::<Ordered>::new());
    let bus = broker
        .bus()
        .endpoint(endpoint(&queue))
        .endpoint(endpoint(&other));
    let bus = bus.start().await?;
    let handle = bus.endpoint(&queue).ok_or("the endpoint is there")?;
    handle.pause().await;
    let health = bus.health();
    assert!(health.is_healthy() && health.is_ready() && !handle.is_running());
    let paused = health.endpoint(&queue).ok_or("the endpoint is there")?;
    assert_eq!(*paused, handle.health());
    assert_eq!(paused.state, EndpointState::Paused);
    let reason = paused.reason.as_deref().unwrap_or_default();
    assert!(reason.contains("paused"), "{paused:?}");
    let since = paused.since;
    assert!(
        health
            .endpoint(&other)
            .is_some_and(EndpointHealth::is_running)
    );
    handle.resume().await?;
    let health = bus.health();
    assert!(health.is_healthy() && handle.is_running());
    assert!(
        health
            .endpoint(&queue)
            .is_some_and(|one| one.since >= since)
    );
    bus.shutdown().await?;
    Ok(())
}

/// A queue that the transport cannot consume makes its endpoint unhealthy, though
/// the broker is there.
async fn a_queue_that_cannot_be_consumed_is_named(broker: &dyn TestBroker) -> Outcome {
    struct Deaf(Mutex<Health>);
    impl Rig for Deaf {
        fn health(&self, _: &str) -> Health {
            self.0.lock().expect("no panic").clone()
        }
    }
    let rig = Arc::new(Deaf(Mutex::new(Health::Up)));
    let queue = broker.name("deaf");
    let endpoint = Endpoint::new(&queue).consumer(Recorder::<Ordered>::new());
    let bus = broker.rigged(&rig).endpoint(endpoint).start().await?;
    assert!(bus.health().is_healthy());
    let reason = "the queue has another argument";
    *rig.0.lock().expect("no panic") = Health::Down(reason.to_owned());
    let health = bus.health();
    let endpoint = &health.endpoints[0];
    assert_eq!(health.transport, Health::Up);
    assert_eq!(
        (endpoint.state, endpoint.reason.as_deref()),
        (EndpointState::Unavailable, Some(reason))
    );
    assert!(!health.is_healthy() && !health.is_ready() && !endpoint.is_running());
    assert!(health.is_live(), "no restart of the process would help");
    bus.shutdown().await?;
    Ok(())
}

/// A reply queue that is not there shows in the health, and in the request that
/// gets no answer for it.
async fn a_reply_queue_that_is_not_there_is_named(broker: &dyn TestBroker) -> Outcome {
    struct Locked {
        endpoint: String,
    }
    impl Rig for Locked {
        fn health(&self, queue: &str) -> Health {
            if queue == self.endpoint {
                Health::Up
            } else {
                Health::Down("it is locked".to_owned())
            }
        }
    }
    let silent = broker.name("silent");
    let rig = Arc::new(Locked {
        endpoint: silent.clone(),
    });
    let consumer = async |_: ConsumeContext<Ask>| -> ConsumeResult { Ok(()) };
    let endpoint = Endpoint::new(&silent).without_subscriptions();
    let bus = broker.rigged(&rig).endpoint(endpoint.consumer(consumer));
    let bus = bus.start().await?;
    assert!(bus.health().is_healthy(), "nothing was asked yet");
    let asked = bus.request::<Answered>(&Ask { number: 1 });
    let asked = asked.to(format!("queue:{silent}"));
    let answer = asked.deadline(Duration::from_secs(1)).await;
    let error = answer.err().ok_or("no answer")?;
    assert!(matches!(error, RequestError::TimedOut { .. }), "{error}");
    assert!(error.to_string().contains("it is locked"), "{error}");
    let health = bus.health();
    assert!(
        matches!(&health.transport, Health::Degraded(reason) if reason.contains("it is locked")),
        "{health:?}"
    );
    bus.shutdown().await?;
    Ok(())
}

behaviours! { health:
    a_reply_queue_that_is_not_there_is_named,
    it_says_whether_the_bus_runs,
    a_paused_endpoint_says_so,
    a_queue_that_cannot_be_consumed_is_named,
}
