//! Plugins that remember, and changes that are set aside: a change counts when it is delivered, once, and what is set aside counts for nothing
//! until then, wherever the process was killed.
//!
//! `plugins/number` counts the changes of each row, which the source counts too, in `n`. The plugin behind it, `hostile`, fails at rows, and counts
//! all changes of a lane: no number comes twice.

use super::*;

const KEYS: u64 = 60;
const DEEDS: [&str; 5] = ["trap", "error", "row-error", "row-error", "trap"];

/// `poisons`: some texts are such that the plugin fails.
fn write(shop: &Shop, random: &mut Random, steps: usize, poisons: bool) {
    let mut sql = String::new();
    for _ in 0..steps {
        let id = random.below(KEYS);
        let note = match random.below(8) {
            0 if poisons => format!("{}! {}", DEEDS[random.below(5) as usize], random.below(1 << 40)),
            _ => format!("{MARKER} {}", random.below(1 << 40)),
        };
        sql.push_str(&match random.below(9) {
            0 => format!("DELETE FROM t WHERE id = {id};"),
            1 => format!("BEGIN; UPDATE t SET n = n + 1 WHERE id < {id}; UPDATE t SET n = n + 1 WHERE id > {id} - 5; COMMIT;"),
            // Another key is another row: its number begins anew.
            2 => format!("DELETE FROM t WHERE id = {id}; UPDATE t SET id = {id}, n = 1 WHERE id = {};", (id + 1) % KEYS),
            // What was bad is mended, and waits all the same.
            3 => format!("UPDATE t SET n = n + 1, note = 'mended' WHERE id = {id};"),
            _ => format!("INSERT INTO t VALUES ({id}, '{note}', 1) ON DUPLICATE KEY UPDATE note = '{note}', n = n + 1;"),
        });
    }
    shop.sql(&sql);
}

/// The plugins as they are in the manifest: `number`, and behind it `hostile` with a deed.
fn plugins(shop: &Shop, deed: &str, lanes: usize) {
    let number = project("target/plugins/number.wasm");
    let more = format!(
        "[plugin.number]\npath = \"{}\"\nconfig = {{ tables = [\"{}_s.t\"], column = \"version\" }}\n",
        number.display(),
        shop.name
    );
    shop.plugin(deed, &more);
    let manifest = shop
        .flow
        .manifest()
        .replace("plugins = [\"hostile\"]\nlanes = 2", &format!("plugins = [\"number\", \"hostile\"]\nlanes = {lanes}"));
    shop.flow.write(&manifest);
}

fn kill_at(shop: &Shop, failpoint: &str, mut step: impl FnMut()) {
    let mut run = shop.flow.start(&[], &[("TIDEGATE_FAILPOINT", failpoint)]);
    wait_until(&format!("{failpoint} is passed"), || {
        step();
        !run.is_running()
    });
    assert_eq!(run.wait().code(), None, "{failpoint}: {}", run.log());
}

/// What the source has counted, and what the plugin has, of rows that are not set aside.
fn assert_numbers(shop: &Shop, held: &BTreeSet<u64>) {
    let held: Vec<String> = held.iter().map(ToString::to_string).chain(["-1".to_owned()]).collect();
    let of = |column: &str| format!("SELECT id, note, n, {column} FROM t WHERE id NOT IN ({}) ORDER BY id", held.join(","));
    let here = shop.source.sql_in(&format!("{}_s", shop.name), &of("n"));
    let there = shop.target.sql_in(&format!("{}_t", shop.name), &of("version"));
    let differ = here.lines().zip(there.lines()).find(|(a, b)| a != b);
    assert!(here == there, "{} rows here, {} there, first difference {differ:?}", here.lines().count(), there.lines().count());
}

