#!/usr/bin/env bash
# A platform on several hosts, which are network namespaces of this machine. Stays up until `make stop`.
set -euo pipefail
cd "$(dirname "$0")/.."
source support/steps.sh
directory=$1 cache=$2
need_root
need_cargo

cupola=$directory/bin/cupola
balancer=http://10.251.1.1
export CUPOLA_HOME=$directory/developer CUPOLA_API=$balancer
fetch() {
  local answer
  for _ in 1 2 3; do
    answer=$(curl --fail --silent --show-error --max-time 10 --noproxy '*' -H 'Host: hello.cupola.test' "$balancer/")
    echo "\$ curl -H 'Host: hello.cupola.test' $balancer/   # $(head -n 1 <<<"$answer")"
  done
}

step "Debian packages" make --no-print-directory cluster-packages
step "build" make --no-print-directory build
step "user cupola" make --no-print-directory user
step "stacks" make --no-print-directory stacks
step "hosts" "$CARGO_TARGET_DIR/debug/cluster" up "$directory" --cache "$cache"
step "push tests/fixtures/apps/wave as hello, three instances" "$cupola" push hello -p tests/fixtures/apps/wave -s minimal -m 64M -i 3
step "fetch it through the load balancer" fetch
summary
cat <<TXT

The cluster runs on, in $directory; somebody is logged in at it. Try next:
  export PATH=$directory/bin:\$PATH CUPOLA_HOME=$CUPOLA_HOME CUPOLA_API=$balancer
  cupola push mine -p path/to/your/app     then: curl -H 'Host: mine.cupola.test' $balancer/
  cluster status $directory                which hosts there are, and what runs on each
  cluster enter $directory dea-1           a shell on a host; its files are those of docs/operations.md
  cluster crash $directory dea-1           a power cut; \`cluster switch-on\` switches it on again
  make stop                                end it all; nothing stays
The admin's password stands in $(echo "$directory"/hosts/control-*/lib/cupola/secrets/admin-password)
TXT
