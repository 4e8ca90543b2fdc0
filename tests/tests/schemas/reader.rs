//! The reader of DDL makes of a table what the server makes of it: after each statement of a corpus the columns that it knows are those
//! of information_schema.

use std::collections::BTreeMap;

use tidegate::schema::apply::{self, Context};
use tidegate::schema::ddl::{self, Change, Name};
use tidegate::schema::names::Collations;
use tidegate::schema::token::{Dialect, tokens};
use tidegate::schema::{State, Table};
use tidegate_tests::servers::{self, Server};

const CORPUS: &str = include_str!("corpus.sql");
const SCHEMA: &str = "corpus";

#[test]
fn mysql_tables_are_what_the_reader_makes_of_the_statements() {
    compare(&servers::mysql(&[]), "mysql");
}

#[test]
fn mariadb_tables_are_what_the_reader_makes_of_the_statements() {
    compare(&servers::mariadb(&[]), "mariadb");
}

/// What a server has after one statement.
#[derive(Default)]
struct After {
    /// Where its binlog ends.
    position: u64,
    /// Columns and unique keys by table.
    tables: BTreeMap<String, (Vec<String>, BTreeMap<String, String>)>,
}

fn compare(server: &Server, name: &str) {
    server.sql(&format!("DROP DATABASE IF EXISTS {SCHEMA}; CREATE DATABASE {SCHEMA} CHARACTER SET utf8mb4; FLUSH BINARY LOGS"));
    let mariadb = name == "mariadb";
    let collations = collations(server);
    let dialect = Dialect::of_version(server.sql("SELECT VERSION()").trim());
    let statements: Vec<(usize, &str)> = CORPUS.lines().enumerate().filter_map(|(n, line)| Some((n, of(name, line)?))).collect();
    let mut script = "SET SESSION group_concat_max_len = 100000;".to_owned();
    for (n, statement) in &statements {
        script.push_str(&format!("{statement}\n;SELECT 'line', {n};{}", describe(mariadb)));
    }
    let answer = server.sql_past_errors(SCHEMA, &script);
    let after = parse(&answer, &dialect, &collations);
    let logged = logged(server);
    let mut states: BTreeMap<Name, State> = BTreeMap::new();
    let in_schema = Table { collation: schema_collation(server), ..Table::default() };
    states.insert(
        apply::schema_itself(SCHEMA),
        State::Known(Table { collation: collations.default_of("utf8mb4", &[]), ..in_schema }),
    );
    if mariadb {
        let collation = session_collations(server).iter().find(|(from, _)| *from == 45).map_or(45, |(_, to)| *to);
        states.insert(apply::schema_itself(SCHEMA), State::Known(Table { collation, ..Table::default() }));
    }
    let server_collation = id(server, "@@collation_server");
    let theirs = if mariadb { session_collations(server) } else { Vec::new() };
    let (mut read, mut refused, mut position) = (0, 0, 0);
    let mut session = (dialect, theirs);
    for (n, statement) in statements {
        let server_has = after.get(&n).unwrap_or_else(|| panic!("line {}: {statement}: no answer", n + 1));
        if statement.contains("sql_mode") {
            session.0 = dialect.with_sql_mode(if statement.contains("ANSI") { 5 } else { 0 });
        } else if statement.contains("SESSION default_collation_for_utf8mb4") {
            session.1 = vec![(45, 45)];
        }
        // What the server refuses it does not log; and what it logs may not be what was sent.
        let Some((_, text)) = logged.iter().find(|(at, _)| (position..server_has.position).contains(at)) else {
            refused += usize::from(!statement.starts_with("SET SESSION"));
            continue;
        };
        position = server_has.position;
        read += 1;
        let (dialect, session) = (session.0, &session.1);
        let context =
            Context { dialect, collations: &collations, session, server_collation, seed: n as u64, statement: text, at: "" };
        match ddl::read(&tokens(text, &dialect), &dialect, SCHEMA) {
            Ok(Some(Change::DropSchema(schema))) => states.retain(|name, _| name.schema != schema),
            Ok(Some(change)) => {
                if let Change::Schema { schema, replaces: true, .. } = &change {
                    states.retain(|name, _| name.schema != *schema);
                }
                states.extend(apply::apply(&change, &states, &context));
            }
            Ok(None) | Err(_) => panic!("line {}: not understood: {text}", n + 1),
        }
        let known = states.iter().filter(|(name, _)| !name.table.is_empty());
        let ours: BTreeMap<String, _> = known.filter_map(|(name, state)| Some((name.to_string(), described(state)?))).collect();
        for (table, theirs) in &server_has.tables {
            assert_eq!(ours.get(table), Some(theirs), "line {}: {text}: {table}", n + 1);
        }
        let gone: Vec<_> = ours.keys().filter(|table| !server_has.tables.contains_key(*table)).collect();
        assert!(gone.is_empty(), "line {}: {text}: {gone:?} are gone at the server", n + 1);
    }
    assert!(read > 70 && refused < 8, "{read} statements were read, {refused} were refused");
}

