//! Rows that are inserted without all columns while `binlog_row_image` is not FULL: the binlog leaves out what has its default.

use tidegate_tests::servers::{self, Server};

use super::{Copy, Origin};

const COLUMNS: &str = "id INT PRIMARY KEY, n INT DEFAULT 7, u BIGINT UNSIGNED DEFAULT 18446744073709551615, d DECIMAL(10,3) DEFAULT -1.5, \
    f DOUBLE DEFAULT 0.25, t VARCHAR(20) NOT NULL DEFAULT 'straße', l CHAR(5) CHARACTER SET latin1 DEFAULT 'é ', \
    e ENUM('a', 'b') DEFAULT 'b', day DATE DEFAULT '2024-02-29', at DATETIME(3) DEFAULT '2024-02-29 10:11:12.5', \
    dur TIME DEFAULT '-12:30:00', x INT DEFAULT NULL, y VARCHAR(9), made DATETIME DEFAULT CURRENT_TIMESTAMP, \
    z VARCHAR(20) DEFAULT (CONCAT('a', 'b'))";

/// Known from the server, from statements, and through statements that alter it while nobody reads.
fn defaults(server: &Server, database: &str) {
    let mut origin = Origin::new(server, database);
    origin.sql(&format!("SET NAMES utf8mb4; CREATE TABLE asked ({COLUMNS}) CHARACTER SET utf8mb4"));
    origin.start = "\"now\"".to_owned();
    let copies = [Copy::to_sqlite(&origin), Copy::to_server(&origin, servers::shared_mysql(), &format!("{database}_copy"))];
    for copy in &copies {
        copy.configure_all("", "create = true", "lanes = 2\nddl = \"follow\"").flow.catch_up();
    }
    origin.sql(&format!(
        "SET NAMES utf8mb4;
         INSERT INTO asked (id) VALUES (1), (2); INSERT INTO asked (id, y) VALUES (3, 'y');
         ALTER TABLE asked ALTER n SET DEFAULT 8, ALTER COLUMN y SET DEFAULT 'why', MODIFY d DECIMAL(10,3) DEFAULT 2;
         INSERT INTO asked (id) VALUES (4);
         CREATE TABLE liked LIKE asked; INSERT INTO liked (id) VALUES (1);
         CREATE TABLE told ({COLUMNS}, q VARCHAR(9) DEFAULT 'it''s') CHARACTER SET utf8mb4; INSERT INTO told (id) VALUES (1);
         ALTER TABLE told ADD later INT NOT NULL DEFAULT 3; INSERT INTO told (id) VALUES (2); UPDATE told SET later = 4 WHERE id = 1;"
    ));
    for copy in &copies {
        copy.flow.catch_up();
        for table in ["asked", "liked", "told"] {
            copy.assert_same(
                &origin,
                &format!("SELECT id, n, u, d, f, t, l, e, day, at, dur, x, y, made, z FROM {table} ORDER BY id"),
            );
        }
        copy.assert_same(&origin, "SELECT id, q, later FROM told ORDER BY id");
    }
    // What is not known for sure is not guessed.
    origin.sql("ALTER TABLE asked ALTER n DROP DEFAULT; SET sql_mode = ''; INSERT INTO asked (id) VALUES (9)");
    for copy in &copies {
        let (code, _, stderr) = copy.flow.call(&["run", "--until", "caught-up"]);
        assert_eq!(code, 3, "{stderr}");
        assert!(stderr.contains("was inserted without column `n`") && stderr.contains("cursor set copy"), "{stderr}");
    }
}

#[test]
fn rows_of_mysql_that_were_inserted_without_columns_have_their_defaults() {
    defaults(&servers::mysql(&["--binlog-row-image=MINIMAL"]), "order_defaults_my");
}

#[test]
fn rows_of_mariadb_that_were_inserted_without_columns_have_their_defaults() {
    defaults(&servers::mariadb(&["--binlog-row-image=MINIMAL"]), "order_defaults_maria");
}

#[test]
fn without_names_in_the_binlog_too() {
    defaults(&servers::mysql(&["--binlog-row-image=MINIMAL", "--binlog-row-metadata=MINIMAL"]), "order_defaults_bare");
}
