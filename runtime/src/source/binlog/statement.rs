//! The text of QUERY events, as far as the decoder has to know it: what begins and ends a transaction, and which tables a
//! statement changes or defines.
//!
//! What it makes of the tables is up to [`schema::ddl`](crate::schema::ddl).
//!
//! Not a parser of SQL: it finds the table names where the grammar of these statements has them. Executable comments (`/*! … */`)
//! count as text, other comments and strings do not.

use crate::schema::token::{Dialect, Token, tokens};

/// A table as a statement names it; without a schema it is in the statement's default one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub schema: Option<String>,
    pub table: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// BEGIN, COMMIT, SAVEPOINT and the like, and statements about other things than tables.
    Other,
    Rollback,
    RollbackToSavepoint,
    XaStart,
    /// XA COMMIT of a transaction that was prepared before: its id as it is written.
    XaCommit(String),
    XaRollback(String),
    /// Changes rows of these tables without row events.
    Changes(Vec<Name>),
    /// Calls a stored function that changes rows without row events; of which tables it does not say.
    Calls,
    /// Takes rows away from these tables without row events: TRUNCATE, and ALTER TABLE that drops, empties or exchanges partitions.
    Empties(Vec<Name>),
    /// Defines, alters, renames or drops these tables.
    Defines(Vec<Name>),
    /// The same of a schema.
    DefinesSchema,
}

/// The first two words, which is all of a statement that may be logged.
pub fn first_words(text: &str) -> String {
    let mut words = text.split_ascii_whitespace().take(2).map(|w| w.chars().filter(char::is_ascii_alphabetic).take(16));
    let mut first: String = words.next().map(Iterator::collect).unwrap_or_default();
    if let Some(second) = words.next() {
        first.push(' ');
        first.extend(second);
    }
    first
}

pub fn parse(text: &str, dialect: &Dialect) -> Statement {
    // What nearly all QUERY events are.
    if matches!(text, "BEGIN" | "COMMIT") {
        return Statement::Other;
    }
    parse_tokens(text, &tokens(text, dialect))
}

/// As [`parse`], of a text that is in tokens already.
pub fn parse_tokens(text: &str, tokens: &[Token<'_>]) -> Statement {
    let mut tokens = tokens;
    // MariaDB: SET STATEMENT variable = value FOR statement
    if is_word(tokens.first(), "SET") && is_word(tokens.get(1), "STATEMENT") {
        let from = tokens.iter().position(|t| is_word(Some(t), "FOR")).map_or(tokens.len(), |i| i + 1);
        tokens = &tokens[from..];
    }
    let Some(Token::Word(first)) = tokens.first() else { return Statement::Other };
    let has = |word: &str| tokens.iter().any(|t| is_word(Some(t), word));
    let second = |word: &str| is_word(tokens.get(1), word);
    // What is created, altered or dropped. Views, triggers, events and the like name tables, and define none.
    let kind = tokens[1..].iter().find(|t| !BEFORE_KIND.iter().any(|word| t.is_word(word)));
    let about = |word: &str| is_word(kind, word);
    let scan = |rules: Rules| table_names(&tokens[1..], &rules);
    match first.to_ascii_uppercase().as_str() {
        "ROLLBACK" if has("TO") => Statement::RollbackToSavepoint,
        "ROLLBACK" => Statement::Rollback,
        "XA" if second("START") || second("BEGIN") => Statement::XaStart,
        "XA" if second("COMMIT") => Statement::XaCommit(xid(text)),
        "XA" if second("ROLLBACK") => Statement::XaRollback(xid(text)),
        "INSERT" | "REPLACE" => Statement::Changes(scan(Rules { at_start: true, introducers: &[], is_list: false, ends: &[] })),
        "UPDATE" => Statement::Changes(scan(Rules { at_start: true, introducers: &["JOIN"], is_list: true, ends: &["SET"] })),
        "DELETE" => Statement::Changes(scan(Rules {
            at_start: true,
            introducers: &["FROM", "USING", "JOIN"],
            is_list: true,
            ends: &["WHERE", "ORDER", "LIMIT", "RETURNING"],
        })),
        "WITH" if has("UPDATE") || has("DELETE") => Statement::Changes(scan(Rules {
            at_start: false,
            introducers: &["UPDATE", "DELETE", "FROM", "USING", "JOIN"],
            is_list: true,
            ends: &[],
        })),
        // Statements that only read are not logged, unless a function in them writes.
        "SELECT" | "DO" | "CALL" => Statement::Calls,
        "LOAD" => Statement::Changes(scan(Rules { at_start: false, introducers: &["TABLE"], is_list: false, ends: &[] })),
        "TRUNCATE" => Statement::Empties(scan(Rules { at_start: true, introducers: &[], is_list: false, ends: &[] })),
        "CREATE" | "ALTER" | "DROP" if about("DATABASE") || about("SCHEMA") => Statement::DefinesSchema,
        "ALTER" if about("TABLE") => {
            let names = scan(Rules { at_start: false, introducers: &["TABLE"], is_list: false, ends: &[] });
            let empties =
                has("PARTITION") && (has("TRUNCATE") || has("DROP") || has("EXCHANGE")) || has("TABLESPACE") && has("IMPORT");
            if empties { Statement::Empties(names) } else { Statement::Defines(names) }
        }
        "CREATE" | "DROP" if about("INDEX") => {
            Statement::Defines(scan(Rules { at_start: false, introducers: &["ON"], is_list: false, ends: &[] }))
        }
        "CREATE" if about("TABLE") => {
            let names = scan(Rules { at_start: false, introducers: &["TABLE"], is_list: false, ends: &["AS", "LIKE"] });
            let is_filled = has("SELECT") || tokens.iter().filter(|t| is_word(Some(t), "TABLE")).count() > 1;
            if is_filled { Statement::Changes(names) } else { Statement::Defines(names) }
        }
        "DROP" if about("TABLE") || about("TABLES") => {
            Statement::Defines(scan(Rules { at_start: false, introducers: &["TABLE", "TABLES"], is_list: true, ends: &[] }))
        }
        "RENAME" if about("TABLE") || about("TABLES") => {
            Statement::Defines(scan(Rules { at_start: false, introducers: &["TABLE", "TABLES", "TO"], is_list: true, ends: &[] }))
        }
        _ => Statement::Other,
    }
}

/// What follows the first two words.
fn xid(text: &str) -> String {
    text.split_ascii_whitespace().skip(2).collect::<Vec<_>>().join(" ")
}

fn is_word(token: Option<&Token<'_>>, word: &str) -> bool {
    token.is_some_and(|t| t.is_word(word))
}

/// Where a statement has table names.
struct Rules {
    /// Right after its first word.
    at_start: bool,
    /// After these words.
    introducers: &'static [&'static str],
    /// After a comma as well; without it the first name after each introducer counts.
    is_list: bool,
    /// At these words the names are over.
    ends: &'static [&'static str],
}

