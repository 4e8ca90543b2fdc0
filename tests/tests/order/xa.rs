//! XA transactions: none of their rows arrives uncommitted, none is passed over in silence, and those of other tables are no concern.

use tidegate_tests::servers;

use super::{Copy, Origin};

#[test]
fn rows_of_xa_transactions_stop_before_they_arrive() {
    for start in [servers::mysql, servers::mariadb] {
        let server = start(&[]);
        let origin = Origin::new(&server, "xa");
        origin.sql(
            "CREATE TABLE t (id INT PRIMARY KEY, v INT); CREATE DATABASE other; CREATE TABLE other.t (id INT PRIMARY KEY);
             XA START 'one', 'branch', 7; INSERT INTO other.t VALUES (1); XA END 'one', 'branch', 7; XA PREPARE 'one', 'branch', 7;
             XA COMMIT 'one', 'branch', 7;
             XA START 'two'; INSERT INTO other.t VALUES (2); XA END 'two'; XA PREPARE 'two'; XA ROLLBACK 'two';
             XA START 'three'; INSERT INTO other.t VALUES (3); XA END 'three'; XA COMMIT 'three' ONE PHASE;
             INSERT INTO t VALUES (1, 1);",
        );
        let copy = Copy::to_sqlite(&origin);
        copy.configure_all("", "create = true", "lanes = 1\nbatch = { rows = 1 }").flow.catch_up();
        copy.assert_same(&origin, "SELECT id, v FROM t ORDER BY id;");

        let rows = "INSERT INTO t VALUES (2, 2), (3, 3); UPDATE t SET v = 4 WHERE id = 3;";
        origin.sql(&format!("INSERT INTO t VALUES (9, 9); XA START 'four'; {rows} XA END 'four'; XA PREPARE 'four';"));
        let run = || copy.flow.call(&["run", "--until", "caught-up"]);
        let go_on = |stderr: &str| {
            let command = stderr.split('`').find(|part| part.starts_with("tidegate cursor set copy ")).expect("a command");
            let (code, _, stderr) = copy.flow.call(&command.split_whitespace().skip(1).collect::<Vec<_>>());
            assert_eq!(code, 0, "{command}: {stderr}");
        };
        let (code, _, stderr) = run();
        assert_eq!(code, 3, "{stderr}");
        assert!(stderr.contains("of `xa.t`") && stderr.contains("XA transaction X'666f7572',X'',1"), "{stderr}");
        assert_eq!(copy.sql("SELECT id FROM t ORDER BY id;"), "1\n9\n", "{stderr}");

        // Passed over by hand, its commit is still none that is passed over in silence.
        go_on(&stderr);
        origin.sql("INSERT INTO t VALUES (5, 5); XA COMMIT 'four'; INSERT INTO t VALUES (6, 6);");
        let (code, _, stderr) = run();
        assert_eq!(code, 3, "{stderr}");
        assert!(stderr.contains("commits the XA transaction X'666f7572',X'',1"), "{stderr}");
        go_on(&stderr);
        copy.flow.catch_up();
        assert_eq!(copy.sql("SELECT id FROM t ORDER BY id;"), "1\n5\n6\n9\n");
    }
}
