#!/bin/bash
# Records tests/fixtures/decoder: a binlog with rows of every column type, and the server's own answer to SELECT for each table.
# usage: record-types.sh CLIENT LOG OUT_DIR
#   CLIENT   command that runs the mysql client as root, for example "scripts/servers/mysql97.sh client"
#   LOG      base name and folder of the server's binlogs, for example target/servers/mysql97/data/mybin
#   OUT_DIR  tests/fixtures/decoder/mysql97 or tests/fixtures/decoder/mariadb10
# The server must have binlog_format=ROW, binlog_row_image=FULL, binlog_row_metadata=FULL and no binlog compression or encryption.
# Each .tsv line is a row in key order; a value is hex of its bytes as UTF-8 text (binary types: of the bytes), NULL is `-`.
set -euo pipefail
client=$1 log=$2 out=$3
mkdir -p "$out"
sql() { $client --default-character-set=utf8mb4 -N -B "$@"; }
flavour=$(sql -e "select if(version() like '%MariaDB%', 'mariadb', 'mysql')")
sql -e "drop database if exists kinds; create database kinds character set utf8mb4; $([ "$flavour" = mysql ] && echo 'reset binary logs and gtids' || echo 'reset master');"
sql kinds <<'SQL'
set time_zone = '+00:00';
set sql_mode = 'ALLOW_INVALID_DATES';
create table numbers (id int primary key, y year, t1 tinyint, t1u tinyint unsigned, t2 smallint, t2u smallint unsigned, t3 mediumint,
  t3u mediumint unsigned, t4 int, t4u int unsigned, t8 bigint, t8u bigint unsigned, f float, d double, dc decimal(65,30), du decimal(10,2) unsigned,
  d0 decimal(5,0), b1 bit(1), b12 bit(12), b64 bit(64));
