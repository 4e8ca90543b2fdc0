//! Values of every type through the whole pipeline, each column compared with what the source's own server says.

use tidegate_tests::project;
use tidegate_tests::servers::{self, Kind, Server};

use super::{Copy, Origin};

/// Columns of a table at a MySQL or MariaDB: name and data type.
fn columns(origin: &Origin<'_>, table: &str) -> Vec<(String, String)> {
    let query = format!(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = '{}' AND table_name = '{table}' \
         ORDER BY ordinal_position",
        origin.database
    );
    origin.server.rows(&query).into_iter().map(|row| (row[0].clone(), row[1].clone())).collect()
}

/// How a column is asked for so that equal values are answered with equal text. `kind`: `None` is SQLite.
fn ask(column: &str, data_type: &str, kind: Option<Kind>) -> String {
    let is_mysql = matches!(kind, Some(Kind::MySql | Kind::MariaDb(_)));
    let is_postgres = kind == Some(Kind::Postgres);
    match data_type {
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "point" | "geometry" | "vector"
            if is_postgres =>
        {
            format!("upper(encode({column}, 'hex'))")
        }
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "point" | "geometry" | "vector" => {
            format!("CASE WHEN {column} IS NOT NULL THEN HEX({column}) END")
        }
        "uuid" | "inet6" | "inet4" if is_mysql => format!("CAST({column} AS CHAR)"),
        "float" if is_postgres => format!("{column}::double precision"),
        "double" if kind.is_none() => format!("quote({column})"),
        "float" | "double" if is_mysql => format!("CAST({column} AS DOUBLE)"),
        "bit" if is_mysql => format!("{column} + 0"),
        "year" if is_mysql => format!("{column} + 0"),
        "datetime" | "timestamp" if is_postgres => format!("to_char({column}, 'YYYY-MM-DD HH24:MI:SS.US')"),
        "datetime" | "timestamp" if is_mysql => format!("CAST({column} AS CHAR)"),
        "time" if is_postgres => format!("round(extract(epoch FROM {column}) * 1000000)"),
        "time" if is_mysql => {
            let zero = "TIMESTAMP('2000-01-01 00:00:00.000000')";
            format!("TIMESTAMPDIFF(MICROSECOND, {zero}, ADDTIME({zero}, {column}))")
        }
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" | "json" if is_postgres => {
            format!("upper(encode(convert_to({column}::text, 'UTF8'), 'hex'))")
        }
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" | "json" if is_mysql => {
            format!("HEX(CONVERT({column} USING utf8mb4))")
        }
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" | "json" => {
            format!("iif({column} IS NULL, NULL, hex({column}))")
        }
        _ => column.to_owned(),
    }
}

