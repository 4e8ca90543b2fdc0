//! Each kind of statement, with rows before it and behind it.

use tidegate_tests::servers::{self, Kind, Server};

use super::{Pair, Target};

/// One after the other, on table `t` (id, a, b).
const STATEMENTS: &[&str] = &[
    "ALTER TABLE t ADD COLUMN c INT DEFAULT 5; INSERT INTO t (id, a, b, c) VALUES (10, 1, 'x', 7)",
    "ALTER TABLE t ADD COLUMN d VARCHAR(20) CHARACTER SET latin1 NOT NULL DEFAULT 'it''s \\\\ ä' FIRST, ADD e DECIMAL(10,3) DEFAULT 1.5",
    "INSERT INTO t (id, d) VALUES (11, 'ö'); ALTER TABLE t DROP COLUMN c, ADD COLUMN c DATE DEFAULT '2026-02-28'; UPDATE t SET a = 9 WHERE id = 1",
    "ALTER TABLE t RENAME COLUMN a TO aa, RENAME COLUMN b TO a; INSERT INTO t (id, aa, a) VALUES (12, 3, 'y')",
    "ALTER TABLE t CHANGE aa b INT; UPDATE t SET b = 4 WHERE id = 10",
    "ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN b TO a; UPDATE t SET a = 5 WHERE id = 11",
    "ALTER TABLE t MODIFY a BIGINT AFTER id, MODIFY d VARCHAR(100); INSERT INTO t (id, a, d) VALUES (13, 1234567890123, REPEAT('d', 90))",
    "ALTER TABLE t MODIFY e DECIMAL(14,5); INSERT INTO t (id, e) VALUES (14, 123456789.12345)",
    "ALTER TABLE t ADD COLUMN f INT NOT NULL, ADD COLUMN g DATETIME(3) DEFAULT '2026-11-21 10:11:12', ADD h TIME DEFAULT '-12:34:56'",
    "ALTER TABLE t MODIFY g DATETIME(6); INSERT INTO t (id, f, g) VALUES (15, 1, '2026-01-02 03:04:05.123456')",
    "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin; INSERT INTO t (id, f, d) VALUES (16, 1, '😀')",
    "ALTER TABLE t ADD i ENUM('red','green') NOT NULL DEFAULT 'green', ADD j SET('a','b') DEFAULT 'a,b', ADD k DOUBLE DEFAULT -0.25, \
     ADD l FLOAT DEFAULT 1.5, ADD m BIGINT UNSIGNED DEFAULT 18446744073709551615; INSERT INTO t (id, f, i) VALUES (17, 1, 'red')",
    "ALTER TABLE t MODIFY i ENUM('red','green','blue'); UPDATE t SET i = 'blue' WHERE id = 10",
    "ALTER TABLE t ADD n TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, ADD o INT AS (f + 1) STORED; INSERT INTO t (id, f) VALUES (18, 4)",
    "ALTER TABLE t DROP o, DROP n, COMMENT = 'x', ENGINE = InnoDB; CREATE INDEX x ON t (f); DELETE FROM t WHERE id = 18",
    "TRUNCATE TABLE t; INSERT INTO t (id, f) VALUES (1, 1), (2, 2)",
    "CREATE TABLE u (a INT, b VARCHAR(10), c DATETIME(2), PRIMARY KEY (b, a))",
    "INSERT INTO u VALUES (1, 'x', NOW(2)); CREATE TABLE v LIKE u; CREATE TABLE w (PRIMARY KEY (a)) AS SELECT a, b FROM u; INSERT INTO v SELECT * FROM u",
    "RENAME TABLE u TO u2; INSERT INTO u2 VALUES (2, 'y', NULL); UPDATE u2 SET b = 'z' WHERE a = 1",
    "RENAME TABLE u2 TO swap_, v TO u2, swap_ TO v; DELETE FROM u2; INSERT INTO v VALUES (3, 'z', NULL)",
    "ALTER TABLE v RENAME TO u3, ADD COLUMN d INT DEFAULT 8; INSERT INTO u3 VALUES (4, 'k', NULL, 9)",
    "ALTER TABLE w ADD UNIQUE (b); DROP TABLE w, u2; CREATE TABLE u2 (id INT PRIMARY KEY, x TEXT); INSERT INTO u2 VALUES (1, 'new')",
    "DROP TABLE u2; CREATE TABLE u2 (id INT PRIMARY KEY, y BLOB); INSERT INTO u2 (id) VALUES (2); DROP TABLE IF EXISTS u2, nothing",
    "/*!50001 ALTER TABLE `t` ADD COLUMN `q ``x` INT DEFAULT 3, /* a comment */ ADD COLUMN IF_ INT */; INSERT INTO t (id, f) VALUES (3, 3)",
];

