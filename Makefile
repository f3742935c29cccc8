# What one does with Doorward, by name. `make help` lists it.
SHELL := /bin/bash
PREFIX ?= /usr/local
.DEFAULT_GOAL := help
.PHONY: help demo test lint bench load instructions peers endurance dashboard install build-deps clean fuzz

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## a provider, an app and the gateway on this machine, ready to sign in
	@scripts/demo

test: build-deps ## install what the tests need, and run all of them
	@scripts/install-test-deps
	cargo test --locked

lint: build-deps ## format, clippy, dependencies, documentation
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	scripts/check-dependencies
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps --document-private-items
	scripts/check-generated

bench: build-deps ## the benches of the hot path
	cargo bench --locked

load: build-deps ## what the gateway costs beside plain proxying (needs wrk and nginx)
	cargo build --locked --release --bin doorward --example plain_proxy --example demo_provider
	benches/load.py

peers: build-deps ## what verified tokens cost beside HAProxy, Envoy and Apache (installs them, a quarter of an hour)
	@scripts/install-peers
	cargo build --locked --release --bin doorward --example plain_proxy
	benches/venv/bin/python benches/peers.py

endurance: build-deps ## ten issuers, rotating keys and failing key servers for five minutes
	@scripts/install-peers
	cargo build --locked --release --bin doorward
	benches/venv/bin/python benches/endurance.py

dashboard: build-deps ## every query of the Grafana dashboard against a real Prometheus (installs it), and its picture
	cargo build --locked --bin doorward --example demo_provider
	scripts/check-dashboard

instructions: build-deps ## what a request and a token cost in instructions (installs valgrind), held against limits
	@scripts/install-quietly valgrind
	cargo build --locked --profile profiling --bin doorward --example plain_proxy --example demo_provider --example token_costs
	benches/instructions.py --check benches/limits.toml
	benches/token_instructions.py --check benches/limits.toml

fuzz: build-deps ## ten minutes of fuzzing for each of what reads a stranger's bytes
	scripts/fuzz

install: build-deps ## the release binary into /usr/local/bin, or PREFIX=…
	cargo build --locked --release
	install -D -m 755 "$${CARGO_TARGET_DIR:-target}/release/doorward" "$(DESTDIR)$(PREFIX)/bin/doorward"

build-deps:
	@scripts/install-build-deps

clean: ## take away what was built and what the demo made
	cargo clean
	rm -f examples/demo.secret examples/demo.client-secret
	rm -rf tests/artifacts benches/venv