/// What differs between servers in how the same value is printed.
fn normal(value: &str, data_type: &str) -> String {
    match data_type {
        _ if value == "NULL" => value.to_owned(),
        // Servers print FLOAT with the digits of their liking: what counts are its 32 bits.
        "float" => value.parse::<f64>().map_or_else(|_| value.to_owned(), |number| format!("{:?}", number as f32)),
        "double" => value.parse::<f64>().map_or_else(|_| value.to_owned(), |number| format!("{number:?}")),
        "datetime" | "timestamp" => match value.split_once('.') {
            Some((seconds, fraction)) => format!("{seconds}.{fraction:0<6}"),
            None => format!("{value}.000000"),
        },
        "json" => {
            let bytes = (0..value.len() / 2).map(|i| u8::from_str_radix(&value[2 * i..2 * i + 2], 16).unwrap_or_default());
            let parsed = serde_json::from_slice::<serde_json::Value>(&bytes.collect::<Vec<_>>());
            parsed.map_or_else(|e| e.to_string(), |json| json.to_string())
        }
        // SQLite keeps TIME as text.
        "time" if value.contains(':') => {
            let (sign, digits) = value.strip_prefix('-').map_or((1, value), |rest| (-1, rest));
            let (seconds, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            let seconds = seconds.split(':').fold(0i64, |sum, part| sum * 60 + part.parse::<i64>().unwrap_or_default());
            (sign * (seconds * 1_000_000 + format!("{fraction:0<6}").parse::<i64>().unwrap_or_default())).to_string()
        }
        _ => value.to_owned(),
    }
}

fn assert_columns_equal(origin: &Origin<'_>, copy: &Copy<'_>, table: &str) {
    for (column, data_type) in columns(origin, table) {
        let query = |kind: Option<Kind>| {
            let order = if kind.is_none() { "length(id), id" } else { "id" };
            format!("SELECT id, {} FROM {table} ORDER BY {order};", ask(&column, &data_type, kind))
        };
        let values = |answer: String| -> Vec<String> {
            let line = |line: &str| {
                let (id, value) = line.split_once('\t').unwrap_or((line, ""));
                let value = normal(value, &data_type);
                // SQLite keeps no sign of a zero.
                let value = if copy.kind().is_none() && value == "-0.0" { "0.0".to_owned() } else { value };
                format!("{id}: {value}")
            };
            answer.lines().map(line).collect()
        };
        let here = values(origin.sql(&format!("SET time_zone = '+00:00'; {}", query(Some(origin.server.kind)))));
        let set_zone = match copy.kind() {
            Some(Kind::MySql | Kind::MariaDb(_)) => "SET time_zone = '+00:00';",
            Some(Kind::Postgres) => "SET timezone = 'UTC';",
            None => "",
        };
        let there = values(copy.sql(&format!("{set_zone} {}", query(copy.kind()))));
        assert!(!here.is_empty());
        assert_eq!(here, there, "{}: {table}.{column}, {data_type}", copy.name());
    }
}

/// Loads `all_types` of a script into `database`.
fn load(server: &Server, database: &str, script: &str) {
    let script = std::fs::read_to_string(project(script)).expect("the script");
    let script = script.replace("CREATE DATABASE shop CHARACTER SET utf8mb4;", "").replace("USE shop;", "");
    // The largest TIME of MariaDB is more than MySQL can hold.
    let script = script.replace("838:59:59.999999", "838:59:58.999999");
    server.sql_in(database, &format!("SET time_zone = '+00:00';\n{script}"));
}

const LANES: &str = "lanes = 3\nbatch = { rows = 5 }";

#[test]
fn all_types_come_back_from_mysql() {
    all_types(servers::shared_mysql(), "order_types");
}

#[test]
fn all_types_come_back_from_minimal_metadata() {
    all_types(&servers::mysql(&["--binlog-row-metadata=MINIMAL"]), "order_types_minimal");
}

fn all_types(source: &Server, database: &str) {
    let origin = Origin::new(source, database);
    load(source, database, "examples/demo/all_types.sql");
    let made = Copy::to_server(&origin, servers::shared_mysql(), &format!("{database}_made"));
    made.configure_all("", "create = true", LANES).flow.catch_up();
    assert_columns_equal(&origin, &made, "all_types");

    // Into a table of the same definition, generated columns among it.
    let same = Copy::to_server(&origin, servers::shared_mysql(), &format!("{database}_same"));
    let definition = &source.rows(&format!("SHOW CREATE TABLE {database}.all_types"))[0][1];
    same.sql(&format!("SET sql_mode = ''; {}", definition.replace("\\n", "\n")));
    same.configure(LANES).flow.catch_up();
    assert_columns_equal(&origin, &same, "all_types");

    let file = Copy::to_sqlite(&origin);
    file.configure_all("", "create = true", LANES).flow.catch_up();
    assert_columns_equal(&origin, &file, "all_types");
}

/// Without the rows that PostgreSQL cannot hold: zero and impossible dates, U+0000 in text.
#[test]
fn all_types_arrive_at_postgres() {
    let source = servers::shared_mysql();
    let from = Origin::new(source, "order_types_from");
    load(source, "order_types_from", "examples/demo/all_types.sql");
    source.sql("CREATE DATABASE order_types_pg");
    from.sql("CREATE TABLE order_types_pg.all_types LIKE all_types");
    // Only now, so that the table is read from the beginning.
    let names: Vec<String> =
        columns(&from, "all_types").into_iter().map(|(name, _)| name).filter(|name| !name.starts_with("gen_")).collect();
    let list = names.join(", ");
    from.sql(&format!("INSERT INTO order_types_pg.all_types ({list}) SELECT {list} FROM all_types WHERE id NOT IN (5, 6, 7)"));
    let origin = Origin { server: source, database: "order_types_pg".to_owned(), start: from.start };
    let copy = Copy::to_server(&origin, servers::shared_postgres(), "order_types_pg");
    copy.configure_all("", "create = true", LANES).flow.catch_up();
    assert_columns_equal(&origin, &copy, "all_types");
}

#[test]
fn all_types_of_mariadb_arrive_at_mysql() {
    let source = servers::shared_mariadb();
    let origin = Origin::new(source, "order_types_maria");
    load(source, "order_types_maria", "tests/fixtures/mariadb.sql");
    for target in [servers::shared_mysql(), servers::shared_mariadb()] {
        let copy = Copy::to_server(&origin, target, "order_types_maria_copy");
        copy.configure_all("", "create = true", LANES).flow.catch_up();
        assert_columns_equal(&origin, &copy, "all_types");
        copy.assert_same(&origin, "SELECT * FROM orders ORDER BY id");
    }
}

/// Rows that are read from the table have the same values as those of the stream, to the last byte: as JSON, once as each.
fn read_as_streamed(server: &Server, database: &str, script: &str, tables: &[&str]) {
    let origin = Origin::new(server, database);
    load(server, database, script);
    let rows = |start: &str| {
        let flow = tidegate_tests::flow::Flow::new(&format!(
            "[source.here]\ntype = \"mysql\"\nurl = \"{}\"\ntables = [\"{database}.*\"]\nstart = {start}\nwithout_key = \"whole-row\"\n\
             [sink.there]\ntype = \"jsonl\"\npath = \"out.jsonl\"\n[pipeline.copy]\nsource = \"here\"\nsink = \"there\"\nlanes = 1\n",
            server.url("root", "")
        ));
        flow.catch_up();
        let text = std::fs::read_to_string(flow.folder().join("out.jsonl")).expect("the lines");
        let mut last = std::collections::BTreeMap::new();
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("a JSON line");
            let table = line["table"].as_str().expect("a table").to_owned();
            if !tables.contains(&table.as_str()) {
                continue;
            }
            let image = if line["op"] == "delete" { &line["before"] } else { &line["after"] };
            let id = image["id"].to_string();
            match line["op"].as_str() {
                Some("delete") => last.remove(&(table, id)),
                _ => last.insert((table, id), image.clone()),
            };
        }
        last
    };
    let (streamed, read) = (rows(&origin.start), rows("\"snapshot\""));
    assert!(streamed.len() > tables.len());
    assert_eq!(streamed.keys().collect::<Vec<_>>(), read.keys().collect::<Vec<_>>());
    for (key, streamed) in &streamed {
        let columns = streamed.as_object().expect("an object");
        for (column, value) in columns {
            assert_eq!(value, &read[key][column], "{key:?}: {column}");
        }
        assert_eq!(Some(columns.len()), read[key].as_object().map(serde_json::Map::len), "{key:?}");
    }
}

#[test]
fn rows_of_mysql_are_read_as_they_are_streamed() {
    read_as_streamed(servers::shared_mysql(), "order_types_read", "examples/demo/all_types.sql", &["all_types"]);
}

#[test]
fn rows_of_mariadb_are_read_as_they_are_streamed() {
    read_as_streamed(servers::shared_mariadb(), "order_types_read", "tests/fixtures/mariadb.sql", &["all_types"]);
}
