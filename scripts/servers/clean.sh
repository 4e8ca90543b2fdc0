#!/bin/bash
# Stops every server that runs out of this checkout's target/servers and removes the folder. Downloads stay in the cache.
# usage: clean.sh [--when-input-ends FOLDER]    waits until standard input ends, then does the same with one folder only:
#   a test process holds the other end, so its servers end with it however it ends
set -euo pipefail
SERVERS=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/target/servers

# runs FOLDER PID: whether PID is a server of FOLDER; the number may belong to another process by now.
runs() { grep -qaF "$1" "/proc/$2/cmdline" 2> /dev/null; }

# remove FOLDER: stops the servers whose pid file is below it, then removes it.
remove() {
  local file pid folder
  while read -r file; do
    pid=$(head -1 "$file"); folder=$(dirname "$file")
    if runs "$folder" "$pid"; then kill -KILL "$pid"; fi
    while runs "$folder" "$pid"; do sleep 0.1; done
  done < <(find "$1" -name my.pid -o -name postmaster.pid)
  rm -rf "$1"
}

if [ "${1:-}" = --when-input-ends ]; then
  cat > /dev/null
  [ ! -d "$2" ] || remove "$2"
elif [ -d "$SERVERS" ]; then
  remove "$SERVERS"
fi
