#!/bin/bash
# Records the binlog of the demo and the decoder's fixtures from real servers, with what those servers themselves say is in them.
# usage: record-demo.sh [demo] [fixtures]    both unless named
# environment: PORT (23390): the port that the servers take while recording
#
# examples/demo/binlog/shop.000001     examples/demo/{shop,all_types}.sql on MySQL 9.7
# examples/demo/expected/TABLE.tsv     the tables as MySQL's SELECT shows them at the end, in primary key order: `mysql -B` with its
#                                      escapes, binary values as 0x…, FLOAT as the DOUBLE that it is, times in UTC
# tests/fixtures/NAME.binlog           smaller recordings under other server settings (see the calls at the end)
# tests/fixtures/NAME.txt.gz           the same by `mysqlbinlog -vv --base64-output=decode-rows`
# tests/fixtures/{mysql,mariadb}-TABLE.tsv   the tables at their end, as above
set -euo pipefail
cd "$(dirname "$0")/.."
export PORT=${PORT:-23390} DATA=$PWD/target/servers/record
DEMO=examples/demo FIXTURES=tests/fixtures
trap 'MY stop; MDB stop' EXIT
MY() { scripts/servers/mysql.sh "$@"; }
MDB() { scripts/servers/mariadb.sh "$@"; }

# tables CLIENT FOLDER PREFIX: writes each table of schema shop to FOLDER/PREFIX-TABLE.tsv.
tables() {
  local client=$1 out=$2 table columns key
  for table in $($client client -N -e "SELECT table_name FROM information_schema.tables WHERE table_schema = 'shop' ORDER BY 1"); do
    columns=$($client client -N -e "SET group_concat_max_len = 100000; SELECT group_concat(if(data_type = 'float', concat(column_name, ' + 0e0 AS ', column_name),
      column_name) ORDER BY ordinal_position SEPARATOR ', ') FROM information_schema.columns WHERE table_schema = 'shop' AND table_name = '$table'")
    key=$($client client -N -e "SELECT group_concat(column_name ORDER BY ordinal_position) FROM information_schema.key_column_usage
      WHERE table_schema = 'shop' AND table_name = '$table' AND constraint_name = 'PRIMARY'")
    $client client --batch --binary-as-hex shop -e "SET time_zone = '+00:00'; SELECT $columns FROM $table ORDER BY $key" > "$out$table.tsv"
  done
}

# fresh CLIENT OPTIONS: an empty server whose binlog is called shop.
fresh() {
  MY stop; MDB stop; rm -rf "$DATA"
  EXTRA="--log-bin=$DATA/data/shop $2" "$1" start
}

# record CLIENT OUT SQL_FILE...: runs the files in one session and copies the binlog that they made.
record() {
  local client=$1 out=$2 reset; shift 2
  case $client in MY) reset='RESET BINARY LOGS AND GTIDS' ;; MDB) reset='RESET MASTER' ;; esac
  $client client -e "$reset"
  { echo "SET @large = $LARGE, @orders = $ORDERS;"; cat "$@"; } | $client client
  $client client -e 'FLUSH BINARY LOGS'
  install -m 644 "$DATA/data/shop.000001" "$out"
}

# fixture CLIENT NAME OPTIONS SQL_FILE...
fixture() {
  local client=$1 name=$2 options=$3 dump=mysqlbinlog; shift 3
  [ "$client" = MY ] || dump=mariadb-binlog
  fresh "$client" "$options"
  LARGE=50 ORDERS=20 record "$client" "$FIXTURES/$name.binlog" "$@"
  # Comments with the time of the dump would differ each time.
  "$($client path $dump)" --no-defaults -vv --base64-output=decode-rows "$FIXTURES/$name.binlog" | gzip -9n > "$FIXTURES/$name.txt.gz"
}

what=${*:-demo fixtures}
mkdir -p "$DEMO/binlog" "$DEMO/expected" "$FIXTURES"
case $what in *demo*)
  fresh MY ""
  LARGE=5000 ORDERS=200 record MY "$DEMO/binlog/shop.000001" "$DEMO/shop.sql" "$DEMO/all_types.sql"
  tables MY "$DEMO/expected/"
esac
case $what in *fixtures*)
  SQL=("$DEMO/shop.sql" "$DEMO/all_types.sql")
  fixture MY mysql-compressed "--binlog-transaction-compression=ON" "${SQL[@]}"
  tables MY "$FIXTURES/mysql-"
  fixture MY mysql-metadata-minimal "--binlog-row-metadata=MINIMAL" "${SQL[@]}"
  fixture MY mysql-image-minimal "--binlog-row-image=MINIMAL" "${SQL[@]}"
  fixture MY mysql-partial-json "--binlog-row-value-options=PARTIAL_JSON --binlog-row-image=MINIMAL" "${SQL[@]}"
  fixture MY mysql-no-checksum-no-gtid "--binlog-checksum=NONE --gtid-mode=OFF --enforce-gtid-consistency=OFF" "${SQL[@]}"
  fixture MDB mariadb-11 "" "$FIXTURES/mariadb.sql"
  tables MDB "$FIXTURES/mariadb-"
  fixture MDB mariadb-11-compressed "--log-bin-compress=ON --log-bin-compress-min-len=10" "$FIXTURES/mariadb.sql"
  fixture MDB mariadb-11-packed-columns "" "$FIXTURES/mariadb-packed.sql"
esac
