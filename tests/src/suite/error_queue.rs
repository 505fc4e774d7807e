//! Failed messages themselves: kept as they came, with the reasons.

use std::time::Duration;

use bus_core::transport::Incoming;
use bus_core::{ConsumeContext, Endpoint, HeaderValue, Retry};
use uuid::Uuid;

use super::faults::{Broken, json, text};
use crate::contracts::{LAST, Ordered, Place};
use crate::outcome::Outcome;
use crate::recorder::{Recorder, numbers};
use crate::stage::Stage;
use crate::wait::eventually;
use crate::wire::raw;

/// EQ-01: a failed message lies in the error queue as it came: body, ids and addresses.
pub async fn a_failed_message_is_kept_as_it_came(stage: &dyn Stage) -> Outcome {
    let broken = Broken::start(stage).await?;
    let (id, correlation) = (Uuid::now_v7(), Uuid::now_v7());
    broken
        .bus
        .send_to(broken.address(), &Place { number: 1 })
        .message_id(id)
        .correlation_id(correlation)
        .response_address(format!("queue:{}", stage.name("replies")))
        .fault_address(format!("queue:{}", stage.name("faults")))
        .header("Tenant", "north")
        .await?;
    let sent = broken.seen.next().await;
    let failed = broken.errors.next().await;
    assert_eq!(failed.body, sent.incoming().body);
    assert_eq!(failed.content_type, sent.incoming().content_type);
    assert_eq!(failed.message_id, Some(id.to_string()));
    assert_eq!(failed.correlation_id, Some(correlation.to_string()));
    assert_eq!(text(&failed, "Tenant"), "north");
    let envelope = json(&failed)?;
    for (member, name) in [
        ("destinationAddress", broken.queue.clone()),
        ("responseAddress", stage.name("replies")),
        ("faultAddress", stage.name("faults")),
    ] {
        assert!(
            envelope[member]
                .as_str()
                .is_some_and(|address| address.contains(&name)),
            "{envelope}"
        );
    }
    assert_eq!(envelope["correlationId"], correlation.to_string());
    broken.stop().await
}

/// EQ-02: headers of the kept message say what failed, where, when, and in which process.
pub async fn headers_of_the_kept_message_say_why(stage: &dyn Stage) -> Outcome {
    let fail = Recorder::deciding(|_| Err("12x".parse::<u32>().expect_err("no number").into()));
    let retry = |endpoint: Endpoint| endpoint.retry(Retry::immediate(2));
    let broken = Broken::start_with(stage, fail, retry).await?;
    broken
        .bus
        .send_to(broken.address(), &Place { number: 1 })
        .await?;
    let failed = broken.errors.next().await;
    assert_eq!(text(&failed, "MT-Reason"), "fault");
    assert!(text(&failed, "MT-Fault-ExceptionType").ends_with("ParseIntError"));
    assert_eq!(
        text(&failed, "MT-Fault-Message"),
        "invalid digit found in string"
    );
    assert!(text(&failed, "MT-Fault-InputAddress").ends_with(&broken.queue));
    assert!(text(&failed, "MT-Fault-Timestamp").contains('T'));
    assert!(text(&failed, "MT-Fault-ConsumerType").contains("Recorder"));
    assert_eq!(text(&failed, "MT-Fault-MessageType"), "Conformance.Place");
    assert_eq!(
        failed
            .headers
            .get("MT-Fault-RetryCount")
            .and_then(HeaderValue::as_i64),
        Some(2)
    );
    for name in [
        "MachineName",
        "ProcessName",
        "ProcessId",
        "Assembly",
        "OperatingSystemVersion",
    ] {
        assert!(!text(&failed, &format!("MT-Host-{name}")).is_empty());
    }
    broken.stop().await
}

/// EQ-11: once the message is in the error queue it is nowhere else.
pub async fn a_failed_message_is_in_one_place(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("broken");
    let seen = Recorder::<Place>::failing();
    let bus = stage
        .bus()
        .endpoint(Endpoint::new(&queue).consumer(seen.clone()))
        .start()
        .await?;
    for number in 0..10 {
        bus.send_to(format!("queue:{queue}"), &Place { number })
            .await?;
    }
    seen.take(10).await;
    bus.shutdown().await?;
    eventually("all are settled", || async {
        stage.depth(&queue).await == Some(0)
    })
    .await;
    assert_eq!(stage.depth(&format!("{queue}_error")).await, Some(10));
    assert_eq!(seen.calls(), 10);
    Ok(())
}

