# Everything a developer or a CI job does. `make` lists it.
.POSIX:
.SILENT:
CARGO = cargo

help: ## list these targets
	awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

demo: ## build, run a real job through `mcp dev`, check its result, stop everything
	$(CARGO) build --release --locked -p mcp -p log-report
	scripts/demo.sh

test: ## run every test (installs etcd for them when it is missing and may be)
	scripts/setup.sh
	$(CARGO) test --workspace --locked

nightly: ## the long tests: 10,000 seeds of every simulation, five minutes of faults on real processes
	scripts/setup.sh
	SEEDS=10000 $(CARGO) test --locked -p mcp-engine -p mcp-cron -p mcp-flow sim
	SEEDS=10000 $(CARGO) test --locked -p scheduler --lib sim
	MCP_CHAOS_SECONDS=300 $(CARGO) test --locked -p mcp --test it chaos -- --nocapture

lint: ## formatting, clippy, protobuf and compose files, crate edges, file sizes, documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	scripts/buf.sh lint
	scripts/compose-check.sh
	$(CARGO) xtask edges
	$(CARGO) xtask lines
	$(CARGO) xtask versions
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet

bench: ## measure throughput, latency and memory (minutes; release build)
	scripts/setup.sh
	$(CARGO) build --release --locked -p mcp -p scheduler -p mcp-bench
	$(CARGO) build --release --locked -p mcp-engine --examples
	$(CARGO) run --release --locked -p mcp-bench

bench-peers: ## measure other task queues beside ours in one run and print the ratios (installs them)
	bench/peers/run.sh

up: ## start a cluster in containers: etcd, collector, Jaeger, Prometheus and the four services
	docker compose up -d --build

down: ## stop that cluster
	docker compose down

.PHONY: help demo test nightly lint bench bench-peers up down
