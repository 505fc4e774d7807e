//! Requesters and their replies when connections are lost.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_finds_its_requester_after_a_reconnect() {
    let proxy = proxy().await;
    let (slow, prompt) = (unique("slow-answers"), unique("prompt-answers"));
    let gate = Gate::closed();
    let open = Gate::closed();
    open.open();
    let answers = |queue: &str, gate: &Gate| {
        Endpoint::new(queue).without_subscriptions().consumer(with(
            gate.clone(),
            async |gate: Gate, ctx: ConsumeContext<Ask>| -> ConsumeResult {
                gate.pass().await;
                let number = ctx.message().number;
                ctx.respond(&Answered { number }).await?;
                Ok(())
            },
        ))
    };
    let answering = Bus::builder(RabbitMq::new(Broker::shared().await.url()))
        .endpoint(answers(&slow, &gate))
        .endpoint(answers(&prompt, &open))
        .start()
        .await
        .unwrap();
    let asking = Bus::builder(quick(&proxy.url())).start().await.unwrap();
    let request = {
        let (bus, to) = (asking.clone(), address(&slow));
        tokio::spawn(async move {
            bus.request::<Answered>(&Ask { number: 7 })
                .to(to.as_str())
                .await
        })
    };
    gate.holds(1).await;
    let connections = proxy.connections();
    proxy.cut();
    eventually("both connections are back", async || {
        proxy.connections() >= connections + 2
    })
    .await;
    // A request waits until its reply queue is there again, so this one proves that it is.
    let prompt: Answered = asking
        .request(&Ask { number: 8 })
        .to(address(&prompt))
        .await
        .unwrap();
    assert_eq!(prompt.number, 8);
    gate.open();
    let told = within("the reply to the older request", request).await;
    assert_eq!(told.unwrap().unwrap().number, 7);
    assert_eq!(asking.pending_requests(), 0);
    asking.shutdown().await.unwrap();
    answering.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_that_is_gone_costs_no_other_messages() {
    let (queue, gate) = (unique("gone"), Gate::closed());
    let replies = unique("not-there");
    let bus = Bus::builder(RabbitMq::new(Broker::shared().await.url()))
        .endpoint(
            Endpoint::new(&queue)
                .without_subscriptions()
                .concurrency(64)
                .consumer(with(
                    gate.clone(),
                    async |gate: Gate, ctx: ConsumeContext<Ask>| -> ConsumeResult {
                        gate.pass().await;
                        let number = ctx.message().number;
                        ctx.respond(&Answered { number }).await?;
                        Ok(())
                    },
                )),
        )
        .start()
        .await
        .unwrap();
    let forms = [
        format!("exchange:{replies}"),
        format!("queue:{replies}"),
        format!("exchange:{replies}?temporary=true"),
    ];
    for (number, gone) in (0..30).zip(forms.iter().cycle()) {
        bus.send_to(address(&queue), &Ask { number })
            .response_address(gone.as_str())
            .await
            .unwrap();
    }
    let mut requests = JoinSet::new();
    for number in 100..120 {
        let (bus, to) = (bus.clone(), address(&queue));
        requests.spawn(async move {
            let told: Answered = bus.request(&Ask { number }).to(to.as_str()).await.unwrap();
            assert_eq!(told.number, number);
        });
    }
    gate.holds(50).await;
    gate.open();
    while let Some(answered) = within("the other replies", requests.join_next()).await {
        answered.unwrap();
    }
    bus.shutdown().await.unwrap();
    let channel = client(Broker::shared().await.url()).await;
    assert_eq!(look(&channel, &queue).await.0, 0, "all were consumed");
}
