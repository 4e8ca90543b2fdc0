#!/bin/bash
# A private MariaDB from Debian packages, unpacked into a folder (see debs.sh).
# usage: mariadb.sh install | start | stop | client [mariadb args] | tool PROGRAM [args] | path [PROGRAM]
#   tool runs mariadb-binlog, mariadb-dump or mariadb-admin against the instance; path prints where a program is
# environment: VERSION (11 = 11.8 of trixie, the default; 10 = 10.11 of bookworm), PREFIX (the install, target/servers/mariadb-VERSION),
#   DATA (the instance, PREFIX/instance), PORT (13306), EXTRA (more mariadbd options, split at blanks), SMALL (1: little memory)
# User root has no password and comes in over the socket DATA/my.sock and over 127.0.0.1.
# Row binlog with full images and metadata, GTIDs (domain 0), and the text of statements are on; EXTRA overrides.
set -euo pipefail; . "$(dirname "$0")/instance.sh"
VERSION=${VERSION:-11}
case $VERSION in 10) SUITE=bookworm ;; 11) SUITE=trixie ;; *) echo "VERSION must be 10 or 11" >&2; exit 2 ;; esac
folders "mariadb-$VERSION"; PORT=${PORT:-13306}; PID_FILE=$DATA/my.pid; SOCKET=$SOCKETS/my.sock

# server ARGS...: execs mariadbd with what every start needs. The folder of messages and SQL is called mysql or mariadb.
server() {
  local share small=()
  share=$(dirname "$(ls "$ROOT"/usr/share/{mysql,mariadb}/*system_tables.sql 2> /dev/null | head -1)")
  if [ "${SMALL:-1}" = 1 ]; then small=(--innodb-buffer-pool-size=64M --innodb-log-file-size=32M --key-buffer-size=8M --aria-pagecache-buffer-size=8M); fi
  exec "$PREFIX/bin/mariadbd" --no-defaults "--user=$(id -un)" "--basedir=$ROOT/usr" "--lc-messages-dir=$share" "--character-sets-dir=$share/charsets" \
    "--plugin-dir=$ROOT/usr/lib/mysql/plugin" "${small[@]}" "$@"
}

unpack_server() {
  local program file share stem
  # mariadb-server itself holds the plugins, among them the login ed25519; what only its maintainer scripts and tools need is left out.
  DEBS_DROP="$DEBS_DROP|galera|mariadb-backup|mariadb-plugin|rsync|lsof|iproute2|gawk|psmisc|procps" \
    unpack "$SUITE" "$ROOT" mariadb-server mariadb-server-core mariadb-client-core mariadb-client
  mkdir -p "$PREFIX/bin"
  for program in mariadbd mariadb mariadb-admin mariadb-binlog mariadb-dump; do
    for file in "$ROOT/usr/sbin/$program" "$ROOT/usr/bin/$program"; do wrap "$ROOT" "$file" "$PREFIX/bin/$program"; done
    [ -x "$PREFIX/bin/$program" ] || { echo "no $program in the packages" >&2; exit 1; }
  done
  # What mariadb-install-db does, without its shell and perl helpers. Every instance begins as a copy of this data folder.
  share=$(dirname "$(ls "$ROOT"/usr/share/{mysql,mariadb}/*system_tables.sql 2> /dev/null | head -1)")
  stem=$share/mysql; [ -f "$share/mysql_system_tables.sql" ] || stem=$share/mariadb
  rm -rf "$PREFIX/template"; mkdir -p "$PREFIX/template"
  {
    printf '%s\n' 'create database mysql;' 'use mysql;' 'set @skip_auth_anonymous=1;' 'set @auth_root_socket=null;' # one statement a line
    cat "${stem}_system_tables.sql" "${stem}_performance_tables.sql" "${stem}_system_tables_data.sql" "$share/fill_help_tables.sql" \
      "$share/maria_add_gis_sp_bootstrap.sql" "${stem}_sys_schema.sql"
  } | (server "--datadir=$PREFIX/template" --bootstrap --skip-log-bin) > "$PREFIX/init.log" 2>&1 \
    || { echo "bootstrap failed; see $PREFIX/init.log" >&2; exit 1; }
}

start() {
  server_pid > /dev/null && return
  # A folder of its own for temporary files: a server that starts removes those of all others from a shared one.
  mkdir -p "$SOCKETS" "$DATA/tmp"
  if [ ! -d "$DATA/data" ]; then rm -rf "$DATA/data.part"; cp -a "$PREFIX/template" "$DATA/data.part"; mv "$DATA/data.part" "$DATA/data"; fi
  # shellcheck disable=SC2086 # EXTRA is a list of options
  (server "--datadir=$DATA/data" "--socket=$SOCKET" "--pid-file=$PID_FILE" --bind-address=127.0.0.1 "--port=$PORT" --skip-name-resolve \
    --server-id=103 "--log-bin=$DATA/data/binlog" --binlog-format=ROW --binlog-row-image=FULL --binlog-row-metadata=FULL \
    --binlog-annotate-row-events=ON --gtid-strict-mode=ON --gtid-domain-id=0 "--tmpdir=$DATA/tmp" "--log-error=$DATA/error.log" ${EXTRA:-}) \
    > "$DATA/output.log" 2>&1 < /dev/null 9>&- &
  await $! "$DATA/error.log" "$PREFIX/bin/mariadb-admin" --no-defaults -S "$SOCKET" -uroot --connect-timeout=2 ping
}

case "${1:-}" in
  install) install_once ;;
  start) install_once; locked "$DATA/.lock" start ;;
  stop) stop_server TERM ;;
  client) shift; exec "$PREFIX/bin/mariadb" --no-defaults -S "$SOCKET" -uroot --default-character-set=utf8mb4 "$@" ;;
  tool) program=$2; shift 2; exec "$PREFIX/bin/$program" --no-defaults -S "$SOCKET" -uroot "$@" ;;
  path) print_path "${2:-}" ;;
  *) usage ;;
esac
