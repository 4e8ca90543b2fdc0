#!/bin/bash
# The demo: replays a recorded binlog of a real MySQL 9.7 through the plugin `mask` into SQLite, and shows rows before and after.
# usage: run.sh    environment: TIDEGATE (the program; default: the one that `make demo` has built)
set -euo pipefail
cd "$(dirname "$0")"
TARGET=$(realpath -m "${CARGO_TARGET_DIR:-../../target}")
TIDEGATE=${TIDEGATE:-$TARGET/debug/tidegate}
rm -rf output; mkdir output

# tidegate MANIFEST: runs it to the end of the recording; its log only if it fails.
tidegate() { "$TIDEGATE" run "$1" --until caught-up 2> output/log || { cat output/log >&2; exit 1; }; }
# rows FILE: the first rows of a JSON lines file, less what does not fit a terminal.
rows() { head -3 "$1" | sed 's/.*"after"://; s/,"tier".*/ …/; s/^/  /'; }
# found TEXT: how often the SQLite file has it.
found() { grep -aoF -- "$1" output/shop.sqlite | wc -l; }

echo "A recorded MySQL binlog → plugin \`mask\` → SQLite, as examples/demo/tidegate.toml says:"
echo
tidegate tidegate.toml
tidegate show.toml > /dev/null
echo
echo "Customers as the binlog has them:"
rows output/before.jsonl
echo
echo "Customers as the plugin leaves them:"
rows output/after.jsonl
echo
echo "examples/demo/output/shop.sqlite has $(($(stat -c %s output/shop.sqlite) / 1024)) KiB;" \
  "\"Ada Lovelace\" is in it $(found 'Ada Lovelace') time(s), \"ada@example.com\" $(found 'ada@example.com') times."
[ "$(found 'Ada Lovelace')" -gt 0 ] && [ "$(found 'ada@example.com')" = 0 ] || { echo "that is not what the plugin should leave" >&2; exit 1; }
