#!/bin/bash
# Makes the bindings of sdk/c and sdk/go anew from wit/v0.1. They are shipped, and the interface is frozen: this is for a version
# of wit-bindgen that makes better ones.
# usage: bindings.sh c | go    environment: PREFIX (target/toolchains/wit-bindgen), where wit-bindgen is built: six minutes
set -euo pipefail
PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd); VERSION=0.63.0
PREFIX=$(realpath -m "${PREFIX:-$PROJECT/target/toolchains/wit-bindgen}"); WIT=$PROJECT/wit/v0.1/plugin.wit
[ -x "$PREFIX/bin/wit-bindgen" ] || cargo install --quiet --locked --root "$PREFIX" --no-default-features --features c,go "wit-bindgen-cli@$VERSION"
scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT

# The component type is put in by `wasm-tools component embed`, not by an object file.
c() {
  "$PREFIX/bin/wit-bindgen" c --world plugin --out-dir "$scratch" "$WIT" > "$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }
  cp "$scratch/plugin.h" "$PROJECT/sdk/c/bindings/"
  sed '/^\/\/ Ensure that the \*_component_type.o/,$d' "$scratch/plugin.c" > "$PROJECT/sdk/c/bindings/plugin.c"
}

case "${1:-}" in
  c) c ;;
  *) sed -n '2,/^[^#]/{/^#/p}' "$0" | sed 's/^# \{0,1\}//'; exit 2 ;;
esac
