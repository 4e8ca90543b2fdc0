//! SIGKILL around a swap: nothing is lost, exactly-once writes nothing twice, and what is read again is seen by the version that runs then.

use super::*;

fn crash(name: &str, target: &Server, keys: &str, is_once: bool) {
    let stamped = Stamped::new(name, servers::shared_mysql(), target, keys, "");
    let (mut id, mut version) = (0, 1);
    for place in tidegate::failpoint::SWAP_NAMES {
        for count in [1, 2, 4] {
            let armed = format!("{place}:{count}");
            let mut run = stamped.flow.start(&[], &[("TIDEGATE_FAILPOINT", &armed)]);
            servers::wait_until(&format!("{armed} is passed"), || {
                version += 1;
                stamped.replace(&stamp(version));
                let until = Instant::now() + Duration::from_millis(700);
                while Instant::now() < until && run.is_running() {
                    id = stamped.write(id, 10);
                }
                !run.is_running()
            });
            assert_eq!(run.wait().code(), None, "{armed}: {}", run.log());
        }
    }
    // At any other moment.
    for round in 0..10 {
        let mut run = stamped.flow.start(&[], &[]);
        let until = Instant::now() + Duration::from_millis(300 + 90 * round);
        version += 1;
        stamped.replace(&stamp(version));
        while Instant::now() < until {
            id = stamped.write(id, 10);
        }
        run.kill();
    }
    stamped.flow.catch_up();
    stamped.wait_for(id);
    assert_eq!(stamped.there("SELECT max(id) FROM log").trim(), id.to_string());
    if is_once {
        let key = if target.kind == Kind::Postgres { "key" } else { "`key`" };
        let twice = format!("SELECT count(*) FROM (SELECT 1 FROM seen WHERE what = 'log' GROUP BY {key} HAVING count(*) > 1) s");
        assert_eq!(stamped.there(&twice).trim(), "0");
    }
    // The history is whole.
    let history = stamped.history();
    assert!(history.iter().any(|entry| entry["outcome"] == "started"), "{history:?}");
}

#[test]
fn exactly_once_to_postgres() {
    crash("rel_crash_eo", servers::shared_postgres(), "lanes = 3\ndelivery = \"exactly-once\"\nbatch = { rows = 30 }", true);
}

#[test]
fn at_least_once_to_mysql() {
    crash("rel_crash_alo", servers::shared_mysql(), "lanes = 2", false);
}
