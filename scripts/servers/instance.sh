# Sourced by mysql.sh, mariadb.sh and postgres.sh: what is the same for every server.
#
# One install (PREFIX) serves any number of instances, each with a folder of its own (DATA), which holds its data, socket, pid
# file and logs. Install and start are guarded by locks, so that any number of tests may call them at once.

SCRIPTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PROJECT=$(cd "$SCRIPTS/../.." && pwd)
. "$SCRIPTS/debs.sh"

# folders NAME: sets PREFIX, DATA, ROOT and SOCKETS (the folder of the socket: a socket's path has at most 107 bytes).
folders() {
  PREFIX=$(realpath -m "${PREFIX:-$PROJECT/target/servers/$1}"); ROOT=$PREFIX/root
  DATA=$(realpath -m "${DATA:-$PREFIX/instance}")
  SOCKETS=$DATA; if [ "${#DATA}" -gt 85 ]; then SOCKETS=/tmp/tidegate-$(cksum <<< "$DATA" | cut -d' ' -f1); fi
}

# locked FILE COMMAND...: runs COMMAND while holding the lock FILE. Servers that it starts must close descriptor 9.
locked() {
  local lock=$1; shift
  mkdir -p "$(dirname "$lock")"
  (flock 9; "$@") 9> "$lock"
}

# install_once: runs `unpack_server` unless that was done before.
install_once() { [ -f "$PREFIX/.complete" ] || locked "$PREFIX/.lock" install_locked; }
install_locked() { [ -f "$PREFIX/.complete" ] || { unpack_server; touch "$PREFIX/.complete"; }; }

# server_pid: prints the process id of this instance's server; fails if it does not run.
server_pid() {
  local pid
  pid=$(head -1 "$PID_FILE" 2> /dev/null) && [ -n "$pid" ] || return 1
  # A process that is not ours may have the number by now; a zombie has no command line.
  grep -qaF "$DATA/" "/proc/$pid/cmdline" 2> /dev/null || return 1
  printf '%s\n' "$pid"
}

# await PID LOG COMMAND...: waits until COMMAND succeeds; fails as soon as process PID has ended, or after START_SECONDS_MAX (60).
await() {
  local pid=$1 log=$2 end=$((SECONDS + ${START_SECONDS_MAX:-60})); shift 2
  until "$@" > /dev/null 2>&1; do
    if ! kill -0 "$pid" 2> /dev/null; then echo "the server ended while it started; the end of $log:" >&2; tail -5 "$log" >&2; exit 1; fi
    if [ "$SECONDS" -gt "$end" ]; then echo "the server does not answer; the end of $log:" >&2; tail -5 "$log" >&2; exit 1; fi
    sleep 0.1
  done
}

# stop_server SIGNAL: an orderly stop; SIGKILL after 60 s.
stop_server() {
  local pid end=$((SECONDS + 60))
  pid=$(server_pid) || return 0
  kill "-$1" "$pid"
  while server_pid > /dev/null; do
    if [ "$SECONDS" -gt "$end" ]; then kill -KILL "$pid"; end=$((SECONDS + 60)); fi
    sleep 0.1
  done
}

# path [PROGRAM]: prints where a program of the install is, or the install folder.
print_path() {
  install_once
  if [ -z "${1:-}" ]; then printf '%s\n' "$PREFIX"; return; fi
  [ -x "$PREFIX/bin/$1" ] || { echo "no program $1 in $PREFIX/bin" >&2; exit 2; }
  printf '%s\n' "$PREFIX/bin/$1"
}

usage() { sed -n '2,/^[^#]/{/^#/p}' "$0" | sed 's/^# \{0,1\}//'; exit 2; }
