#!/bin/bash
# Builds Go plugins over sdk/go into WebAssembly components that import nothing but tidegate:plugin/host. The compiler is the
# standard one, 1.25 or later; where the host has none, Debian forky's is unpacked (46 MB, 276 MB on disk).
# usage: go-wasm.sh install | plugins | build FOLDER OUT.wasm | test FOLDER
#   plugins builds plugins/{golden,bench,number,outside}/go into target/plugins/{golden,bench,number,outside}-go.wasm; test runs `go test`, without WebAssembly
# environment: PREFIX (target/toolchains/go-wasm: the unpacked compiler)
# FOLDER has a go.mod that requires tidegate/plugin; a workspace that the script makes says where that is.
set -euo pipefail
PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd); . "$PROJECT/scripts/toolchains/wasm.sh"

PREFIX=$(realpath -m "${PREFIX:-$PROJECT/target/toolchains/go-wasm}")

has_go() {
  local found; found=$(GOTOOLCHAIN=local go env GOVERSION 2> /dev/null) || return 1
  [ "$(printf '%s\n' go1.25 "$found" | sort -V | head -1)" = go1.25 ]
}

install() {
  wasm_tools_install
  has_go && return
  mkdir -p "$PREFIX"
  (flock 9; [ -d "$PREFIX/root" ] || DEBS_KEEP="(golang-[0-9.]+-(go|src))$" unpack forky "$PREFIX/root" golang-go) 9> "$PREFIX/.lock"
  GOROOT=$(echo "$PREFIX"/root/usr/lib/go-*); PATH=$GOROOT/bin:$PATH; export GOROOT PATH
}

scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT

# in_workspace FOLDER COMMAND...
in_workspace() {
  local folder; folder=$(cd "$1" && pwd); shift
  printf 'go 1.25\nuse "%s"\nuse "%s"\n' "$folder" "$PROJECT/sdk/go" > "$scratch/go.work"
  (cd "$folder" && GOWORK=$scratch/go.work "$@")
}

# build FOLDER OUT
build() {
  local out; out=$(realpath -m "$2")
  GOOS=wasip1 GOARCH=wasm in_workspace "$1" go build -trimpath -buildmode=c-shared -ldflags="-s -w" -o "$scratch/core.wasm" .
  component "$scratch/core.wasm" "$out"
}

case "${1:-}" in
  install) install ;;
  plugins) install; for plugin in golden bench number outside; do build "$PROJECT/plugins/$plugin/go" "$PROJECT/target/plugins/$plugin-go.wasm"; done ;;
  build) install; build "$2" "$3" ;;
  test) install; in_workspace "$2" go test ./... ;;
  *) sed -n '2,/^[^#]/{/^#/p}' "$0" | sed 's/^# \{0,1\}//'; exit 2 ;;
esac