/// The statement of a line, if it is for this server.
fn of<'a>(name: &str, line: &'a str) -> Option<&'a str> {
    match line.strip_prefix("--") {
        Some(rest) => rest.strip_prefix(name)?.strip_prefix(' '),
        None => Some(line),
    }
}

/// Statements that say where the binlog ends, and what columns and unique keys there are.
fn describe(mariadb: bool) -> String {
    let status = if mariadb { "SHOW MASTER STATUS" } else { "SHOW BINARY LOG STATUS" };
    let names = if mariadb { "CONCAT(c.TABLE_SCHEMA, '.', c.TABLE_NAME)" } else { "CONCAT(TABLE_SCHEMA, '.', TABLE_NAME)" };
    let c = if mariadb { "c." } else { "" };
    format!(
        "{status};SELECT 'column', {names}, COLUMN_NAME, COLUMN_TYPE, IFNULL(COLLATION_NAME,'-'), IS_NULLABLE, EXTRA FROM \
         information_schema.COLUMNS {alias} WHERE {c}TABLE_SCHEMA LIKE 'corpus%' ORDER BY {c}TABLE_SCHEMA, {c}TABLE_NAME, \
         ORDINAL_POSITION;SELECT 'key', {names}, INDEX_NAME, GROUP_CONCAT(COLUMN_NAME ORDER BY SEQ_IN_INDEX SEPARATOR ' ') FROM \
         information_schema.STATISTICS {alias} WHERE {c}TABLE_SCHEMA LIKE 'corpus%' AND NON_UNIQUE = 0 \
         GROUP BY {c}TABLE_SCHEMA, {c}TABLE_NAME, INDEX_NAME;",
        alias = if mariadb { "c" } else { "" }
    )
}

fn parse(answer: &str, dialect: &Dialect, collations: &Collations) -> BTreeMap<usize, After> {
    let mut all: BTreeMap<usize, After> = BTreeMap::new();
    for line in answer.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        if let ["line", n] = fields[..] {
            all.insert(n.parse().expect("a number"), After::default());
            continue;
        }
        let Some(mut entry) = all.last_entry() else { continue };
        let after = entry.get_mut();
        match fields[..] {
            ["column", table, name, column_type, collation, nullable, extra] => {
                let table = after.tables.entry(table.to_owned()).or_default();
                table.0.push(column(name, column_type, collation, nullable, extra, dialect, collations));
            }
            ["key", table, name, columns] => {
                let columns = if columns == "NULL" { "" } else { columns };
                after.tables.entry(table.to_owned()).or_default().1.insert(name.to_owned(), columns.to_owned());
            }
            _ => after.position = fields[1].parse().unwrap_or_else(|_| panic!("a position: {line}")),
        }
    }
    all
}