/// EQ-14: an endpoint may drop what failed; the message is done all the same.
pub async fn failed_messages_may_be_discarded(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("careless");
    let seen = Recorder::<Place>::failing();
    let endpoint = Endpoint::new(&queue)
        .concurrency(1)
        .discard_faulted()
        .consumer(seen.clone());
    let bus = stage.bus().endpoint(endpoint).start().await?;
    for number in [1, 2] {
        bus.send_to(format!("queue:{queue}"), &Place { number })
            .await?;
    }
    assert_eq!(numbers(&seen.take(2).await), [1, 2]);
    bus.shutdown().await?;
    assert_eq!(stage.depth(&queue).await, Some(0));
    assert_eq!(stage.depth(&format!("{queue}_error")).await.unwrap_or(0), 0);
    Ok(())
}

/// EQ-15: an endpoint on the error queue consumes what failed, typed, with the reasons, and hears no new events.
pub async fn an_error_queue_may_have_a_consumer(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("orders");
    let (seen, repaired) = (Recorder::<Ordered>::failing(), Recorder::<Ordered>::new());
    let bus = stage
        .bus()
        .endpoint(Endpoint::new(&queue).concurrency(1).consumer(seen.clone()))
        .endpoint(
            Endpoint::new(format!("{queue}_error"))
                .concurrency(1)
                .without_subscriptions()
                .consumer(repaired.clone()),
        )
        .start()
        .await?;
    for number in [1, LAST] {
        bus.publish(&Ordered { number }).await?;
    }
    let calls = repaired.until_last().await;
    assert_eq!(
        numbers(&calls),
        [1],
        "one copy from the error queue, none by subscription"
    );
    assert_eq!(calls[0].headers().text("MT-Reason"), Some("fault"));
    assert_eq!(calls[0].headers().text("MT-Fault-Message"), Some("broken"));
    assert_eq!(calls[0].message_id(), seen.next().await.message_id());
    bus.shutdown().await?;
    Ok(())
}

/// EQ-16: a message with a time to live stays in the error queue for good.
pub async fn a_kept_message_does_not_expire(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("broken");
    let seen = Recorder::<Place>::failing();
    let bus = stage
        .bus()
        .endpoint(Endpoint::new(&queue).consumer(seen.clone()))
        .start()
        .await?;
    let ttl = Duration::from_secs(600);
    bus.send_to(format!("queue:{queue}"), &Place { number: 1 })
        .ttl(ttl)
        .await?;
    let call = seen.next().await;
    assert_eq!(
        call.incoming().ttl,
        Some(ttl),
        "it came with a time to live"
    );
    bus.shutdown().await?;
    let wire = stage.wire().await;
    let failed = wire.read(&format!("{queue}_error")).await.next().await;
    assert_eq!(failed.ttl, None);
    wire.close().await;
    Ok(())
}

/// EQ-17: a message moved back from the error queue is consumed as if it were new, and reasons do not pile up.
pub async fn a_message_moved_back_is_consumed_as_new(stage: &dyn Stage) -> Outcome {
    let retry = |endpoint: Endpoint| endpoint.retry(Retry::immediate(1));
    let broken = Broken::start_with(stage, Recorder::failing(), retry).await?;
    broken
        .bus
        .send_to(broken.address(), &Place { number: 1 })
        .header("Tenant", "north")
        .await?;
    let first = broken.errors.next().await;
    let mut again = raw(&broken.queue, first.body.clone());
    again.content_type = first.content_type.clone().map(Into::into);
    again.message_id = first.message_id.clone();
    again.headers = first.headers.clone();
    again
        .headers
        .insert("MT-Fault-StackTrace", "of an earlier failure");
    broken.wire.send(again).await;
    let second = broken.errors.next().await;
    let attempts: Vec<_> = broken
        .seen
        .take(4)
        .await
        .iter()
        .map(ConsumeContext::attempt)
        .collect();
    assert_eq!(attempts, [1, 2, 1, 2]);
    assert_eq!(second.body, first.body);
    let names = |incoming: &Incoming| -> Vec<String> {
        incoming
            .headers
            .iter()
            .map(|(name, _)| name.to_owned())
            .collect()
    };
    assert_eq!(names(&second), names(&first));
    assert!(text(&second, "MT-Fault-Timestamp") >= text(&first, "MT-Fault-Timestamp"));
    broken.stop().await
}

/// An error text of any length is cut, not refused by the broker.
pub async fn a_very_long_error_text_is_cut(stage: &dyn Stage) -> Outcome {
    let fail = Recorder::deciding(|_| Err("ä".repeat(1_000_000).into()));
    let broken = Broken::start_with(stage, fail, |endpoint| endpoint).await?;
    broken
        .bus
        .send_to(broken.address(), &Place { number: 1 })
        .await?;
    let failed = broken.errors.next().await;
    assert_eq!(text(&failed, "MT-Fault-Message").chars().count(), 2048);
    broken.stop().await
}
