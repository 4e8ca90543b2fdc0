//! Tables with values at the edges of every type, as SQL. Each has the key `id` and no other, so that rows are told apart alike everywhere.

use std::fmt::Write as _;

use tidegate_tests::servers::Kind;

/// Everything that `kind` can hold. `keys_change`: which minimal row images do not let through (so without it they are minimal). Invalid dates and such are let in by the session's `sql_mode`.
pub fn all(kind: Kind, keys_change: bool) -> String {
    let mut sql = String::from("SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '-11:30';\n");
    sql += NUMBERS;
    decimals(&mut sql);
    bits(&mut sql);
    times(&mut sql);
    texts(&mut sql, kind);
    sql += STRINGS;
    // MariaDB leaves virtual columns out of minimal row images: SQL targets, which could not tell their values, refuse such rows.
    let to_lines_alone = matches!(kind, Kind::MariaDb(_)) && !keys_change;
    sql += &GENERATED.replace("generated_columns", if to_lines_alone { "odd_generated" } else { "generated_columns" });
    geometry(&mut sql, kind);
    keys(&mut sql, keys_change);
    names(&mut sql);
    wide(&mut sql);
    match kind {
        Kind::MySql => sql += MYSQL,
        _ => sql += MARIADB,
    }
    if kind == Kind::MariaDb(11) {
        sql += MARIADB_11;
    }
    sql
}

const NUMBERS: &str = "
CREATE TABLE integers (id SERIAL, b BOOL, i8 TINYINT, u8 TINYINT UNSIGNED, i16 SMALLINT, u16 SMALLINT UNSIGNED, i24 MEDIUMINT, u24 MEDIUMINT UNSIGNED,
  i32 INT, u32 INT UNSIGNED, i64 BIGINT, u64 BIGINT UNSIGNED, z8 TINYINT(3) ZEROFILL, z64 BIGINT(20) ZEROFILL, y YEAR);
