//! Under sysbench: the tables that it reads and writes at full speed are read and followed into two servers at once.

use std::process::Command;
use std::time::Duration;

use tidegate_tests::flow::Flow;
use tidegate_tests::project;
use tidegate_tests::servers::{self, Server};

#[test]
fn sysbench_on_mysql() {
    under_sysbench(servers::shared_mysql(), "snap_sysbench_my");
}

#[test]
fn sysbench_on_mariadb() {
    under_sysbench(servers::shared_mariadb(), "snap_sysbench_maria");
}

fn under_sysbench(source: &Server, name: &str) {
    let targets = [servers::shared_mysql(), servers::shared_postgres()];
    source.sql(&format!("CREATE DATABASE {name}"));
    let copy = format!("{name}_copy");
    targets.iter().for_each(|target| drop(target.sql(&format!("CREATE DATABASE {copy}"))));
    let mut manifest = format!(
        "[source.here]\ntype = \"mysql\"\nurl = \"{}\"\ntables = [\"{name}.*\"]\nsnapshot = {{ chunk_rows = 500, rows_per_second = 6000 }}\n",
        source.url("root", "")
    );
    for (kind, user, target) in [("mysql", "root", targets[0]), ("postgres", "postgres", targets[1])] {
        let url = target.url(user, &copy);
        manifest += &format!(
            "[sink.{kind}]\ntype = \"{kind}\"\nurl = \"{url}\"\ncreate = true\n[pipeline.{kind}]\nsource = \"here\"\nsink = \"{kind}\"\nlanes = 2\n"
        );
    }
    let flow = Flow::new(&manifest);
    servers::run(sysbench(source, name, "prepare"), "");
    std::thread::scope(|scope| {
        let load = scope.spawn(|| servers::run(sysbench(source, name, "run"), ""));
        // While tables are read, and behind that.
        for marker in ["reading the binlog", "all tables are read"] {
            let mut run = flow.start(&[], &[]);
            servers::wait_until(marker, || run.log().contains(marker));
            std::thread::sleep(Duration::from_millis(700));
            run.kill();
        }
        flow.catch_up();
        let said = load.join().expect("sysbench ends well");
        println!("{}", said.lines().find(|line| line.contains("transactions:")).unwrap_or(&said));
    });
    flow.catch_up();
    for table in 1..=4 {
        let rows = |server: &Server, database: &str| {
            server.sql_in(database, &format!("SELECT id, k, TRIM(c), TRIM(pad) FROM sbtest{table} ORDER BY id"))
        };
        let here = rows(source, name);
        assert!(here.lines().count() > 2900, "{}", here.lines().count());
        for target in targets {
            let there = rows(target, &copy);
            let differ = here.lines().zip(there.lines()).find(|(a, b)| a != b);
            assert!(here == there, "{name}: sbtest{table} at {:?}: first difference: {differ:?}", target.kind);
        }
    }
}

/// Four tables, and four clients for some seconds.
fn sysbench(source: &Server, name: &str, what: &str) -> Command {
    let mut script = Command::new(project("scripts/servers/sysbench.sh"));
    script.arg("path").env_remove("PREFIX");
    let mut command = Command::new(servers::run(script, "").trim_end());
    command.args(["oltp_read_write", "--db-driver=mysql", "--mysql-host=127.0.0.1", "--mysql-user=root"]);
    command.args([format!("--mysql-port={}", source.port), format!("--mysql-db={name}")]);
    command.args(["--tables=4", "--table-size=3000", "--threads=4", "--time=6", what]);
    command
}
