#!/bin/bash
# Checks what building, the demo and the tests need of the machine, and installs what is missing with apt-get where it may.
# usage: setup.sh [--check]    --check: installs nothing
set -euo pipefail

# program:Debian package
NEEDS="cc:gcc make:make git:git flock:util-linux setpriv:util-linux setsid:util-linux dpkg-deb:dpkg apt-get:apt gzip:gzip python3:python3"
missing=""
for need in $NEEDS; do command -v "${need%%:*}" > /dev/null || missing="$missing ${need##*:}"; done
[ -f /usr/share/keyrings/debian-archive-keyring.gpg ] || missing="$missing debian-archive-keyring"
# Debian's python3 makes no virtual environments by itself; plugins in Python are built in one.
python3 -c 'import ensurepip, venv' 2> /dev/null || missing="$missing python3-venv"
# cc alone does not compile C: sqlite and zstd need the headers, too.
echo '#include <stdio.h>' | cc -E - > /dev/null 2>&1 || missing="$missing libc6-dev"

if [ -n "$missing" ]; then
  missing=$(tr ' ' '\n' <<< "$missing" | sed '/^$/d' | sort -u | tr '\n' ' ')
  if [ "${1:-}" = --check ] || [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "missing: $missing" >&2; echo "hint: as root: apt-get install --no-install-recommends $missing" >&2; exit 1
  fi
  apt-get update -qq
  # shellcheck disable=SC2086 # a list of package names
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
fi

command -v cargo > /dev/null || { echo "missing: cargo" >&2; echo "hint: install Rust, see https://rustup.rs" >&2; exit 1; }
wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")
found=$(rustc --version | cut -d' ' -f2)
if [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -1)" != "$wanted" ]; then
  echo "rustc $found is older than $wanted" >&2; echo "hint: rustup update stable" >&2; exit 1
fi
