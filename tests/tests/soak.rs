//! Random DDL and DML on a live server, followed into another one while the process is killed now and then, at places around DDL among
//! others. After each round both have the same tables, columns and rows.
//!
//! `make soak` runs it for twenty minutes a server; `make test` for some seconds. The seed is printed; TIDEGATE_SOAK_SEED repeats it.

use std::fmt::Write;
use std::time::{Duration, Instant};

use tidegate_tests::flow::{Flow, Run, copying};
use tidegate_tests::load::Random;
use tidegate_tests::servers::{self, Server};

const SECONDS: u64 = 20;
const TABLES_MAX: usize = 6;
const COLUMNS_MAX: usize = 12;

/// Type, and SQL for values of it; `{n}` is a number, `{m}` a small one.
const TYPES: [(&str, &[&str]); 14] = [
    ("INT", &["{n}", "-{n}", "0"]),
    ("BIGINT UNSIGNED", &["{n}", "18446744073709551615"]),
    ("TINYINT", &["{m}", "-{m}"]),
    ("VARCHAR(40)", &["'text {n}'", "''", "'it''s \\\\ {n} ä€😀'"]),
    ("TEXT", &["REPEAT('x{m}', {m})", "'tab\\tnew\\nline {n}'"]),
    ("DECIMAL(14,3)", &["{n}.{m}", "-{n}.5", "0"]),
    ("DATETIME(3)", &["'2026-11-21 10:11:12.{m}'", "'1000-01-01 00:00:00'"]),
    ("TIMESTAMP(2) NULL", &["'2026-11-21 10:11:12.25'", "'2001-02-03 04:05:06'"]),
    ("DATE", &["'2026-02-28'", "'9999-12-31'"]),
    ("TIME(1)", &["'-12:34:56.7'", "'{m}:00:00'"]),
    ("VARBINARY(30)", &["UNHEX(SHA2('{n}', 224))", "''"]),
    ("ENUM('red','green','blue')", &["'red'", "'blue'"]),
    ("SET('a','b','c')", &["'a,c'", "''", "'b'"]),
    ("DOUBLE", &["{n}e-3", "-1.5e300"]),
];

struct Column {
    name: String,
    type_: usize,
    /// VARCHAR(40) may be wider, INT may be BIGINT.
    sql: String,
}

struct Table {
    name: String,
    columns: Vec<Column>,
    next_id: u64,
}

/// What the statements know of the tables.
struct Model {
    random: Random,
    tables: Vec<Table>,
    names: u64,
}

impl Model {
    fn new(seed: u64) -> Model {
        Model { random: Random::new(seed), tables: Vec::new(), names: 0 }
    }

    fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    fn below(&mut self, n: usize) -> usize {
        self.random.below(n.max(1) as u64) as usize
    }

    fn column(&mut self) -> Column {
        let type_ = self.below(TYPES.len());
        Column { name: self.name("c"), type_, sql: TYPES[type_].0.to_owned() }
    }

    fn value(&mut self, type_: usize) -> String {
        if self.below(6) == 0 {
            return "NULL".to_owned();
        }
        let forms = TYPES[type_].1;
        let form = forms[self.below(forms.len())];
        form.replace("{n}", &self.below(1_000_000_000).to_string()).replace("{m}", &(10 + self.below(90)).to_string())
    }

    fn create(&mut self) -> String {
        let name = self.name("t");
        let columns: Vec<Column> = (0..2 + self.below(5)).map(|_| self.column()).collect();
        let defined: Vec<String> = columns.iter().map(|c| format!("{} {}", c.name, c.sql)).collect();
        let sql = format!("CREATE TABLE {name} (id BIGINT PRIMARY KEY, {}) CHARACTER SET utf8mb4", defined.join(", "));
        self.tables.push(Table { name, columns, next_id: 1 });
        sql
    }

