//! docs/types.md against servers: tables with values at the edges of every type go through the real program, and what arrives is
//! compared, column by column, with what the source's own SELECT says. Under full and minimal metadata and row images.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use serde_json::value::RawValue;
use tidegate_tests::flow::Flow;
use tidegate_tests::servers::{self, Kind, Server};

mod cases;

#[derive(Clone)]
struct Column {
    name: String,
    data_type: String,
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn unhex(hex: &str) -> String {
    let bytes = hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
    String::from_utf8(bytes.collect()).unwrap()
}

/// Names come as hex, because the client escapes some of them.
fn tables(server: &Server, database: &str) -> Vec<(String, Vec<Column>)> {
    let query = format!(
        "SELECT HEX(c.TABLE_NAME), HEX(c.COLUMN_NAME), IF(c.COLUMN_TYPE LIKE 'decimal%zerofill', 'zerofill', c.DATA_TYPE) FROM information_schema.COLUMNS c JOIN information_schema.TABLES t \
         USING (TABLE_SCHEMA, TABLE_NAME) WHERE c.TABLE_SCHEMA = '{database}' AND t.TABLE_TYPE = 'BASE TABLE' ORDER BY c.TABLE_NAME, c.ORDINAL_POSITION"
    );
    let rows = server.rows(&query);
    let of_table = |rows: &[Vec<String>]| {
        let column = |row: &Vec<String>| Column { name: unhex(&row[1]), data_type: row[2].clone() };
        (unhex(&rows[0][0]), rows.iter().map(column).collect())
    };
    rows.chunk_by(|a, b| a[0] == b[0]).map(of_table).collect()
}

/// SQL for a value's text, as hex of its UTF-8: integers without what fills them up, bytes in base64, all else as SELECT shows it; `-` is NULL.
/// FLOAT and DOUBLE are themselves.
fn text_of(column: &Column) -> String {
    let name = quoted(&column.name);
    let text = match &*column.data_type {
        // Within an expression of text they lose digits.
        "float" | "double" => return format!("CAST({name} AS DOUBLE)"),
        "bit" | "year" | "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "zerofill" => {
            format!("CAST({name} + 0 AS CHAR)")
        }
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "geometry" | "point" | "linestring"
        | "polygon" | "multipoint" | "multilinestring" | "multipolygon" | "geomcollection" | "geometrycollection" | "vector" => {
            format!("REPLACE(TO_BASE64({name}), '\\n', '')")
        }
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" => {
            format!("CONVERT({name} USING utf8mb4)")
        }
        _ => format!("CAST({name} AS CHAR CHARACTER SET utf8mb4)"),
    };
    format!("IF({name} IS NULL, '-', HEX({text}))")
}

/// Rows by key: the columns' texts.
type Rows = BTreeMap<String, Vec<String>>;

/// What is in each of the tables, in their order.
fn select(server: &Server, database: &str, tables: &[(String, Vec<Column>)]) -> Vec<Rows> {
    let mut queries = String::from("SET time_zone = '+00:00';");
    for (i, (table, columns)) in tables.iter().enumerate() {
        let list: Vec<String> = columns.iter().map(text_of).collect();
        let key = ["my_row_id", "nth"].into_iter().find(|key| columns.iter().any(|c| c.name == *key)).unwrap_or("id");
        let _ = writeln!(queries, "SELECT {i}, {key}, {} FROM {}.{};", list.join(", "), quoted(database), quoted(table));
    }
    let mut found: Vec<Rows> = tables.iter().map(|_| Rows::new()).collect();
    for mut row in server.rows(&queries) {
        let values = row.split_off(2);
        found[row[0].parse::<usize>().unwrap()].insert(row.remove(1), values);
    }
    found
}

type Line = BTreeMap<String, Box<RawValue>>;

/// What the lines of a jsonl file leave in each table: by key, the columns' JSON.
fn replay(file: &str) -> BTreeMap<String, BTreeMap<String, Line>> {
    let mut tables: BTreeMap<String, BTreeMap<String, Line>> = BTreeMap::new();
    for line in file.lines() {
        let line: Line = serde_json::from_str(line).unwrap();
        let field = |name: &str| line.get(name).map(|raw| serde_json::from_str::<Line>(raw.get()).unwrap());
        let text = |name: &str| serde_json::from_str::<String>(line[name].get()).unwrap();
        let key = field("key").expect("all tables have a key").into_values().next().unwrap().get().to_owned();
        let rows = tables.entry(text("table")).or_default();
        match text("op").as_str() {
            "insert" | "snapshot" => assert!(rows.insert(key, field("after").unwrap()).is_none()),
            "update" => rows.get_mut(&key).expect("an update of a row").extend(field("after").unwrap()),
            _ => drop(rows.remove(&key)),
        }
    }
    tables
}

