//! Patterns of tables and topics: `shop.*`, `!shop.tmp_*`, `` `a.b`.orders ``.
//!
//! `*` stands for any run of characters, `?` for one; `!` before a pattern takes out what it matches; of the patterns that match,
//! the last decides. Between backticks every character stands for itself (two backticks for one). In a table pattern the
//! schema and the table are matched apart from each other; a topic is matched as one text. Capital letters matter.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

/// A list of patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    text: Box<str>,
    takes: bool,
    tokens: Vec<Token>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// Any run of characters.
    Run,
    /// Any one character.
    One,
    /// A dot outside of backticks.
    Dot,
    Char(char),
}

/// Why a list of patterns cannot be used. `index` is the pattern's place in the list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct PatternError {
    pub index: usize,
    pub problem: String,
    pub hint: String,
}

const LENGTH_MAX: usize = 512;

impl Patterns {
    /// Patterns of topics, in which dots mean nothing.
    ///
    /// # Errors
    /// An empty list, an empty pattern, an open backtick, or nothing but patterns with `!`.
    pub fn parse(patterns: &[String]) -> Result<Patterns, PatternError> {
        let fail = |index, problem: &str, hint: &str| PatternError { index, problem: problem.to_owned(), hint: hint.to_owned() };
        let parsed: Vec<Pattern> = patterns.iter().enumerate().map(|(i, p)| parse_one(i, p)).collect::<Result<_, _>>()?;
        if parsed.is_empty() {
            return Err(fail(0, "the list of patterns is empty", "write at least one, such as \"shop.*\""));
        }
        if !parsed.iter().any(|p| p.takes) {
            return Err(fail(0, "the patterns only take out", "begin with one that takes in, such as \"*.*\""));
        }
        Ok(Patterns(parsed))
    }

    /// Patterns of tables: each has one dot, between schema and table.
    ///
    /// # Errors
    /// Those of [`Patterns::parse`], and a pattern with no dot or several outside of backticks.
    pub fn parse_tables(patterns: &[String]) -> Result<Patterns, PatternError> {
        let parsed = Patterns::parse(patterns)?;
        for (index, (pattern, text)) in parsed.0.iter().zip(patterns).enumerate() {
            let bare = text.trim_start_matches('!');
            let (problem, hint) = match pattern.tokens.iter().filter(|t| **t == Token::Dot).count() {
                0 => ("the pattern has no dot", format!("write schema.table: \"{bare}.*\" or \"*.{bare}\"")),
                1 => continue,
                _ => ("the pattern has several dots", "put a name that has a dot in backticks: \"`my.schema`.orders\"".to_owned()),
            };
            return Err(PatternError { index, problem: problem.to_owned(), hint });
        }
        Ok(parsed)
    }

    /// What takes everything.
    pub fn all() -> Patterns {
        Patterns(vec![Pattern { text: "*".into(), takes: true, tokens: vec![Token::Run] }])
    }

    /// As they were written.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(|pattern| pattern.text.to_string()).collect()
    }

    /// For patterns of tables.
    pub fn matches(&self, schema: &str, table: &str) -> bool {
        self.last(|tokens| match tokens.iter().position(|t| *t == Token::Dot) {
            Some(dot) => glob(&tokens[..dot], schema) && glob(&tokens[dot + 1..], table),
            None => tokens == [Token::Run],
        })
    }

    /// The tables that are named without a wild character, and not taken out again.
    pub fn named_tables(&self) -> Vec<(String, String)> {
        let name = |tokens: &[Token]| -> Option<String> {
            tokens.iter().map(|t| if let Token::Char(c) = t { Some(*c) } else { None }).collect()
        };
        let named = |pattern: &Pattern| {
            let mut parts = pattern.tokens.split(|t| *t == Token::Dot);
            Some((name(parts.next()?)?, name(parts.next()?)?))
        };
        self.0.iter().filter_map(named).filter(|(schema, table)| self.matches(schema, table)).collect()
    }

    /// For patterns of topics.
    pub fn matches_topic(&self, topic: &str) -> bool {
        self.last(|tokens| glob(tokens, topic))
    }

    fn last(&self, matches: impl Fn(&[Token]) -> bool) -> bool {
        self.0.iter().rev().find(|p| matches(&p.tokens)).is_some_and(|p| p.takes)
    }
}

fn parse_one(index: usize, text: &str) -> Result<Pattern, PatternError> {
    let fail = |problem: &str, hint: &str| Err(PatternError { index, problem: problem.to_owned(), hint: hint.to_owned() });
    if text.len() > LENGTH_MAX {
        return fail("the pattern is longer than 512 bytes", "a name at the server has at most 64 characters");
    }
    let (takes, rest) = match text.strip_prefix('!') {
        Some(rest) => (false, rest),
        None => (true, text),
    };
    let mut tokens = Vec::with_capacity(rest.len());
    let mut quoted = false;
    let mut chars = rest.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '`' if quoted && chars.next_if_eq(&'`').is_some() => tokens.push(Token::Char('`')),
            '`' => quoted = !quoted,
            c if quoted => tokens.push(Token::Char(c)),
            '*' => {
                if tokens.last() != Some(&Token::Run) {
                    tokens.push(Token::Run);
                }
            }
            '?' => tokens.push(Token::One),
            '.' => tokens.push(Token::Dot),
            c if c.is_whitespace() || c.is_control() => {
                return fail(
                    "the pattern has a space outside of backticks",
                    "write each pattern as a string of its own, in a list",
                );
            }
            c => tokens.push(Token::Char(c)),
        }
    }
    if quoted {
        return fail("a backtick is not closed", "write two backticks for one that belongs to a name");
    }
    if tokens.is_empty() {
        return fail("the pattern is empty", "\"*.*\" takes every table");
    }
    Ok(Pattern { text: text.into(), takes, tokens })
}