insert into numbers values
  (1, 1901, -128, 0, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0, -3.4028234e38, -1.7976931348623157e308,
   -99999999999999999999999999999999999.999999999999999999999999999999, 0, -99999, b'0', b'0', 0),
  (2, 2155, 127, 255, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, 9223372036854775807, 18446744073709551615, 3.4028234e38,
   1.7976931348623157e308, 99999999999999999999999999999999999.999999999999999999999999999999, 99999999.99, 99999, b'1', b'111111111111', 18446744073709551615),
  (3, 0, -1, 200, -1, 40000, -1, 10000000, -1, 3000000000, -1, 10000000000000000000, 0.1, 0.1, 0.000000000000000000000000000001, 0.01, 7, 1, 5, 1),
  (4, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
  (5, 2024, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16777216, 1e-300, -1.5, 1.5, -1, 0, 1024, 9223372036854775808);
update numbers set t3 = t3 - 1 where id = 3;
create table times (id int primary key, da date, t0 time, t1 time(1), t2 time(2), t3 time(3), t6 time(6), d0 datetime, d1 datetime(1), d2 datetime(2),
  d4 datetime(4), d5 datetime(5), d6 datetime(6), s0 timestamp null, s3 timestamp(3) null, s6 timestamp(6) null);
insert into times values
  (1, '0000-00-00', '-838:59:59', '-838:59:58.9', '-00:00:00.01', '-00:00:01.001', '-838:59:58.000001', '0000-00-00', '0000-00-00', '0000-00-00 00:00:00.01',
   '2024-00-00 01:02:03.0004', '2024-02-31 23:59:59.99999', '0000-00-00', '0000-00-00', '0000-00-00', '0000-00-00'),
  (2, '9999-12-31', '838:59:59', '838:59:58.9', '00:00:00.99', '00:00:01.001', '838:59:58.999999', '9999-12-31 23:59:59', '9999-12-31 23:59:59.9',
   '1000-01-01 00:00:00.01', '1969-12-31 23:59:59.9999', '1970-01-01 00:00:00.00001', '2024-02-29 12:34:56.789012', '2038-01-19 03:14:07',
   '1970-01-01 00:00:01.001', '2038-01-19 03:14:07.999999'),
  (3, '2024-00-00', '-00:00:01', '00:00:00.1', '-00:00:01.10', '-00:00:00.999', '-00:00:00.000001', '2024-02-31', null, null, null, null, null, null, null, null),
  (4, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null);
create table texts (id int primary key, c char(10), vc varchar(300), l1 varchar(20) character set latin1, g varchar(20) character set gbk,
  u16 char(5) character set utf16, u2 text character set ucs2, tt tinytext, t text, mt mediumtext, lt longtext character set cp1251,
  asc1 varchar(5) character set ascii collate ascii_bin, kr char(4) character set koi8r, ci varchar(20) collate utf8mb4_general_ci, big char(255));
insert into texts values
  (1, 'a', repeat('ü', 300), 'Grüße €', '中文', '𝄞a', 'текст', '😀', repeat('x', 1000), repeat('ж', 400), 'Привет', 'abc', 'Юлия', 'straße', repeat('𝄞', 255)),
  (2, '', '', '', '', '', '', '', '', '', '', '', '', '', ''),
  (3, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
  (4, '  x', 'x  ', 'a', 'b', 'c', 'd', 'e\nf', 'g\th', 'i', 'j', 'k', 'l', 'M', 'n');
create table bytes (id int primary key, b binary(8), vb varbinary(300), tb tinyblob, bl blob, mb mediumblob, lb longblob, g geometry, p point, b255 binary(255));
insert into bytes values
  (1, x'0102', x'00', x'ff', x'fffe', repeat(x'00ff', 300), repeat(x'80', 700), st_geomfromtext('LINESTRING(0 0,1 1.5)'), point(1, -2), x'01'),
  (2, '', '', '', '', '', '', null, null, ''),
  (3, null, null, null, null, null, null, null, null, null),
  (4, x'0000000000000000', x'0000', x'00', x'0000', x'00', x'00', st_geomfromtext('POINT(3 4)', 4326), point(0, 0), repeat(x'20', 255));
create table members (id int primary key, e enum('a','it''s','x,y','ü') , s set('a','b','c','ö'), el enum('grün','rot') character set latin1, s64 set(
  'm01','m02','m03','m04','m05','m06','m07','m08','m09','m10','m11','m12','m13','m14','m15','m16','m17','m18','m19','m20','m21','m22','m23','m24','m25','m26',
  'm27','m28','m29','m30','m31','m32','m33','m34','m35','m36','m37','m38','m39','m40','m41','m42','m43','m44','m45','m46','m47','m48','m49','m50','m51','m52',
  'm53','m54','m55','m56','m57','m58','m59','m60','m61','m62','m63','m64'), e2 enum('only') not null);
insert into members values (1, 'a', 'a', 'grün', 'm01', 'only'), (2, 'it''s', 'a,c', 'rot', 'm01,m64', 'only'), (3, 'ü', 'ö,b', null, 'm32,m33', 'only'),
  (4, 'x,y', '', 'grün', '', 'only'), (5, null, null, null, null, 'only');
insert ignore into members values (6, 'none', 'none', 'none', 'none', 'none');
create table js (id int primary key, j json);
insert into js values (1, '{"a": [1, -2.5, "x\\"y", null, true, {"b": {}}], "long": 12345678901234567890, "ü": "😀"}'), (2, '[]'), (3, '"text"'), (4, 'null'), (5, null),
  (6, concat('[', repeat('"0123456789abcdef", ', 200), '1]'));
create table keyed (a int, b varchar(20), c int, v text, primary key (b, a));
insert into keyed values (1, 'x', 1, 'v'), (2, 'y', 2, 'w'), (3, 'z', 3, 'u');
update keyed set a = 7, v = 'moved' where a = 1;
update keyed set v = 'stayed' where a = 2;
delete from keyed where a = 3;
create table keyless (a int, b varchar(20));
insert into keyless values (1, 'x'), (1, 'x'), (2, null);
update keyless set b = 'y' where a = 2;
create table uniq (n int null, a int not null, b int not null, unique key nn (n), unique key ab (b, a));
insert into uniq values (null, 1, 2), (3, 4, 5);
create table skipped (id int primary key, v text);
begin;
insert into keyed values (20, 'q', 1, 'v');
insert into skipped values (1, 'no');
insert into keyed values (21, 'q', 1, 'v'), (22, 'q', 1, 'v');
commit;
SQL
if [ "$flavour" = mysql ]; then
  sql kinds <<'SQL'
create table newer (id int primary key, v vector(3), h int invisible, gv int generated always as (id + 1) virtual, gs int generated always as (id * 2) stored, j json);
insert into newer (id, v, h, j) values (1, to_vector('[1,2.5,-3]'), 5, json_object('dt', cast('2024-01-02 03:04:05.000006' as datetime(6)), 'd', cast('2024-01-02' as date), 't', cast('-01:02:03.5' as time(1)))), (2, null, null, json_array(cast(12.50 as decimal(6,2)), 1e100, -0.1));
create table prefixed (t text, n int, primary key (t(5)));
insert into prefixed values ('abcdefgh', 1);
SQL
else
  sql kinds <<'SQL'
create table newer (id int primary key, u uuid, i6 inet6, h int invisible, gv int generated always as (id + 1) virtual, gs int generated always as (id * 2) stored);
insert into newer (id, u, i6, h) values (1, '123e4567-e89b-12d3-a456-426655440000', '::1', 5), (2, null, null, null);
SQL
fi
file=$(sql -e "$([ "$flavour" = mysql ] && echo 'show binary log status' || echo 'show master status')" | cut -f1)
sql -e "flush binary logs"
install -m 644 "$(dirname "$log")/$file" "$out/binlog.000001"
# A column as hex of its UTF-8 text, or of its bytes.
columns="select concat('if(\`', column_name, '\` is null, ''-'', hex(', case
    when data_type in ('binary','varbinary','tinyblob','blob','mediumblob','longblob','vector') then concat('\`', column_name, '\`')
    when data_type in ('uuid','inet6') then concat('cast(\`', column_name, '\` as binary(16))')
    when data_type in ('geometry','point') then concat('cast(\`', column_name, '\` as binary)')
    when data_type = 'bit' then concat('cast(\`', column_name, '\` + 0 as char)')
    when data_type in ('float') then concat('cast(cast(\`', column_name, '\` as double) as char)')
    else concat('convert(cast(\`', column_name, '\` as char character set utf8mb4) using utf8mb4)') end, '))')
  from information_schema.columns where table_schema = 'kinds' and table_name = 'TABLE' order by ordinal_position"
for table in $(sql -e "select table_name from information_schema.tables where table_schema = 'kinds' and table_name <> 'skipped' order by 1"); do
  list=$(sql -e "${columns/TABLE/$table}" | paste -sd, -)
  sql kinds -e "set time_zone = '+00:00'; select $list from $table order by 1" > "$out/$table.tsv"
done
ls -l "$out"
