#!/usr/bin/env bash
# Makes the system user that every role but warden runs as. Does nothing the second time.
set -euo pipefail
user=$1
id -u "$user" >/dev/null 2>&1 && exit 0
echo "making the system user $user"
useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
