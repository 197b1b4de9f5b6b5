# Everything a person runs. `make help` lists it.

SHELL := /bin/bash
CARGO ?= cargo
BUILD := $(CURDIR)/.build
GUESTS := $(BUILD)/guests
TOOLS := $(BUILD)/tools
CARGO_DENY := $(TOOLS)/bin/cargo-deny
CARGO_FUZZ := $(TOOLS)/bin/cargo-fuzz

.PHONY: help setup guests build demo test test-kube test-kryoptic test-python-policy test-istio soak fuzz check fmt clippy doc deny bench clean-demo

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what is missing on this machine (as root; otherwise says what is missing)
	@scripts/setup.sh

guests: setup ## build the policy components from source
	@policy-wasm/guests/build.sh $(GUESTS)

build: guests ## build the sealwright binary
	$(CARGO) build --bin sealwright

demo: build ## run the main job end to end, then stop
	@scripts/demo.sh

test: guests ## every test
	$(CARGO) test --workspace --no-fail-fast
	@scripts/test-python.sh

check: guests fmt clippy doc deny ## formatting, lints, documentation, dependencies

fmt:
	$(CARGO) fmt --all -- --check
	cd policy-wasm/guests && $(CARGO) fmt --all -- --check
	cd fuzz && $(CARGO) fmt --all -- --check

clippy:
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) check --manifest-path fuzz/Cargo.toml --target-dir target --bins

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items

deny: $(CARGO_DENY)
	$(CARGO_DENY) --all-features check bans licenses sources
	$(CARGO_DENY) --manifest-path fuzz/Cargo.toml --config deny.toml --all-features check bans licenses sources
	$(CARGO_DENY) --manifest-path policy-wasm/guests/Cargo.toml --config deny.toml --all-features check bans licenses sources
	@scripts/advisories.sh $(CARGO_DENY)

$(CARGO_DENY):
	$(CARGO) install cargo-deny --version 0.20.2 --locked --root $(TOOLS)

test-kube: guests ## tests against a real Kubernetes API server (builds it once: minutes)
	@scripts/test-kube.sh

test-kryoptic: guests ## tests with Kryoptic, a second software token (builds it once: minutes)
	@module=$$(scripts/kryoptic.sh) && $(CARGO) build --workspace --bin sealwright && \
	SEALWRIGHT_KRYOPTIC=$$module $(CARGO) test --workspace --test integration -- --ignored --nocapture --test-threads 2 kryoptic::

test-python-policy: guests ## a policy in Python, from its source to a certificate (minutes)
	@scripts/test-python-policy.sh

test-istio: guests ## tests with Istio's client and agent, grpcurl, zlint and Go (builds them once: minutes)
	@scripts/test-istio.sh

soak: guests ## the long tests, one by one; goes on where it was interrupted (FRESH=1 starts over)
	@FRESH=$(FRESH) ONLY=$(ONLY) scripts/soak.sh

# One target, or all; SECONDS is for each.
TARGET ?=
SECONDS := 60

fuzz: $(CARGO_FUZZ) ## fuzz each target for a minute (TARGET=csr SECONDS=3600)
	@PATH="$(TOOLS)/bin:$$PATH" fuzz/run.sh $(SECONDS) $(TARGET)

$(CARGO_FUZZ):
	$(CARGO) install cargo-fuzz --version 0.13.2 --locked --root $(TOOLS)

bench: guests ## the figures: ratios from one run; PART="path burst" for some of them
	@scripts/bench.sh

clean-demo: ## forget the demonstration's CA
	rm -rf $(BUILD)/demo
