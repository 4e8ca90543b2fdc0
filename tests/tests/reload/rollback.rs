//! Going back to an earlier component: it stands until the plugin's file is another one, and over restarts.

use super::*;

#[test]
fn a_rollback_stands_until_the_file_changes() {
    let stamped = Stamped::new("rel_back", servers::shared_mysql(), servers::shared_postgres(), "lanes = 2", "");
    let (mut run, mut id) = running(&stamped);
    let versions: Vec<Vec<u8>> = (1..=4).map(stamp).collect();
    for version in &versions[1..3] {
        stamped.replace(version);
        stamped.wait_for_swap(version);
    }
    let newest = |stamped: &Stamped<'_>, id: &mut u64| {
        *id = stamped.write(*id, 3);
        stamped.wait_for(*id);
        stamped.there(&format!("SELECT v FROM log WHERE id = {id}")).trim().to_owned()
    };
    assert_eq!(newest(&stamped, &mut id), "3");
    let (code, out, err) = stamped.flow.call(&["plugin", "rollback", "stamp"]);
    assert!(code == 0 && out.contains("swapped"), "{code}: {out}{err}");
    assert_eq!((newest(&stamped, &mut id).as_str(), runs(&stamped)), ("2", digest(&versions[1])));
    let first = digest(&versions[0]);
    let (code, out, err) = stamped.flow.call(&["plugin", "rollback", "stamp", "--to", &first[..8]]);
    assert!(code == 0 && out.contains("swapped"), "{code}: {out}{err}");
    assert_eq!(newest(&stamped, &mut id), "1");
    let (code, out, _) = stamped.flow.call(&["plugin", "rollback", "stamp", "--to", "ffffffffffff"]);
    assert!(code == 4 && out.contains("no component of it has run whose digest begins with ffffffffffff"), "{out}");
    // SIGHUP and the same file written again do not end it.
    stamped.replace(&versions[2]);
    run.signal("HUP");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(newest(&stamped, &mut id), "1");
    // Nor does a restart, at which it is told; so does `check`.
    run.signal("TERM");
    assert!(run.wait().success());
    let (code, _, err) = stamped.flow.call(&["check", "--offline"]);
    let (_, out, _) = stamped.flow.call(&["check", "--offline", "--format", "json"]);
    assert!(code == 0 && out.contains("rolled back"), "{code}: {err}{out}");
    let mut run = stamped.flow.start(&[], &[]);
    assert_eq!(newest(&stamped, &mut id), "1");
    assert!(run.log().contains("to which it was rolled back"), "{}", run.log());
    // Another file ends it.
    stamped.replace(&versions[3]);
    stamped.wait_for_swap(&versions[3]);
    assert_eq!(newest(&stamped, &mut id), "4");
    let (code, _, err) = stamped.flow.call(&["plugin", "rollback", "stamp"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(newest(&stamped, &mut id), "1");
    // So does asking for the file.
    let (code, out, _) = stamped.flow.call(&["plugin", "reload", "stamp"]);
    assert!(code == 0 && out.contains("swapped"), "{out}");
    assert_eq!(newest(&stamped, &mut id), "4");
    // A pin wins.
    let pin = format!("[plugin.stamp]\nsha256 = \"{}\"\n", digest(&versions[3]));
    stamped.flow.write(&stamped.flow.manifest().replace("[plugin.stamp]\n", &pin));
    let (code, out, _) = stamped.flow.call(&["plugin", "rollback", "stamp"]);
    assert!(code == 4 && out.contains("`sha256` in the manifest names another component"), "{out}");
    stamped.replace(&versions[1]);
    servers::wait_until("it is refused", || run.log().contains("is not the file that the manifest names"));
    assert_eq!(newest(&stamped, &mut id), "4");
    stamped.replace(&versions[3]);
    // Where nothing runs, the next run begins with it.
    run.signal("TERM");
    assert!(run.wait().success());
    stamped.flow.write(&stamped.flow.manifest().replace(&pin, "[plugin.stamp]\n"));
    let (code, out, err) = stamped.flow.call(&["plugin", "rollback", "stamp", "--to", &digest(&versions[1])[..8]]);
    assert!(code == 0 && out.contains("the next run begins with"), "{out}{err}");
    let mut run = stamped.flow.start(&[], &[]);
    assert_eq!(newest(&stamped, &mut id), "2");
    run.signal("TERM");
    assert!(run.wait().success());
    let (code, out, _) = stamped.flow.call(&["plugin", "reload"]);
    assert!(code == 0 && out.contains("its rollback has ended"), "{out}");
    // For people, too.
    let (_, out, _) = stamped.flow.call(&["plugin", "history"]);
    assert!(out.lines().count() > 8 && out.starts_with("time"), "{out}");
}

/// What is gone back from may be gone itself, or no plugin any more; while a process runs, and where none does.
#[test]
fn a_rollback_needs_no_file() {
    let stamped = Stamped::new("rel_gone", servers::shared_mysql(), servers::shared_postgres(), "lanes = 2", "");
    let (mut run, mut id) = running(&stamped);
    let versions: Vec<Vec<u8>> = (1..=3).map(stamp).collect();
    stamped.replace(&versions[1]);
    stamped.wait_for_swap(&versions[1]);
    let mut newest = || {
        id = stamped.write(id, 3);
        stamped.wait_for(id);
        stamped.there(&format!("SELECT v FROM log WHERE id = {id}")).trim().to_owned()
    };
    let rollback = |expected: &str| {
        let (code, out, err) = stamped.flow.call(&["plugin", "rollback", "stamp"]);
        assert!(code == 0 && out.contains(expected), "{code}: {out}{err}");
    };
    fs::remove_file(stamped.path()).expect("remove");
    rollback("swapped");
    assert_eq!(newest(), "1");
    let stop = |run: &mut Run| {
        run.signal("TERM");
        assert!(run.wait().success());
    };
    stop(&mut run);
    let (code, out, err) = stamped.flow.call(&["check", "--offline", "--format", "json"]);
    assert!(code == 0 && out.contains("rolled back"), "{code}: {out}{err}");
    let mut run = stamped.flow.start(&[], &[]);
    assert_eq!(newest(), "1");
    // There again as it was, it is what was gone back from; as another one it is taken up, if it can run.
    stamped.replace(&versions[1]);
    run.signal("HUP");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(newest(), "1");
    stamped.replace(b"no plugin any more");
    servers::wait_until("it is refused", || stamped.history().last().is_some_and(|entry| entry["outcome"] == "refused"));
    assert_eq!(newest(), "1");
    stop(&mut run);
    // A run would begin with the file, and cannot.
    let (code, _, err) = stamped.flow.call(&["run", "--until", "caught-up"]);
    assert!(code != 0 && err.contains("is not a plugin"), "{code}: {err}");
    rollback("the next run begins with");
    let mut run = stamped.flow.start(&[], &[]);
    assert_eq!(newest(), "1");
    stamped.replace(&versions[2]);
    stamped.wait_for_swap(&versions[2]);
    assert_eq!(newest(), "3");
    assert!(run.is_running());
}
