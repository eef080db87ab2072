#!/usr/bin/env bash
# Fuzzes every reader of bytes that others send: fuzz.sh SECONDS [TARGET...]. Seeds are the golden messages of the
# protocol's tests. What was found is kept in fuzz/corpus, what failed in fuzz/artifacts; both survive the run.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"
seconds=${1:?seconds for each target}; shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(socket wire)

# What `cargo fuzz` does with a nightly compiler, with the one of rust-toolchain.toml: coverage, without sanitizers (no
# code that is fuzzed here may be unsafe).
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Ccodegen-units=1
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"
# For a named target, so that build scripts and macros are built without.
RUSTFLAGS="${coverage//$'\n'/ }" cargo build --release --locked --bins --target x86_64-unknown-linux-gnu
programs=${CARGO_TARGET_DIR:-target}/x86_64-unknown-linux-gnu/release

seeds=$(mktemp -d); trap 'rm -rf "$seeds"' EXIT
mkdir -p "$seeds/socket" "$seeds/wire"
python3 - "$seeds" <<'PYTHON'
import re, sys
found = re.findall(r'"((?:[0-9a-f]{2}){3,})"', open("../protocol/tests/warden_golden.rs").read())
assert len(found) > 20, "the golden messages are not where they were"
for number, text in enumerate(found):
    body = bytes.fromhex(text)
    # One read, then a frame: the cut and the frame itself.
    frame = b"\xff%d\r\n%s\r\n" % (len(body), body)
    open(f"{sys.argv[1]}/socket/{number:03}", "wb").write(frame)
for kind in range(6):
    open(f"{sys.argv[1]}/wire/{kind}", "wb").write(bytes([kind]) + bytes(40))
PYTHON

for target in "${targets[@]}"; do
  mkdir -p "corpus/$target" "artifacts/$target"
  "$programs/$target" "corpus/$target" "$seeds/$target" -max_total_time="$seconds" -max_len=65536 -timeout=10 \
    -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="artifacts/$target/" 2>&1 |
    tee "artifacts/$target/log" | grep -E '^#[0-9]+.*(INITED|DONE)|^stat::|ERROR|panicked|SUMMARY|Test unit' || true
  grep -q 'DONE' "artifacts/$target/log" || { echo "fuzz: $target failed: see fuzz/artifacts/$target" >&2; exit 1; }
done
