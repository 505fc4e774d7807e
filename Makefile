# `make demo` needs Rust alone; `make test` finds or installs what else the tests need.

CARGO ?= cargo
DOTNET ?= dotnet
# The MassTransit to test against: the program that `make interop-peer` builds, or one that was built before.
MASSTRANSIT_PEER ?= $(firstword $(wildcard $(CURDIR)/target/interop/masstransit-peer $(abspath $(CURDIR)/../shared/interop/masstransit-peer)))

.PHONY: demo test test-containers soak interop interop-where interop-peer lint doc bench

# The sample services in one process, on the in-memory transport.
demo:
	$(CARGO) run --package samples --bin demo

# Every test. The broker is the first of AMQP_URL, an installed rabbitmq-server, Docker.
test:
	features="$$(scripts/find-broker)" && $(CARGO) test --workspace --no-fail-fast $$features

# The tests that need a broker, with every one in Docker, also where rabbitmq-server is installed.
test-containers:
	BUS_TEST_CONTAINERS=1 AMQP_URL= $(CARGO) test --package bus-tests --package samples --no-fail-fast --features bus-tests/containers

# Minutes of load under faults, on a broker of its own: what is lost, doubled or leaked? For long: make soak HOURS=8
soak:
	features="$$(scripts/find-broker)" && HOURS="$(HOURS)" $(CARGO) run --package bus-tests --bin soak $$features

# Ours and a real MassTransit on one broker. Needs the program; interop/README.md says how to get it.
interop:
	@test -x "$(MASSTRANSIT_PEER)" || { echo "no MassTransit to run against: set MASSTRANSIT_PEER, or build it with 'make interop-peer'" >&2; exit 1; }
	features="$$(scripts/find-broker)" && MASSTRANSIT_PEER="$(abspath $(MASSTRANSIT_PEER))" $(CARGO) test --package bus-tests --test interop $$features --features bus-tests/interop

# Prints the program that `make interop` would run; nothing if there is none.
interop-where:
	@echo "$(wildcard $(MASSTRANSIT_PEER))"

# Needs the .NET SDK 10; what it builds runs without it.
interop-peer:
	@command -v $(DOTNET) >/dev/null 2>&1 || { echo "the .NET SDK 10 is needed: no '$(DOTNET)' on the path" >&2; exit 1; }
	$(DOTNET) publish interop --configuration Release --runtime linux-x64 --self-contained -p:PublishSingleFile=true --output target/interop

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --all-features --no-deps

# What the bus costs beside the raw client, and beside MassTransit where it is. One case: make bench CASE=publish-quorum
bench:
	features="$$(scripts/find-broker)" && CASE="$(CASE)" MASSTRANSIT_PEER="$(abspath $(MASSTRANSIT_PEER))" $(CARGO) run --release --package bus-bench $$features
