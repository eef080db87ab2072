#!/usr/bin/env bash
# Ends what `make run` and `make cluster` started.
set -euo pipefail
data=$1 cluster=$2
found=
if [[ -x $cluster/bin/cluster ]]; then
  found=1
  # A copy: its own directory is about to go.
  program=$(mktemp)
  trap 'rm -f "$program"' EXIT
  install -m 0755 "$cluster/bin/cluster" "$program"
  "$program" down "$cluster"
fi
if [[ -x $data/bin/cupola ]]; then
  found=1
  "$data/bin/cupola" down --data-dir "$data"
fi
[[ $found ]] || echo "nothing to stop: there is no platform in $data, and no cluster in $cluster"
