#!/bin/bash
# Builds Python plugins into WebAssembly components with componentize-py, which has a CPython 3.14 inside. Needs Python 3.11 with venv.
# usage: python-wasm.sh install | plugins | build FOLDER OUT.wasm | test FOLDER
#   build takes the folder's plugin.py and what it imports beside it; test runs its unit tests (test_*.py) with unittest;
#   plugins builds plugins/{golden,bench,number}/python into target/plugins/{golden,bench,number}-python.wasm
# environment: PREFIX (target/toolchains/python-wasm: 72 MB, of which 17 MB are downloaded)
set -euo pipefail
PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd); SDK=$PROJECT/sdk/python
PREFIX=$(realpath -m "${PREFIX:-$PROJECT/target/toolchains/python-wasm}")

install() {
  python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2> /dev/null \
    || { echo "missing: Python 3.11 or later, with venv" >&2; echo "hint: as root: apt-get install python3-venv" >&2; exit 1; }
  cmp -s "$SDK/requirements.txt" "$PREFIX/requirements.txt" && return
  rm -rf "$PREFIX/venv"
  echo "getting componentize-py from PyPI, once: 17 MB" >&2
  python3 -m venv "$PREFIX/venv"
  "$PREFIX/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement "$SDK/requirements.txt" >&2
  cp "$SDK/requirements.txt" "$PREFIX/requirements.txt"
}

locked_install() { mkdir -p "$PREFIX"; (flock 9; install) 9> "$PREFIX/.lock"; }

# remembers FILES...: true if one of them imports tidegate_plugin.state, in any of the ways that Python has for it.
remembers() {
  python3 - "$@" << 'END'
import ast, sys

def names(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [f"{node.module}.{alias.name}" for alias in node.names] + [node.module or ""] if isinstance(node, ast.ImportFrom) else []

def imports(file):
    source = open(file, "rb").read()
    try:
        tree = ast.parse(source, file)
    except SyntaxError:
        # Maybe of a Python that is newer than this one.
        return b"tidegate_plugin" in source and b"state" in source
    return any("tidegate_plugin.state" in names(node) for node in ast.walk(tree))

sys.exit(not any(imports(file) for file in sys.argv[1:]))
END
}

# build FOLDER OUT
build() {
  local folder out stage world=plugin; folder=$(realpath "$1"); out=$(realpath -m "$2")
  [ -f "$folder/plugin.py" ] || { echo "$folder has no plugin.py" >&2; exit 1; }
  stage=$(mktemp -d)
  # shellcheck disable=SC2064 # the folder of now
  trap "rm -rf '$stage'" EXIT
  (cd "$folder" && find . -name '.*' -mindepth 1 -prune -o -name __pycache__ -prune -o -name 'test_*.py' -prune -o -name '*.py' -print0 \
    | xargs -0 cp --parents -t "$stage")
  # A component imports the state only if the plugin does.
  if find "$stage" -name '*.py' -print0 | { mapfile -d '' files; remembers "${files[@]}"; }; then world=plugin-with-state; fi
  cp -r "$SDK/tidegate_plugin" "$stage/"; rm -rf "$stage/tidegate_plugin/testing.py" "$stage/tidegate_plugin/__pycache__"
  printf 'from plugin import Plugin\nfrom tidegate_plugin.guest import transform\n\nTransform = transform(Plugin)\n' > "$stage/tidegate_entry.py"
  mkdir -p "$(dirname "$out")"
  # The search path is this folder alone: a machine's own packages do not come along.
  (cd "$stage" && env -u PYTHONPATH -u VIRTUAL_ENV PYTHONDONTWRITEBYTECODE=1 "$PREFIX/venv/bin/componentize-py" -d "$SDK/wit" -w "$world" \
    componentize --stub-wasi -p . tidegate_entry -o "$out.part" > log 2>&1) || { cat "$stage/log" >&2; exit 1; }
  mv "$out.part" "$out"
}

# tests FOLDER
tests() { (cd "$1" && PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$SDK:$SDK/bindings python3 -m unittest discover -p 'test_*.py'); }

case "${1:-}" in
  install) locked_install ;;
  plugins) locked_install; for plugin in golden bench number; do (build "$PROJECT/plugins/$plugin/python" "$PROJECT/target/plugins/$plugin-python.wasm"); done ;;
  build) locked_install; build "$2" "$3" ;;
  test) tests "$2" ;;
  *) sed -n '2,/^[^#]/{/^#/p}' "$0" | sed 's/^# \{0,1\}//'; exit 2 ;;
esac
