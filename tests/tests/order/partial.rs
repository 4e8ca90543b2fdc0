//! Updates that log parts of JSON values (`binlog_row_value_options = PARTIAL_JSON`), against what the source's server makes of them.

use std::fmt::Write;

use tidegate_tests::load::Random;
use tidegate_tests::servers;

use super::{Copy, Origin};

const COLUMNS: u64 = 10;

const WHOLE_ROW: &str = "without_key = \"whole-row\"";

const DOCUMENT: &str =
    r#"{"a": [1, [2, "x"], {"k": null}], "b": {"x": 70000, "q\\"uote": "v", "ключ": 1.5, "": 0}, "n": 7, "pad": "#;

const PATHS: [&str; 16] = [
    "$.a",
    "$.a[0]",
    "$.a[last]",
    "$.a[last-1]",
    "$.a[1][0]",
    "$.a[2].k",
    "$.a[9]",
    "$.b",
    "$.b.x",
    r#"$.b."q\\"uote""#,
    r#"$.b."ключ""#,
    "$.b.added",
    r#"$.b."two words""#,
    "$.n",
    "$.n[0]",
    "$.n[1]",
];

const VALUES: [&str; 14] = [
    "1",
    "-70000",
    "5000000000",
    "1.5e0",
    "1e30",
    "'text'",
    "'\u{1d11e} \"quoted\" \\\\ \\n'",
    "CAST('null' AS JSON)",
    "CAST('true' AS JSON)",
    "CAST('2024-02-29 01:02:03.456789' AS DATETIME(6))",
    "CAST(-12.50 AS DECIMAL(10,2))",
    "CAST('[1, [70000], {}]' AS JSON)",
    r#"CAST('{"k": 1, "kk": [], "a": {"b": "c"}}' AS JSON)"#,
    "JSON_ARRAY(REPEAT('y', 300), x'00ff')",
];

fn one_of<'t>(random: &mut Random, of: &[&'t str]) -> &'t str {
    of[random.below(of.len() as u64) as usize]
}

/// An expression that the server may log as a part: column in, column out.
fn change(random: &mut Random, column: &str) -> String {
    let mut value = column.to_owned();
    for _ in 0..=random.below(3) {
        let (path, new) = (one_of(random, &PATHS), one_of(random, &VALUES));
        value = match random.below(5) {
            0 | 1 => format!("JSON_SET({value}, '{path}', {new})"),
            2 => format!("JSON_REPLACE({value}, '{path}', {new}, '{}', {})", one_of(random, &PATHS), one_of(random, &VALUES)),
            3 => format!("JSON_REMOVE({value}, '{path}')"),
            _ => format!("JSON_ARRAY_APPEND({value}, '{path}', {new})"),
        };
    }
    value
}

fn tables(origin: &Origin<'_>, rows: u64) {
    let columns: String = (0..COLUMNS).map(|c| format!(", j{c} JSON, t{c} VARCHAR(9)")).collect();
    let values = |id: u64| -> String {
        let value = |c: u64| {
            if (id + c).is_multiple_of(7) {
                ", NULL, NULL".to_owned()
            } else {
                // Some documents are of the wide form.
                let pad = if (id + c).is_multiple_of(9) { 70_000 } else { 300 };
                format!(", JSON_SET('{DOCUMENT}\"\"}}', '$.pad', REPEAT('p', {pad})), 't'")
            }
        };
        (0..COLUMNS).map(value).collect()
    };
    let mut sql = format!("CREATE TABLE keyed (id INT PRIMARY KEY{columns}); CREATE TABLE keyless (id INT{columns});\n");
    for id in 1..=rows {
        let _ = writeln!(sql, "INSERT INTO keyed VALUES ({id}{0}); INSERT INTO keyless VALUES ({id}{0});", values(id));
    }
    origin.sql(&sql);
}

#[test]
fn parts_of_json_values_become_whole() {
    let origin = Origin::new(servers::shared_mysql(), "partial");
    tables(&origin, 12);
    let mut random = Random::new(39);
    let mut sql = "SET binlog_row_value_options = 'PARTIAL_JSON';\n".to_owned();
    for round in 0..400 {
        // Without a key the before image is whole, and the after image has only what changed.
        let (table, image) = if round % 3 == 0 { ("keyless", "MINIMAL") } else { ("keyed", "FULL") };
        let sets: Vec<String> = (0..=random.below(3))
            .map(|_| {
                let c = random.below(COLUMNS);
                if random.below(6) == 0 {
                    format!("t{c} = 'r{round}'")
                } else {
                    format!("j{c} = {}", change(&mut random, &format!("j{c}")))
                }
            })
            .collect();
        let id = 1 + random.below(12);
        let _ = writeln!(
            sql,
            "SET binlog_row_image = '{image}'; UPDATE {table} SET {} WHERE id IN ({id}, {});",
            sets.join(", "),
            1 + random.below(12)
        );
    }
    // A key that changes, and a value that becomes NULL.
    sql.push_str(
        "SET binlog_row_image = 'FULL'; UPDATE keyed SET id = id + 100, j3 = JSON_SET(j3, '$.n', 8); UPDATE keyed SET j4 = NULL;",
    );
    origin.sql(&sql);
    let file = origin.server.rows("SHOW BINARY LOG STATUS")[0][0].clone();
    let events = origin.server.rows(&format!("SHOW BINLOG EVENTS IN '{file}'"));
    let partial = events.iter().filter(|event| event[2].contains("partial")).count();
    assert!(partial > 200, "{partial} partial events");

    let copy = Copy::to_sqlite(&origin);
    copy.configure_all(WHOLE_ROW, "create = true", "lanes = 3").flow.catch_up();
    for table in ["keyed", "keyless"] {
        for c in 0..COLUMNS {
            let value = format!("CASE WHEN j{c} IS NOT NULL THEN HEX(j{c}) END");
            copy.assert_same(&origin, &format!("SELECT id, {value}, t{c} FROM {table} ORDER BY id;"));
        }
    }
}

#[test]
fn a_part_without_the_value_before_stops() {
    let origin = Origin::new(servers::shared_mysql(), "partial_minimal");
    tables(&origin, 2);
    origin.sql(
        "SET binlog_row_value_options = 'PARTIAL_JSON', binlog_row_image = 'MINIMAL'; \
         UPDATE keyed SET j1 = JSON_SET(j1, '$.n', 8) WHERE id = 2",
    );
    let copy = Copy::to_sqlite(&origin);
    copy.configure_all(WHOLE_ROW, "create = true", "");
    let (code, _, stderr) = copy.flow.call(&["run", "--until", "caught-up"]);
    assert_eq!(code, 3, "{stderr}");
    for part in
        ["PARTIAL_UPDATE_ROWS of `partial_minimal.keyed`", "`j1`", "hint: set binlog_row_image=FULL", "tidegate cursor set copy"]
    {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert_eq!(copy.sql("SELECT count(*) FROM keyed;").trim(), "2");
}
