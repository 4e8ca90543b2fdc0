//! Statements that nobody wrote, through the reader of DDL and into the tables that they change. Whatever stands in a text, the outcome is a
//! change or none; never a panic, a hang, or memory without end.

use std::collections::BTreeMap;

use super::apply::{Context, apply, looks_at, touches};
use super::ddl::{self, NotUnderstood};
use super::names::Collations;
use super::token::{Dialect, tokens};
use crate::attack::attack;
use crate::source::binlog::statement;

/// The statements that integration tests hold against real servers.
const CORPUS: &str = include_str!("../../../tests/tests/schemas/corpus.sql");

const PIECES: [&str; 20] = [
    "(",
    ")",
    ",",
    "`",
    "'",
    "\"",
    ".",
    "/*!",
    "*/",
    "--",
    ";",
    "\\",
    " ADD ",
    " AFTER ",
    " CONSTRAINT ",
    " DEFAULT ",
    "9",
    "99999999999999999999",
    "\u{1f600}",
    "\0",
];

/// One after the other: a statement finds the tables that those before it have left.
#[test]
fn no_statements_panic_hang_or_take_memory_without_end() {
    let statements: Vec<&str> = CORPUS.lines().filter(|l| !l.starts_with("-- ")).collect();
    let (mut read, mut refused) = (0, 0);
    let collations = Collations::default();
    attack(
        |random| {
            let texts: Vec<String> = (0..1 + random.below(6))
                .map(|_| {
                    let statement = statements[random.below(statements.len())];
                    let mut text: Vec<char> =
                        statement.trim_start_matches("--mysql ").trim_start_matches("--mariadb ").chars().collect();
                    for _ in 0..random.below(4) {
                        let (at, other) = (random.below(text.len() + 1), statements[random.below(statements.len())]);
                        match random.below(5) {
                            0 => text.truncate(at),
                            1 => drop(text.splice(at..at, PIECES[random.below(PIECES.len())].chars())),
                            2 => drop(text.drain(at..(at + random.below(9)).min(text.len()))),
                            3 => {
                                let repeated: Vec<char> = text[at..].iter().copied().take(20).collect();
                                let times = random.below(200);
                                drop(text.splice(at..at, repeated.iter().copied().cycle().take(repeated.len() * times)));
                            }
                            _ => drop(text.splice(at..at, other.chars().skip(random.below(40)).take(30))),
                        }
                    }
                    text.into_iter().collect()
                })
                .collect();
            let dialect = Dialect { mariadb: random.below(2) == 0, ansi_quotes: random.below(4) == 0, ..Dialect::default() };
            (texts, dialect)
        },
        |(texts, dialect)| {
            let mut states = BTreeMap::new();
            for (seed, text) in texts.iter().enumerate() {
                let context = Context {
                    dialect,
                    collations: &collations,
                    session: &[],
                    server_collation: 45,
                    seed: seed as u64,
                    statement: text,
                    at: "",
                };
                let _ = statement::parse(text, &dialect);
                match ddl::read(&tokens(text, &dialect), &dialect, "s") {
                    Ok(Some(change)) => {
                        read += 1;
                        let _ = (looks_at(&change), touches(&change));
                        states.extend(apply(&change, &states, &context));
                    }
                    Ok(None) | Err(NotUnderstood) => refused += 1,
                }
            }
        },
    );
    println!("{read} statements were read, {refused} were not");
}

#[test]
fn long_statements_take_no_time() {
    let begun = std::time::Instant::now();
    let dialect = Dialect::default();
    for piece in ["CONSTRAINT a ", "((", "a INT, ", "`", "/*! ", "'", "ADD a INT, ", "CHECK (1) "] {
        for head in ["CREATE TABLE t (", "ALTER TABLE t "] {
            let text = head.to_owned() + &piece.repeat(100_000);
            let _ = ddl::read(&tokens(&text, &dialect), &dialect, "s");
        }
    }
    assert!(begun.elapsed().as_secs() < 30);
}