INSERT INTO integers VALUES
  (1, 1, -128, 0, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0, 0, 0, 0),
  (2, 0, 127, 255, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, 9223372036854775807, 18446744073709551615, 255, 18446744073709551615, 2155),
  (3, 2, -1, 128, -1, 32768, -1, 8388608, -1, 2147483648, -1, 9223372036854775808, 7, 9223372036854775808, 1901),
  (4, -1, 0, 127, 0, 32767, 0, 8388607, 0, 2147483647, 0, 9223372036854775807, 1, 9223372036854775807, '70'),
  (5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (6, 1, 1e9, -1, 1e9, -1, 1e9, -1, 1e99, -1, 1e99, -1, 1e9, -1, 9999);
INSERT INTO integers (id) VALUES (18446744073709551614), (9223372036854775808);
UPDATE integers SET i8 = 5, u64 = 18446744073709551614 WHERE id = 1;
CREATE TABLE floats (id INT PRIMARY KEY, f FLOAT, d DOUBLE, fu FLOAT UNSIGNED, du DOUBLE UNSIGNED, f74 FLOAT(7,4), d153 DOUBLE(15,3));
INSERT INTO floats VALUES
  (1, -0.0e0, -0.0e0, 0, 0, -0.0e0, -0.0e0), (2, 1.4e-45, 4.9406564584124654e-324, 1e-45, 5e-324, 0.0001, 0.001),
  (3, 1.17549435e-38, 2.2250738585072014e-308, 1.1754942e-38, 2.225073858507201e-308, 999.9999, 123456789012.125),
  (4, 3.4028234e38, 1.7976931348623157e308, 3.4028234e38, 1.7976931348623157e308, -999.9999, -123456789012.125),
  (5, -3.4028234e38, -1.7976931348623157e308, 3.4e39, 1e308, 1e9, 1e20), (6, 16777217, 9007199254740993, 0.1, 0.1, 0.1, 0.1),
  (7, 123456.789, 123456789.123456789, 1e10, 1e22, 3.14159, 2.71828), (8, 8388609.5, 1e23, 9.999999e9, 9.5e-5, 1, 1),
  (9, 0.3, 0.30000000000000004, 7.038531e-26, 5e-324, 1, 1), (10, NULL, NULL, NULL, NULL, NULL, NULL);
UPDATE floats SET f = f + 1 WHERE id = 7;
";

/// Each scale with the least and the greatest precision that it can have, and those where the packed form has another length.
fn decimals(sql: &mut String) {
    let mut kinds: Vec<(u8, u8)> = (0..=30).flat_map(|scale| [(scale.max(1), scale), (65, scale), (scale + 9, scale)]).collect();
    kinds.extend((1..=65).map(|precision| (precision, 0)));
    kinds.sort_unstable();
    kinds.dedup();
    let columns: Vec<String> = kinds.iter().map(|(p, s)| format!("d{p}_{s} DECIMAL({p},{s})")).collect();
    let row = |id: u8, value: &dyn Fn(u8, u8) -> String| {
        let values: Vec<String> = kinds.iter().map(|(p, s)| value(*p, *s)).collect();
        format!("INSERT INTO decimals VALUES ({id}, {});\n", values.join(", "))
    };
    let text = |digit: char, p: u8, s: u8| {
        let digits = |n: u8| digit.to_string().repeat(usize::from(n));
        format!("{}.{}", digits(p - s), digits(s))
    };
    let _ = writeln!(sql, "CREATE TABLE decimals (id INT PRIMARY KEY, {}) ROW_FORMAT = DYNAMIC;", columns.join(", "));
    *sql += &row(1, &|p, s| format!("'{}'", text('9', p, s)));
    *sql += &row(2, &|p, s| format!("'-{}'", text('9', p, s)));
    *sql += &row(3, &|_, _| "0".into());
    *sql += &row(4, &|p, s| format!("'-{}1'", &text('0', p, s)[..usize::from(p)]));
    *sql += &row(5, &|p, s| format!("'{}'", text('1', p, s)));
    *sql += &row(6, &|_, _| "NULL".into());
    *sql += "CREATE TABLE unsigned_decimals (id INT PRIMARY KEY, a DECIMAL(65,30) UNSIGNED, b DECIMAL(10) UNSIGNED ZEROFILL, c NUMERIC(1,1) UNSIGNED);
INSERT INTO unsigned_decimals VALUES (1, 0.000000000000000000000000000001, 7, 0.9), (2, -1, -1, -1), (3, 1e99, 1e99, 1e99);\n";
}

fn bits(sql: &mut String) {
    let list = |value: &dyn Fn(u32) -> String| (1..=64).map(value).collect::<Vec<_>>().join(", ");
    let _ = writeln!(sql, "CREATE TABLE bits (id INT PRIMARY KEY, {});", list(&|n| format!("b{n} BIT({n})")));
    let _ = writeln!(sql, "INSERT INTO bits VALUES (1, {});", list(&|n| (u64::MAX >> (64 - n)).to_string()));
    let _ = writeln!(sql, "INSERT INTO bits VALUES (2, {});", list(&|_| "0".into()));
    let _ = writeln!(sql, "INSERT INTO bits VALUES (3, {});", list(&|n| (1u64 << (n - 1)).to_string()));
    let _ = writeln!(sql, "INSERT INTO bits VALUES (4, {});", list(&|n| (0x5555_5555_5555_5555u64 >> (64 - n)).to_string()));
    let _ = writeln!(sql, "INSERT INTO bits VALUES (5, {});", list(&|_| "NULL".into()));
}

/// All precisions; written in a time zone that is not the server's.
fn times(sql: &mut String) {
    let list = |value: &dyn Fn(usize) -> String| (0..=6).map(value).collect::<Vec<_>>().join(", ");
    let columns = |kind: &str| list(&|f| format!("f{f} {kind}({f}) NULL"));
    let cut = |value: &str, f: usize| match value.split_once('.') {
        Some((whole, _)) if f == 0 => format!("'{whole}'"),
        Some((whole, fraction)) => format!("'{whole}.{}'", &fraction[..f]),
        None => format!("'{value}'"),
    };
    let mut table = |name: &str, kind: &str, values: &[&str]| {
        let _ = writeln!(sql, "CREATE TABLE {name} (id INT PRIMARY KEY, {});", columns(kind));
        for (i, value) in values.iter().enumerate() {
            let _ = writeln!(sql, "INSERT INTO {name} VALUES ({}, {});", i + 1, list(&|f| cut(value, f)));
        }
        let _ = writeln!(sql, "INSERT INTO {name} (id) VALUES (100);");
        let _ = writeln!(sql, "UPDATE {name} SET f0 = f6 WHERE id = 1;");
    };
    let dates = [
        "0000-00-00 00:00:00.000000",
        "0000-00-00 00:00:00.000001",
        "0000-00-00 00:00:00.100000",
        "0000-00-00 23:59:59.999999",
        "0000-01-01 00:00:00.000000",
        "0001-01-01 00:00:00.000001",
        "0000-00-01 01:01:01.010101",
        "2024-00-00 10:20:30.405060",
        "2024-02-00 00:00:00.000000",
        "2024-02-31 23:59:59.999999",
        "9999-12-31 23:59:59.999999",
        "9999-00-31 00:00:00.999990",
        "1582-10-10 12:34:56.789012",
        "1969-12-31 23:59:59.999999",
        "2038-01-19 03:14:08.000000",
        "2024-02-30 00:00:00.000009",
        "1900-02-29 11:11:11.111111",
    ];
    table("datetimes", "DATETIME", &dates);
    table(
        "clocks",
        "TIME",
        &[
            "00:00:00.000000",
            "-00:00:00.000001",
            "-00:00:00.100000",
            "-00:00:01.000000",
            "-00:59:59.999999",
            "00:00:00.000001",
            "838:59:59.000000",
            "-838:59:59.000000",
            "838:59:58.999999",
            "-838:59:58.999999",
            "-100:00:00.500000",
            "23:59:59.999999",
            "-23:59:59.990000",
            "24:00:00.000100",
            "839:00:00.000000",
            "-839:00:00.000000",
            "-00:00:00.010203",
        ],
    );
    // By the session's clock, which is 11 hours and a half behind.
    table(
        "instants",
        "TIMESTAMP",
        &[
            "0000-00-00 00:00:00.000000",
            "1969-12-31 12:30:01.000000",
            "1969-12-31 12:30:01.000001",
            "1970-01-01 00:00:00.500000",
            "2038-01-18 15:44:07.999999",
            "2024-03-31 02:30:00.123456",
            "2024-11-21 23:59:59.999990",
            "2024-02-31 00:00:00.000000",
            "2040-01-01 00:00:00.000000",
            "1969-12-31 12:30:00.000000",
            "1960-01-01 00:00:00.000001",
        ],
    );
    *sql += "CREATE TABLE days (id INT PRIMARY KEY, d DATE, ts TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6));\n";
    for (i, day) in dates.iter().enumerate() {
        let _ = writeln!(sql, "INSERT INTO days (id, d) VALUES ({}, '{}');", i + 1, &day[..10]);
    }
    *sql += "INSERT INTO days (id, d) VALUES (100, NULL), (101, '10000-01-01'), (102, '-1-01-01'), (103, '2024-13-01'), (104, '2024-04-31');
UPDATE days SET d = '2024-04-30' WHERE id = 104;\n";
}

/// Character sets, and text that shows what is particular about each.
const CHARSETS: &[(&str, &str)] = &[
    ("utf8mb4", "aé中😀𝄞\u{ffff}\u{10ffff}\u{feff}\u{202e}e\u{301}"),
    ("utf8mb3", "aé中\u{ffff}ﬁ"),
    ("latin1", "aé€ÿŒ\u{81}\u{9d}"),
    ("latin2", "ąęłŐ"),
    ("ascii", "a~\u{7f}"),
    ("gbk", "中文碶誠表€"),
    ("gb2312", "中文表"),
    ("gb18030", "中文€\u{1e3f}\u{e5e5}😀𠀀ÿ"),
    ("big5", "功許蓋中文"),
    ("sjis", "表示ソ能ｱ\u{a5}"),
    ("cp932", "表示ソ能①Ⅳ～"),
    ("ujis", "日本語表亜ｱ"),
    ("eucjpms", "日本語①～"),
    ("euckr", "한국어각똠"),
    ("utf16", "aé中😀"),
    ("utf16le", "aé中😀"),
    ("utf32", "aé中😀\u{10ffff}"),
    ("ucs2", "aé中\u{ffff}"),
    ("cp1251", "Привет№"),
    ("koi8r", "Привет"),
    ("cp850", "aé╬█"),
    ("hebrew", "שלום"),
    ("greek", "Ελλάς"),
    ("tis620", "ภาษาไทย"),
    ("swe7", "åäö"),
];

/// Characters come by their code points, whatever the client's character set can hold.
fn literal(text: &str) -> String {
    let hex: String = text.chars().map(|c| format!("{:08x}", u32::from(c))).collect();
    format!("_utf32 x'{hex}'")
}

fn texts(sql: &mut String, kind: Kind) {
    for (charset, text) in CHARSETS {
        if *charset == "gb18030" && kind != Kind::MySql {
            continue;
        }
        let first: String = text.chars().take(1).collect();
        let second: String = text.chars().skip(1).take(1).collect();
        let members = [&*first, &*second, "", "a b"].map(|m| format!("'{m}'")).join(", ");
        let _ = writeln!(
            sql,
            "CREATE TABLE text_{charset} (id INT PRIMARY KEY, c CHAR(30), c0 CHAR(0), cx CHAR(255), v VARCHAR(30), vx VARCHAR(2000), tt TINYTEXT, t TEXT, \
             mt MEDIUMTEXT, lt LONGTEXT, e ENUM({members}), s SET({set})) CHARACTER SET {charset};",
            set = [&*first, &*second, "a b"].map(|m| format!("'{m}'")).join(", "),
        );
        let t = literal(text);
        let _ = writeln!(
            sql,
            "INSERT INTO text_{charset} VALUES (1, {t}, '', {t}, {t}, {t}, {t}, {t}, {t}, {t}, 1, 3), (2, '', '', '', '', '', '', '', '', '', 2, 0), \
             (3, ' x  ', '', ' y\\t', ' x  ', '\\\\', 'a\\nb', '\\0', '\\Z\\b', '\\'\"`', 3, 4), (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
             (5, repeat({f}, 30), '', repeat({f}, 255), repeat({f}, 30), repeat({f}, 2000), repeat({f}, 60), repeat({f}, 10000), repeat({f}, 70000), \
             repeat({f}, 17000), 4, 7), (6, 'q', '', 'q', 'q', 'q', 'q', 'q', 'q', 'q', 2, 1);",
            f = literal(&first),
        );
        let _ = writeln!(sql, "UPDATE text_{charset} SET v = c, lt = {t}, e = 1 WHERE id = 2;");
    }
}

const STRINGS: &str = "
CREATE TABLE binaries (id INT PRIMARY KEY, b0 BINARY(0), b1 BINARY, b8 BINARY(8), b255 BINARY(255), v0 VARBINARY(0), v1 VARBINARY(1), v255 VARBINARY(255),
  v256 VARBINARY(256), v4k VARBINARY(4000), tb TINYBLOB, bb BLOB, mb MEDIUMBLOB, lb LONGBLOB, cb CHAR(8) CHARACTER SET binary, bt TEXT CHARACTER SET binary);
INSERT INTO binaries VALUES (1, '', 0, x'0100', x'00', '', x'00', x'0000', x'00', x'2000', x'00', x'ff', x'80', x'c328', x'20', x'00ff'),
  (2, '', '', '', '', '', '', '', '', '', '', '', '', '', '', ''), (3, '', ' ', 'a b  ', 'x ', '', ' ', 'x ', 'x ', 'x ', 'x ', 'x ', 'x ', 'x ', 'x ', 'x '),
  (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (5, '', x'ff', repeat(x'ff', 8), repeat(x'00', 255), '', x'ff', repeat(x'00', 255), repeat(x'ff', 256), repeat(x'5c', 4000), repeat(x'27', 255),
   repeat(x'00', 65535), repeat(x'0a', 66000), repeat(x'1a', 300000), repeat(x'00', 8), repeat(x'ff', 65535));
UPDATE binaries SET b8 = x'00000000000000ff' WHERE id = 1;
CREATE TABLE members (id INT PRIMARY KEY, e2 ENUM('a', 'A b', 'it''s', 'back\\\\slash', 'q\"', 'x,y') COLLATE utf8mb4_bin, s64 SET('01', '02', '03', '04', '05', '06', '07', '08',
  '09', '10', '11', '12', '13', '14', '15', '16', '17', '18', '19', '20', '21', '22', '23', '24', '25', '26', '27', '28', '29', '30', '31', '32', '33', '34', '35',
  '36', '37', '38', '39', '40', '41', '42', '43', '44', '45', '46', '47', '48', '49', '50', '51', '52', '53', '54', '55', '56', '57', '58', '59', '60', '61', '62',
  '63', '64'), sx SET('it''s', 'back\\\\slash', 'new\\nline') NOT NULL DEFAULT '');
CREATE TABLE odd_enum (id INT PRIMARY KEY, e ENUM('a', 'b'), n ENUM('x') NOT NULL);
INSERT INTO odd_enum VALUES (1, 'no member', 'x'), (2, 0, 0), (3, NULL, 1);
INSERT INTO members VALUES (1, 1, 18446744073709551615, 7), (2, 2, 9223372036854775808, 1), (3, 3, 1, 2), (4, 4, 0, 4), (5, 5, 4294967296, 3), (6, 6, NULL, 0),
  (7, NULL, 0, 0);
";

const GENERATED: &str = "
CREATE TABLE generated_columns (id INT PRIMARY KEY, a INT, v INT GENERATED ALWAYS AS (a + 1) VIRTUAL, s VARCHAR(20) GENERATED ALWAYS AS (concat('<', a, '>')) STORED,
  vi INT GENERATED ALWAYS AS (a * 2) VIRTUAL, b INT DEFAULT 5, KEY (vi));
INSERT INTO generated_columns (id, a) VALUES (1, 1), (2, NULL), (3, -5);
UPDATE generated_columns SET a = 70 WHERE id = 1;
UPDATE generated_columns SET b = 71 WHERE id = 3;
CREATE TABLE hidden_columns (id INT PRIMARY KEY, a INT INVISIBLE, b INT INVISIBLE DEFAULT 3, c INT);
INSERT INTO hidden_columns (id, a, c) VALUES (1, 2, 3), (2, NULL, NULL);
UPDATE hidden_columns SET a = 9 WHERE id = 1;
";

fn geometry(sql: &mut String, kind: Kind) {
    let mut shapes = vec![
        "POINT(1 -2.5)",
        "LINESTRING(0 0, 1 1.5, -3e-7 4)",
        "POLYGON((0 0, 10 0, 10 10, 0 10, 0 0), (1 1, 2 1, 2 2, 1 1))",
        "MULTIPOINT(1 1, 2 2)",
        "MULTILINESTRING((0 0, 1 1), (2 2, 3 3, 4 4))",
        "MULTIPOLYGON(((0 0, 1 0, 1 1, 0 0)), ((5 5, 6 5, 6 6, 5 5)))",
        "GEOMETRYCOLLECTION(POINT(1 2), LINESTRING(0 0, 1 1))",
    ];
    if kind == Kind::MySql {
        shapes.extend(["GEOMETRYCOLLECTION EMPTY", "GEOMETRYCOLLECTION(GEOMETRYCOLLECTION(POINT(7 8)))"]);
    }
    *sql += "CREATE TABLE shapes (id INT PRIMARY KEY, g GEOMETRY, p POINT, l LINESTRING, y POLYGON, mp MULTIPOINT, ml MULTILINESTRING, my MULTIPOLYGON, gc GEOMETRYCOLLECTION);\n";
    for (i, shape) in shapes.iter().enumerate() {
        let _ = writeln!(
            sql,
            "INSERT INTO shapes (id, g) VALUES ({}, ST_GeomFromText('{shape}', {}));",
            i + 1,
            if i % 2 == 0 { 0 } else { 4326 }
        );
    }
    let columns = ["p", "l", "y", "mp", "ml", "my", "gc"];
    for (i, (column, shape)) in columns.iter().zip(&shapes).enumerate() {
        let _ = writeln!(sql, "INSERT INTO shapes (id, {column}) VALUES ({}, ST_GeomFromText('{shape}', 3857));", i + 100);
    }
    *sql += "UPDATE shapes SET p = ST_GeomFromText('POINT(0 0)') WHERE id = 1;\n";
}

/// Rows that are found again by keys of each type; `nth` numbers them.
fn keys(sql: &mut String, change: bool) {
    let kinds = [
        ("TINYINT UNSIGNED", ["0", "200", "255", "7"]),
        ("BIGINT UNSIGNED", ["0", "9223372036854775808", "18446744073709551615", "7"]),
        ("BIT(13)", ["0", "5000", "8191", "7"]),
        ("BIT(64)", ["0", "9223372036854775808", "18446744073709551615", "7"]),
        ("DECIMAL(40,20)", ["-0.1", "12345678901234567890.00000000000000000001", "99999999999999999999.9", "0"]),
        ("FLOAT", ["0.1", "3.4028234e38", "1.4e-45", "-16777217"]),
        ("DOUBLE", ["0.1", "1.7976931348623157e308", "5e-324", "-0.30000000000000004"]),
        ("YEAR", ["0", "1901", "2155", "2000"]),
        ("DATE", ["'0000-00-00'", "'2024-02-31'", "'9999-12-31'", "'2024-00-10'"]),
        ("TIME(6)", ["'-838:59:59'", "'-00:00:00.000001'", "'838:59:58.999999'", "'00:00:00'"]),
        ("DATETIME(6)", ["'0000-00-00'", "'2024-02-29 01:02:03.000004'", "'9999-12-31 23:59:59.999999'", "'2024-00-00 00:00:01'"]),
        ("TIMESTAMP(6)", ["'0000-00-00'", "'2024-02-29 01:02:03.000004'", "'2038-01-18 15:44:07.999999'", "'2024-10-27 01:30:00'"]),
        ("CHAR(9) CHARACTER SET latin1", ["'é'", "''", "'€ '", "'\\\\'"]),
        ("VARCHAR(9) CHARACTER SET utf16", ["'é'", "'😀'", "'a'", "'\\''"]),
        ("VARCHAR(9) CHARACTER SET gbk", ["'中'", "_gbk x'b5c2'", "'誠'", "'x'"]),
        ("VARCHAR(9) CHARACTER SET sjis", ["'表'", "'ソ'", "'能'", "'x'"]),
        ("VARCHAR(9) COLLATE utf8mb4_general_ci", ["'A'", "'b'", "'É'", "'\\0'"]),
        ("BINARY(8)", ["x'0100'", "''", "x'00000000000000ff'", "'a '"]),
        ("VARBINARY(9)", ["x'0100'", "''", "x'00'", "'a '"]),
        ("ENUM('a', 'b', 'c', 'it''s')", ["'a'", "'b'", "'c'", "'it''s'"]),
        ("SET('a', 'b', 'c')", ["''", "'a,b'", "'c'", "'a,c'"]),
    ];
    for (i, (kind, [a, b, c, d])) in kinds.iter().enumerate() {
        let move_one = if change { format!("UPDATE key_{i} SET id = {d} WHERE nth = 2;") } else { String::new() };
        let _ = writeln!(
            sql,
            "CREATE TABLE key_{i} (id {kind} NOT NULL PRIMARY KEY, nth INT, v INT);\nINSERT INTO key_{i} VALUES ({a}, 1, 1), ({b}, 2, 1), ({c}, 3, 1);\n\
             UPDATE key_{i} SET v = nth * 10;\nDELETE FROM key_{i} WHERE nth = 1;\n{move_one}\n\
             INSERT INTO key_{i} VALUES ({a}, 4, 4);\nUPDATE key_{i} SET v = 5 WHERE nth IN (2, 4);"
        );
    }
}

/// Names of all kinds, of tables and of columns, and the longest.
fn names(sql: &mut String) {
    // A table's name becomes a file's, which may have 255 bytes.
    let (table, column) = ("ä".repeat(64), "界".repeat(64));
    let mut names = vec![(&*table, &*column)];
    names.extend(
        ["a.b", "q`u\"o'te", "Ünï ☃ case", "CamelCase", "select", "50%", "back\\slash", "new\nline"].map(|name| (name, name)),
    );
    for (i, names) in names.into_iter().enumerate() {
        let [table, column] = [names.0, names.1].map(|name| format!("`{}`", name.replace('`', "``")));
        let _ = writeln!(
            sql,
            "CREATE TABLE {table} (id INT PRIMARY KEY, {column} INT, `ID.2` INT);\nINSERT INTO {table} VALUES (1, {i}, 2), (2, {i}, 3);"
        );
        let _ = writeln!(sql, "UPDATE {table} SET {column} = 77 WHERE id = 2;");
    }
}

/// As many columns as InnoDB takes.
fn wide(sql: &mut String) {
    let list = |value: &dyn Fn(u32) -> String| (1..=1000).map(value).collect::<Vec<_>>().join(", ");
    let _ = writeln!(sql, "CREATE TABLE wide (id INT PRIMARY KEY, {});", list(&|n| format!("c{n} INT")));
    let _ = writeln!(sql, "INSERT INTO wide VALUES (1, {});", list(&|n| n.to_string()));
    let _ =
        writeln!(sql, "INSERT INTO wide VALUES (2, {});", list(&|n| if n % 3 == 0 { "NULL".into() } else { (n * 7).to_string() }));
    let _ = writeln!(sql, "UPDATE wide SET c1000 = NULL, c500 = 5 WHERE id = 1;");
}

const MYSQL: &str = "
CREATE TABLE mixed (id INT PRIMARY KEY, g GEOMETRY, a VARCHAR(10) CHARACTER SET latin1, v VECTOR(2), b VARCHAR(10) CHARACTER SET gbk, j JSON,
  tc TEXT CHARACTER SET latin2, bc BLOB, c VARCHAR(10) CHARACTER SET utf8mb4, y YEAR, e ENUM('é') CHARACTER SET latin1, s SET('中') CHARACTER SET gbk,
  d DECIMAL(5,2) UNSIGNED, f FLOAT, n INT UNSIGNED, k CHAR(9) CHARACTER SET koi8r);
INSERT INTO mixed VALUES (1, ST_GeomFromText('POINT(1 2)'), 'é', x'0000803f', '中', '1', repeat('ą', 10), 'x', '😀', 2000, 'é', '中', 5, 5, 4294967295, 'Ж');
CREATE TABLE json_kinds (id INT PRIMARY KEY, j JSON);
INSERT INTO json_kinds VALUES (1, 'null'), (2, NULL), (3, 'true'), (4, 'false'), (5, '0'), (6, '-1'), (7, '32767'), (8, '-32769'), (9, '2147483648'),
  (10, '-9223372036854775808'), (11, '18446744073709551615'), (12, '-0.0'), (13, '1e-7'), (14, '1e100'), (15, '5e-324'), (16, '1.7976931348623157e308'), (17, '3.0'),
  (18, '0.1'), (19, '123456789012345680000'), (20, '\"\"'), (21, '\"\\\\u0000\\\\u001f\\\\\"\\\\\\\\/\\\\b\\\\f\\\\n\\\\r\\\\t\"'), (22, '\"é😀\\\\ud83d\\\\ude00\"'), (23, '[]'), (24, '{}'),
  (25, '[[[[[[[[[[1]]]]]]]]]]'), (26, '{\"b\": 1, \"a\": 2, \"aa\": 3, \"\": 4, \"é\": 5}'), (27, '{\"a\": 1, \"a\": 2}'), (28, '[1, \"a\", null, true, {\"k\": [2]}]'),
  (29, concat('[', repeat('[', 98), repeat(']', 98), ']')), (30, '1.0'), (31, '1e15'), (32, '1e16'), (33, '-1.5e-10'), (34, '\"<>&\\\\u2028\"');
INSERT INTO json_kinds VALUES (50, json_array(cast('2024-02-29' AS DATE), cast('0000-00-00' AS DATE), cast('-838:59:59' AS TIME), cast('12:34:56.789' AS TIME(3)),
  cast('-00:00:00.000001' AS TIME(6)), cast('2024-02-29 12:34:56' AS DATETIME), cast('9999-12-31 23:59:59.999999' AS DATETIME(6)), timestamp'2024-02-29 01:02:03.4')),
  (52, json_object('point', ST_GeomFromText('POINT(1 2)'), 'line', ST_GeomFromText('LINESTRING(0 0, 1 1)', 4326))),
  (54, json_array(1e0, cast(1 AS DOUBLE), cast(0.5 AS FLOAT))), (55, cast(timestamp'2024-02-29 01:02:03.4' AS JSON)), (56, cast(cast('10:11:12' AS TIME) AS JSON)),
  (59, json_array(cast(2024 AS YEAR)));
CREATE TABLE odd_json (id INT PRIMARY KEY, j JSON);
INSERT INTO odd_json VALUES (1, json_array(cast(12.50 AS DECIMAL(6,2)), -0.000000000000000000000000000001, 99999999999999999999999999999999999.9)),
  (2, json_object('bin', cast(x'00ff' AS BINARY), 'empty', cast('' AS BINARY), 'long', cast(repeat(x'ab', 300) AS BINARY))), (3, json_array(b'101', x'ff')),
  (4, cast(cast(x'0102' AS BINARY) AS JSON)), (5, cast(1.50 AS JSON));
INSERT INTO odd_json SELECT 10, json_arrayagg(b13) FROM bits; INSERT INTO odd_json SELECT 11, json_arrayagg(bb) FROM binaries WHERE id < 4;
INSERT INTO odd_json SELECT 12, json_arrayagg(y) FROM integers; INSERT INTO odd_json SELECT 13, json_arrayagg(e2) FROM members;
INSERT INTO odd_json SELECT 16, json_array(1e0 * 3, 10.0000000000000000000000000000000000000001 / 3, 99999999999999999999999999999999999999999999999999999999999999999999999999999999.0);
INSERT INTO odd_json SELECT 14, json_arrayagg(s64) FROM members; INSERT INTO odd_json SELECT 15, json_arrayagg(f) FROM floats WHERE id < 5;
CREATE TABLE json_large (id INT PRIMARY KEY, j JSON);
INSERT INTO json_large VALUES (1, json_object('long', repeat('x', 70000), 'n', 1, 'm', json_array(1, 2.5, 70000, repeat('é', 40000), true, null, -1, 65536)));
INSERT INTO json_large SELECT 2, json_objectagg(concat('key', n), n * 40000) FROM (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 900) SELECT n FROM c) x;
INSERT INTO json_large SELECT 3, json_arrayagg(json_object('a', n, 'b', repeat('y', 200))) FROM (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 900) SELECT n FROM c) x;
INSERT INTO json_large VALUES (4, json_object(repeat('k', 65535), 1, 'k', repeat('é', 10000)));
UPDATE json_large SET j = json_set(j, '$.n', 2) WHERE id = 1;
CREATE TABLE vectors (id INT PRIMARY KEY, v3 VECTOR(3), v VECTOR, vx VECTOR(16383));
INSERT INTO vectors VALUES (1, STRING_TO_VECTOR('[1, -2.5, 1e-37]'), STRING_TO_VECTOR('[3.4e38]'), STRING_TO_VECTOR(concat('[', repeat('0.1,', 16382), '1]'))), (2, NULL, NULL, NULL),
  (3, STRING_TO_VECTOR('[-0.0]'), x'00000000', NULL);
