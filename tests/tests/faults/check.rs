//! `tidegate check` against servers, plugins and targets that are not as they should be; and `tidegate cursor`.

use tidegate_tests::flow::Flow;
use tidegate_tests::{project, servers};

use super::gtid_mode::{MODES, switch};
use super::{MARKER, PASSWORD, Shop, assert_text_is_discreet, make_target, rows, sink, wait_for_rows};

/// A finding, as it is printed: severity, subject, a part of the problem, a part of the hint.
type Expected = (&'static str, &'static str, &'static str, &'static str);

/// Runs `tidegate check` and looks for the findings; returns the exit code.
fn check(flow: &Flow, expected: &[Expected]) -> i32 {
    let (code, stdout, stderr) = flow.call(&["check", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stdout}\n{stderr}"));
    let findings = report["findings"].as_array().expect("a list of findings");
    for (severity, subject, problem, hint) in expected {
        let has =
            |finding: &serde_json::Value, key: &str, part: &str| finding[key].as_str().is_some_and(|text| text.contains(part));
        let found = findings.iter().any(|f| {
            has(f, "severity", severity) && has(f, "subject", subject) && has(f, "problem", problem) && has(f, "hint", hint)
        });
        assert!(found, "no {severity} of {subject} about `{problem}` with the hint `{hint}` in {report:#}");
    }
    assert_text_is_discreet(&stdout);
    assert_text_is_discreet(&stderr);
    code
}

#[test]
fn check_finds_what_will_fail() {
    let server = servers::mysql(&[]);
    let shop = Shop::new(&server, "checked");
    server.sql_in(
        "checked",
        "CREATE TABLE keyless (a INT, b VARCHAR(10)); CREATE TABLE wide (id INT PRIMARY KEY, note VARCHAR(200), extra INT); \
         CREATE TABLE absent (id INT PRIMARY KEY)",
    );
    let target = servers::shared_postgres();
    make_target(target, "checked");
    target
        .sql_in("checked", "CREATE TABLE wide (id INT PRIMARY KEY, note VARCHAR(20)); CREATE TABLE keyless (a INT, b VARCHAR(10))");

    // Another replica has the number.
    let other = Flow::new(&format!(
        "{}server_id = 4711\n[sink.null]\ntype = \"null\"\n[pipeline.other]\nsource = \"other\"\nsink = \"null\"\n",
        shop.source(server.port).replace("source.shop", "source.other")
    ));
    let other_run = other.start(&[], &[]);
    super::wait_for_log(&other_run, 0, "reading the binlog");

    server.sql(
        "SET GLOBAL binlog_row_image = 'MINIMAL'; SET GLOBAL binlog_row_metadata = 'MINIMAL'; \
         SET GLOBAL binlog_expire_logs_seconds = 3600",
    );
    let broken = "[plugin.broken]\npath = \"broken.wasm\"\n";
    let hostile = format!(
        "[plugin.refuses]\npath = \"{}\"\nconfig = {{ do = \"drop-key\" }}\n",
        project("target/plugins/hostile.wasm").display()
    );
    let flow = Flow::new(&format!(
        "{}server_id = 4711\n{broken}{hostile}{}[sink.away]\ntype = \"mysql\"\nurl = \"mysql://{MARKER}:{PASSWORD}@127.0.0.1:9/x\"\n\
         [sink.lines]\ntype = \"jsonl\"\npath = \"no/such/folder/lines.jsonl\"\n\
         [pipeline.a]\nsource = \"shop\"\nsink = \"copy\"\n\
         [pipeline.b]\nsource = \"shop\"\nsink = \"away\"\n\
         [pipeline.c]\nsource = \"shop\"\nplugins = [\"broken\"]\nsink = \"lines\"\n\
         [pipeline.d]\nsource = \"shop\"\nplugins = [\"refuses\"]\nsink = \"lines\"\n",
        shop.source(server.port),
        sink("copy", target, "checked", target.port)
    ));
    std::fs::write(flow.folder().join("broken.wasm"), "no component").expect("write a file");
    let code = check(
        &flow,
        &[
            ("error", "plugin `broken`", "", ""),
            ("warning", "source `shop`", "binlog_row_image is MINIMAL", "binlog_row_image"),
            ("warning", "source `shop`", "binlog_row_metadata is MINIMAL", "binlog_row_metadata"),
            ("warning", "source `shop`", "kept for 60 minutes", "binlog_expire_logs_seconds"),
            ("error", "source `shop`", "server_id 4711", "another `server_id`"),
            ("error", "checked.keyless", "neither a primary key nor a unique key", "without_key"),
            ("error", "plugin `refuses`", "key", ""),
            ("error", "sink `copy`", "no table `absent`", "create = true"),
            ("error", "sink `copy`", "extra", ""),
            ("warning", "sink `copy`", "`note`: `character varying(20)` may not take all of `varchar(200)`", "wide enough"),
            ("error", "sink `away`", "", "start the server"),
            ("error", "sink `lines`", "", ""),
        ],
    );
    // Of the first that will fail: plugins are loaded first.
    assert_eq!(code, 4);

    // Positions that are files and offsets, a format in which changes are not rows, and an account that may do nothing.
    for mode in MODES.iter().rev() {
        switch(&server, mode);
    }
    server.sql(
        "SET GLOBAL binlog_format = 'STATEMENT'; CREATE USER poor@'%' IDENTIFIED BY 'x'; GRANT SELECT ON checked.absent TO poor@'%'",
    );
    let manifest = format!(
        "[source.shop]\ntype = \"mysql\"\nurl = \"mysql://poor:x@127.0.0.1:{}\"\ntables = [\"checked.absent\", \"nowhere.*\"]\nstart = \"now\"\n\
         [sink.null]\ntype = \"null\"\n[pipeline.a]\nsource = \"shop\"\nsink = \"null\"\n",
        server.port
    );
    let code = check(
        &Flow::new(&manifest),
        &[
            ("warning", "source `shop`", "mean nothing to another server", "gtid_mode"),
            ("warning", "source `shop`", "shared locks", "chunk_rows"),
            ("error", "source `shop`", "binlog_format", "binlog_format"),
            ("error", "source `shop`", "REPLICATION SLAVE", "GRANT REPLICATION SLAVE"),
            ("error", "source `shop`", "REPLICATION CLIENT", "GRANT REPLICATION CLIENT"),
        ],
    );
    assert_eq!(code, 3);
    let signal = "\"checked.*\"]\nsnapshot = { signal_table = \"checked.signal\" }";
    check(
        &Flow::new(&manifest.replace("\"checked.absent\", \"nowhere.*\"]", signal)),
        &[
            ("warning", "source `shop`", "mean nothing to another server", "gtid_mode"),
            ("error", "source `shop`", "binlog_format", "binlog_format"),
            ("error", "source `shop`", "REPLICATION SLAVE", "GRANT REPLICATION SLAVE"),
            ("error", "source `shop`", "REPLICATION CLIENT", "GRANT REPLICATION CLIENT"),
            ("error", "source `shop`", "checked.signal is among the followed tables", "\"!checked.signal\""),
            (
                "error",
                "source `shop`",
                "`snapshot.signal_table` cannot be written to",
                "GRANT INSERT, UPDATE, SELECT ON checked.signal",
            ),
        ],
    );
    let nothing = manifest.replace("checked.absent\", \"", "");
    check(&Flow::new(&nothing), &[("error", "source `shop`", "no table", "patterns")]);
    let stranger = manifest.replace("poor:x", &format!("poor:{PASSWORD}"));
    check(&Flow::new(&stranger), &[("error", "source `shop`", "Access denied", "password")]);
    server.stop();
    check(&Flow::new(&manifest), &[("error", "source `shop`", "cannot connect", "does the server run")]);
    server.resume();
}

#[test]
fn check_warns_of_names_that_name_nothing() {
    let server = servers::shared_mysql();
    let shop = Shop::new(server, "misspelt");
    let mask = project("target/plugins/mask.wasm");
    let plugin = |name: &str, columns: &str| {
        format!("[plugin.{name}]\npath = \"{}\"\nconfig = {{ columns = [{columns}] }}\n", mask.display())
    };
    let flow = Flow::new(&format!(
        "{}{}{}[sink.null]\ntype = \"null\"\n[pipeline.a]\nsource = \"shop\"\nplugins = [\"idle\", \"half\"]\nsink = \"null\"\n",
        shop.source(server.port).replace("[\"misspelt.*\"]", "[\"misspelt.t\", \"misspelt.Tea\", \"gone.*\", \"!gone.x\"]"),
        plugin("idle", "\"Note\""),
        plugin("half", "\"note\", \"nota\""),
    ));
    let (code, stdout, stderr) = flow.call(&["check", "--format", "json"]);
    assert_eq!(code, 0, "{stderr}");
    let report: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    let text = |finding: &serde_json::Value| {
        format!("{} {}: {}", finding["severity"], finding["subject"], finding["problem"]).replace('"', "")
    };
    let found: Vec<String> = report["findings"].as_array().expect("a list of findings").iter().map(text).collect();
    let about_names: Vec<&str> =
        found.iter().map(String::as_str).filter(|f| f.contains("no table") || f.contains("leaves")).collect();
    assert_eq!(
        about_names,
        [
            "warning source `shop`: no table misspelt.Tea that the account may see, which `tables` names",
            "warning plugin `idle`: leaves every table of pipeline `a` alone",
            "warning plugin `idle`: no table of pipeline `a` has the column `Note`, which its `config` names",
            "warning plugin `half`: no table of pipeline `a` has the column `nota`, which its `config` names",
        ]
    );
}

#[test]
fn rights_that_are_missing_are_told() {
    let server = servers::shared_mysql();
    let shop = Shop::new(server, "halfseen");
    server.sql(
        "CREATE USER halfseen_part@'%'; GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO halfseen_part@'%'; \
         GRANT SELECT (id, n) ON halfseen.t TO halfseen_part@'%'; INSERT INTO halfseen.t VALUES (1, 2, 'three'); \
         CREATE DATABASE halfseen_copy; CREATE USER halfseen_writer@'%'; GRANT INSERT, SELECT ON halfseen_copy.* TO halfseen_writer@'%'",
    );
    let target = servers::shared_postgres();
    target.sql("CREATE ROLE halfseen LOGIN");
    target.sql("CREATE DATABASE halfseen");
    let manifest = |source: &str, sink: &str| format!("{source}{sink}[pipeline.a]\nsource = \"shop\"\nsink = \"copy\"\n");
    let null = "[sink.copy]\ntype = \"null\"\n";

    // information_schema shows the columns that the account may read, and no others.
    let source = shop.source(server.port).replace("start = \"earliest\"\n", "");
    let part = format!(
        "[source.shop]\ntype = \"mysql\"\nurl = \"mysql://halfseen_part@127.0.0.1:{}\"\ntables = [\"halfseen.*\"]\n",
        server.port
    );
    let flow = Flow::new(&manifest(&part, null));
    check(&flow, &[("error", "source `shop`", "table halfseen.t cannot be read", "GRANT SELECT ON `halfseen`.`t`")]);
    let (code, _, stderr) = flow.call(&["run", "--until", "caught-up"]);
    assert!(code == 3 && stderr.contains("SELECT command denied") && stderr.contains("on the whole table"), "{code} {stderr}");
    // Nothing to be seen may be meant so.
    let flow = Flow::new(&manifest(&source.replace("halfseen.*", "halfseen_none.*"), null));
    let (code, _, stderr) = flow.call(&["run", "--until", "caught-up"]);
    assert!(code == 0 && stderr.contains("no table that the account may see"), "{code} {stderr}");

    // Tables that are to be made.
    let sink = |url: &str, more: &str| {
        let kind = url.split(':').next().unwrap_or_default();
        format!("[sink.copy]\ntype = \"{kind}\"\nurl = \"{url}\"\ncreate = true\n{more}")
    };
    let postgres = target.url("halfseen", "halfseen");
    let grant = "GRANT USAGE, CREATE ON SCHEMA public TO halfseen";
    check(&Flow::new(&manifest(&source, &sink(&postgres, ""))), &[("error", "sink `copy`", "in schema public", grant)]);
    let schemas = sink(&postgres, "table = \"{schema}.{table}\"\n");
    check(&Flow::new(&manifest(&source, &schemas)), &[("error", "sink `copy`", "there is no `halfseen`", "CREATE SCHEMA")]);
    target.sql_in("halfseen", grant);
    assert_eq!(check(&Flow::new(&manifest(&source, &sink(&postgres, ""))), &[]), 0);
    let mysql = sink(&server.url("halfseen_writer", "halfseen_copy"), "");
    check(
        &Flow::new(&manifest(&source, &mysql)),
        &[("warning", "sink `copy`", "no right to CREATE in the database", "GRANT CREATE")],
    );
}

#[test]
fn cursors_are_shown_set_and_reset() {
    let server = servers::shared_mysql();
    let target = servers::shared_postgres();
    let mut shop = Shop::new(server, "cursors");
    make_target(target, "cursors");
    let flow = Flow::new(&format!(
        "{}{}[pipeline.copy]\nsource = \"shop\"\nsink = \"copy\"\nlanes = 2\ndelivery = \"exactly-once\"\n",
        shop.source(server.port),
        sink("copy", target, "cursors", target.port)
    ));
    let (code, stdout, _) = flow.call(&["cursor", "list"]);
    assert!(code == 0 && stdout.contains("none yet"), "{stdout}");
    shop.write(30);
    flow.catch_up();
    let (_, before, _) = flow.call(&["cursor", "show", "copy", "--format", "json"]);

    // Forward: what lies between is skipped. The place of an exactly-once pipeline is in its target, which has to follow.
    let skipped = shop.rows();
    shop.write(7);
    let (code, stdout, stderr) = flow.call(&["cursor", "set", "copy", "now"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("binlog."), "{stdout}");
    flow.catch_up();
    assert_eq!(rows(target, "cursors"), skipped);
    // Back again: what lies between is written.
    let before: serde_json::Value = serde_json::from_str(&before).expect("JSON");
    let (code, _, stderr) = flow.call(&["cursor", "set", "copy", before["gtids"].as_str().expect("a GTID set")]);
    assert_eq!(code, 0, "{stderr}");
    flow.catch_up();
    assert_eq!(rows(target, "cursors"), shop.rows());
    // From the beginning.
    target.sql_in("cursors", "TRUNCATE t");
    let (code, stdout, stderr) = flow.call(&["cursor", "reset", "copy"]);
    assert!(code == 0 && stdout.contains("forgotten"), "{stderr}");
    flow.catch_up();
    assert_eq!(rows(target, "cursors"), shop.rows());

    // While the pipeline runs, it is refused.
    let mut run = flow.start(&[], &[]);
    shop.write(5);
    wait_for_rows("the pipeline runs", &shop, target, "cursors");
    for command in [vec!["cursor", "set", "copy", "now"], vec!["cursor", "reset", "copy"], vec!["cursor", "list"]] {
        let (code, _, stderr) = flow.call(&command);
        assert!(code == 6 && stderr.contains("hint: stop it first"), "{command:?}: {code} {stderr}");
    }
    run.signal("TERM");
    assert_eq!(run.wait().code(), Some(0));
    flow.write(&format!(
        "{}{}[pipeline.copy]\nsource = \"shop\"\nsink = \"copy\"\nlanes = 2\ndelivery = \"exactly-once\"\n",
        shop.source(server.port),
        sink("copy", target, "cursors", 9)
    ));
    // The target need not be there: the next run tells it.
    for command in [vec!["cursor", "reset", "copy"], vec!["cursor", "set", "copy", "now"]] {
        let (code, _, stderr) = flow.call(&command);
        assert_eq!(code, 0, "{command:?}: {stderr}");
    }
    // Positions that are none.
    for (position, expected) in [("binlog.999999:4", 3), ("binlog.000001:5", 3), ("nonsense", 2)] {
        let (code, _, stderr) = flow.call(&["cursor", "set", "copy", position]);
        assert_eq!(code, expected, "{position}: {stderr}");
    }
    let (code, _, stderr) = flow.call(&["cursor", "show", "kopy"]);
    assert!(code == 2 && stderr.contains("did you mean `copy`?"), "{stderr}");
}
