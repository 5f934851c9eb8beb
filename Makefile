# Calls cargo and the scripts in tools/, nothing else. `make help` lists the targets.

CARGO ?= cargo
SETUP := tools/setup.sh
# rustup puts cargo here; a shell opened before it was installed does not know.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)
# Tests that are skipped say so in this file.
export SKIPPED_TESTS := $(abspath $(or $(CARGO_TARGET_DIR),target))/skipped-tests

LINT := lint-format lint-layout lint-clippy lint-loom lint-docs
TEST := test-workspace loom-quick

.DEFAULT_GOAL := help
.PHONY: help demo test lint steps $(LINT) test-workspace skipped loom loom-quick tsan asan stress fuzz test-vendored bench bench-limits bench-smoke doc fmt deny clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Set up, then show real traffic
	@$(SETUP)
	$(CARGO) build --release --package bev
	@$(CARGO) run --release --quiet --package bev -- demo

test: ## Set up, then every test, with the quick loom models; tells at the end which were skipped
	@$(SETUP) --test
	@$(MAKE) --no-print-directory $(TEST)
	@$(MAKE) --no-print-directory skipped

lint: ## Format, crate graph, orderings, clippy and rustdoc, all without a warning
	@$(SETUP) --lint
	@$(MAKE) --no-print-directory $(LINT)

# What `lint` and `test` consist of; .ci/run takes the time of each.
steps:
	@echo $(LINT) $(TEST)

lint-format:
	$(CARGO) fmt --all --check

lint-layout:
	tools/check.sh

lint-clippy:
	$(CARGO) clippy --workspace --all-targets --keep-going -- -D warnings
	# What ships, without what is for tests alone.
	$(CARGO) clippy --package bufferevent -- -D warnings

lint-loom:
	tools/loom.sh lint

lint-docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --all-features --no-deps --document-private-items --keep-going

test-workspace:
	@$(RM) $(SKIPPED_TESTS)
	$(CARGO) test --workspace --no-fail-fast

skipped:
	@tools/skipped.sh

loom-quick: ## The loom models and their mutants, within quick bounds
	tools/loom.sh quick

loom: ## The loom models and their mutants, within full bounds (long)
	tools/loom.sh full

tsan: ## The test suites under the thread sanitizer
	tools/sanitize.sh thread

asan: ## The test suites under the address and leak sanitizers
	tools/sanitize.sh address

stress: ## The stress tests, for about a minute (BEV_STRESS_SECONDS)
	tools/stress.sh

fuzz: ## Each fuzz target of TLS for a minute (FUZZ_SECONDS); needs a nightly compiler
	tools/fuzz.sh

test-vendored: ## The tests of TLS with the OpenSSL that the crate brings, built anew (long)
	$(CARGO) test --package bufferevent-ssl --features openssl/vendored --target-dir target/vendored

bench: ## The table of speed goals (about eight minutes, on an idle machine)
	benches/run.sh

bench-limits: ## The table of rate-limit groups on real connections (about seven minutes, on an idle machine)
	$(CARGO) run --release --quiet --package benches --bin limits

bench-smoke: ## Every benchmark once, to see that it runs
	$(CARGO) test --package benches --benches

doc: ## The documentation, as HTML
	$(CARGO) doc --workspace --all-features --no-deps

fmt: ## Format the code
	$(CARGO) fmt --all

deny: ## Licences, advisories and duplicates of the dependencies, where cargo-deny is installed
	tools/deny.sh

clean: ## Remove everything built
	$(CARGO) clean
