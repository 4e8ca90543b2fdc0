//! pt-online-schema-change at work on a table that others write to, while Tidegate follows and is killed now and then: with `ddl = "follow"`,
//! and by default into a table that somebody has made ready for both shapes.

use std::process::Command;
use std::time::Duration;

use tidegate_tests::flow::Flow;
use tidegate_tests::load::Random;
use tidegate_tests::project;
use tidegate_tests::servers::{self, Kind, Server};

use super::{Pair, Target};

const ROWS: u64 = 3000;

#[test]
fn pt_online_schema_change_at_work_in_mysql() {
    at_work(servers::shared_mysql(), servers::shared_postgres(), "fol_osc_my", ROWS / 4);
}

#[test]
fn pt_online_schema_change_at_work_in_mariadb() {
    at_work(servers::shared_mariadb(), servers::shared_mysql(), "fol_osc_maria", ROWS / 12);
}

/// `rows_per_second`: how fast the table is read for the first time, so that it is done before the swap, or not.
fn at_work(source: &Server, target: &Server, name: &str, rows_per_second: u64) {
    let of_source = format!("snapshot = {{ chunk_rows = 100, rows_per_second = {rows_per_second} }}");
    let pair = Pair::new(source, Target::Server(target), name, &of_source, "lanes = 2");
    let hand = format!("{name}_hand");
    target.sql(&format!("CREATE DATABASE {hand}"));
    target.sql_in(
        &hand,
        "CREATE TABLE orders (id INT PRIMARY KEY, customer INT, region VARCHAR(10) DEFAULT 'eu', total DECIMAL(14,3), note VARCHAR(40), version INT)",
    );
    let by_hand = pair.flow.manifest().replace("ddl = \"follow\"", "").replace("create = true", "");
    let by_hand = Flow::new(&by_hand.replace(&format!("{name}_copy"), &hand));

    pair.sql("CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, customer INT NOT NULL, total DECIMAL(10,2) NOT NULL, note VARCHAR(40), version INT NOT NULL)");
    let rows: Vec<String> = (1..=ROWS).map(|id| format!("({id}, {}, {id}.25, 'note {id}', 0)", id % 90)).collect();
    pair.sql(&format!("INSERT INTO orders VALUES {}; ANALYZE TABLE orders", rows.join(", ")));
    let mut random = Random::new(source.port.into());
    let mut write = || {
        let mut any = || 1 + random.below(ROWS);
        // It takes locks as well: what ends in a deadlock is left.
        source.sql_past_errors(
            name,
            &format!(
                "INSERT INTO orders (customer, total, version) VALUES (1, 1.5, 1), (2, 2.5, 1);
                 UPDATE orders SET version = version + 1, total = total + 0.25 WHERE id % 50 = {};
                 UPDATE orders SET id = id + 100000 WHERE id = {};
                 BEGIN; DELETE FROM orders WHERE id = {}; UPDATE orders SET customer = 7 WHERE id = {}; COMMIT;",
                any() % 50,
                any(),
                any(),
                any()
            ),
        );
    };
    let flows = [&pair.flow, &by_hand];
    let mut runs = flows.map(|flow| flow.start(&[], &[]));
    let mut writes = 0;
    std::thread::scope(|scope| {
        let alter = scope.spawn(|| servers::run(pt_online_schema_change(source, name), ""));
        while !alter.is_finished() {
            write();
            writes += 1;
            let there = pair.tables_there();
            assert!(there.iter().all(|table| table == "orders"), "{there:?}");
            if writes % 6 == 0 {
                runs.iter_mut().for_each(|run| run.kill());
                runs = flows.map(|flow| flow.start(&[], &[]));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let said = alter.join().expect("the tool ends well");
        assert!(said.contains(&format!("Successfully altered `{name}`.`orders`")), "{said}");
    });
    assert!(writes > 6, "only {writes} writes while the table was altered");
    write();
    runs.iter_mut().for_each(|run| run.kill());
    write();
    flows.iter().for_each(|flow| flow.catch_up());
    // What the tool has left is not followed either.
    assert_eq!(source.sql(&format!("SHOW TABLES IN {name}")), "_orders_old\norders\n");
    assert_eq!(pair.tables_there(), ["orders"]);
    pair.sql("DROP TABLE _orders_old");
    pair.assert_same("at the end");
    let all = "SELECT id, customer, region, total, version FROM orders ORDER BY id";
    assert_eq!(source.sql_in(name, all), target.sql_in(&hand, all));
}

/// Some seconds of work, in many small chunks. The old table stays.
fn pt_online_schema_change(source: &Server, name: &str) -> Command {
    let mut script = Command::new(project("scripts/servers/percona-toolkit.sh"));
    script.arg("path").env_remove("PREFIX");
    let mut command = Command::new(servers::run(script, "").trim_end());
    command.args([
        "--execute",
        "--alter",
        "ADD region VARCHAR(10) NOT NULL DEFAULT 'eu' AFTER customer, DROP COLUMN note, MODIFY total DECIMAL(14,3) NOT NULL",
    ]);
    command.args(["--chunk-size=100", "--chunk-time=0", "--sleep=0.2", "--no-drop-old-table", "--no-version-check"]);
    // It asks for replicas and plans as servers of old answered, and may not mind what other tests do to the server.
    if source.kind == Kind::MySql {
        command.arg("--set-vars=explain_format=TRADITIONAL");
    }
    command.args(["--recursion-method=none", "--max-load=Threads_running=1000", "--critical-load=Threads_running=1000"]);
    command.arg(format!("h=127.0.0.1,P={},u=root,D={name},t=orders", source.port));
    command
}
