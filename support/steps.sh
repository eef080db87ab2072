# shellcheck shell=bash
# Sourced by the scripts here: runs steps, says what each does and how long it took.
steps=()
step() { # step TITLE COMMAND...
  local title=$1 began ended
  shift
  printf '\n==> %s\n' "$title"
  began=$(date +%s.%N)
  "$@"
  ended=$(date +%s.%N)
  steps+=("$(awk -v a="$began" -v b="$ended" 'BEGIN { printf "%8.1f s", b - a }')  $title")
}
# A step beside the others: its output is shown when it is awaited, and its failure counts then.
aside_pid='' aside_title='' aside_log='' aside_began=''
aside() { # aside TITLE COMMAND...
  aside_title=$1 aside_log=$(mktemp) aside_began=$(date +%s.%N)
  shift
  printf '\n==> %s: goes on beside what follows\n' "$aside_title"
  # Its own process group, so that nothing of it goes on when the rest has failed.
  setsid "$@" >"$aside_log" 2>&1 </dev/null &
  aside_pid=$!
  trap 'kill -- -"$aside_pid" 2>/dev/null; rm -f "$aside_log"' EXIT
}
await_aside() {
  local status=0 ended
  printf '\n==> %s\n' "$aside_title"
  wait "$aside_pid" || status=$?
  ended=$(date +%s.%N)
  trap - EXIT
  cat "$aside_log"
  rm -f "$aside_log"
  steps+=("$(awk -v a="$aside_began" -v b="$ended" 'BEGIN { printf "%8.1f s", b - a }')  $aside_title (beside the others)")
  return "$status"
}
summary() {
  printf '\n'
  printf '%s\n' "${steps[@]}"
  awk -v s="$SECONDS" 'BEGIN { printf "%8.1f s  in all\n", s }'
}
need_root() {
  if ((EUID != 0)); then
    echo "$0: containers are made by root: run this as root" >&2
    exit 1
  fi
}
need_cargo() {
  command -v cargo >/dev/null || PATH="$HOME/.cargo/bin:$PATH"
  command -v cargo >/dev/null || {
    echo "$0: cargo is missing: install Rust first (rustup, or your distribution's package)" >&2
    exit 1
  }
}
