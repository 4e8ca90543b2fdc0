//! Unique values that wander between rows, parents and children: right under parallel lanes, folding and kills.

use std::fmt::Write;
use std::time::Duration;

use tidegate_tests::load::Random;
use tidegate_tests::servers;

use super::{Copy, Origin};

const MYSQL: &str = "
    CREATE TABLE users (id BIGINT PRIMARY KEY, email VARCHAR(40) COLLATE utf8mb4_bin UNIQUE, seat INT UNIQUE, version BIGINT NOT NULL);
    CREATE TABLE parents (id BIGINT PRIMARY KEY, version BIGINT NOT NULL);
    CREATE TABLE children (id BIGINT PRIMARY KEY, parent BIGINT NOT NULL, version BIGINT NOT NULL,
        CONSTRAINT of_parent FOREIGN KEY (parent) REFERENCES parents (id));";
const POSTGRES: &str = "
    CREATE TABLE users (id BIGINT PRIMARY KEY, email VARCHAR(40) UNIQUE, seat INT UNIQUE, version BIGINT NOT NULL);
    CREATE TABLE parents (id BIGINT PRIMARY KEY, version BIGINT NOT NULL);
    CREATE TABLE children (id BIGINT PRIMARY KEY, parent BIGINT NOT NULL REFERENCES parents (id), version BIGINT NOT NULL);";

const QUERIES: [&str; 3] =
    ["SELECT * FROM users ORDER BY id", "SELECT * FROM parents ORDER BY id", "SELECT * FROM children ORDER BY id"];

/// Rows with unique values, and what each holds; every round moves some of them.
struct Wander {
    random: Random,
    /// id, email, seat
    users: Vec<(u64, u64, u64)>,
    /// Parents, each with its children.
    parents: Vec<(u64, Vec<u64>)>,
    next: u64,
    version: u64,
}

impl Wander {
    fn new(seed: u64) -> Wander {
        Wander { random: Random::new(seed), users: Vec::new(), parents: Vec::new(), next: 1, version: 0 }
    }

    /// SQL of so many rounds, each one transaction or several.
    fn rounds(&mut self, rounds: usize) -> String {
        let mut sql = String::new();
        for _ in 0..rounds {
            let together = self.random.below(3) > 0;
            sql.push_str(if together { "BEGIN;\n" } else { "" });
            for _ in 0..1 + self.random.below(3) {
                self.step(&mut sql);
            }
            sql.push_str(if together { "COMMIT;\n" } else { "" });
        }
        sql
    }

