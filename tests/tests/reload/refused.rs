//! What cannot run: each is told with its file and the reason, stands in the history, and the version that runs goes on.

use super::*;

#[test]
fn what_cannot_run_changes_nothing() {
    let stamped = Stamped::new("rel_refused", servers::shared_mysql(), servers::shared_postgres(), "lanes = 2", "");
    let (mut run, mut id) = running(&stamped);
    let good = stamp(2);
    let newer = fs::read(project("target/plugins/stamp.wasm")).map(|bytes| newer_interface(&bytes)).expect("a component");
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("nothing", Vec::new(), "is not a plugin"),
        ("text", b"not a component at all".to_vec(), "is not a plugin"),
        ("core module", b"\0asm\x01\0\0\0".to_vec(), "it is a core module, not a component"),
        ("wrong world", b"\0asm\x0d\0\x01\0".to_vec(), "does not export `tidegate:plugin/transform@0.1.0`"),
        ("newer interface", newer, "tidegate:plugin/"),
        ("cut", good[..good.len() / 2].to_vec(), "is not a plugin"),
    ];
    for (case, bytes, reason) in cases {
        let before = stamped.history().len();
        stamped.replace(&bytes);
        let (code, out, err) = stamped.flow.call(&["plugin", "reload", "stamp"]);
        assert_eq!(code, 4, "{case}: {out}{err}");
        assert!(out.starts_with("stamp: refused: ") && out.contains("stamp.wasm") && out.contains(reason), "{case}: {out}");
        id = stamped.write(id, 3);
        stamped.wait_for(id);
        assert!(run.is_running(), "{case}: {}", run.log());
        let history = stamped.history();
        assert!(history.len() > before, "{case}");
        let last = history.last().expect("an entry");
        assert!(last["outcome"] == "refused" && last["why"].as_str().is_some_and(|why| why.contains(reason)), "{case}: {last}");
    }
    assert_eq!(stamped.there("SELECT max(v) FROM log").trim(), "1");
    // A file that is not there is none to load by itself; who asks is told.
    fs::remove_file(stamped.path()).expect("remove");
    let (code, out, _) = stamped.flow.call(&["plugin", "reload"]);
    assert!(code == 4 && out.contains("cannot read"), "{code}: {out}");
    // Settings that it does not like, and columns that the target does not have.
    stamped.replace(&good);
    stamped.wait_for_swap(&good);
    let manifest = stamped.flow.manifest();
    for (settings, reason) in [
        ("config = { colum = \"v\" }", "refused its configuration"),
        ("config = { column = \"v\", add = \"extra\" }", "has no column `extra`"),
    ] {
        stamped.flow.write(&manifest.replace("config = { column = \"v\" }", settings));
        let (code, out, err) = stamped.flow.call(&["plugin", "reload", "stamp"]);
        assert!(code == 4 && out.contains(reason) && out.contains("stamp.wasm"), "{settings}: {code}: {out}{err}");
        id = stamped.write(id, 3);
        stamped.wait_for(id);
        assert!(run.is_running(), "{}", run.log());
    }
    // With the column in its place the same settings are taken.
    for table in ["log", "acc"] {
        stamped.there(&format!("ALTER TABLE {table} ADD COLUMN extra BIGINT"));
    }
    let (code, out, err) = stamped.flow.call(&["plugin", "reload", "stamp", "--format", "json"]);
    assert_eq!(code, 0, "{out}{err}");
    let told: Json = serde_json::from_str(&out).expect("JSON");
    assert_eq!(told["plugins"][0]["what"], "swapped", "{told}");
    id = stamped.write(id, 3);
    stamped.wait_for(id);
    assert_eq!(stamped.there(&format!("SELECT extra FROM log WHERE id = {id}")).trim(), "2");
    // Nothing has changed since.
    let (code, out, _) = stamped.flow.call(&["plugin", "reload"]);
    assert!(code == 0 && out.contains("already"), "{out}");
    let (code, _, err) = stamped.flow.call(&["plugin", "reload", "stomp"]);
    assert!(code == 2 && err.contains("did you mean `stamp`?"), "{err}");
    assert!(run.is_running());
}

/// The component says that it is of an interface that this host does not speak.
fn newer_interface(bytes: &[u8]) -> Vec<u8> {
    let (old, new) = (b"tidegate:plugin/transform@0.1.0", b"tidegate:plugin/transform@0.9.0");
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len() - old.len() {
        if bytes[at..].starts_with(old) {
            bytes[at..at + old.len()].copy_from_slice(new);
        }
    }
    bytes
}