SET sql_generate_invisible_primary_key = 1;
CREATE TABLE keyless (a INT, b VARCHAR(10));
SET sql_generate_invisible_primary_key = 0;
INSERT INTO keyless VALUES (1, 'x'), (1, 'x'), (NULL, NULL);
UPDATE keyless SET b = 'y' WHERE my_row_id = 2;
CREATE TABLE functional (id INT PRIMARY KEY, a INT, j JSON, KEY ((a * 2)), UNIQUE ((a + 1)), KEY ((CAST(j ->> '$.n' AS UNSIGNED))), z INT);
INSERT INTO functional VALUES (1, 2, '{\"n\": 1}', 3), (2, NULL, NULL, NULL);
UPDATE functional SET a = 5 WHERE id = 1;
";

const MARIADB: &str = "
CREATE TABLE hashes (id INT PRIMARY KEY, a TEXT UNIQUE, b VARCHAR(3000) CHARACTER SET utf8mb4, n BIGINT, UNIQUE (b, n));
INSERT INTO hashes VALUES (1, 'a', 'b', 1), (2, repeat('long', 1000), repeat('é', 3000), 2), (3, NULL, NULL, NULL);
UPDATE hashes SET a = 'other', n = 4 WHERE id = 1; DELETE FROM hashes WHERE id = 3;
CREATE TABLE odd_decimals (id INT PRIMARY KEY, a DECIMAL(38,38), b DECIMAL(65,38) UNSIGNED);
INSERT INTO odd_decimals VALUES (1, 0.00000000000000000000000000000000000001, 1), (2, -0.99999999999999999999999999999999999999, 999999999999999999999999999);
CREATE TABLE packed (id INT PRIMARY KEY, vc VARCHAR(200) COMPRESSED, vx VARCHAR(3000) COMPRESSED, vb VARBINARY(300) COMPRESSED, t TEXT COMPRESSED, tt TINYTEXT COMPRESSED,
  mt MEDIUMTEXT COMPRESSED, lt LONGTEXT COMPRESSED CHARACTER SET latin1, bl BLOB COMPRESSED, lb LONGBLOB COMPRESSED, plain INT);
