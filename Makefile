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

fuzz: ## each fuzz target for FUZZ_SECONDS (60 unless told); needs `cargo install cargo-fuzz`
	scripts/fuzz.sh

lint: ## formatting, clippy, protobuf files, compose file, charts, crate edges, file sizes, documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	scripts/buf.sh lint
	scripts/compose-check.sh
	scripts/deploy-check.sh
	$(CARGO) xtask edges
	$(CARGO) xtask lines
	$(CARGO) xtask versions
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet

bench: ## measure throughput, latency and memory (minutes; release build)
	scripts/setup.sh
	$(CARGO) build --release --locked -p mcp -p scheduler -p gateway-bench -p mcp-bench
	$(CARGO) build --release --locked -p mcp-engine -p mcp-proto --examples
	$(CARGO) run --release --locked -p mcp-bench

bench-peers: ## measure other task queues and gateways beside ours in one run and print the ratios (installs them)
	bench/peers/run.sh

up: ## start a cluster in containers, wait until it is ready, print the URLs and run the example job
	scripts/up.sh

down: ## stop that cluster; its data stays
	scripts/compose.sh down

e2e: ## run a cluster in containers, break it in many ways and check that nothing is lost (root, Debian; see docs/operations.md)
	$(CARGO) build --release --locked -p gateway -p registry -p scheduler -p worker -p mcp -p log-report
	scripts/e2e.sh

.PHONY: help demo test nightly fuzz lint bench bench-peers up down e2e