/// The JSON that a column's text has to be.
fn is_same(column: &Column, expected: &str, json: &str) -> bool {
    if matches!(expected, "-" | "NULL") {
        return json == "null";
    }
    let expected = if matches!(&*column.data_type, "float" | "double") { expected.to_owned() } else { unhex(expected) };
    let string = || serde_json::from_str::<String>(json).ok();
    match &*column.data_type {
        "float" => expected.parse::<f64>().unwrap().to_bits() == f64::from(json.parse::<f32>().unwrap()).to_bits(),
        "double" => expected.parse::<f64>().unwrap().to_bits() == json.parse::<f64>().unwrap().to_bits(),
        "bit" | "year" | "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "json" => expected == json,
        "timestamp" => string() == Some(format!("{expected}Z")),
        _ => string() == Some(expected),
    }
}

/// Tables that SQL targets refuse or, for decimals inside JSON, change, as docs/types.md says.
const ODD: &str = "odd_";

/// Tables with keys of all types: their lines are not told apart by a number.
const KEYS: &str = "key_";

/// Writes all cases under the given settings, and copies them: from the binlog, and then from the tables themselves.
fn copies_are_equal(source: &Server, metadata: &str, image: &str) {
    let database = format!("types_{}_{}", metadata.to_lowercase(), image.to_lowercase());
    source.sql(&format!("SET GLOBAL binlog_row_metadata = {metadata}; SET GLOBAL binlog_row_image = {image}"));
    source.sql(&format!("CREATE DATABASE {database} CHARACTER SET utf8mb4"));
    let start = here(source);
    source.sql_in(&database, &cases::all(source.kind, image != "MINIMAL"));
    copy_is_equal(source, &database, &format!("{database}_copy"), &start, image);
    copy_is_equal(source, &database, &format!("{database}_read"), "\"snapshot\"", "FULL");
}

