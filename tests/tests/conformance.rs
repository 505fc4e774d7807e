//! Every behaviour on every transport.

bus_tests::conformance!(in_memory, bus_tests::InMemoryStage::new());
bus_tests::conformance!(
    rabbitmq,
    bus_tests::RabbitMqStage::at(bus_tests::Broker::shared().await.url()).await
);