/// Words that may stand between CREATE, ALTER or DROP and what it is about.
const BEFORE_KIND: [&str; 8] = ["OR", "REPLACE", "ONLINE", "IGNORE", "UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR"];

/// Words that may stand between an introducer and a name.
const MODIFIERS: [&str; 13] = [
    "INTO",
    "FROM",
    "TABLE",
    "IGNORE",
    "LOW_PRIORITY",
    "HIGH_PRIORITY",
    "DELAYED",
    "QUICK",
    "IF",
    "NOT",
    "EXISTS",
    "ONLY",
    "LATERAL",
];

fn table_names(tokens: &[Token<'_>], rules: &Rules) -> Vec<Name> {
    let mut names = Vec::new();
    let mut is_expected = rules.at_start;
    let mut at = 0;
    while at < tokens.len() {
        let word = |list: &[&str]| list.iter().any(|w| is_word(tokens.get(at), w));
        if word(rules.ends) {
            break;
        }
        if word(rules.introducers) {
            is_expected = true;
        } else if is_expected && !word(&MODIFIERS) {
            if let Some((name, len)) = name_at(&tokens[at..]) {
                names.push(name);
                is_expected = false;
                at += len;
                if !rules.is_list && rules.introducers.is_empty() {
                    break;
                }
                continue;
            }
        } else if rules.is_list && tokens[at] == Token::Punct(',') {
            is_expected = true;
        }
        at += 1;
    }
    names
}

/// `table` or `schema.table`, and how many tokens it takes.
fn name_at(tokens: &[Token<'_>]) -> Option<(Name, usize)> {
    let text = |token: Option<&Token<'_>>| match token {
        Some(Token::Word(word)) => Some((*word).to_owned()),
        Some(Token::Name(name)) => Some(name.clone()),
        _ => None,
    };
    let first = text(tokens.first())?;
    match (tokens.get(1), text(tokens.get(2))) {
        (Some(Token::Punct('.')), Some(table)) => Some((Name { schema: Some(first), table }, 3)),
        _ => Some((Name { schema: None, table: first }, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> (char, String) {
        let (kind, names) = match parse(text, &Dialect::default()) {
            Statement::Changes(names) => ('c', names),
            Statement::Empties(names) => ('e', names),
            Statement::Defines(names) => ('d', names),
            Statement::DefinesSchema => ('s', Vec::new()),
            _ => ('-', Vec::new()),
        };
        let name = |n: &Name| n.schema.as_ref().map_or(n.table.clone(), |s| format!("{s}.{}", n.table));
        (kind, names.iter().map(name).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn tables_are_found_where_the_grammar_has_them() {
        for (text, kind, expected) in [
            ("insert into `a b`.t (id) select id from u", 'c', "a b.t"),
            ("INSERT IGNORE t VALUES (1,'x, y')", 'c', "t"),
            ("REPLACE LOW_PRIORITY INTO s.t SET a=1", 'c', "s.t"),
            ("UPDATE t, s.u SET t.a=1 WHERE x.y=2", 'c', "t s.u"),
            ("update t join u on t.id=u.id set a=1", 'c', "t u"),
            ("DELETE FROM t WHERE a IN (SELECT b FROM c)", 'c', "t"),
            ("DELETE t FROM t JOIN u USING (id)", 'c', "t t u id"),
            ("WITH x AS (SELECT 1) UPDATE t SET a=1", 'c', "t"),
            ("LOAD DATA INFILE 'f' INTO TABLE `t` FIELDS TERMINATED BY ','", 'c', "t"),
            ("TRUNCATE TABLE t", 'e', "t"),
            ("truncate s.t", 'e', "s.t"),
            ("ALTER TABLE t TRUNCATE PARTITION p0", 'e', "t"),
            ("ALTER TABLE t EXCHANGE PARTITION p WITH TABLE u", 'e', "t u"),
            ("/* c */ ALTER TABLE t ADD c INT COMMENT 'table x' -- table y\n", 'd', "t"),
            ("CREATE TABLE IF NOT EXISTS s.t (id int)", 'd', "s.t"),
            ("CREATE TABLE t AS SELECT * FROM u", 'c', "t"),
            ("CREATE TABLE t TABLE u", 'c', "t u"),
            ("/*!50000 INSERT */ /*!50000 INTO t */ VALUES (1)", 'c', "t"),
            ("/*!50700 REPLACE */ INTO /*!50000t*/ VALUES (1)", 'c', "t"),
            ("DELETE FROM a, b USING s.t AS a JOIN u b", 'c', "a b s.t u"),
            ("CREATE /*!50000 UNIQUE */ INDEX i ON t (a)", 'd', "t"),
            ("DROP TABLE IF EXISTS `t`,s.`u``v` /* generated by server */", 'd', "t s.u`v"),
            ("RENAME TABLE a TO b, c TO s.d", 'd', "a b c s.d"),
            ("CREATE OR REPLACE TABLE t (id int)", 'd', "t"),
            ("CREATE OR REPLACE UNIQUE INDEX i ON t (a)", 'd', "t"),
            ("ALTER ONLINE IGNORE TABLE t ADD a INT", 'd', "t"),
            ("DROP INDEX `table` ON t", 'd', "t"),
            ("CREATE OR REPLACE DATABASE s", 's', ""),
            ("CREATE DEFINER=`r`@`%` TRIGGER x AFTER INSERT ON t FOR EACH ROW SET @a = (SELECT 1 FROM t USE INDEX (i))", '-', ""),
            ("CREATE OR REPLACE PROCEDURE p() BEGIN CREATE TABLE t (a INT); SELECT 1; END", '-', ""),
            ("CREATE VIEW v AS SELECT 1 FROM t USE INDEX (i) JOIN u ON t.a = u.a", '-', ""),
            ("ALTER EVENT e DO ALTER TABLE t ADD a INT", '-', ""),
            ("CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO CREATE INDEX i ON t (a)", '-', ""),
            ("RENAME USER a TO t", '-', ""),
            ("SET STATEMENT x=1 FOR ALTER TABLE t ADD b INT", 'd', "t"),
            ("GRANT SELECT ON t TO u", '-', ""),
            ("CREATE TEMPORARY TABLE t (a int)", '-', ""),
            ("SAVEPOINT `update`", '-', ""),
            ("", '-', ""),
            ("'", '-', ""),
        ] {
            assert_eq!(names(text), (kind, expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn ends_of_transactions() {
        let parse = |text| parse(text, &Dialect::default());
        assert_eq!(parse("SELECT `s`.`f`()"), Statement::Calls);
        assert_eq!(parse("ROLLBACK"), Statement::Rollback);
        assert_eq!(parse("rollback to `s1`"), Statement::RollbackToSavepoint);
        assert_eq!(parse("XA COMMIT X'61',X'',1"), Statement::XaCommit("X'61',X'',1".to_owned()));
        assert_eq!(parse("XA START X'61',X'',1"), Statement::XaStart);
        assert_eq!(parse("XA ROLLBACK X'61',X'',1"), Statement::XaRollback("X'61',X'',1".to_owned()));
    }

    #[test]
    fn only_two_words_are_logged() {
        assert_eq!(first_words("ALTER  TABLE t ADD secret INT DEFAULT 42"), "ALTER TABLE");
        assert_eq!(first_words("x'4242'"), "x");
    }
}
