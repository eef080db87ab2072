#!/usr/bin/env bash
# Ends what `make run` started.
set -euo pipefail
data=$1
if [[ ! -x $data/bin/cupola ]]; then
  echo "nothing to stop: there is no platform in $data"
  exit 0
fi
exec "$data/bin/cupola" down --data-dir "$data"
