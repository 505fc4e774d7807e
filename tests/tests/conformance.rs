//! Every behaviour on every transport.

bus_tests::conformance!(in_memory, bus_tests::InMemoryStage::new());