    fn step(&mut self, sql: &mut String) {
        self.version += 1;
        let v = self.version;
        if self.users.len() < 8 {
            let id = self.take_id();
            self.users.push((id, id, id));
            let _ = writeln!(sql, "INSERT INTO users VALUES ({id}, 'e{id}', {id}, {v});");
            return;
        }
        let some = self.random.below(self.users.len() as u64) as usize;
        let other = (some + 1 + self.random.below(self.users.len() as u64 - 1) as usize) % self.users.len();
        let (one, two) = (self.users[some], self.users[other]);
        let _ = match self.random.below(9) {
            // A swap through NULL, one through a temporary value, one of both columns.
            0 => {
                (self.users[some].1, self.users[other].1) = (two.1, one.1);
                writeln!(sql, "UPDATE users SET email = NULL, version = {v} WHERE id = {};", one.0).and_then(|()| {
                    writeln!(
                        sql,
                        "UPDATE users SET email = 'e{}', version = {v} WHERE id = {}; UPDATE users SET email = 'e{}', version = {v} \
                         WHERE id = {};",
                        one.1, two.0, two.1, one.0
                    )
                })
            }
            1 => {
                (self.users[some].2, self.users[other].2) = (two.2, one.2);
                writeln!(
                    sql,
                    "UPDATE users SET seat = -{0}, version = {v} WHERE id = {1}; UPDATE users SET seat = {0}, version = {v} WHERE id = {2}; \
                     UPDATE users SET seat = {3}, version = {v} WHERE id = {1};",
                    one.2, one.0, two.0, two.2
                )
            }
            // A value moves on along all rows.
            2 => {
                let mut list: Vec<u64> = self.users.iter().map(|u| u.1).collect();
                let _ = writeln!(sql, "UPDATE users SET email = 'tmp', version = {v} WHERE id = {};", self.users[0].0);
                for n in 1..self.users.len() {
                    let _ =
                        writeln!(sql, "UPDATE users SET email = 'e{}', version = {v} WHERE id = {};", list[n - 1], self.users[n].0);
                }
                let _ = writeln!(
                    sql,
                    "UPDATE users SET email = 'e{}', version = {v} WHERE id = {};",
                    list[list.len() - 1],
                    self.users[0].0
                );
                list.rotate_right(1);
                self.users.iter_mut().zip(list).for_each(|(user, email)| user.1 = email);
                Ok(())
            }
            // A row goes, another one takes its values.
            3 => {
                let id = self.take_id();
                self.users[some].0 = id;
                writeln!(
                    sql,
                    "DELETE FROM users WHERE id = {}; INSERT INTO users VALUES ({id}, 'e{}', {}, {v});",
                    one.0, one.1, one.2
                )
            }
            // The key itself changes.
            4 => {
                let id = self.take_id();
                self.users[some].0 = id;
                writeln!(sql, "UPDATE users SET id = {id}, version = {v} WHERE id = {};", one.0)
            }
            // A row leaves its values behind and gets new ones.
            5 => {
                let fresh = self.take_id();
                self.users[some].1 = fresh;
                self.users[other].1 = one.1;
                writeln!(
                    sql,
                    "UPDATE users SET email = 'e{fresh}', version = {v} WHERE id = {}; UPDATE users SET email = 'e{}', version = {v} WHERE id = {};",
                    one.0, one.1, two.0
                )
            }
            // A family appears, moves, or goes.
            6 => {
                let parent = self.take_id();
                let children: Vec<u64> = (0..1 + self.random.below(4)).map(|_| self.take_id()).collect();
                let _ = writeln!(sql, "INSERT INTO parents VALUES ({parent}, {v});");
                for child in &children {
                    let _ = writeln!(sql, "INSERT INTO children VALUES ({child}, {parent}, {v});");
                }
                self.parents.push((parent, children));
                Ok(())
            }
            7 if self.parents.len() > 1 => {
                let last = self.parents.len() - 1;
                let at = self.random.below(last as u64) as usize;
                let (parent, mut children) = self.parents.swap_remove(at);
                let heir = &mut self.parents[last - 1];
                for child in &children {
                    let _ = writeln!(sql, "UPDATE children SET parent = {}, version = {v} WHERE id = {child};", heir.0);
                }
                heir.1.append(&mut children);
                writeln!(sql, "DELETE FROM parents WHERE id = {parent};")
            }
            _ if !self.parents.is_empty() => {
                let at = self.random.below(self.parents.len() as u64) as usize;
                let (parent, children) = self.parents.swap_remove(at);
                let list: Vec<String> = children.iter().map(ToString::to_string).collect();
                let list = list.join(", ");
                // Now and then parent and children come back at once under the same keys.
                let back = self.random.below(2) == 0;
                let _ = writeln!(sql, "DELETE FROM children WHERE id IN ({list}); DELETE FROM parents WHERE id = {parent};");
                if back {
                    let _ = writeln!(sql, "INSERT INTO parents VALUES ({parent}, {v});");
                    for child in &children {
                        let _ = writeln!(sql, "INSERT INTO children VALUES ({child}, {parent}, {v});");
                    }
                    self.parents.push((parent, children));
                }
                Ok(())
            }
            _ => Ok(()),
        };
    }

    fn take_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// Targets, each once at-least-once and once exactly-once, over one source.
fn copies<'s>(origin: &Origin<'_>, mariadb: &'s servers::Server) -> Vec<(Copy<'s>, &'static str)> {
    let mut copies = Vec::new();
    for delivery in ["at-least-once", "exactly-once"] {
        let name = format!("{}_{}", origin.database, &delivery[..2]);
        for server in [servers::shared_mysql(), mariadb, servers::shared_postgres()] {
            let copy = Copy::to_server(origin, server, &name);
            copy.sql(if server.kind == servers::Kind::Postgres { POSTGRES } else { MYSQL });
            copies.push((copy, delivery));
        }
        let copy = Copy::to_sqlite(origin);
        copy.sql(POSTGRES);
        copies.push((copy, delivery));
    }
    copies
}

