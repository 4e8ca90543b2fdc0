#!/bin/bash
# sysbench of Debian, unpacked into a folder (see debs.sh): the load of a test.
# usage: sysbench.sh install | path
#   path prints where the program is
# environment: PREFIX (the install, target/servers/sysbench)
set -euo pipefail; . "$(dirname "$0")/instance.sh"
folders sysbench

unpack_server() {
  unpack bookworm "$ROOT" sysbench
  mkdir -p "$PREFIX/bin"
  wrap "$ROOT" "$ROOT/usr/bin/sysbench" "$PREFIX/bin/sysbench"
  # Without these, it looks for its loads, and for what MySQL's logins need, where Debian would have them.
  sed -i "2i export LUA_PATH='$ROOT/usr/share/sysbench/?.lua' MARIADB_PLUGIN_DIR='$(dirname "$(find "$ROOT" -name caching_sha2_password.so)")'" \
    "$PREFIX/bin/sysbench"
  "$PREFIX/bin/sysbench" --version >&2
}

case "${1:-}" in
  install) install_once ;;
  path) print_path sysbench ;;
  *) usage ;;
esac