fn counted_once(name: &'static str, target: &'static Server, delivery: &'static str, lanes: usize) {
    let shop = Shop::new(name, target, delivery);
    shop.target.sql_in(&format!("{name}_t"), "ALTER TABLE t ADD version BIGINT, ADD added BIGINT");
    let mut random = Random::new(name.len() as u64 + lanes as u64);
    plugins(&shop, "count-marked", lanes);
    write(&shop, &mut random, 60, true);
    for failpoint in
        ["letters-kept:1", "letters-kept:3", "sink-after:2", "batch-settled:2", "cursor-before-flush:1", "cursor-flushed:2"]
    {
        kill_at(&shop, failpoint, || write(&shop, &mut random, 10, true));
    }
    for _ in 0..5 {
        write(&shop, &mut random, 15, true);
        let mut run = shop.flow.start(&[], &[]);
        std::thread::sleep(Duration::from_millis(50 + random.below(500)));
        run.kill();
    }
    shop.flow.catch_up();
    let held: BTreeSet<u64> = shop.letters().iter().map(|letter| key_of(&shop, letter)).collect();
    assert!(held.len() > 10, "{} keys are set aside", held.len());
    assert_numbers(&shop, &held);

    // Still bad: what fails again counts for nothing.
    let mut run = shop.flow.start(&[], &[]);
    write(&shop, &mut random, 20, false);
    let (code, out, err) = shop.flow.call(&["dead-letter", "retry", "--all"]);
    assert!(code == 4 && err.contains("dead letters failed again"), "{code}: {out}{err}");
    run.kill();

    plugins(&shop, "count", lanes);
    for failpoint in ["letter-delivered:1", "letter-remembered:1", "letter-removed:1"] {
        // What was set aside stays bad until it is retried.
        shop.command(&["retry", "--all"]);
        kill_at(&shop, failpoint, || write(&shop, &mut random, 5, false));
        plugins(&shop, "count-marked", lanes);
        write(&shop, &mut random, 60, true);
        shop.flow.catch_up();
        plugins(&shop, "count", lanes);
    }
    let mut run = shop.flow.start(&[], &[]);
    for _ in 0..5 {
        write(&shop, &mut random, 20, false);
        shop.flow.call(&["dead-letter", "retry", "--all"]);
    }
    wait_until("all letters are delivered", || shop.letters().is_empty());
    run.kill();
    write(&shop, &mut random, 20, false);
    shop.flow.catch_up();
    assert_eq!(shop.letters(), Vec::<Json>::new());
    assert_numbers(&shop, &BTreeSet::new());
    if lanes == 1 {
        let (rows, numbers) = (shop.there("SELECT COUNT(*) FROM t"), shop.there("SELECT COUNT(DISTINCT added) FROM t"));
        assert_eq!(rows, numbers, "a number of the lane came twice");
    }
}

#[test]
fn letters_count_once_at_least_once_into_postgres() {
    counted_once("dead_state_pg", servers::shared_postgres(), "at-least-once", 2);
}

#[test]
fn letters_count_once_exactly_once_into_postgres() {
    counted_once("dead_state_pg_eo", servers::shared_postgres(), "exactly-once", 2);
}

#[test]
fn letters_count_once_exactly_once_into_mysql() {
    counted_once("dead_state_my", servers::shared_mysql(), "exactly-once", 1);
}

/// A plugin that remembers is replaced while rows flow and letters wait, and gone back from; settings are changed, and the process restarted.
#[test]
fn what_plugins_remember_outlives_reload_and_rollback() {
    let shop = Shop::new("dead_state_reload", servers::shared_postgres(), "at-least-once");
    shop.target.sql_in("dead_state_reload_t", "ALTER TABLE t ADD version BIGINT, ADD added BIGINT");
    plugins(&shop, "count-marked", 1);
    let own = shop.flow.folder().join("number.wasm");
    let number = fs::read(project("target/plugins/number.wasm")).expect("read the plugin");
    // A section that means nothing makes another component of it.
    let version = |n: u8| [&number[..], &[0, 3, 1, b'x', n]].concat();
    let replace = |bytes: &[u8]| {
        fs::write(own.with_extension("new"), bytes).expect("write");
        fs::rename(own.with_extension("new"), &own).expect("rename");
    };
    replace(&version(1));
    let manifest = |shop: &Shop| {
        let manifest = shop.flow.manifest();
        shop.flow
            .write(&manifest.replace(&project("target/plugins/number.wasm").display().to_string(), &own.display().to_string()));
    };
    manifest(&shop);
    let mut random = Random::new(7);
    let mut run = shop.flow.start(&[], &[]);
    let last = std::cell::Cell::new(1000);
    let flow = |random: &mut Random| {
        write(&shop, random, 25, true);
        last.set(last.get() + 1);
        shop.sql(&format!("INSERT INTO t VALUES ({}, 'last', 1)", last.get()));
        let arrived = format!("SELECT COUNT(*) FROM t WHERE id = {}", last.get());
        wait_until("the last row has come", || shop.there(&arrived) == "1");
    };
    let command = |arguments: &[&str], expected: &str| {
        let (code, out, err) = shop.flow.call(arguments);
        assert!(code == 0 && out.contains(expected), "{arguments:?}: {code} {out}{err}");
    };
    flow(&mut random);
    replace(&version(2));
    command(&["plugin", "reload", "number"], "");
    flow(&mut random);
    command(&["plugin", "rollback", "number"], "swapped");
    flow(&mut random);
    assert!(!shop.letters().is_empty());
    shop.flow.write(&shop.flow.manifest().replace("[plugin.number]\n", "[plugin.number]\nstate = \"6MiB\"\n"));
    run.signal("HUP");
    flow(&mut random);
    run.kill();
    let mut run = shop.flow.start(&[], &[]);
    flow(&mut random);
    // The letters pass what runs now.
    plugins(&shop, "count", 1);
    manifest(&shop);
    wait_until("all letters are delivered", || shop.flow.call(&["dead-letter", "retry", "--all"]).0 == 0);
    run.signal("TERM");
    assert!(run.wait().success(), "{}", run.log());
    shop.flow.catch_up();
    assert_eq!(shop.letters(), Vec::<Json>::new());
    assert_numbers(&shop, &BTreeSet::new());
    assert_eq!(shop.there("SELECT COUNT(*) FROM t"), shop.there("SELECT COUNT(DISTINCT added) FROM t"));
}
