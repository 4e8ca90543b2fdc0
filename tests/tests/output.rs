//! Standard output that nobody reads (any more), or that cannot be written: never a panic.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use tidegate_tests::flow::Flow;
use tidegate_tests::program::tidegate;
use tidegate_tests::project;
use tidegate_tests::servers::wait_until;

fn flow(sink: &str) -> Flow {
    Flow::new(&format!(
        "[source.shop]\ntype = \"binlog-files\"\npaths = [\"{}\"]\ntables = [\"shop.*\"]\n{sink}\
         [pipeline.copy]\nsource = \"shop\"\nsink = \"lines\"\n",
        project("examples/demo/binlog/shop.000001").display()
    ))
}

/// Runs `tidegate` with a reader of its standard output that goes away after so many lines: exit code and standard error.
fn read_lines(flow: &Flow, arguments: &[&str], lines: usize) -> (i32, String) {
    let mut command = tidegate();
    command.args(arguments).current_dir(flow.folder()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("start tidegate");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    for _ in 0..lines {
        stdout.read_line(&mut String::new()).expect("a line of standard output");
    }
    drop(stdout);
    let mut stderr = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("read standard error");
    (child.wait().expect("wait for tidegate").code().unwrap_or(-1), stderr)
}

#[test]
fn a_reader_that_goes_away_ends_no_command_badly() {
    let flow = flow("[sink.lines]\ntype = \"null\"\n");
    for format in ["text", "json"] {
        let fresh = format!("{format}.toml");
        for command in [
            &["init", &fresh][..],
            &["check", "--offline"],
            &["run", "--until", "caught-up"],
            &["cursor", "list"],
            &["cursor", "show", "copy"],
            &["cursor", "set", "copy", "earliest"],
            &["cursor", "reset", "copy"],
        ] {
            let (code, stderr) = read_lines(&flow, &[command, &["--format", format]].concat(), 0);
            assert!(code == 0 && !stderr.contains("panicked"), "{command:?}: {code}: {stderr}");
        }
    }
    let mut full = tidegate();
    full.args(["check", "--offline"]).current_dir(flow.folder());
    full.stdout(std::fs::File::create("/dev/full").expect("open /dev/full"));
    let output = full.output().expect("start tidegate");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && stderr.contains("standard output cannot be written"), "{stderr}");
}

#[test]
fn rows_that_nobody_reads_stop_their_pipeline_with_a_message() {
    let flow = flow("[sink.lines]\ntype = \"jsonl\"\npath = \"-\"\n");
    let (code, stderr) = read_lines(&flow, &["run", "--until", "caught-up"], 1);
    assert!(code == 5 && !stderr.contains("panicked"), "{code}: {stderr}");
    assert!(stderr.contains("error: pipeline `copy` stopped") && stderr.contains("stdout was closed by its reader"), "{stderr}");
    assert!(!stderr.contains("sink `lines`: sink `lines`"), "{stderr}");
}

/// What part of the lines is out, nobody knows: trying again would write some twice.
#[test]
fn a_full_standard_output_stops_its_pipeline() {
    let flow = flow("[sink.lines]\ntype = \"jsonl\"\npath = \"-\"\n");
    let mut full = tidegate();
    full.args(["run"]).current_dir(flow.folder()).stdin(Stdio::null());
    full.stdout(std::fs::File::create("/dev/full").expect("open /dev/full"));
    let output = full.output().expect("start tidegate");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert!(stderr.contains("cannot write to stdout: No space left on device") && stderr.contains("hint: "), "{stderr}");
}

/// A full disk is waited for, and a signal ends the wait.
#[test]
fn a_full_file_is_tried_again_until_told_to_stop() {
    let flow = flow("[sink.lines]\ntype = \"jsonl\"\npath = \"/dev/full\"\n");
    let mut run = flow.start(&[], &[]);
    wait_until("the sink is tried again", || run.log().contains("sink is away; trying again"));
    run.signal("INT");
    assert_eq!(run.wait().code(), Some(0), "{}", run.log());
}

/// Nobody overwrites anybody's lines, whatever the sinks call the file.
#[test]
fn pipelines_that_write_to_the_same_file_take_turns() {
    let flow = flow("[sink.lines]\ntype = \"jsonl\"\npath = \"lines.jsonl\"\n");
    flow.catch_up();
    let lines = || {
        let text = std::fs::read_to_string(flow.folder().join("lines.jsonl")).expect("read the lines");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let thrice: Vec<String> = lines().into_iter().flat_map(|line| [line.clone(), line.clone(), line]).collect();
    let manifest = std::fs::read_to_string(flow.folder().join("tidegate.toml")).expect("read the manifest");
    flow.write(&format!(
        "{manifest}[pipeline.second]\nsource = \"shop\"\nsink = \"lines\"\n[sink.same]\ntype = \"jsonl\"\n\
         path = \"./data/../lines.jsonl\"\n[pipeline.third]\nsource = \"shop\"\nsink = \"same\"\n"
    ));
    std::fs::create_dir(flow.folder().join("data")).expect("make a folder");
    flow.catch_up();
    assert!(lines() == thrice, "{} lines and not {}", lines().len(), thrice.len());
}