INSERT INTO packed VALUES (1, repeat('packed ', 20), repeat('é', 3000), repeat(x'00', 300), repeat('é', 500), repeat('t', 200), repeat('m', 70000), repeat('é', 1000),
  repeat(x'ff', 5000), repeat('ab', 200000), 1), (2, 'x', '', '', '', 'short', 'short', 'é', x'00', x'', 2), (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SET column_compression_zlib_wrap = ON;
INSERT INTO packed SELECT id + 10, vc, vx, vb, t, tt, mt, lt, bl, lb, plain FROM packed;
UPDATE packed SET t = repeat('changed ', 300), plain = 5 WHERE id = 2;
CREATE TABLE addresses (id INT PRIMARY KEY, i6 INET6, u UUID, b16 BINARY(16), b4 BINARY(4));
INSERT INTO addresses VALUES (1, '::', '00000000-0000-0000-0000-000000000000', x'00', x'00'), (2, 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
  'ffffffff-ffff-ffff-ffff-ffffffffffff', repeat(x'ff', 16), repeat(x'ff', 4)), (3, '::ffff:192.0.2.1', '123e4567-e89b-12d3-a456-426614174000', 'a', 'a'),
  (4, '2001:db8::', '01890a5d-ac96-774b-bcce-b302099a8057', NULL, NULL), (5, '::1.2.3.4', '550e8400-e29b-41d4-a716-446655440000', '', ''),
  (6, 'fe80::1:0:0:1', '6ba7b810-9dad-11d1-80b4-00c04fd43000', x'01', x'02'), (7, '1:0:0:2::', '6ba7b810-9dad-11d1-80b4-00c04fd430ff', NULL, NULL), (8, NULL, NULL, NULL, NULL),
  (9, '::1', '12345678-1234-8234-8234-123456789012', NULL, NULL), (10, '1::8:0:0:0:0', 'c232ab00-9414-11ec-b3c8-9f6bdeced846', NULL, NULL);
CREATE TABLE mixed (id INT PRIMARY KEY, g GEOMETRY, a VARCHAR(10) CHARACTER SET latin1, u UUID, b VARCHAR(10) CHARACTER SET gbk,
  p VARCHAR(100) COMPRESSED CHARACTER SET cp1251, tc TEXT COMPRESSED CHARACTER SET latin2, bc BLOB COMPRESSED, c VARCHAR(10) CHARACTER SET utf8mb4, j JSON, y YEAR,
  e ENUM('é') CHARACTER SET latin1, i6 INET6, s SET('中') CHARACTER SET gbk, d DECIMAL(5,2) UNSIGNED, f FLOAT, n INT UNSIGNED, k CHAR(9) CHARACTER SET koi8r);
INSERT INTO mixed VALUES (1, ST_GeomFromText('POINT(1 2)'), 'é', UUID(), '中', 'Привет', repeat('ą', 10), 'x', '😀', '{}', 2000, 'é', '::1', '中', 5, 5, 4294967295, 'Ж');
UPDATE addresses SET u = '123e4567-e89b-12d3-a456-000000000000', i6 = '64:ff9b::1.2.3.4' WHERE id = 1;
";

/// All versions of rows are rows, whose keys have the end of the version in them.
pub const VERSIONED: &str = "
CREATE TABLE versioned (id INT PRIMARY KEY, a INT) WITH SYSTEM VERSIONING;
CREATE TABLE versioned_by_name (id INT PRIMARY KEY, a INT, s TIMESTAMP(6) GENERATED ALWAYS AS ROW START, e TIMESTAMP(6) GENERATED ALWAYS AS ROW END INVISIBLE,
  PERIOD FOR SYSTEM_TIME(s, e)) WITH SYSTEM VERSIONING;
CREATE SEQUENCE numbers;
INSERT INTO versioned VALUES (1, 1), (2, 2); UPDATE versioned SET a = 5 WHERE id = 1; DELETE FROM versioned WHERE id = 2; DO nextval(numbers);
INSERT INTO versioned_by_name (id, a) VALUES (1, 1), (2, 2); UPDATE versioned_by_name SET a = 5 WHERE id = 1; DELETE FROM versioned_by_name WHERE id = 2;
DO setval(numbers, 5000); UPDATE versioned_by_name SET a = 6 WHERE id = 1;
";

const MARIADB_11: &str = "
CREATE TABLE addresses4 (id INT PRIMARY KEY, i4 INET4);
INSERT INTO addresses4 VALUES (1, '0.0.0.0'), (2, '255.255.255.255'), (3, '192.0.2.0'), (4, NULL);
CREATE TABLE vectors (id INT PRIMARY KEY, v3 VECTOR(3) NOT NULL, v VECTOR(1000));
INSERT INTO vectors VALUES (1, VEC_FromText('[1, -2.5, 1e-38]'), VEC_FromText(concat('[', repeat('0.1,', 999), '1]'))), (2, VEC_FromText('[0, 0, 0]'), NULL);
CREATE TABLE later (id INT PRIMARY KEY, ts TIMESTAMP(6) NULL);
INSERT INTO later VALUES (1, '2106-02-06 18:58:15.999999'), (2, '2038-01-19 03:14:08');
";
