//! The sinks against real servers, fed with hand-made changes; what arrived is asked of the server's own client.

use std::sync::Arc;

use tidegate::batcher::{Batcher, Wanted};
use tidegate::change::{Batch, ColumnDef, KeyOrigin, Op, Relation, RowId, Slice, SourceType, Transaction};
use tidegate::manifest::model::{Ordering, SinkConfig};
use tidegate::position::Position;
use tidegate::sink::{self, Delivery, Mark, Sink, SinkError};
use tidegate::temporal::Fields;
use tidegate_tests::servers::{self, Kind, Server};

/// A cell as a test writes it.
#[derive(Clone, Copy)]
enum V {
    Null,
    /// The row image does not have the column.
    Absent,
    I(i64),
    F(f64),
    S(&'static str),
    B(&'static [u8]),
}

fn date(year: u32, month: u32, day: u32) -> V {
    V::I(Fields { year, month, day, ..Fields::default() }.date_word())
}

fn datetime(year: u32, month: u32, day: u32, time: (u32, u32, u32, u32)) -> V {
    let (hour, minute, second, microsecond) = time;
    V::I(Fields { year, month, day, hour, minute, second, microsecond }.datetime_word())
}

/// `column` ids of collations that MySQL and MariaDB share: utf8mb4_bin and utf8mb4_general_ci.
const BIN: u16 = 46;
const CI: u16 = 45;

const BIGINT: SourceType = SourceType::Int { bits: 64, unsigned: false };
const INT: SourceType = SourceType::Int { bits: 32, unsigned: false };

fn varchar(length: u32) -> SourceType {
    SourceType::VarChar { length, collation: BIN }
}

fn relation(table: &str, columns: &[(&str, SourceType)], key: &[u16]) -> Arc<Relation> {
    let column = |(i, (name, source_type)): (usize, &(&str, SourceType))| ColumnDef {
        name: (*name).into(),
        source_type: source_type.clone(),
        nullable: !key.contains(&(i as u16)),
    };
    Arc::new(Relation {
        id: Relation::next_id(),
        schema: "shop".into(),
        table: table.into(),
        columns: columns.iter().enumerate().map(column).collect(),
        key: key.to_vec(),
        key_origin: if key.is_empty() { KeyOrigin::WholeRow } else { KeyOrigin::Primary },
    })
}

type Change<'a> = (&'a Arc<Relation>, Op, &'a [V]);

/// One transaction a change. Inserts and updates give the after image, deletes the before image; an update of a table without a key
/// gives the before image first.
fn batch(changes: &[Change<'_>]) -> Batch {
    let mut batcher = Batcher::new(1_000_000, usize::MAX);
    for (n, (relation, op, values)) in changes.iter().enumerate() {
        let columns = relation.columns.len();
        let wanted = Arc::new(Wanted { after: vec![true; columns], before: vec![true; columns] });
        let id = RowId { transaction: n as u64 + 1, place: 0 };
        let transaction = || Transaction {
            number: id.transaction,
            gtid: None,
            file: "binlog.000001".into(),
            offset: 4 + n as u64,
            commit_time_us: 1_700_000_000_000_000,
        };
        let rows = batcher.row(relation, &wanted, *op, id, 10, transaction);
        let put = |builders: &mut [Option<tidegate::batcher::ColumnBuilder>], values: &[V]| {
            for (builder, value) in builders.iter_mut().flatten().zip(values) {
                match value {
                    V::Null => builder.null(),
                    V::Absent => builder.absent(),
                    V::I(word) => builder.word(*word),
                    V::F(number) => builder.word(number.to_bits() as i64),
                    V::S(text) => builder.bytes(text.as_bytes()),
                    V::B(bytes) => builder.bytes(bytes),
                }
            }
        };
        match op {
            Op::Delete => {
                put(rows.before(), values);
                rows.no_after();
            }
            Op::Update if values.len() > columns => {
                put(rows.before(), &values[..columns]);
                put(rows.after(), &values[columns..]);
            }
            Op::Insert | Op::Update | Op::Snapshot => {
                rows.no_before();
                put(rows.after(), values);
            }
        }
    }
    batcher.finish(position(), true).expect("the values fit").expect("there are rows")
}

fn position() -> Arc<Position> {
    Arc::new(Position { file: "binlog.000001".into(), offset: 4, gtids: None, home: None })
}

fn delivery(batch: &Batch) -> Delivery<'_> {
    let slice = |rows| {
        let rows: &tidegate::change::Rows = rows;
        Slice { rows, topic: rows.relation.to_string().into(), picks: (0..rows.len() as u32).collect() }
    };
    Delivery { slices: batch.relations.iter().map(slice).collect(), transactions: &batch.transactions, mark: None, commit: true }
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// A target to write to and to ask.
struct Target {
    config: SinkConfig,
    ask: Box<dyn Fn(&str) -> String>,
}

impl Target {
    fn server(server: &'static Server, database: &'static str, create: bool) -> Target {
        server.sql(&format!("CREATE DATABASE {database}"));
        let (kind, user) = if server.kind == Kind::Postgres { ("postgres", "postgres") } else { ("mysql", "root") };
        let config = format!("type = \"{kind}\"\nurl = \"{}\"\ncreate = {create}", server.url(user, database));
        Target { config: toml::from_str(&config).expect("a sink"), ask: Box::new(move |sql| server.sql_in(database, sql)) }
    }

    fn sqlite(folder: &tempfile::TempDir, create: bool) -> Target {
        let path = folder.path().join("target.db");
        let config = format!("type = \"sqlite\"\npath = {:?}\ncreate = {create}", path.display().to_string());
        let ask = move |sql: &str| {
            let mut command = std::process::Command::new("sqlite3");
            command.arg("-batch").arg("-separator").arg("\t").arg("-nullvalue").arg("NULL");
            command.arg("-cmd").arg(".timeout 5000").arg(&path);
            servers::run(command, sql)
        };
        Target { config: toml::from_str(&config).expect("a sink"), ask: Box::new(ask) }
    }

    fn open(&self) -> Arc<dyn Sink> {
        sink::open("target", &self.config, "pipe").expect("the sink opens")
    }

    fn write(&self, changes: &[Change<'_>]) -> Result<(), SinkError> {
        let batch = batch(changes);
        block(async { self.open().writer().await?.write(&delivery(&batch)).await })
    }

    fn ask(&self, sql: &str) -> String {
        (self.ask)(sql)
    }
}

/// Runs a test on every SQL target: MySQL, MariaDB, PostgreSQL, SQLite. `schema` is run on each first.
fn everywhere(name: &'static str, create: bool, schema: &str, test: impl Fn(&Target)) {
    let folder = tempfile::tempdir().expect("a folder");
    for target in [
        Target::server(servers::shared_mysql(), name, create),
        Target::server(servers::shared_mariadb(), name, create),
        Target::server(servers::shared_postgres(), name, create),
        Target::sqlite(&folder, create),
    ] {
        if !schema.is_empty() {
            target.ask(schema);
        }
        test(&target);
    }
}

/// A table of all types that the mappings tell apart, two rows of it, and what MySQL, PostgreSQL and SQLite print for them.
struct Sample {
    name: &'static str,
    source_type: SourceType,
    values: [V; 2],
    mysql: [&'static str; 2],
    /// `None`: an error there, so the column is left out.
    postgres: Option<[&'static str; 2]>,
    sqlite: [&'static str; 2],
}

/// POINT(1 2): SRID 0, little-endian WKB.
const POINT: &[u8] = b"\0\0\0\0\x01\x01\0\0\0\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\0\x40";

fn samples() -> Vec<Sample> {
    let sample = |name, source_type, values, mysql, postgres, sqlite| Sample { name, source_type, values, mysql, postgres, sqlite };
    /// The same text at every target.
    fn same(name: &'static str, source_type: SourceType, values: [V; 2], text: [&'static str; 2]) -> Sample {
        Sample { name, source_type, values, mysql: text, postgres: Some(text), sqlite: text }
    }
    let members = |names: &[&str]| names.iter().map(|n| Box::from(*n)).collect::<Arc<[Box<str>]>>();
    let unsigned = |bits| SourceType::Int { bits, unsigned: true };
    let signed = |bits| SourceType::Int { bits, unsigned: false };
    vec![
        same("i8", signed(8), [V::I(-128), V::I(127)], ["-128", "127"]),
        same("i24", signed(24), [V::I(-8_388_608), V::I(8_388_607)], ["-8388608", "8388607"]),
        same("i64", signed(64), [V::I(i64::MIN), V::I(i64::MAX)], ["-9223372036854775808", "9223372036854775807"]),
        same("u8", unsigned(8), [V::I(0), V::I(255)], ["0", "255"]),
        same("u32", unsigned(32), [V::I(0), V::I(4_294_967_295)], ["0", "4294967295"]),
        same("u64", unsigned(64), [V::I(7), V::I(-1)], ["7", "18446744073709551615"]),
        same("f64", SourceType::Double, [V::F(0.1), V::F(-1.5e300)], ["0.1", "-1.5e300"])
            .postgres(["0.1", "-1.5e+300"])
            .sqlite(["0.1", "-1.5e+300"]),
        same("f32", SourceType::Float, [V::F(f64::from(0.5f32)), V::F(-2.25)], ["0.5", "-2.25"]),
        same(
            "num",
            SourceType::Decimal { precision: 65, scale: 30, unsigned: false },
            [V::S("12345678901234567890123456789012345.123456789012345678901234567890"), V::S("-0.500000000000000000000000000000")],
            ["12345678901234567890123456789012345.123456789012345678901234567890", "-0.500000000000000000000000000000"],
        ),
        same("year", SourceType::Year, [V::I(0), V::I(2155)], ["0000", "2155"]).postgres(["0", "2155"]).sqlite(["0", "2155"]),
        same("d", SourceType::Date, [date(2024, 2, 29), date(1000, 1, 1)], ["2024-02-29", "1000-01-01"]),
        sample(
            "d0",
            SourceType::Date,
            [date(0, 0, 0), date(2024, 2, 31)],
            ["0000-00-00", "2024-02-31"],
            None,
            ["0000-00-00", "2024-02-31"],
        ),
        same("t6", SourceType::Time { fsp: 6 }, [V::I(-3_020_399_000_000), V::I(1)], ["-838:59:59.000000", "00:00:00.000001"])
            .postgres(["-838:59:59", "00:00:00.000001"]),
        same(
            "dt6",
            SourceType::DateTime { fsp: 6 },
            [datetime(9999, 12, 31, (23, 59, 59, 999_999)), datetime(1969, 12, 31, (23, 59, 59, 1))],
            ["9999-12-31 23:59:59.999999", "1969-12-31 23:59:59.000001"],
        ),
        sample(
            "dt0",
            SourceType::DateTime { fsp: 0 },
            [datetime(0, 0, 0, (0, 0, 0, 0)), datetime(2024, 0, 10, (1, 2, 3, 0))],
            ["0000-00-00 00:00:00", "2024-00-10 01:02:03"],
            None,
            ["0000-00-00 00:00:00", "2024-00-10 01:02:03"],
        ),
        same(
            "ts",
            SourceType::Timestamp { fsp: 3 },
            [datetime(2038, 1, 1, (0, 0, 0, 123_000)), datetime(1970, 1, 1, (0, 0, 1, 0))],
            ["2038-01-01 00:00:00.123", "1970-01-01 00:00:01.000"],
        )
        .postgres(["2038-01-01 00:00:00.123+00", "1970-01-01 00:00:01+00"]),
        sample(
            "ts0",
            SourceType::Timestamp { fsp: 0 },
            [datetime(0, 0, 0, (0, 0, 0, 0)), V::Null],
            ["0000-00-00 00:00:00", "NULL"],
            None,
            ["0000-00-00 00:00:00", "NULL"],
        ),
        same("c", SourceType::Char { length: 5, collation: CI }, [V::S("Grüße"), V::S("")], ["Grüße", ""]),
        same("txt", SourceType::Text { length_bytes: 4, collation: BIN }, [V::S("a'b\"c😀"), V::S(" ")], ["a'b\"c😀", " "]),
        same("bin", SourceType::Binary { length: 3 }, [V::B(b"\x00\xff\x00"), V::B(b"'\\\n")], ["0x00FF00", "0x275C0A"])
            .postgres(["\\x00ff00", "\\x275c0a"])
            .sqlite(["X'00FF00'", "X'275C0A'"]),
        same("raw", SourceType::Blob { length_bytes: 2 }, [V::B(b"\xe9\x00"), V::B(b"")], ["0xE900", "0x"])
            .postgres(["\\xe900", "\\x"])
            .sqlite(["X'E900'", "X''"]),
        same("e", SourceType::Enum { members: members(&["x", "y'z"]), collation: CI }, [V::S("y'z"), V::S("x")], ["y'z", "x"]),
        same("s", SourceType::Set { members: members(&["a", "b"]), collation: CI }, [V::S("a,b"), V::S("")], ["a,b", ""]),
        same("bits", SourceType::Bit { bits: 10 }, [V::I(0x201), V::I(0)], ["0x0201", "0x0000"])
            .postgres(["513", "0"])
            .sqlite(["513", "0"]),
        same("j", SourceType::Json, [V::S("{\"a\": [1, null]}"), V::S("\"x\"")], ["{\"a\": [1, null]}", "\"x\""]),
        same("g", SourceType::Geometry, [V::B(POINT), V::B(POINT)], ["0x000000000101000000000000000000F03F0000000000000040"; 2])
            .postgres(["\\x000000000101000000000000000000f03f0000000000000040"; 2])
            .sqlite(["X'000000000101000000000000000000F03F0000000000000040'"; 2]),
    ]
}

impl Sample {
    fn postgres(mut self, text: [&'static str; 2]) -> Sample {
        self.postgres = Some(text);
        self
    }

    fn sqlite(mut self, text: [&'static str; 2]) -> Sample {
        self.sqlite = text;
        self
    }
}

#[test]
fn values_of_all_types_come_back() {
    everywhere("sinks_types", true, "", |target| {
        let (is_postgres, is_sqlite) =
            (matches!(target.config, SinkConfig::Postgres(_)), matches!(target.config, SinkConfig::Sqlite(_)));
        let samples: Vec<Sample> = samples().into_iter().filter(|s| !is_postgres || s.postgres.is_some()).collect();
        let mut columns = vec![("id", INT)];
        columns.extend(samples.iter().map(|s| (s.name, s.source_type.clone())));
        let t = relation("t", &columns, &[0]);
        let row = |n: usize| [vec![V::I(n as i64)], samples.iter().map(|s| s.values[n]).collect()].concat();
        target.write(&[(&t, Op::Insert, &row(0)), (&t, Op::Insert, &row(1))]).unwrap();
        // Again, as an update.
        target.write(&[(&t, Op::Update, &row(0)), (&t, Op::Update, &row(1))]).unwrap();
        let zone = match () {
            () if is_postgres => "SET TIME ZONE 'UTC'; ",
            () if is_sqlite => "",
            () => "SET time_zone = '+00:00'; ",
        };
        let mut wrong = Vec::new();
        for sample in &samples {
            let expected = match () {
                () if is_postgres => sample.postgres.unwrap_or_default(),
                () if is_sqlite => sample.sqlite,
                () => sample.mysql,
            };
            let is_bytes = is_sqlite && matches!(sample.name, "bin" | "raw" | "g");
            let name = sample.name;
            let column = if is_bytes { format!("CASE WHEN {name} IS NOT NULL THEN quote({name}) END") } else { name.to_owned() };
            let answer = target.ask(&format!("{zone}SELECT {column} FROM t ORDER BY id"));
            let answer: Vec<&str> = answer.split('\n').take(2).collect();
            if answer != expected {
                wrong.push(format!("{name}: {answer:?}, not {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{:?}: {wrong:#?}", target.config);
    });
}

#[test]
fn text_that_looks_like_sql_stays_text() {
    const TEXTS: [&str; 9] =
        ["'", "''", "\\", "\\'", "'; DROP TABLE t; -- ", "a\\", "?", "\u{1d11e}'\u{1d11e}\\", "$1 {} %s \"`\n\r\t\u{1a}"];
    everywhere("sinks_quotes", true, "", |target| {
        let t = relation("t", &[("k", varchar(60)), ("v", varchar(60))], &[0]);
        let rows: Vec<[V; 2]> = TEXTS.iter().map(|text| [V::S(text), V::S(text)]).collect();
        let t = &t;
        let changes = |op| rows.iter().map(move |row| (t, op, &row[..])).collect::<Vec<_>>();
        target.write(&changes(Op::Insert)).unwrap();
        target.write(&changes(Op::Update)).unwrap();
        let hex = match target.config {
            SinkConfig::Postgres(_) => "upper(encode(convert_to(v, 'UTF8'), 'hex'))",
            _ => "hex(v)",
        };
        let answer = target.ask(&format!("SELECT {hex} FROM t WHERE k = v"));
        let mut expected = TEXTS.map(|text| text.bytes().map(|byte| format!("{byte:02X}")).collect::<String>());
        let mut answer: Vec<&str> = answer.lines().collect();
        expected.sort();
        answer.sort();
        assert_eq!(answer, expected);
        target.write(&changes(Op::Delete)).unwrap();
        assert_eq!(target.ask("SELECT count(*) FROM t"), "0\n");
    });
}

#[test]
fn changes_of_a_key_end_as_they_should() {
    everywhere("sinks_fold", true, "", |target| {
        let t = relation("t", &[("id", BIGINT), ("a", varchar(20)), ("b", INT)], &[0]);
        target
            .write(&[
                (&t, Op::Insert, &[V::I(1), V::S("one"), V::I(1)]),
                (&t, Op::Insert, &[V::I(2), V::S("two"), V::Null]),
                (&t, Op::Insert, &[V::I(3), V::S("three"), V::I(3)]),
                (&t, Op::Update, &[V::I(1), V::S("uno"), V::I(10)]),
                (&t, Op::Delete, &[V::I(3), V::Null, V::Null]),
                (&t, Op::Insert, &[V::I(0), V::S("zero"), V::I(0)]),
            ])
            .unwrap();
        assert_eq!(target.ask("SELECT id, a, b FROM t ORDER BY id"), "0\tzero\t0\n1\tuno\t10\n2\ttwo\tNULL\n");
        // What is absent is left alone; a row that is not there is not made up; a delete and a partial insert start afresh.
        target
            .write(&[
                (&t, Op::Update, &[V::I(1), V::Absent, V::I(11)]),
                (&t, Op::Update, &[V::I(9), V::Absent, V::I(9)]),
                (&t, Op::Delete, &[V::I(2), V::Null, V::Null]),
                (&t, Op::Insert, &[V::I(2), V::Absent, V::I(22)]),
                (&t, Op::Insert, &[V::I(4), V::S("four"), V::I(4)]),
                (&t, Op::Update, &[V::I(4), V::S("vier"), V::Absent]),
            ])
            .unwrap();
        assert_eq!(target.ask("SELECT id, a, b FROM t ORDER BY id"), "0\tzero\t0\n1\tuno\t11\n2\tNULL\t22\n4\tvier\t4\n");
    });
}

#[test]
fn many_rows_and_odd_names_arrive() {
    everywhere("sinks_many", true, "", |target| {
        let t = relation("odd `\"table:a?", &[("k1", INT), ("k`\"2:x?", varchar(30)), ("v", INT)], &[0, 1]);
        let values: Vec<[V; 3]> = (0..3001).map(|n| [V::I(n), V::S("key"), V::I(n * 2)]).collect();
        let changes: Vec<Change<'_>> = values.iter().map(|v| (&t, Op::Insert, &v[..])).collect();
        target.write(&changes).unwrap();
        let deletes: Vec<Change<'_>> = values[1..].iter().map(|v| (&t, Op::Delete, &v[..])).collect();
        target.write(&deletes[..2999]).unwrap();
    });
}

#[test]
fn a_unique_value_of_another_row_is_a_conflict() {
    let schema = "CREATE TABLE t (id INT PRIMARY KEY, u VARCHAR(20) UNIQUE, n INT); INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)";
    everywhere("sinks_unique", false, schema, |target| {
        let t = relation("t", &[("id", INT), ("u", varchar(20)), ("n", INT)], &[0]);
        // Upsert of a new key with another row's unique value: on MySQL, ON DUPLICATE KEY UPDATE would change row 1.
        let result = target.write(&[(&t, Op::Insert, &[V::I(3), V::S("a"), V::I(3)])]);
        assert!(matches!(result, Err(SinkError::Conflict(_))), "{result:?}");
        // Folded, a swap passes through a state that no unique key allows; in source order it does not.
        let swap = [
            (&t, Op::Update, &[V::I(1), V::S("tmp"), V::I(1)][..]),
            (&t, Op::Update, &[V::I(2), V::S("a"), V::I(2)][..]),
            (&t, Op::Update, &[V::I(1), V::S("b"), V::I(1)][..]),
        ];
        let result = target.write(&swap);
        assert!(!matches!(result, Err(SinkError::Row { .. } | SinkError::Configuration { .. })), "{result:?}");
        assert!(result.is_ok() || target.ask("SELECT id, u, n FROM t ORDER BY id") == "1\ta\t1\n2\tb\t2\n");
        let batch = batch(&swap);
        block(async { target.open().writer().await.unwrap().write_unfolded(&delivery(&batch)).await }).unwrap();
        assert_eq!(target.ask("SELECT id, u, n FROM t ORDER BY id"), "1\tb\t1\n2\ta\t2\n");
        // The guard does not stand in the way of plain upserts.
        target.write(&[(&t, Op::Update, &[V::I(1), V::S("c"), V::I(7)])]).unwrap();
        assert_eq!(target.ask("SELECT id, u, n FROM t WHERE id = 1"), "1\tc\t7\n");
    });
}

#[test]
fn the_guard_knows_every_type_of_key() {
    for server in [servers::shared_mysql(), servers::shared_mariadb()] {
        let target = Target::server(server, "sinks_guard", false);
        let keys: [(&str, SourceType, V, V); 7] = [
            ("BIGINT UNSIGNED", SourceType::Int { bits: 64, unsigned: true }, V::I(-1), V::I(5)),
            (
                "DECIMAL(65,30)",
                SourceType::Decimal { precision: 65, scale: 30, unsigned: false },
                V::S("1.000000000000000000000000000001"),
                V::S("2"),
            ),
            (
                "DATETIME(6)",
                SourceType::DateTime { fsp: 6 },
                datetime(2024, 1, 1, (1, 2, 3, 4)),
                datetime(2024, 1, 1, (0, 0, 0, 5)),
            ),
            ("VARCHAR(20) COLLATE utf8mb4_general_ci", SourceType::VarChar { length: 20, collation: CI }, V::S("a"), V::S("b")),
            ("BINARY(3)", SourceType::Binary { length: 3 }, V::B(b"\xff\x00\x01"), V::B(b"\x00\x00\x00")),
            (
                "ENUM('x','y')",
                SourceType::Enum { members: Arc::new(["x".into(), "y".into()]), collation: CI },
                V::S("x"),
                V::S("y"),
            ),
            ("DOUBLE", SourceType::Double, V::F(0.1), V::F(0.2)),
        ];
        for (n, (sql, source_type, first, second)) in keys.into_iter().enumerate() {
            let name = format!("t{n}");
            target.ask(&format!("CREATE TABLE {name} (a {sql}, b INT, u INT UNIQUE, PRIMARY KEY (a, b))"));
            let t = relation(&name, &[("a", source_type), ("b", INT), ("u", INT)], &[0, 1]);
            target.write(&[(&t, Op::Insert, &[first, V::I(1), V::I(1)])]).unwrap();
            target.write(&[(&t, Op::Insert, &[first, V::I(1), V::I(2)]), (&t, Op::Insert, &[second, V::I(1), V::I(3)])]).unwrap();
            assert_eq!(target.ask(&format!("SELECT u FROM {name} ORDER BY u")), "2\n3\n", "{sql}");
            for changes in [[second, V::I(1), V::I(2)], [first, V::I(2), V::I(2)]] {
                let result = target.write(&[(&t, Op::Insert, &changes)]);
                assert!(matches!(result, Err(SinkError::Conflict(_))), "{sql}: {result:?}");
            }
            assert_eq!(target.ask(&format!("SELECT u FROM {name} ORDER BY u")), "2\n3\n", "{sql}");
        }
    }
}

#[test]
fn keys_that_are_equal_at_the_target_end_right() {
    for server in [servers::shared_mysql(), servers::shared_mariadb()] {
        let target = Target::server(server, "sinks_equal", false);
        target.ask("CREATE TABLE t (id VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, n INT); INSERT INTO t VALUES ('a', 1)");
        let t = relation("t", &[("id", SourceType::VarChar { length: 20, collation: CI }), ("n", INT)], &[0]);
        target
            .write(&[
                (&t, Op::Delete, &[V::S("a"), V::Null]),
                (&t, Op::Insert, &[V::S("A"), V::I(2)]),
                (&t, Op::Delete, &[V::S("A"), V::Null]),
                (&t, Op::Insert, &[V::S("a"), V::I(3)]),
                (&t, Op::Delete, &[V::S("a"), V::Null]),
                (&t, Op::Insert, &[V::S("A"), V::I(4)]),
            ])
            .unwrap();
        assert_eq!(target.ask("SELECT id, n FROM t"), "A\t4\n");
        target.write(&[(&t, Op::Update, &[V::S("a"), V::I(5)])]).unwrap();
        assert_eq!(target.ask("SELECT id, n FROM t"), "a\t5\n");
    }
}

#[test]
fn tables_without_a_key_are_matched_whole() {
    everywhere("sinks_whole", true, "", |target| {
        let t =
            relation("t", &[("a", varchar(20)), ("b", INT), ("f", SourceType::Float), ("d", SourceType::DateTime { fsp: 3 })], &[]);
        let d = datetime(2024, 2, 29, (1, 2, 3, 456_000));
        let x = [V::S("x"), V::Null, V::F(f64::from(0.1f32)), d];
        let big = [V::S("X"), V::Null, V::F(f64::from(0.1f32)), d];
        target.write(&[(&t, Op::Insert, &x), (&t, Op::Insert, &x), (&t, Op::Insert, &big), (&t, Op::Insert, &x)]).unwrap();
        let y = [V::S("y"), V::I(1), V::Null, V::Null];
        target
            .write(&[
                (&t, Op::Delete, &x),
                (&t, Op::Update, &[x, y].concat()),
                (&t, Op::Delete, &[V::S("none"), V::I(1), V::Null, V::Null]),
            ])
            .unwrap();
        let left = target.ask("SELECT a, count(*) FROM t GROUP BY a ORDER BY lower(a), count(*)");
        let mut left: Vec<&str> = left.lines().collect();
        left.sort_unstable();
        assert_eq!(left, ["X\t1", "x\t1", "y\t1"]);
    });
}

#[test]
fn the_row_that_cannot_be_written_is_named() {
    let schema = "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(5), n SMALLINT NOT NULL CHECK (n < 100))";
    everywhere("sinks_row", false, schema, |target| {
        let t = relation("t", &[("id", INT), ("a", varchar(50)), ("n", INT)], &[0]);
        let bad = [V::I(700), V::S("secret value"), V::I(7)];
        let bad_check = [V::I(700), V::S("ok"), V::I(700)];
        let bad_null = [V::I(700), V::S("ok"), V::Null];
        let bad_range = [V::I(700), V::S("ok"), V::I(-700_000)];
        for (n, bad) in [bad, bad_check, bad_null, bad_range].into_iter().enumerate() {
            let values: Vec<[V; 3]> = (0..1000).map(|n| if n == 700 { bad } else { [V::I(n), V::S("x"), V::I(1)] }).collect();
            let changes: Vec<Change<'_>> = values.iter().map(|v| (&t, Op::Insert, &v[..])).collect();
            // SQLite takes what is too long or out of a type's range.
            let is_sqlite = matches!(target.config, SinkConfig::Sqlite(_));
            let result = target.write(&changes);
            match result {
                Ok(()) => assert!(is_sqlite && (n == 0 || n == 3)),
                Err(SinkError::Row { id, reason, .. }) => {
                    assert_eq!(id.transaction, 701);
                    assert!(!reason.contains("secret") && !reason.contains("700"), "{reason}");
                    assert_eq!(target.ask("SELECT count(*) FROM t").trim(), if is_sqlite { "1000" } else { "0" });
                }
                Err(other) => panic!("{n}: {other:?}"),
            }
        }
    });
}

#[test]
fn what_is_missing_is_said() {
    everywhere("sinks_missing", false, "CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE nokey (id INT)", |target| {
        let reason = |columns: &[(&str, SourceType)], table: &str| {
            let t = relation(table, columns, &[0]);
            let values = [V::I(1), V::I(2)];
            match target.write(&[(&t, Op::Insert, &values[..columns.len()])]) {
                Err(SinkError::Configuration { reason, hint }) => {
                    let findings = block(target.open().check(&[t]));
                    assert!(!findings.is_empty(), "{reason}");
                    format!("{reason} {hint}")
                }
                other => panic!("{other:?}"),
            }
        };
        assert!(reason(&[("id", INT), ("b", INT)], "t").contains("`b`"));
        assert!(reason(&[("id", INT)], "absent").contains("`absent`"));
        assert!(reason(&[("id", INT)], "nokey").contains("unique key"));
        let good = relation("t", &[("id", INT)], &[0]);
        assert_eq!(block(target.open().check(&[good])), []);
    });
}

#[test]
fn marks_stand_and_fall_with_the_data() {
    everywhere("sinks_marks", true, "", |target| {
        let t = relation("t", &[("id", INT)], &[0]);
        let mark = |lane, offset| Mark {
            bonds: Arc::default(),
            store: "1".into(),
            lane,
            lanes: 2,
            ordering: Ordering::Transaction,
            resume: Arc::new(Position { file: "binlog.000002".into(), offset, gtids: None, home: None }),
            partial: None,
            number: 0,
        };
        block(async {
            let sink = target.open();
            assert_eq!(sink.marks("pipe").await.unwrap(), []);
            sink.set_marks("pipe", &[mark(0, 1), mark(1, 2)]).await.unwrap();
            sink.set_marks("other", &[mark(0, 9)]).await.unwrap();
            let mut writer = sink.writer().await.unwrap();
            let (first, second) = (batch(&[(&t, Op::Insert, &[V::I(1)])]), batch(&[(&t, Op::Insert, &[V::I(2)])]));
            let new = mark(1, 3);
            let open = Delivery { commit: false, ..delivery(&first) };
            writer.write(&open).await.unwrap();
            assert_eq!(target.ask("SELECT count(*) FROM t").trim(), "0");
            writer.write(&Delivery { mark: Some(&new), ..delivery(&second) }).await.unwrap();
            assert_eq!(target.ask("SELECT count(*) FROM t").trim(), "2");
            assert_eq!(sink.marks("pipe").await.unwrap(), [mark(0, 1), mark(1, 3)]);
            // An error takes with it what was left open.
            writer.write(&Delivery { commit: false, ..delivery(&batch(&[(&t, Op::Delete, &[V::I(1)])])) }).await.unwrap();
            let lost = relation("t", &[("id", INT), ("none", INT)], &[0]);
            let bad = batch(&[(&lost, Op::Insert, &[V::I(3), V::I(3)])]);
            assert!(writer.write(&delivery(&bad)).await.is_err());
            assert_eq!(target.ask("SELECT count(*) FROM t").trim(), "2");
            writer.write(&delivery(&second)).await.unwrap();
        });
    });
}
