#!/bin/bash
# Makes the bindings of sdk/c and sdk/go anew from wit/v0.1. They are shipped, and the interface is frozen: this is for a version
# of wit-bindgen that makes better ones.
# usage: bindings.sh c | go    environment: PREFIX (target/toolchains/wit-bindgen), where wit-bindgen is built: six minutes
set -euo pipefail
PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd); VERSION=0.63.0
PREFIX=$(realpath -m "${PREFIX:-$PROJECT/target/toolchains/wit-bindgen}")
[ -x "$PREFIX/bin/wit-bindgen" ] || cargo install --quiet --locked --root "$PREFIX" --no-default-features --features c,go "wit-bindgen-cli@$VERSION"
scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
# What only some plugins have is bound apart from the rest, by a world that has nothing else.
WIT=$scratch/wit; cp -r "$PROJECT/wit/v0.1" "$WIT"; cp "$PROJECT/wit/outside.wit" "$WIT/"
echo 'package tidegate:plugin@0.1.0; world remembering { import state; }' > "$WIT/remembering.wit"

# The component type is put in by `wasm-tools component embed`, not by an object file.
c() {
  local world
  for world in plugin remembering asking; do
    "$PREFIX/bin/wit-bindgen" c --world $world --out-dir "$scratch" "$WIT" > "$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }
    cp "$scratch/$world.h" "$PROJECT/sdk/c/bindings/"
    sed '/^\/\/ Ensure that the \*_component_type.o/,$d' "$scratch/$world.c" > "$PROJECT/sdk/c/bindings/$world.c"
  done
}

# One module holds all: what the generated code imports is beside it, under internal. exports is for components alone.
go() {
  local to=$PROJECT/sdk/go/internal/bindings name world
  # By its own name a list of operations would be copied item by item.
  sed -i 's/list<op>/list<u8>/' "$WIT/plugin.wit"
  for world in remembering asking plugin; do
    (cd "$scratch" && "$PREFIX/bin/wit-bindgen" go --format=false --world $world --out-dir . "$WIT" > log 2>&1) || { cat "$scratch/log" >&2; exit 1; }
  done
  mkdir -p "$to/exports"
  for name in tidegate_plugin_{types,transform,host,state} wasi_{clocks_wall_clock,random_random,cli_environment}; do
    mkdir -p "$to/$name"; cp "$scratch/$name/wit_bindings.go" "$to/$name/"
  done
  (echo '//go:build wasm'; echo; sed 's/^package main$/package exports/; /^func main() {}$/d' "$scratch/wit_exports.go") > "$to/exports/wit_exports.go"
  sed -i '1i //go:build wasm\n' "$to"/{tidegate_plugin_host,tidegate_plugin_state,wasi_*}/wit_bindings.go
  sed -i 's#"wit_component/#"tidegate/plugin/internal/bindings/#; s#"go.bytecodealliance.org/pkg/wit/#"tidegate/plugin/internal/wit/#' "$to"/*/*.go
  gofmt -w "$to"
  # runtime.Pinner is ours, too: it is faster.
  sed -i 's#^\t"runtime"$#\t"tidegate/plugin/internal/wit/runtime"#' "$to"/*/*.go
}

case "${1:-}" in
  c) c ;;
  go) go ;;
  *) sed -n '2,/^[^#]/{/^#/p}' "$0" | sed 's/^# \{0,1\}//'; exit 2 ;;
esac