/// Where the server stands, as a manifest says it.
fn here(source: &Server) -> String {
    let status = source.rows(if source.kind == Kind::MySql { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" });
    format!("{{ file = \"{}\", offset = {} }}", status[0][0], status[0][1])
}

/// Copies a database into a file and into another database of the same server.
fn copy_is_equal(source: &Server, database: &str, copy: &str, start: &str, image: &str) {
    source.sql(&format!("CREATE DATABASE {copy}"));
    let flow = Flow::new(&format!(
        "[source.here]\ntype = \"mysql\"\nurl = \"{url}\"\ntables = [\"{database}.*\"]\nstart = {start}\n\
         [source.even]\ntype = \"mysql\"\nurl = \"{url}\"\ntables = [\"{database}.*\", \"!{database}.{ODD}*\"]\nstart = {start}\n\
         [sink.lines]\ntype = \"jsonl\"\npath = \"lines.jsonl\"\n\
         [sink.there]\ntype = \"mysql\"\nurl = \"{}\"\ncreate = true\n\
         [pipeline.lines]\nsource = \"here\"\nsink = \"lines\"\n[pipeline.copy]\nsource = \"even\"\nsink = \"there\"\nlanes = 2\n",
        source.url("root", copy),
        url = source.url("root", ""),
    ));
    if source.kind == Kind::MySql {
        source.sql("SET GLOBAL show_gipk_in_create_table_and_information_schema = OFF");
    }
    flow.catch_up();
    if source.kind == Kind::MySql {
        source.sql("SET GLOBAL show_gipk_in_create_table_and_information_schema = ON");
    }
    let lines = replay(&fs::read_to_string(flow.folder().join("lines.jsonl")).unwrap());
    let mut wrong = String::new();
    let (odd, even): (Vec<_>, Vec<_>) = tables(source, database).into_iter().partition(|(table, _)| table.starts_with(ODD));
    let mut there = select(source, copy, &even).into_iter();
    let tables = [even, odd].concat();
    let here = select(source, database, &tables);
    for (((table, columns), expected), there) in tables.iter().zip(&here).zip(std::iter::repeat_with(|| there.next())) {
        let written = lines.get(table).unwrap_or_else(|| panic!("nothing of {table} arrived"));
        assert!(
            expected.len() == written.len() && there.as_ref().is_none_or(|there| there.len() == expected.len()),
            "rows of {table}"
        );
        for (key, values) in expected {
            for (i, (column, value)) in columns.iter().zip(values).enumerate() {
                // An INSERT that did not name the column: neither it nor its default was logged.
                if image == "MINIMAL" && written.get(key).is_some_and(|line| !line.contains_key(&column.name)) {
                    continue;
                }
                if let Some(there) = there.as_ref().map(|there| &there[key][i]).filter(|there| *there != value) {
                    let _ = writeln!(wrong, "mysql {table}.{} of {key}: {value:.200} is {there:.200}", column.name);
                }
                if table.starts_with(KEYS) {
                    continue;
                }
                let json = written[key].get(&column.name).map_or("absent", |raw| raw.get());
                if !is_same(column, value, json) {
                    let _ = writeln!(wrong, "jsonl {table}.{} of {key}: {value:.200} is {json:.200}", column.name);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{copy} from {start}:\n{wrong}");
}

#[test]
fn versions_of_rows_are_rows_and_sequences_are_none() {
    let source = Server::start(Kind::MariaDb(10), &[]);
    for metadata in ["FULL", "NO_LOG"] {
        let database = format!("versions_{}", metadata.to_lowercase());
        source.sql(&format!("SET GLOBAL binlog_row_metadata = {metadata}; CREATE DATABASE {database}_copy"));
        let sink = format!("type = \"mysql\"\nurl = \"{}\"", source.url("root", &format!("{database}_copy")));
        copy_of(&source, &database, cases::VERSIONED, &sink).catch_up();
        for (table, end) in [("versioned", "row_end"), ("versioned_by_name", "e")] {
            let all = source.sql_in(&database, &format!("SELECT id, a, {end} FROM {table} FOR SYSTEM_TIME ALL ORDER BY id, {end}"));
            let there = source.sql_in(&format!("{database}_copy"), &format!("SELECT id, a, {end} FROM {table} ORDER BY id, {end}"));
            assert_eq!(all, there, "{metadata}: {table}");
        }
        assert_eq!(source.sql_in(&format!("{database}_copy"), "SHOW TABLES LIKE 'numbers'"), "");
    }
}

/// A pipeline of everything in `database`, from its beginning on.
fn copy_of(source: &Server, database: &str, sql: &str, sink: &str) -> Flow {
    source.sql(&format!("CREATE DATABASE {database}"));
    let start = here(source);
    source.sql_in(database, sql);
    Flow::new(&format!(
        "[source.here]\ntype = \"mysql\"\nurl = \"{}\"\ntables = [\"{database}.*\"]\nstart = {start}\n\
         [sink.there]\n{sink}\ncreate = true\n[pipeline.copy]\nsource = \"here\"\nsink = \"there\"\n",
        source.url("root", ""),
    ))
}

#[test]
fn values_of_64_mb_arrive() {
    let server = servers::mysql(&["--max-allowed-packet=1G"]);
    server.sql("CREATE DATABASE large_copy");
    let sink = format!("type = \"mysql\"\nurl = \"{}\"", server.url("root", "large_copy"));
    let sql = "CREATE TABLE t (id INT PRIMARY KEY, b LONGBLOB, s LONGTEXT);
INSERT INTO t VALUES (1, repeat(x'00ff5c27', 16 << 20), 'small'), (2, '', repeat('é', 8 << 20));
UPDATE t SET s = 'changed' WHERE id = 1;";
    copy_of(&server, "large", sql, &sink).catch_up();
    let query = "SELECT id, length(b), sha2(b, 256), length(s), sha2(s, 256) FROM t ORDER BY id";
    assert_eq!(server.sql_in("large", query), server.sql_in("large_copy", query));
}

#[test]
fn text_that_the_target_cannot_hold_stops() {
    let server = servers::shared_mysql();
    for (name, source, target) in [
        ("latin1", "VARCHAR(9) CHARACTER SET utf8mb4", "VARCHAR(9) CHARACTER SET latin1"),
        ("utf8mb3", "TEXT CHARACTER SET utf16", "TEXT CHARACTER SET utf8mb3"),
        ("enums", "ENUM('😀', 'a') CHARACTER SET utf8mb4", "ENUM('a', 'b')"),
        ("short", "VARCHAR(9)", "VARCHAR(1)"),
    ] {
        let copy = format!("unfit_{name}_copy");
        server.sql(&format!("CREATE DATABASE {copy}; CREATE TABLE {copy}.t (id INT PRIMARY KEY, v {target})"));
        let sink = format!("type = \"mysql\"\nurl = \"{}\"", server.url("root", &copy));
        let sql = format!(
            "CREATE TABLE t (id INT PRIMARY KEY, v {source}); INSERT INTO t VALUES (1, 'a'); INSERT INTO t VALUES (2, '😀'), (3, 'abc');"
        );
        let sql = if name == "enums" { sql.replace(", (3, 'abc')", "") } else { sql };
        let (code, _, stderr) = copy_of(server, &format!("unfit_{name}"), &sql, &sink).call(&["run", "--until", "caught-up"]);
        assert!(code != 0 && stderr.contains("`v`") && stderr.contains(".t") && !stderr.contains('😀'), "{name}: {code}: {stderr}");
        let row = if name == "short" { 3 } else { 2 };
        assert_eq!(server.sql_in(&copy, &format!("SELECT v FROM t WHERE id = {row}")), "", "{name}");
    }
}

#[test]
fn addresses_arrive_at_postgres() {
    let sql = "CREATE TABLE a (id INT PRIMARY KEY, i6 INET6, i4 INET4, u UUID); CREATE TABLE keyed (u UUID PRIMARY KEY, v INT);
INSERT INTO a VALUES (1, '2001:db8::', '192.0.2.0', '123e4567-e89b-12d3-a456-000000000000'), (2, '::', '0.0.0.0', '00000000-0000-0000-0000-000000000000'),
  (3, '::ffff:1.2.3.4', '255.255.255.255', 'ffffffff-ffff-ffff-ffff-ffffffffffff'), (4, NULL, NULL, NULL);
INSERT INTO keyed VALUES ('123e4567-e89b-12d3-a456-000000000000', 1), ('01890a5d-ac96-774b-bcce-b302099a8057', 2); UPDATE keyed SET v = 5 WHERE v = 1; DELETE FROM keyed WHERE v = 2;";
    let (source, target) = (servers::shared_mariadb(), servers::shared_postgres());
    target.sql("CREATE DATABASE addresses");
    let sink = format!("type = \"postgres\"\nurl = \"{}\"", target.url("postgres", "addresses"));
    copy_of(source, "addresses", sql, &sink).catch_up();
    for query in ["SELECT id, i6, i4, u FROM a ORDER BY id", "SELECT u, v FROM keyed"] {
        assert_eq!(source.sql_in("addresses", query), target.sql_in("addresses", query));
    }
}

#[test]
fn fractions_in_the_format_of_mariadb_5_3_stop() {
    let source = Server::start(Kind::MariaDb(10), &[]);
    for metadata in ["FULL", "NO_LOG"] {
        let database = format!("old_{}", metadata.to_lowercase());
        source.sql(&format!("SET GLOBAL binlog_row_metadata = {metadata}; CREATE DATABASE {database}_copy"));
        let sink = format!("type = \"mysql\"\nurl = \"{}\"", source.url("root", &format!("{database}_copy")));
        let sql = "SET GLOBAL mysql56_temporal_format = OFF;
CREATE TABLE whole (id INT PRIMARY KEY, t TIME, d DATETIME, s TIMESTAMP NULL); CREATE TABLE parts (id INT PRIMARY KEY, t TIME(6));
SET GLOBAL mysql56_temporal_format = ON;
INSERT INTO whole VALUES (1, '-10:11:12', '2024-02-29 01:02:03', '2024-02-29 01:02:03'), (2, '838:59:59', 0, 0); INSERT INTO parts VALUES (1, '-10:11:12.000013');";
        let (code, _, stderr) = copy_of(&source, &database, sql, &sink).call(&["run", "--until", "caught-up"]);
        assert!(
            code != 0 && stderr.contains("`t` has fractions") && stderr.contains("mysql56_temporal_format"),
            "{metadata}: {stderr}"
        );
        let query = "SELECT * FROM whole ORDER BY id";
        assert_eq!(source.sql_in(&database, query), source.sql_in(&format!("{database}_copy"), query));
    }
}

#[test]
fn every_type_of_mysql_arrives_as_it_is() {
    let source = servers::mysql(&[]);
    copies_are_equal(&source, "FULL", "FULL");
    copies_are_equal(&source, "MINIMAL", "MINIMAL");
}

#[test]
fn every_type_of_mariadb_arrives_as_it_is() {
    let source = servers::mariadb(&[]);
    copies_are_equal(&source, "FULL", "FULL");
    copies_are_equal(&source, "MINIMAL", "NOBLOB");
}

#[test]
fn every_type_of_mariadb_10_arrives_as_it_is() {
    let source = Server::start(Kind::MariaDb(10), &[]);
    copies_are_equal(&source, "FULL", "MINIMAL");
    copies_are_equal(&source, "NO_LOG", "FULL");
}
