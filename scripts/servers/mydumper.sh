#!/bin/bash
# mydumper of Debian, unpacked into a folder (see debs.sh): the bench's rival in reading tables.
# usage: mydumper.sh install | path
#   path prints where the program is
# environment: PREFIX (the install, target/servers/mydumper)
set -euo pipefail; . "$(dirname "$0")/instance.sh"
folders mydumper

unpack_server() {
  unpack bookworm "$ROOT" mydumper
  mkdir -p "$PREFIX/bin"
  wrap "$ROOT" "$ROOT/usr/bin/mydumper" "$PREFIX/bin/mydumper"
  # Without it, it looks for what MySQL's logins need where Debian would have it.
  sed -i "2i export MARIADB_PLUGIN_DIR='$(dirname "$(find "$ROOT" -name caching_sha2_password.so)")'" "$PREFIX/bin/mydumper"
  "$PREFIX/bin/mydumper" --version >&2
}

case "${1:-}" in
  install) install_once ;;
  path) print_path mydumper ;;
  *) usage ;;
esac
