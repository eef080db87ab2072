#!/usr/bin/env bash
# The main job on a fresh machine: from source to a pushed app that answers. Can be run again.
set -euo pipefail
cd "$(dirname "$0")/.."
source support/steps.sh
data=$1 user=$2
need_root
need_cargo

install_programs() {
  install -d -m 0755 "$data" "$data/bin"
  local program
  for program in cupola warden warden-init; do
    install -m 0755 "$CARGO_TARGET_DIR/release/$program" "$data/bin/$program.new"
    mv "$data/bin/$program.new" "$data/bin/$program" # the old one may be running
  done
}
up() {
  if "$cupola" down --data-dir "$data" --check 2>/dev/null; then
    echo "the platform already runs"
  else
    "$cupola" up --detach --data-dir "$data"
  fi
}
login() {
  "$cupola" login --api "http://127.0.0.1:${API_PORT:-8081}" -u admin --password-stdin <"$data/secrets/admin-password"
}
fetch() {
  local url=http://hello.cupola.localhost:8080/
  echo "\$ curl $url"
  curl --fail --silent --show-error --max-time 10 --noproxy '*' --resolve hello.cupola.localhost:8080:127.0.0.1 "$url"
}

cupola=$data/bin/cupola
step "Debian packages" make --no-print-directory install-packages
step "build (release)" make --no-print-directory release
step "user $user" support/user.sh "$user"
step "programs into $data/bin" install_programs
step "stack (Debian with python, node, ruby, java, php)" "$cupola" stack build --data-dir "$data"
step "platform up" up
step "log in" login
step "push samples/hello" "$cupola" push hello -p samples/hello
step "fetch it over HTTP" fetch
# Last, since everything else works without it: the service node takes it up within seconds.
step "stack of the services (PostgreSQL, Redis)" "$cupola" stack build services --data-dir "$data"
summary
cat <<TXT

The platform runs on. Try next:
  export PATH=$data/bin:\$PATH
  cupola apps                              what runs
  cupola logs hello --recent               what it said
  cupola scale hello -i 3                  three instances; ask again and see who answers
  cupola push mine -p path/to/your/app     python, nodejs, static files, or anything with a Procfile
  cupola create-service postgresql small db && cupola bind-service hello db && cupola restart hello
  make stop                                end it all; only $data stays
TXT
