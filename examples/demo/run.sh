#!/bin/bash
# The demo: replays a recorded binlog of a real MySQL 9.7 through the plugin `mask` into SQLite, and shows rows before and after.
# usage: run.sh    environment: TIDEGATE (the program; default: the one that `make demo` has built)
set -euo pipefail
cd "$(dirname "$0")"
TARGET=$(realpath -m "${CARGO_TARGET_DIR:-../../target}")
TIDEGATE=${TIDEGATE:-$TARGET/debug/tidegate}
rm -rf output; mkdir output

# rows FILE: the first rows of a JSON lines file, less what does not fit a terminal.
rows() { head -3 "$1" | sed 's/.*"after"://; s/,"tier".*/ …/'; }
# found TEXT: how often the SQLite file has it.
found() { grep -aoF -- "$1" output/shop.sqlite | wc -l; }

echo "--- binlog/shop.000001 → plugin mask → SQLite (tidegate.toml)"
"$TIDEGATE" run tidegate.toml --until caught-up
"$TIDEGATE" run show.toml --until caught-up 2> output/show.log || { cat output/show.log >&2; exit 1; }
echo
echo "--- customers, as the binlog has them"
rows output/before.jsonl
echo
echo "--- customers, as the plugin leaves them"
rows output/after.jsonl
echo
echo "--- examples/demo/output/shop.sqlite: $(($(stat -c %s output/shop.sqlite) / 1024)) KiB"
echo "\"Ada Lovelace\" is in it $(found 'Ada Lovelace') time(s), \"ada@example.com\" $(found 'ada@example.com') times"
[ "$(found 'Ada Lovelace')" -gt 0 ] && [ "$(found 'ada@example.com')" = 0 ] || { echo "that is not what the plugin should leave" >&2; exit 1; }
