//! A full disk under `data_dir`.

use std::fs;
use std::process::{Command, Stdio};

use tidegate_tests::flow::Flow;
use tidegate_tests::program::tidegate;
use tidegate_tests::servers::{self, wait_until};

use super::{Shop, assert_discreet};

/// In a mount namespace of its own: a small file system for `data`, which is filled when the file `fill` appears. Then the program has
/// to stop; `first` gets its exit code. With room again it runs to the end; `second` gets that exit code.
const SCRIPT: &str = r#"
mkdir data; mount -t tmpfs -o size=1m tmpfs data || exit 99
"$TIDEGATE" run 2>> stderr.log & run=$!
until [ -e fill ]; do sleep 0.05; done
dd if=/dev/zero of=data/filler bs=1k 2> /dev/null
touch full
wait $run; echo $? > first.part; mv first.part first
until [ -e room ]; do sleep 0.05; done
rm data/filler
"$TIDEGATE" run --until caught-up 2>> stderr.log; echo $? > second
"#;

#[test]
fn a_full_disk_stops_the_program_and_loses_nothing() {
    let server = servers::shared_mysql();
    let target = servers::shared_postgres();
    let mut shop = Shop::new(server, "disk");
    super::make_target(target, "disk");
    let flow = Flow::new(&format!(
        "data_dir = \"data\"\n{}{}[pipeline.copy]\nsource = \"shop\"\nsink = \"copy\"\n",
        shop.source(server.port),
        super::sink("copy", target, "disk", target.port)
    ));
    let mut script = Command::new("unshare");
    script.args(["--user", "--map-root-user", "--mount", "bash", "-c", SCRIPT]).current_dir(flow.folder());
    script.env("TIDEGATE", tidegate().get_program()).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = script.spawn().expect("start unshare");

    shop.write(50);
    super::wait_for_rows("the pipeline runs", &shop, target, "disk");
    fs::write(flow.folder().join("fill"), "").expect("write a file");
    wait_until("the disk is full", || flow.folder().join("full").exists());
    wait_until("the program stops", || {
        shop.write(20);
        flow.folder().join("first").exists()
    });
    let log = fs::read_to_string(flow.folder().join("stderr.log")).expect("read the log");
    let first = fs::read_to_string(flow.folder().join("first")).expect("read the exit code");
    assert_eq!(first.trim(), "6", "{log}");
    assert!(log.contains("hint:") && log.contains("disk full"), "{log}");

    shop.write(20);
    fs::write(flow.folder().join("room"), "").expect("write a file");
    assert!(child.wait().expect("wait for the script").success());
    let log = fs::read_to_string(flow.folder().join("stderr.log")).expect("read the log");
    let second = fs::read_to_string(flow.folder().join("second")).expect("read the exit code");
    assert_eq!(second.trim(), "0", "{log}");
    assert_eq!(super::rows(target, "disk"), shop.rows());
    assert_discreet(&flow);
}
