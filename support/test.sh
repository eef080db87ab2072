#!/usr/bin/env bash
# Every test, from nothing: installs what is needed, builds, runs. Root, since most of this project is about
# what only root can do; a part that cannot run fails and says why.
set -euo pipefail
cd "$(dirname "$0")/.."
source support/steps.sh
need_root
need_cargo
export RUST_BACKTRACE=${RUST_BACKTRACE:-1}

nextest() {
  cargo nextest --version >/dev/null 2>&1 || cargo install --locked cargo-nextest
}

step "Debian packages" make --no-print-directory test-packages
step "test runner" nextest
step "user cupola" make --no-print-directory user
step "format and lints" make --no-print-directory check
step "build" make --no-print-directory build
step "stacks" make --no-print-directory stacks
step "unit, property and contract tests" make --no-print-directory test-unit
# The virtual machine is emulated and keeps one core busy for minutes.
aside "privileged tests in a VM with pure cgroup v2" make --no-print-directory test-vm
step "privileged tests on this host" make --no-print-directory test-root
step "end to end: real apps on a real platform" make --no-print-directory test-e2e
await_aside
step "several hosts: each part lost in turn" make --no-print-directory test-cluster
summary