/// Steps back to the last `*` only, so it takes at most `tokens × text` steps.
fn glob(tokens: &[Token], text: &str) -> bool {
    let (mut at, mut rest) = (0, text.chars());
    let mut back: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        let before = rest.clone();
        match (tokens.get(at), rest.next()) {
            (Some(Token::Run), _) => {
                back = Some((at + 1, before.clone()));
                (at, rest) = (at + 1, before);
            }
            (None, None) => return true,
            (Some(Token::One), Some(_)) => at += 1,
            (Some(Token::Dot), Some('.')) => at += 1,
            (Some(Token::Char(c)), Some(d)) if *c == d => at += 1,
            _ => {
                let Some((after, mut from)) = back.take() else { return false };
                if from.next().is_none() {
                    return false;
                }
                (at, rest) = (after, from.clone());
                back = Some((after, from));
            }
        }
    }
}

/// Patterns of tables.
impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Patterns, D::Error> {
        Patterns::parse_tables(&Vec::<String>::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for Patterns {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Patterns".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": { "type": "string" }, "minItems": 1, "x-form": "tables" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(patterns: &[&str]) -> Result<Patterns, PatternError> {
        Patterns::parse_tables(&patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_last_match_decides() {
        let p = tables(&["shop.*", "!shop.tmp_*", "shop.tmp_keep"]).unwrap();
        assert!(p.matches("shop", "orders"));
        assert!(!p.matches("shop", "tmp_1"));
        assert!(p.matches("shop", "tmp_keep"));
        assert!(!p.matches("shop2", "orders"));
    }

    #[test]
    fn a_star_stays_on_its_side_of_the_dot() {
        let p = tables(&["a*.b"]).unwrap();
        assert!(p.matches("axx", "b"));
        assert!(!p.matches("ax.b", "c.b"));
        assert!(tables(&["a*.*z"]).unwrap().matches("a.q", "x.z"));
    }

    #[test]
    fn tables_without_wild_characters_are_named() {
        let p = tables(&["shop.orders", "shop.cust*", "`my.shop`.`a*b`", "shop.gone", "!shop.gone", "a.?"]).unwrap();
        let named = [("shop", "orders"), ("my.shop", "a*b")].map(|(s, t)| (s.to_owned(), t.to_owned()));
        assert_eq!(p.named_tables(), named);
    }

    #[test]
    fn backticks_make_characters_literal() {
        let p = tables(&["`my.shop`.`a*b``c`"]).unwrap();
        assert!(p.matches("my.shop", "a*b`c"));
        assert!(!p.matches("my.shop", "axb`c"));
    }

    #[test]
    fn topics_are_one_text() {
        let p = Patterns::parse(&["vip.*".to_owned(), "or??rs".to_owned()]).unwrap();
        assert!(p.matches_topic("vip.a.b") && p.matches_topic("orders") && !p.matches_topic("vip"));
        assert!(Patterns::all().matches_topic("") && Patterns::all().matches_topic("a.b"));
    }

    #[test]
    fn globs_agree_with_a_naive_one() {
        fn naive(p: &[char], t: &[char]) -> bool {
            match p.split_first() {
                None => t.is_empty(),
                Some(('*', rest)) => (0..=t.len()).any(|i| naive(rest, &t[i..])),
                Some(('?', rest)) => !t.is_empty() && naive(rest, &t[1..]),
                Some((c, rest)) => t.first() == Some(c) && naive(rest, &t[1..]),
            }
        }
        proptest::proptest!(|(pattern in "[ab*?]{1,8}", text in "[ab]{0,8}")| {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            assert_eq!(Patterns::parse(std::slice::from_ref(&pattern)).unwrap().matches_topic(&text), naive(&p, &t));
        });
    }

    #[test]
    fn hostile_globs_end() {
        let p = Patterns::parse(&[format!("{}b", "*a".repeat(200))]).unwrap();
        assert!(!p.matches_topic(&"a".repeat(5000)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let problem = |patterns: &[&str]| tables(patterns).unwrap_err().problem;
        assert_eq!(problem(&["orders"]), "the pattern has no dot");
        assert_eq!(problem(&["a.b.c"]), "the pattern has several dots");
        assert_eq!(problem(&["`a.b"]), "a backtick is not closed");
        assert_eq!(problem(&["!a.b"]), "the patterns only take out");
        assert_eq!(problem(&["a.b", "!"]), "the pattern is empty");
        assert_eq!(problem(&["a.b, c.d"]), "the pattern has a space outside of backticks");
        assert_eq!(problem(&[]), "the list of patterns is empty");
    }
}
