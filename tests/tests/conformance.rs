//! Every behaviour on every transport.

bus_tests::conformance!(in_memory, bus_tests::InMemoryStage::new());
bus_tests::conformance!(
    rabbitmq,
    bus_tests::RabbitMqStage::at(&std::env::var("AMQP_URL").unwrap()).await
);
