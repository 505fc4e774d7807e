# `make demo` needs Rust alone; `make test` finds or installs what else the tests need.

CARGO ?= cargo

.PHONY: demo test lint doc bench

# The sample services in one process, on the in-memory transport.
demo:
	$(CARGO) run --package samples --bin demo

# Every test. The broker is the first of AMQP_URL, an installed rabbitmq-server, Docker.
test:
	features="$$(scripts/find-broker)" && $(CARGO) test --workspace --no-fail-fast $$features

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --all-features --no-deps

# What the bus costs beside the raw client. One case: make bench CASE=publish-quorum
bench:
	CASE="$(CASE)" $(CARGO) run --release --package bus-bench
