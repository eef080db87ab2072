# Cupola's verbs. `make help` lists them. Everything that a verb needs, it installs (Debian 12, root, cargo).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Where `make run` keeps everything.
DATA_DIR ?= /var/lib/cupola
# Where `make cluster` keeps its hosts' disks.
CLUSTER_DIR ?= /var/lib/cupola-cluster
# User that the roles run as.
CUPOLA_USER ?= cupola
PROFILE ?= dev
# What tests and development share: stacks, the VM's images.
CACHE ?= $(CURDIR)/target/cache

TARGET := x86_64-unknown-linux-gnu
PROFILE_DIR := $(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
CARGO_TARGET_DIR ?= $(CURDIR)/target
BIN := $(CARGO_TARGET_DIR)/$(PROFILE_DIR)

RUN_PACKAGES := gcc libc6-dev nats-server mmdebstrap erofs-utils nftables iproute2 e2fsprogs ca-certificates curl
TEST_PACKAGES := busybox-static qemu-system-x86 cpio kmod shellcheck python3 procps postgresql
CLUSTER_PACKAGES := haproxy postgresql util-linux

export CARGO_TARGET_DIR

.PHONY: help run cluster stop build release install-packages test-packages cluster-packages user stacks test test-unit test-root test-e2e test-cluster test-vm bench-warden check deny clean-cache

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: ## Platform up on this machine, a sample app pushed and fetched; `make stop` ends it
	@support/run.sh "$(DATA_DIR)" "$(CUPOLA_USER)"

cluster: ## Platform up on several hosts (network namespaces of this machine); `make stop` ends it
	@support/cluster.sh "$(CLUSTER_DIR)" "$(CACHE)"

stop: ## End what `make run` and `make cluster` started; only the data directory of the former stays
	@support/stop.sh "$(DATA_DIR)" "$(CLUSTER_DIR)"

build: ## Every program, for development
	@$(MAKE) --no-print-directory programs PROFILE=dev

release: ## Every program, optimised
	@$(MAKE) --no-print-directory programs PROFILE=release

# For development the whole workspace is built at once, so that tests find each dependency built with the same
# features. warden-init runs inside containers: static, and without the daemon's dependencies.
BUILT := $(if $(filter dev,$(PROFILE)),--workspace,-p cupola -p warden)
.PHONY: programs
programs:
	cargo build --profile $(PROFILE) --locked $(BUILT) --bins
	RUSTFLAGS='-C target-feature=+crt-static' cargo build --profile $(PROFILE) --locked -p warden --no-default-features --bin warden-init --target $(TARGET)
	install -m 0755 $(CARGO_TARGET_DIR)/$(TARGET)/$(PROFILE_DIR)/warden-init $(BIN)/warden-init

install-packages:
	@support/packages.sh $(RUN_PACKAGES)

test-packages:
	@support/packages.sh $(RUN_PACKAGES) $(TEST_PACKAGES)

cluster-packages:
	@support/packages.sh $(RUN_PACKAGES) $(CLUSTER_PACKAGES)

user:
	@support/user.sh "$(CUPOLA_USER)"

stacks: build install-packages ## The stacks that the tests use, built once into the cache
	$(BIN)/cupola stack build minimal --data-dir $(CACHE)
	$(BIN)/cupola stack build --data-dir $(CACHE)
	$(BIN)/cupola stack build services --data-dir $(CACHE)

test: ## Everything: style, unit, privileged on this host, end to end, and privileged in a VM with pure cgroup v2
	@support/test.sh

check: ## Format, lints, documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

test-unit: ## Tests that need no privilege (but nats-server and PostgreSQL)
	cargo nextest run --workspace --locked -E 'not (binary(/^privileged/) | binary(/^e2e/))'

test-root: stacks user ## Tests against the real kernel, as root
	CUPOLA_CACHE=$(CACHE) cargo nextest run --workspace --locked --profile privileged -E 'binary(/^privileged/)'

test-e2e: stacks user ## Real apps pushed to a real platform, as root
	CUPOLA_CACHE=$(CACHE) cargo nextest run --workspace --locked --profile e2e -E 'binary(/^e2e/)'

test-cluster: stacks user cluster-packages ## A platform on several hosts survives the loss of each part; prints what that cost
	$(BIN)/cluster test --cache $(CACHE)

bench-warden: ## How fast the engine is, beside crun and the floor program; ARGS="lifecycle --rounds 41" for a part
	@support/packages.sh $(RUN_PACKAGES) crun
	@RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked -p warden --no-default-features --bin warden-init --target $(TARGET)
	@WARDEN_INIT=$(CARGO_TARGET_DIR)/$(TARGET)/release/warden-init cargo bench --locked -p warden --bench engine -- $(ARGS)

test-vm: stacks test-packages ## The privileged suite in a virtual machine with pure cgroup v2
	CUPOLA_CACHE=$(CACHE) $(BIN)/vm-run

deny: ## Licences, advisories and sources of every dependency
	cargo deny --all-features check

clean-cache: ## Forget the stacks and the VM images of the tests
	rm -rf $(CACHE)