fn settings(delivery: &str, lanes: usize) -> String {
    format!("delivery = \"{delivery}\"\nlanes = {lanes}\nbatch = {{ rows = 20 }}")
}

#[test]
fn wandering_values_and_families_end_right_in_parallel_lanes() {
    let origin = Origin::new(servers::shared_mysql(), "order_unique");
    origin.sql(MYSQL);
    origin.sql(&Wander::new(1).rounds(300));
    for (copy, delivery) in copies(&origin, servers::shared_mariadb()) {
        copy.configure(&settings(delivery, 4)).flow.catch_up();
        QUERIES.iter().for_each(|query| copy.assert_same(&origin, query));
    }
}

/// What is written again after a kill meets rows that are ahead of it.
#[test]
fn wandering_values_survive_kills() {
    let origin = Origin::new(servers::shared_mysql(), "order_unique_kills");
    origin.sql(MYSQL);
    let mut wander = Wander::new(2);
    let mut random = Random::new(2);
    for (copy, delivery) in copies(&origin, servers::shared_mariadb()) {
        copy.configure(&settings(delivery, 4));
        for _ in 0..4 {
            origin.sql(&wander.rounds(40));
            let mut run = copy.flow.start(&[], &[]);
            std::thread::sleep(Duration::from_millis(50 + random.below(300)));
            assert!(run.is_running(), "{}, {delivery}:\n{}", copy.name(), run.log());
            run.kill();
        }
        copy.flow.catch_up();
        QUERIES.iter().for_each(|query| copy.assert_same(&origin, query));
    }
}

/// Lanes, ordering and delivery change between runs, half of which are killed.
#[test]
fn settings_change_between_runs() {
    let origin = Origin::new(servers::shared_mysql(), "order_settings");
    origin.sql(MYSQL);
    let mut wander = Wander::new(3);
    for server in [servers::shared_mysql(), servers::shared_postgres()] {
        let copy = Copy::to_server(&origin, server, "order_settings_copy");
        copy.sql(if server.kind == servers::Kind::Postgres { POSTGRES } else { MYSQL });
        for (delivery, ordering, lanes) in [
            ("at-least-once", "key", 2),
            ("at-least-once", "key", 5),
            ("exactly-once", "key", 1),
            ("exactly-once", "table", 4),
            ("at-least-once", "global", 1),
            ("exactly-once", "transaction", 1),
            ("exactly-once", "key", 3),
            ("at-least-once", "transaction", 1),
        ] {
            copy.configure(&format!("ordering = \"{ordering}\"\n{}", settings(delivery, lanes)));
            origin.sql(&wander.rounds(20));
            copy.flow.start(&[], &[("TIDEGATE_FAILPOINT", "sink-after:3")]).wait();
            copy.flow.catch_up();
            QUERIES.iter().for_each(|query| copy.assert_same(&origin, query));
        }
    }
}

/// What the source does not know is in the way: said with table and key, without the value, and the row there stays as it is.
#[test]
fn a_row_that_the_source_does_not_have_stops_the_pipeline() {
    let origin = Origin::new(servers::shared_mysql(), "order_conflict");
    origin.sql(MYSQL);
    origin.sql("INSERT INTO users VALUES (1, 'secret-value', 7, 1), (2, 'other', 8, 1);");
    for server in [servers::shared_mysql(), servers::shared_postgres()] {
        let copy = Copy::to_server(&origin, server, "order_conflict_copy");
        copy.sql(if server.kind == servers::Kind::Postgres { POSTGRES } else { MYSQL });
        copy.sql("INSERT INTO users VALUES (99, 'secret-value', 99, 99);");
        let (code, _, stderr) = copy.configure(&settings("at-least-once", 2)).flow.call(&["run", "--until", "caught-up"]);
        assert_eq!(code, 5, "{stderr}");
        assert!(stderr.contains("users") && stderr.contains("email"), "{stderr}");
        assert!(stderr.contains("hint: the target has a row"), "{stderr}");
        assert!(!stderr.contains("secret-value"), "{stderr}");
        assert_eq!(copy.sql("SELECT * FROM users WHERE id = 99"), "99\tsecret-value\t99\t99\n");
        // The mend is what it says.
        copy.sql("DELETE FROM users WHERE id = 99");
        copy.flow.catch_up();
        copy.assert_same(&origin, QUERIES[0]);
    }
}
