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
