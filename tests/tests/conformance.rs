//! Every behaviour on every transport.

bus_conformance::conformance!(in_memory, bus_tests::InMemoryTestBroker::new());
bus_conformance::conformance!(renamed, bus_tests::RenamedTestBroker::default());
bus_conformance::conformance!(
    rabbitmq,
    bus_tests::RabbitMqTestBroker::at(bus_tests::Broker::shared().await.url()).await
);
