# `make demo` needs Rust alone; `make test` finds or installs what else the tests need.

CARGO ?= cargo
DOTNET ?= dotnet
# The MassTransit to test against: the program that `make interop-peer` builds, or one that was built before.
MASSTRANSIT_PEER ?= $(firstword $(wildcard $(CURDIR)/target/interop/masstransit-peer $(abspath $(CURDIR)/../shared/interop/masstransit-peer)))

.PHONY: help demo test test-containers soak interop interop-where interop-peer lint doc bench bench-micro broker fmt check test-core examples

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# In memory, and on SQLite in temporary files; the services as processes run on a broker, as README.md shows.
demo: ## the sample services in one process; needs Rust alone
	$(CARGO) run --package samples --bin demo

# The tests wait for brokers more than they compute: three at once for each processor.
export RUST_TEST_THREADS ?= $(shell expr 3 \* $$(getconf _NPROCESSORS_ONLN))

# Every test. The broker is the first of AMQP_URL, an installed rabbitmq-server, Docker; PostgreSQL and Redis those of
# POSTGRES_URL and REDIS_URL, or installed ones.
test: ## every test; finds or installs RabbitMQ, PostgreSQL and Redis
	scripts/find-stores
	features="$$(scripts/find-broker)" && $(CARGO) test --workspace --no-fail-fast $$features

# The tests that need a broker, with every one in Docker, also where rabbitmq-server is installed.
test-containers: ## the tests that need a broker, with RabbitMQ in Docker
	scripts/find-stores
	BUS_TEST_CONTAINERS=1 AMQP_URL= $(CARGO) test --package bus-tests --package samples --no-fail-fast --features bus-tests/containers

# Minutes of load under faults, on a broker of its own: what is lost, doubled or leaked? For long: make soak HOURS=8
# Before that, services that are killed at random points: does each effect happen once? More of them: make soak KILLS=1000
soak: ## minutes of kills and of load under faults; HOURS=8 KILLS=1000 for long
	scripts/find-stores
	features="$$(scripts/find-broker)" && $(CARGO) build --package bus-tests --bins $$features && \
	KILLS="$(KILLS)" $(CARGO) run --package bus-tests --bin kills $$features && \
	HOURS="$(HOURS)" $(CARGO) run --package bus-tests --bin soak $$features

# Ours and a real MassTransit on one broker. Needs the program; tests/interop/README.md says how to get it.
interop: ## ours and a real MassTransit on one broker
	@test -x "$(MASSTRANSIT_PEER)" || { echo "no MassTransit to run against: set MASSTRANSIT_PEER, or build it with 'make interop-peer'" >&2; exit 1; }
	features="$$(scripts/find-broker)" && MASSTRANSIT_PEER="$(abspath $(MASSTRANSIT_PEER))" $(CARGO) test --package bus-tests --test interop $$features --features bus-tests/interop

# Prints the program that `make interop` would run; nothing if there is none.
interop-where: ## prints the MassTransit program that interop would run
	@echo "$(wildcard $(MASSTRANSIT_PEER))"

# Needs the .NET SDK 10; what it builds runs without it.
interop-peer: ## builds that program; needs the .NET SDK 10
	@command -v $(DOTNET) >/dev/null 2>&1 || { echo "the .NET SDK 10 is needed: no '$(DOTNET)' on the path" >&2; exit 1; }
	$(DOTNET) publish tests/interop --configuration Release --runtime linux-x64 --self-contained -p:PublishSingleFile=true --output target/interop

lint: ## formatting, and clippy without warnings
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features -- -D warnings

doc: ## the documentation, without warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --all-features --no-deps

fmt: ## formats the code
	$(CARGO) fmt --all

check: ## compiles everything, tests included, without linking it
	$(CARGO) check --workspace --all-targets --all-features

# A round of work on the core takes these alone.
test-core: ## the tests that need no broker: core, derives, in-memory transport
	$(CARGO) test --package bus-core --package bus-macros --package bus-inmemory --package bus-saga
	$(CARGO) test --package bus-tests --test conformance in_memory

# A test target alone does not build the examples that it runs.
examples: ## the one-file examples of samples/examples, as tests
	$(CARGO) build --package samples --examples
	$(CARGO) test --package samples --test examples

# What the bus costs beside the raw client, and beside MassTransit where it is. One case: make bench CASE=publish-quorum
bench: ## the costs of the bus beside the raw client; CASE=publish-quorum for one case
	features="$$(scripts/find-broker)" && CASE="$(CASE)" MASSTRANSIT_PEER="$(abspath $(MASSTRANSIT_PEER))" $(CARGO) run --release --package bus-bench $$features

bench-micro: ## the costs of single steps, without a broker; a minute
	$(CARGO) bench --package bus-bench

# For the sample services, and for a look at exchanges and queues.
broker: ## RabbitMQ in Docker on 5672, its management page on 15672
	docker compose up --detach --wait
