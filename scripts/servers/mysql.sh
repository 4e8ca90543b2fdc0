#!/bin/bash
# A private MySQL 9.7 from the packages of Debian sid, unpacked into a folder (see debs.sh).
# usage: mysql.sh install | start | stop | client [mysql args] | tool PROGRAM [args] | path [PROGRAM]
#   tool runs mysqlbinlog, mysqldump or mysqladmin against the instance; path prints where a program is
# environment: PREFIX (the install, target/servers/mysql), DATA (the instance, PREFIX/instance), PORT (13307),
#   EXTRA (more mysqld options, split at blanks), SMALL (1: little memory; 0: mysqld's own defaults)
# User root has no password and comes in over the socket DATA/my.sock and over 127.0.0.1. TLS is on (DATA/data/ca.pem).
# Row binlog with full images and metadata, GTIDs, and the text of statements are on; EXTRA overrides.
set -euo pipefail; . "$(dirname "$0")/instance.sh"
folders mysql; PORT=${PORT:-13307}; SHARE=$ROOT/usr/share/mysql; PID_FILE=$DATA/my.pid; SOCKET=$SOCKETS/my.sock

unpack_server() {
  local program file
  unpack sid "$ROOT" mysql-server-core mysql-client-core
  mkdir -p "$PREFIX/bin"
  for program in mysqld mysql mysqladmin mysqlbinlog mysqldump; do
    for file in "$ROOT/usr/sbin/$program" "$ROOT/usr/bin/$program"; do wrap "$ROOT" "$file" "$PREFIX/bin/$program"; done
    [ -x "$PREFIX/bin/$program" ] || { echo "no $program in the packages" >&2; exit 1; }
  done
  # An instance that wants a keyring configures it in its data folder (mysqld.my, component_keyring_file.cnf).
  echo '{ "read_local_manifest": true }' > "$ROOT/usr/sbin/mysqld.my"
  echo '{ "read_local_config": true }' > "$ROOT/usr/lib/mysql/plugin/component_keyring_file.cnf"
  # Every instance begins as a copy of this data folder: initializing takes seconds, copying does not.
  rm -rf "$PREFIX/template"
  "$PREFIX/bin/mysqld" --no-defaults "--user=$(id -un)" "${common[@]}" "--datadir=$PREFIX/template" --innodb-redo-log-capacity=8M --initialize-insecure \
    > "$PREFIX/init.log" 2>&1 || { echo "initializing failed; see $PREFIX/init.log" >&2; exit 1; }
  rm -f "$PREFIX/template/auto.cnf" # the server's UUID: each copy makes its own
}

# --secure-file-priv=NULL: the compiled-in folder does not exist here.
common=("--basedir=$ROOT/usr" "--lc-messages-dir=$SHARE" "--character-sets-dir=$SHARE/charsets" "--plugin-dir=$ROOT/usr/lib/mysql/plugin" --secure-file-priv=NULL)

start() {
  server_pid > /dev/null && return
  # What a killed server leaves: a zombie of it still counts as its owner.
  rm -f "$SOCKET" "$SOCKET.lock"
  local small=()
  if [ "${SMALL:-1}" = 1 ]; then small=(--performance-schema=OFF --innodb-buffer-pool-size=64M --innodb-redo-log-capacity=64M); fi
  mkdir -p "$SOCKETS"
  if [ ! -d "$DATA/data" ]; then rm -rf "$DATA/data.part"; cp -a "$PREFIX/template" "$DATA/data.part"; mv "$DATA/data.part" "$DATA/data"; fi
  # shellcheck disable=SC2086 # EXTRA is a list of options
  setsid "$PREFIX/bin/mysqld" --no-defaults "--user=$(id -un)" "${common[@]}" "${small[@]}" "--datadir=$DATA/data" "--socket=$SOCKET" \
    "--pid-file=$PID_FILE" --bind-address=127.0.0.1 "--port=$PORT" --mysqlx=OFF --server-id=102 "--log-bin=$DATA/data/binlog" \
    --binlog-row-image=FULL --binlog-row-metadata=FULL --gtid-mode=ON --enforce-gtid-consistency=ON --binlog-rows-query-log-events=ON \
    "--log-error=$DATA/error.log" ${EXTRA:-} > "$DATA/output.log" 2>&1 < /dev/null 9>&- &
  await $! "$DATA/error.log" "$PREFIX/bin/mysqladmin" --no-defaults -S "$SOCKET" -uroot --connect-timeout=2 ping
}

case "${1:-}" in
  install) install_once ;;
  start) install_once; locked "$DATA/.lock" start ;;
  stop) stop_server TERM ;;
  client) shift; exec "$PREFIX/bin/mysql" --no-defaults -S "$SOCKET" -uroot --default-character-set=utf8mb4 "$@" ;;
  tool) program=$2; shift 2; exec "$PREFIX/bin/$program" --no-defaults -S "$SOCKET" -uroot "$@" ;;
  path) print_path "${2:-}" ;;
  *) usage ;;
esac
