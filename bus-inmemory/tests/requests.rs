//! The options of a request, which are those of any message.

use std::time::Duration;

use bus_core::error::SendErrorKind;
use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message, RequestError};
use bus_inmemory::Harness;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Requests:Ask")]
struct Ask {}

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Requests:Answer")]
struct Answer {}

async fn answer(ctx: ConsumeContext<Ask>) -> ConsumeResult {
    Ok(ctx.respond(&Answer {}).await?)
}

#[tokio::test(start_paused = true)]
async fn a_mandatory_request_that_no_queue_takes_fails_at_once() -> Outcome {
    let harness = Harness::start(|bus| bus).await?;
    let asked = harness.bus().request::<Answer>(&Ask {}).mandatory();
    let Err(RequestError::Send(error)) = asked.await else {
        return Err("it was sent".into());
    };
    assert_eq!(error.kind(), SendErrorKind::Unroutable);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nothing_answers_ends_at_its_deadline() -> Outcome {
    let harness = Harness::start(|bus| bus).await?;
    let (began, limit) = (tokio::time::Instant::now(), Duration::from_secs(7));
    let asked = harness.bus().request::<Answer>(&Ask {}).deadline(limit);
    let Err(RequestError::TimedOut { after, .. }) = asked.await else {
        return Err("it did not time out".into());
    };
    assert_eq!((after, began.elapsed()), (limit, limit));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_request_carries_the_ids_that_it_is_given() -> Outcome {
    let endpoint = Endpoint::new("oracle").consumer(answer);
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await?;
    let [message, correlation] = [1, 2].map(Uuid::from_u128);
    let asked = harness.bus().request::<Answer>(&Ask {});
    asked
        .message_id(message)
        .correlation_id(correlation)
        .deliver_in(Duration::from_secs(1))
        .await?;
    harness.quiescent().await;
    let consumed = harness.consumed::<Ask>().all();
    let envelope = consumed[0].envelope();
    assert_eq!(envelope.message_id, Some(message));
    assert_eq!(envelope.correlation_id, Some(correlation));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_request_lives_as_long_as_its_deadline_unless_it_says_less() -> Outcome {
    let harness = Harness::start(|bus| bus).await?;
    let second = Duration::from_secs(1);
    for (ttl, lives) in [(second, second), (second * 60, second * 5)] {
        let asked = harness.bus().request::<Answer>(&Ask {}).to("queue:oracle");
        let asked = asked.deadline(second * 5).ttl(ttl);
        assert!(asked.await.is_err());
        let sent = harness.sent::<Ask>().all();
        let envelope = sent[sent.len() - 1].envelope();
        let until = envelope.expiration_time.zip(envelope.sent_time);
        let lived = until.map(|(until, sent)| until.duration_since(sent));
        assert_eq!(lived.transpose()?, Some(lives));
    }
    Ok(())
}