/// Name, type, collation, NULL, generated and invisible; the type through the reader, for the display widths that a server may write.
fn column(
    name: &str,
    column_type: &str,
    collation: &str,
    nullable: &str,
    extra: &str,
    dialect: &Dialect,
    collations: &Collations,
) -> String {
    let create = format!("CREATE TABLE x.x (c {})", column_type.replace("\\\\", "\\"));
    let definition = ddl::read_create(&tokens(&create, dialect), dialect, "").unwrap_or_else(|_| panic!("{create}"));
    let collation = Some(collation).filter(|name| *name != "-").map(|name| collations.named(name, None));
    let column_type = definition.columns[0].data_type.resolve(collation.unwrap_or(45)).0;
    let extra = extra.to_ascii_uppercase();
    let generated = ["VIRTUAL", "STORED GENERATED"].iter().any(|word| extra.contains(word));
    format!("{name} {column_type} {collation:?} {} {generated} {}", nullable == "YES", extra.contains("INVISIBLE"))
}

/// The same of what the reader knows; `None`: there is no such table, or nothing is known of it.
fn described(state: &State) -> Option<(Vec<String>, BTreeMap<String, String>)> {
    let State::Known(table) = state else { return None };
    let column = |c: &tidegate::schema::Column| {
        let generated = c.generated != tidegate::schema::Generated::Not;
        format!("{} {} {:?} {} {generated} {}", c.name, c.column_type, c.collation, c.nullable, c.invisible)
    };
    let keys = table.keys.iter().map(|k| (k.name.to_string(), k.columns.join(" "))).collect();
    Some((table.columns.iter().map(column).collect(), keys))
}

/// The statements in the last binlog file, each with its position.
fn logged(server: &Server) -> Vec<(u64, String)> {
    let file = server.rows("SHOW BINARY LOGS").pop().expect("a binlog file").remove(0);
    let events = server.sql(&format!("SHOW BINLOG EVENTS IN '{file}'"));
    let events = events.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let statement = |event: Vec<&str>| {
        let text = event[5].strip_prefix(&format!("use `{SCHEMA}`; ")).unwrap_or(event[5]);
        let text = text.split(" /* xid=").next().unwrap_or(text);
        let text = text.replace("\\n", "\n").replace("\\t", "\t").replace("\\\\", "\\");
        (event[2] == "Query" && text != "BEGIN" && text != "COMMIT").then(|| (event[1].parse().expect("a position"), text))
    };
    events.filter_map(statement).collect()
}

fn session_collations(server: &Server) -> Vec<(u16, u16)> {
    let text = server.sql("SELECT @@character_set_collations");
    let pair = |pair: &str| {
        let (charset, collation) = pair.split_once('=')?;
        let default = match charset {
            "utf8mb4" => 45,
            "utf8mb3" => 33,
            "ucs2" => 35,
            "utf16" => 54,
            "utf32" => 60,
            _ => return None,
        };
        Some((default, id(server, &format!("'{collation}'"))))
    };
    text.trim().split(',').filter_map(pair).collect()
}

fn full_name(server: &Server) -> (&'static str, &'static str) {
    match server.kind {
        servers::Kind::MariaDb(_) => ("COLLATION_CHARACTER_SET_APPLICABILITY", "FULL_COLLATION_NAME"),
        _ => ("COLLATIONS", "COLLATION_NAME"),
    }
}

fn id(server: &Server, name: &str) -> u16 {
    let (table, column) = full_name(server);
    let text = server.sql(&format!("SELECT ID FROM information_schema.{table} WHERE {column} = {name}"));
    text.trim().parse().unwrap_or_else(|_| panic!("the collation {name}: {text}"))
}

fn schema_collation(server: &Server) -> u16 {
    let name =
        server.sql(&format!("SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '{SCHEMA}'"));
    id(server, &format!("'{}'", name.trim()))
}

fn collations(server: &Server) -> Collations {
    let (table, column) = full_name(server);
    let rows = server
        .rows(&format!("SELECT {column}, CHARACTER_SET_NAME, ID, IS_DEFAULT FROM information_schema.{table} WHERE ID IS NOT NULL"));
    Collations::of_server(rows.iter().filter_map(|r| Some((&*r[0], &*r[1], r[2].parse().ok()?, r[3] == "Yes"))))
}