/// Keys, which SQLite does not give to tables that are there.
const KEYS: &[&str] = &[
    "ALTER TABLE u3 DROP PRIMARY KEY, ADD PRIMARY KEY (a); UPDATE u3 SET b = 'moved' WHERE a = 3; INSERT INTO u3 VALUES (5, 'k', NULL, 1)",
    "ALTER TABLE u3 DROP PRIMARY KEY, DROP COLUMN b, ADD PRIMARY KEY (d, a); INSERT INTO u3 VALUES (5, NULL, 2)",
    "ALTER TABLE t DROP PRIMARY KEY, CHANGE id no BIGINT NOT NULL, ADD UNIQUE (no); INSERT INTO t (no, f) VALUES (30, 1); UPDATE t SET f = 5 WHERE no = 30",
];

fn each_kind(pair: &Pair<'_>, statements: &[&[&str]]) {
    pair.sql("CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(20)); INSERT INTO t VALUES (1, 1, 'one'), (2, 2, NULL)");
    pair.flow.catch_up();
    for statement in statements.iter().flat_map(|list| *list) {
        pair.sql(statement);
        pair.flow.catch_up();
        pair.assert_same(statement);
    }
}

#[test]
fn mysql_to_mysql() {
    let target = Target::Server(servers::shared_mysql());
    each_kind(&Pair::new(servers::shared_mysql(), target, "fol_my_my", "", "lanes = 3"), &[STATEMENTS, KEYS]);
}

#[test]
fn mysql_to_postgres() {
    let target = Target::Server(servers::shared_postgres());
    each_kind(&Pair::new(servers::shared_mysql(), target, "fol_my_pg", "", "delivery = \"exactly-once\""), &[STATEMENTS, KEYS]);
}

#[test]
fn mysql_to_sqlite() {
    each_kind(&Pair::new(servers::shared_mysql(), Target::Sqlite, "fol_my_lite", "", "ordering = \"global\""), &[STATEMENTS]);
}

/// What only names tables alters none of them.
fn others(source: &'static Server, name: &str) {
    let pair = Pair::new(source, Target::Sqlite, name, "", "");
    pair.sql("CREATE TABLE t (id INT PRIMARY KEY, n INT, KEY k (n)); CREATE TABLE u (id INT PRIMARY KEY)");
    pair.flow.catch_up();
    let before = "CREATE USER other_t; RENAME USER other_t TO t; DROP USER t; \
                  CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET NEW.n = (SELECT MAX(id) FROM u FORCE INDEX (PRIMARY)); \
                  CREATE PROCEDURE p() SELECT t.n FROM u FORCE INDEX (PRIMARY) JOIN t ON t.id = u.id; \
                  CREATE EVENT e ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01' DO CREATE INDEX i ON t (n); \
                  ALTER EVENT e ON SCHEDULE EVERY 2 YEAR STARTS '2037-01-01' DO ALTER TABLE t ADD z INT; \
                  CREATE VIEW v AS SELECT u.id FROM u USE INDEX (PRIMARY) JOIN t ON t.id; \
                  CREATE OR REPLACE VIEW v AS SELECT t.id FROM t USE INDEX (k)";
    pair.sql(&format!(
        "{before}; INSERT INTO u VALUES (1), (2); INSERT INTO t VALUES (1, 1); DROP TRIGGER x; INSERT INTO t VALUES (2, 2)"
    ));
    pair.flow.catch_up();
    pair.assert_same(before);
    if source.kind != Kind::MySql {
        pair.sql("CREATE OR REPLACE PROCEDURE p() CREATE TABLE t AS SELECT * FROM u");
        pair.sql("INSERT INTO t VALUES (3, 3)");
        pair.flow.catch_up();
        pair.assert_same("a program that is replaced");
        pair.source.sql(&format!("CREATE OR REPLACE DATABASE {name}; CREATE TABLE {name}.u (id INT PRIMARY KEY)"));
        pair.sql("INSERT INTO u VALUES (7)");
        pair.flow.catch_up();
        pair.assert_same("a schema that is replaced");
    }
}

#[test]
fn statements_that_only_name_tables_of_mysql() {
    others(servers::shared_mysql(), "fol_others_my");
}

#[test]
fn statements_that_only_name_tables_of_mariadb() {
    others(servers::shared_mariadb(), "fol_others_maria");
}
