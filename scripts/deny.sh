#!/bin/bash
# Holds the rules of deny.toml with cargo-deny, which is taken from PATH or the cache, and built into the cache when it is in neither.
# That costs two to five minutes once. CI pays it, too: a rule that CI does not check does not hold.
# The advisory database is on GitHub; where that cannot be reached, all but the advisories is checked, and it says so.
set -euo pipefail
cd "$(dirname "$0")/.."
VERSION=0.20.2
TOOLS=${TIDEGATE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/tidegate}/cargo-deny-$VERSION
mkdir -p "$TOOLS" 2> /dev/null && [ -w "$TOOLS" ] || TOOLS=$PWD/target/cargo-deny-$VERSION
PATH=$PATH:$TOOLS/bin
command -v cargo-deny > /dev/null || env -u CARGO_TARGET_DIR cargo install --quiet --locked "cargo-deny@$VERSION" --root "$TOOLS"

checks="licenses bans sources"
if timeout 15 git ls-remote --quiet https://github.com/RustSec/advisory-db HEAD > /dev/null 2>&1; then
  checks="advisories $checks"
else
  echo "advisories: not checked, for the database on github.com cannot be reached"
fi
# shellcheck disable=SC2086 # a list of checks
cargo-deny --log-level error check --hide-inclusion-graph $checks