    fn ddl(&mut self) -> String {
        if self.tables.len() < 2 {
            return self.create();
        }
        let at = self.below(self.tables.len());
        let (width, name) = (self.tables[at].columns.len(), self.tables[at].name.clone());
        match self.below(18) {
            0 if self.tables.len() < TABLES_MAX => self.create(),
            1 if self.tables.len() > 2 => {
                self.tables.remove(at);
                format!("DROP TABLE {name}")
            }
            2 => format!("ALTER TABLE {name} CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
            3 => {
                let new = self.name("t");
                self.tables[at].name.clone_from(&new);
                format!("RENAME TABLE {name} TO {new}")
            }
            4 => {
                let other = (at + 1) % self.tables.len();
                let other_name = self.tables[other].name.clone();
                self.tables[at].name.clone_from(&other_name);
                self.tables[other].name.clone_from(&name);
                format!("RENAME TABLE {name} TO swap_, {other_name} TO {name}, swap_ TO {other_name}")
            }
            5 if self.tables.len() < TABLES_MAX => {
                let new = self.name("t");
                let like = &self.tables[at];
                let columns =
                    like.columns.iter().map(|c| Column { name: c.name.clone(), type_: c.type_, sql: c.sql.clone() }).collect();
                self.tables.push(Table { name: new.clone(), columns, next_id: 1 });
                format!("CREATE TABLE {new} LIKE {name}")
            }
            6 | 7 if width < COLUMNS_MAX => {
                let column = self.column();
                let (place, index) = match self.below(3) {
                    0 => (" AFTER id".to_owned(), 0),
                    1 => {
                        let after = self.below(width);
                        (format!(" AFTER {}", self.tables[at].columns[after].name), after + 1)
                    }
                    _ => (String::new(), width),
                };
                let default = match self.below(2) {
                    0 if !TYPES[column.type_].0.starts_with("TEXT") => match self.value(column.type_) {
                        value if value.contains('(') => String::new(),
                        value => format!(" DEFAULT {value}"),
                    },
                    _ => String::new(),
                };
                let sql = format!("ALTER TABLE {name} ADD COLUMN {} {}{default}{place}", column.name, column.sql);
                self.tables[at].columns.insert(index, column);
                sql
            }
            8 if width > 2 => {
                let column = self.below(width);
                let column = self.tables[at].columns.remove(column);
                format!("ALTER TABLE {name} DROP COLUMN {}", column.name)
            }
            9 => {
                let (new, column) = (self.name("c"), self.below(width));
                let old = std::mem::replace(&mut self.tables[at].columns[column].name, new.clone());
                format!("ALTER TABLE {name} RENAME COLUMN {old} TO {new}")
            }
            10 => {
                let (new, column) = (self.name("c"), self.below(width));
                let column = &mut self.tables[at].columns[column];
                let old = std::mem::replace(&mut column.name, new.clone());
                format!("ALTER TABLE {name} CHANGE {old} {new} {}", column.sql)
            }
            11 => {
                // Wider, and at the end.
                let column = self.below(width);
                let mut column = self.tables[at].columns.remove(column);
                column.sql = column.sql.replace("VARCHAR(40)", "VARCHAR(400)");
                if column.sql == "INT" {
                    column.sql = "BIGINT".to_owned();
                }
                let last = self.tables[at].columns.last().map_or("id", |c| &c.name).to_owned();
                let sql = format!("ALTER TABLE {name} MODIFY {} {} AFTER {last}", column.name, column.sql);
                self.tables[at].columns.push(column);
                sql
            }
            12 | 13 => format!("TRUNCATE TABLE {name}"),
            14 => {
                // The same name, and another table.
                let columns: Vec<Column> = (0..2 + self.below(5)).map(|_| self.column()).collect();
                let defined: Vec<String> = columns.iter().map(|c| format!("{} {}", c.name, c.sql)).collect();
                self.tables[at].columns = columns;
                format!(
                    "DROP TABLE {name}; CREATE TABLE {name} (id BIGINT PRIMARY KEY, {}) CHARACTER SET utf8mb4",
                    defined.join(", ")
                )
            }
            15 => {
                let (new, column) = (self.name("t"), self.column());
                let sql = format!("ALTER TABLE {name} ADD COLUMN {} {} FIRST, RENAME TO {new}", column.name, column.sql);
                self.tables[at].name = new;
                self.tables[at].columns.push(column);
                sql
            }
            16 => format!("ALTER TABLE {name} COMMENT = 'of {}'", self.names),
            _ => format!("/*!50001 ALTER TABLE {name} ENGINE = InnoDB */"),
        }
    }

    fn dml(&mut self, sql: &mut String) {
        let at = self.below(self.tables.len());
        let columns: Vec<(String, usize)> = self.tables[at].columns.iter().map(|c| (c.name.clone(), c.type_)).collect();
        let (name, next) = (self.tables[at].name.clone(), self.tables[at].next_id);
        let any = 1 + self.below(next as usize);
        let _ = match self.below(8) {
            0..=3 => {
                let count = 1 + self.below(6) as u64;
                self.tables[at].next_id += count;
                let rows: Vec<String> = (next..next + count)
                    .map(|id| {
                        let values: Vec<String> = columns.iter().map(|(_, type_)| self.value(*type_)).collect();
                        format!("({id}, {})", values.join(", "))
                    })
                    .collect();
                let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
                writeln!(sql, "INSERT INTO {name} (id, {}) VALUES {};", names.join(", "), rows.join(", "))
            }
            4 | 5 => {
                let (column, type_) = &columns[self.below(columns.len())];
                let value = self.value(*type_);
                writeln!(sql, "UPDATE {name} SET {column} = {value} WHERE id BETWEEN {any} AND {};", any + 5)
            }
            6 => {
                self.tables[at].next_id += 1;
                writeln!(sql, "UPDATE {name} SET id = {next} WHERE id = {any};")
            }
            _ => writeln!(sql, "DELETE FROM {name} WHERE id = {any};"),
        };
    }

    /// Where the process is killed, sometimes.
    fn failpoint(&mut self) -> Option<String> {
        let names = tidegate::failpoint::DDL_NAMES;
        let name = names.get(self.below(names.len() * 3))?;
        Some(format!("{name}:{}", 1 + self.below(4)))
    }

    /// Some transactions.
    fn changes(&mut self) -> String {
        let mut sql = String::new();
        for _ in 0..5 + self.below(40) {
            let end = if self.below(10) == 0 { "ROLLBACK" } else { "COMMIT" };
            sql.push_str("BEGIN;\n");
            for _ in 0..1 + self.below(4) {
                self.dml(&mut sql);
            }
            let _ = writeln!(sql, "{end};");
        }
        sql
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

fn soak(name: &str, source: &Server, target: &Server) {
    let seconds = number("TIDEGATE_SOAK_SECONDS").unwrap_or(SECONDS);
    let seed = number("TIDEGATE_SOAK_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
        now.as_secs()
    });
    println!("{name}: TIDEGATE_SOAK_SEED={seed} TIDEGATE_SOAK_SECONDS={seconds}");
    let lenient = "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'; SET NAMES utf8mb4;\n";
    source.sql(&format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"));
    target.sql(&format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"));
    let mut model = Model::new(seed);
    let modes =
        ["ordering = \"key\"\nlanes = 3", "ordering = \"table\"\nlanes = 2", "ordering = \"global\"", "ordering = \"transaction\""];
    let delivery = ["at-least-once", "exactly-once"][model.below(2)];
    let mode = format!("{}\ndelivery = \"{delivery}\"\nddl = \"follow\"", modes[model.below(modes.len())]);
    println!("{name}: {}", mode.replace('\n', ", "));
    let flow = Flow::new(&copying(name, source, target, &mode).replace("[pipeline.copy]", "create = true\n\n[pipeline.copy]"));
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut rounds, mut kills, mut ddls) = (0, 0, 0);
    while Instant::now() < end {
        let mut armed = model.failpoint();
        let mut run = start(&flow, armed.as_deref());
        for _ in 0..3 + model.below(6) {
            for _ in 0..model.below(3) {
                let ddl = model.ddl();
                source.sql_in(name, &format!("{lenient}{ddl};\n"));
                ddls += 1;
            }
            if !model.tables.is_empty() {
                source.sql_in(name, &format!("{lenient}{}", model.changes()));
            }
            if !run.is_running() {
                assert!(armed.is_some(), "{name}, seed {seed}: it stopped:\n{}", run.log());
                kills += 1;
                armed = model.failpoint();
                run = start(&flow, armed.as_deref());
            }
            if model.below(3) == 0 {
                run.kill();
                kills += 1;
                // Some of it happens while nobody follows.
                let ddl = model.ddl();
                source.sql_in(name, &format!("{lenient}{ddl};\n{}", model.changes()));
                ddls += 1;
                armed = model.failpoint();
                run = start(&flow, armed.as_deref());
            }
        }
        if model.below(2) == 0 {
            run.kill();
        }
        drop(run);
        flow.catch_up();
        assert_same(name, seed, source, target, &model);
        rounds += 1;
    }
    println!("{name}: {rounds} rounds, {ddls} DDL statements, {kills} kills, {} tables at the end", model.tables.len());
}

/// `armed`: a failpoint at which it is killed.
fn start(flow: &Flow, armed: Option<&str>) -> Run {
    let environment: Vec<(&str, &str)> = armed.map(|armed| ("TIDEGATE_FAILPOINT", armed)).into_iter().collect();
    flow.start(&[], &environment)
}

fn assert_same(name: &str, seed: u64, source: &Server, target: &Server, model: &Model) {
    // Columns stand where they were added.
    let columns = format!(
        "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLLATION_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = '{name}' \
         AND TABLE_NAME NOT LIKE 'tidegate\\_%' ORDER BY 1, 2"
    );
    let (here, there) = (source.sql(&columns), target.sql(&columns));
    let differ = here.lines().zip(there.lines()).find(|(a, b)| a != b);
    assert!(here == there, "{name}, seed {seed}: columns differ: {differ:?}\n{here}\n{there}");
    for table in &model.tables {
        let columns: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
        let rows = format!("SET time_zone = '+00:00'; SELECT id, {} FROM {} ORDER BY id", columns.join(", "), table.name);
        let (here, there) = (source.sql_in(name, &rows), target.sql_in(name, &rows));
        let differ = here.lines().zip(there.lines()).find(|(a, b)| a != b);
        assert!(
            here == there,
            "{name}, seed {seed}, {} {columns:?}: {} rows at the source, {} at the target; first difference: {differ:?}",
            table.name,
            here.lines().count(),
            there.lines().count()
        );
    }
}

#[test]
fn mysql_ends_equal() {
    let source = servers::mysql(&["--binlog-row-metadata=MINIMAL"]);
    let target = servers::mysql(&["--server-id=9"]);
    soak("soak_mysql", &source, &target);
}

#[test]
fn mariadb_ends_equal() {
    let target = servers::mariadb(&["--server-id=9"]);
    soak("soak_mariadb", servers::shared_mariadb(), &target);
}
