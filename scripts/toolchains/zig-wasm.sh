#!/bin/bash
# Builds Zig plugins over the C header of sdk/c into WebAssembly components that import nothing but tidegate:plugin/host.
# usage: zig-wasm.sh install | build FILE.zig OUT.wasm    environment: PREFIX (target/toolchains/zig-wasm)
# Zig is a Python package (ziglang): 440 MB on disk. The first build compiles Zig's libc.
set -euo pipefail
PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd); . "$PROJECT/scripts/toolchains/wasm.sh"
PREFIX=$(realpath -m "${PREFIX:-$PROJECT/target/toolchains/zig-wasm}"); SDK=$PROJECT/sdk/c; VERSION=0.17.0
export ZIG_GLOBAL_CACHE_DIR=$PREFIX/cache ZIG_LOCAL_CACHE_DIR=$PREFIX/cache

install() {
  wasm_tools_install
  "$PREFIX/venv/bin/python" -c 'import ziglang' 2> /dev/null && return
  python3 -m venv "$PREFIX/venv"
  "$PREFIX/venv/bin/pip" install --quiet --disable-pip-version-check "ziglang==$VERSION"
}

zig() { "$PREFIX/venv/bin/python" -m ziglang "$@"; }

scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT

# build FILE OUT
build() {
  local file out; file=$(realpath "$1"); out=$(realpath -m "$2")
  cp "$(dirname "$file")"/*.zig "$scratch/"
  zig translate-c -target wasm32-wasi -lc "$SDK/include/tidegate.h" > "$scratch/tidegate.zig"
  (
    cd "$scratch"
    zig build-obj -target wasm32-wasi -lc -O ReleaseSafe -fno-strip -femit-bin=plugin.o "$(basename "$file")"
    zig cc -target wasm32-wasi -mexec-model=reactor -O2 -g1 "-ffile-prefix-map=$SDK/=sdk/c/" -Wl,-z,stack-size=1048576 -I"$SDK/include" -I"$SDK/bindings" \
      "$SDK"/src/*.c "$SDK"/bindings/*.c plugin.o -o core.wasm
  )
  component "$scratch/core.wasm" "$out"
}

case "${1:-}" in
  install) install ;;
  build) install; build "$2" "$3" ;;
  *) sed -n '2,/^[^#]/{/^#/p}' "$0" | sed 's/^# \{0,1\}//'; exit 2 ;;
esac
