#!/bin/bash
# A private PostgreSQL from Debian packages, unpacked into a folder (see debs.sh).
# usage: postgres.sh install | start | stop | client [psql args] | tool PROGRAM [args] | path [PROGRAM]
#   tool runs pg_dump and the like against the instance; path prints where a program is
# environment: VERSION (17 of trixie, the default; 15 of bookworm; 18 of forky), PREFIX (the install, target/servers/postgres-VERSION),
#   DATA (the instance, PREFIX/instance), PORT (that of the running instance, else 15432), EXTRA (more server options, split at blanks: "-c name=value")
# User postgres has no password and comes in over the socket folder DATA/run and over 127.0.0.1.
# As root the server runs as nobody (it refuses root), so every folder above PREFIX and DATA must be searchable by all.
set -euo pipefail; . "$(dirname "$0")/instance.sh"
VERSION=${VERSION:-17}
case $VERSION in 15) SUITE=bookworm ;; 17) SUITE=trixie ;; 18) SUITE=forky ;; *) echo "VERSION must be 15, 17 or 18" >&2; exit 2 ;; esac
folders "postgres-$VERSION"; PID_FILE=$DATA/data/postmaster.pid; SOCKETS=$SOCKETS/run
# The socket's name has the port in it: an instance that runs tells its own (line 4).
PORT=${PORT:-$(sed -n 4p "$PID_FILE" 2> /dev/null || true)}; PORT=${PORT:-15432}

# as_server COMMAND...: execs COMMAND as a user that the server accepts.
as_server() {
  if [ "$(id -u)" = 0 ]; then exec setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME=/nonexistent "$@"; else exec "$@"; fi
}

unpack_server() {
  local program
  unpack "$SUITE" "$ROOT" "postgresql-$VERSION" "postgresql-client-$VERSION" # without LLVM, which only the JIT needs
  ln -sfn "$ROOT/usr/lib/postgresql/$VERSION/bin" "$PREFIX/bin"
  for program in "$ROOT/usr/lib/postgresql/$VERSION/bin"/*; do wrap "$ROOT" "$program"; done # they start each other by path
  # Every instance begins as a copy of this data folder.
  rm -rf "$PREFIX/template"; mkdir -p "$PREFIX/template"; [ "$(id -u)" != 0 ] || chown nobody:nogroup "$PREFIX/template"
  (cd / && as_server "$ROOT/usr/lib/postgresql/$VERSION/bin/initdb" -D "$PREFIX/template" -U postgres -A trust -E UTF8 --locale=C.UTF-8) \
    > "$PREFIX/init.log" 2>&1 || { echo "initdb failed; see $PREFIX/init.log" >&2; exit 1; }
}

start() {
  server_pid > /dev/null && return
  mkdir -p "$SOCKETS"; [ "$(id -u)" != 0 ] || chown nobody:nogroup "$SOCKETS"
  if [ ! -d "$DATA/data" ]; then rm -rf "$DATA/data.part"; cp -a "$PREFIX/template" "$DATA/data.part"; mv "$DATA/data.part" "$DATA/data"; fi
  # shellcheck disable=SC2086 # EXTRA is a list of options
  (cd / && as_server "$ROOT/usr/lib/postgresql/$VERSION/bin/postgres" -D "$DATA/data" -p "$PORT" -k "$SOCKETS" -c listen_addresses=127.0.0.1 \
    -c wal_level=logical -c jit=off -c shared_buffers=64MB ${EXTRA:-}) > "$DATA/output.log" 2>&1 < /dev/null 9>&- &
  await $! "$DATA/output.log" "$PREFIX/bin/pg_isready" -q -h "$SOCKETS" -p "$PORT"
}

case "${1:-}" in
  install) install_once ;;
  start) install_once; locked "$DATA/.lock" start ;;
  stop) stop_server INT ;;
  client) shift; exec "$PREFIX/bin/psql" -X -h "$SOCKETS" -p "$PORT" -U postgres "$@" ;;
  tool) program=$2; shift 2; exec "$PREFIX/bin/$program" -h "$SOCKETS" -p "$PORT" -U postgres "$@" ;;
  path) print_path "${2:-}" ;;
  *) usage ;;
esac
