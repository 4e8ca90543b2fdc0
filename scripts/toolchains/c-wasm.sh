#!/bin/bash
# Builds C and C++ plugins over sdk/c into WebAssembly components that import nothing but tidegate:plugin/host.
# usage: c-wasm.sh install | plugins | build FOLDER OUT.wasm | test FOLDER
#   build compiles FOLDER/*.c, *.cpp less test.*; test compiles all of them for this machine, without WebAssembly, and runs them
#   plugins builds plugins/{golden,bench,number,outside}/c into target/plugins/{golden,bench,number,outside}-c.wasm
# environment: PREFIX (target/toolchains/c-wasm), CC and CXX (the compilers of `test`), CFLAGS (of both)
# clang, lld, wasi-libc and libc++ come from Debian forky, whatever the host runs: 66 MB, where zig's wheel with the same clang
# is four times that and compiles its libc first.
set -euo pipefail
PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd); . "$PROJECT/scripts/toolchains/wasm.sh"
PREFIX=$(realpath -m "${PREFIX:-$PROJECT/target/toolchains/c-wasm}"); ROOT=$PREFIX/root; LLVM=$ROOT/usr/lib/llvm-21; SDK=$PROJECT/sdk/c

install() {
  wasm_tools_install
  [ ! -x "$PREFIX/bin/clang" ] || return 0
  DEBS_KEEP="(clang-21|lld-21|wasi-libc|libclang.*|libllvm21|libc\+\+.*-wasm32|libc6|libgcc-s1|libstdc\+\+6|libedit2|libffi8|libtinfo6|libxml2.*|libz3.*|libzstd1|zlib1g|libbsd0|libmd0)$" \
    unpack forky "$ROOT" clang-21 lld-21 wasi-libc libclang-rt-21-dev-wasm32 libc++-21-dev-wasm32 libc++abi-21-dev-wasm32
  # Where clang looks for the builtins of the target.
  local lib=$LLVM/lib/clang/21/lib
  mkdir -p "$lib/wasm32-unknown-wasip1" "$PREFIX/bin"
  ln -sf ../wasi/libclang_rt.builtins-wasm32.a "$lib/wasm32-unknown-wasip1/libclang_rt.builtins.a"
  runner bin/lld wasm-ld-21; runner bin/clang clang
}

# runner PROGRAM NAME: a script that runs it with its own libraries, under its own name: lld and clang look at what they are called.
runner() {
  local lib; lib=$ROOT/usr/lib/$(uname -m)-linux-gnu:$LLVM/lib
  printf "#!/bin/sh\nexec '%s' --argv0 '%s' --library-path '%s' '%s' \"\$@\"\n" "$(find "$ROOT" -name 'ld-linux-*.so.*' | head -1)" \
    "$PREFIX/bin/$2" "$lib" "$LLVM/$1" > "$PREFIX/bin/$2.part"
  chmod +x "$PREFIX/bin/$2.part"; mv "$PREFIX/bin/$2.part" "$PREFIX/bin/$2"
}

# sources FOLDER: sets `sources`.
sources() {
  shopt -s nullglob; sources=("$1"/*.c "$1"/*.cpp)
  [ ${#sources[@]} -gt 0 ] || { echo "no .c and no .cpp file in $1" >&2; exit 1; }
}

# guest ARGUMENTS: clang for the target. The library becomes a part of the plugin's loops (-flto), and short copies of bytes are no calls of the
# host, which those of bulk memory are. Paths in messages and traps do not name this machine.
guest() {
  # shellcheck disable=SC2086 # CFLAGS is a list
  PATH=$PREFIX/bin:$PATH clang -no-canonical-prefixes --target=wasm32-wasip1 --sysroot="$ROOT/usr" -resource-dir "$LLVM/lib/clang/21" \
    -O2 -flto -mno-bulk-memory -mno-bulk-memory-opt -g1 -Wall -fdebug-compilation-dir=. "-ffile-prefix-map=$SDK/=sdk/c/" "-ffile-prefix-map=$folder/=" -I"$SDK/include" -I"$SDK/bindings" ${CFLAGS:-} "$@"
}

scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT

# build FOLDER OUT
build() {
  local folder out file objects=() driver=(); folder=$(cd "$1" && pwd); out=$(realpath -m "$2"); sources "$folder"
  for file in "${sources[@]}" "$SDK"/src/*.c "$SDK"/bindings/*.c; do
    local flags=(-std=c11)
    case "$file" in
      "$folder"/test.*) continue ;;
      *.cpp) flags=(--driver-mode=g++ -std=c++23 -fno-exceptions -nostdinc++ -isystem "$LLVM/include/wasm32-wasi/c++/v1"); driver=(--driver-mode=g++ -L"$LLVM/lib/wasm32-wasi") ;;
    esac
    objects+=("$scratch/${#objects[@]}.o"); guest "${flags[@]}" -c "$file" -o "${objects[-1]}"
  done
  guest ${driver[@]+"${driver[@]}"} -mexec-model=reactor -Wl,-z,stack-size=1048576 -Wl,--stack-first "${objects[@]}" -o "$scratch/core.wasm"
  component "$scratch/core.wasm" "$out"
}

# unit_test FOLDER
unit_test() {
  local folder file objects=() linker=${CC:-cc}; folder=$(cd "$1" && pwd); sources "$folder"
  for file in "${sources[@]}" "$SDK"/src/*.c "$SDK"/test/*.c; do
    local compiler=(${CC:-cc} -std=c11)
    # The component's exports are for the component.
    case "$file" in "$SDK"/src/exports.c) continue ;; *.cpp) compiler=(${CXX:-c++} -std=c++20); linker=${CXX:-c++} ;; esac
    objects+=("$scratch/${#objects[@]}.o")
    # shellcheck disable=SC2086 # CFLAGS is a list
    (cd "$folder" && "${compiler[@]}" -g -O1 -Wall -I"$SDK/include" -I"$SDK/bindings" ${CFLAGS:-} -c "${file#"$folder/"}" -o "${objects[-1]}")
  done
  # shellcheck disable=SC2086 # CFLAGS is a list
  "$linker" ${CFLAGS:-} "${objects[@]}" -o "$scratch/test"
  "$scratch/test"
}

locked_install() { mkdir -p "$PREFIX"; (flock 9; install) 9> "$PREFIX/.lock"; }

case "${1:-}" in
  install) locked_install ;;
  plugins) locked_install; for plugin in golden bench number outside; do build "$PROJECT/plugins/$plugin/c" "$PROJECT/target/plugins/$plugin-c.wasm"; done ;;
  build) locked_install; build "$2" "$3" ;;
  test) unit_test "$2" ;;
  *) sed -n '2,/^[^#]/{/^#/p}' "$0" | sed 's/^# \{0,1\}//'; exit 2 ;;
esac
