#!/bin/bash
# Makes the component that `tidegate plugin bench` compares with.
# usage: probe.sh [OUT.wasm]    OUT: runtime/src/plugin/bench/probe.wasm, which is checked in
set -euo pipefail
PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd); . "$PROJECT/scripts/toolchains/wasm.sh"
PROBE=$PROJECT/runtime/src/plugin/bench/probe
wasm_tools_install
scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
"$WASM_TOOLS/wasm-tools" component embed --world plugin "$PROJECT/wit/v0.1/plugin.wit" "$PROBE.wat" -o "$scratch/embedded"
"$WASM_TOOLS/wasm-tools" component new "$scratch/embedded" -o "$scratch/component"
"$WASM_TOOLS/wasm-tools" strip --all "$scratch/component" -o "${1:-$PROBE.wasm}"
