#!/bin/sh
# Records from real servers what runtime/src/source/binlog/values compiles in (character sets, collations) and what its tests
# compare with (JSON and decimals out of row images). Needs python3, zstd, a MySQL 9.7 whose binlog this user can read, and a
# MariaDB 11.8, both running; changes files in the work tree, takes some minutes. Collations that the files have stay as they are: the
# hash of keys is frozen.
# usage: record-values.sh MYSQL MARIADB ; each a program that runs the server's client when called as `PROGRAM client OPTION…`
set -eu
[ $# = 2 ] || { sed -n 2,5p "$0"; exit 2; }
PYTHONDONTWRITEBYTECODE=1 exec python3 "$(dirname "$0")/record_values.py" "$1" "$2"
