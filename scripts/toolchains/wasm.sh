# Sourced by the scripts beside it that make a component of a core module: C, Go, Zig. The tool is wasm-tools, a Debian package
# (4 MB, 21 MB unpacked); wasi-stub.wat stands in for what a libc or runtime wants of WASI, so that the component imports
# nothing but tidegate:plugin/host.
. "$PROJECT/scripts/servers/debs.sh"
WASM_TOOLS=$(realpath -m "${WASM_TOOLS:-$PROJECT/target/toolchains/wasm-tools}")

# wasm_tools_install: wasm-tools, and the stub with the types of `host` in it.
wasm_tools_install() {
  mkdir -p "$WASM_TOOLS"
  (
    flock 9
    if [ ! -x "$WASM_TOOLS/wasm-tools" ]; then
      DEBS_KEEP="(wasm-tools|libc6|libgcc-s1)$" unpack forky "$WASM_TOOLS/root" wasm-tools
      wrap "$WASM_TOOLS/root" "$WASM_TOOLS/root/usr/bin/wasm-tools" "$WASM_TOOLS/wasm-tools.part"
      mv "$WASM_TOOLS/wasm-tools.part" "$WASM_TOOLS/wasm-tools"
    fi
    if [ ! "$WASM_TOOLS/wasi-stub.wasm" -nt "$PROJECT/scripts/toolchains/wasi-stub.wat" ]; then
      (cat "$PROJECT/wit/v0.1/plugin.wit"; echo "world stub { import host; }") > "$WASM_TOOLS/stub.wit"
      "$WASM_TOOLS/wasm-tools" component embed --world stub "$WASM_TOOLS/stub.wit" "$PROJECT/scripts/toolchains/wasi-stub.wat" -o "$WASM_TOOLS/wasi-stub.part"
      mv "$WASM_TOOLS/wasi-stub.part" "$WASM_TOOLS/wasi-stub.wasm"
    fi
  ) 9> "$WASM_TOOLS/.lock"
}

# component CORE OUT: what a core module exports, as a plugin; of what it may import, the component imports what the module does. An unchanged component
# keeps its time stamp.
component() {
  mkdir -p "$1.wit"; cp "$PROJECT"/wit/v0.1/*.wit "$PROJECT/wit/outside.wit" "$1.wit/"
  "$WASM_TOOLS/wasm-tools" component embed --world plugin-with-all "$1.wit" "$1" -o "$1.embedded"
  "$WASM_TOOLS/wasm-tools" component new --adapt "wasi_snapshot_preview1=$WASM_TOOLS/wasi-stub.wasm" "$1.embedded" -o "$1.component"
  mkdir -p "$(dirname "$2")"
  cmp -s "$1.component" "$2" || { cp "$1.component" "$2.part.$$"; mv "$2.part.$$" "$2"; }
}
