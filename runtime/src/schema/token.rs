//! SQL text as tokens, in the dialect of the server and the session that ran it.
//!
//! Never fails: what has no end ends with the text. Comments are left out; version comments (`/*!50001 … */`, MariaDB's `/*M! … */`)
//! count as text where the server runs them.

/// What a server and a session take SQL text for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    pub mariadb: bool,
    /// Major, minor and patch as in version comments: 80036, 110803. 0: not known, runs every version comment.
    pub version: u32,
    /// `"` quotes names (sql_mode ANSI_QUOTES).
    pub ansi_quotes: bool,
    /// A backslash in a string is one (sql_mode NO_BACKSLASH_ESCAPES).
    pub no_backslash_escapes: bool,
    /// REAL is FLOAT (sql_mode REAL_AS_FLOAT).
    pub real_as_float: bool,
    /// Names of schemas and tables are kept in small letters, however a statement writes them (lower_case_table_names = 1).
    pub lower_names: bool,
}

impl Dialect {
    /// Of a server, from its version as it says it: `9.7.0`, `11.8.3-MariaDB-log`.
    pub fn of_version(version: &str) -> Dialect {
        let mariadb = version.to_ascii_lowercase().contains("mariadb");
        // MariaDB once hid behind a version that old replicas take.
        let version = if mariadb { version.strip_prefix("5.5.5-").unwrap_or(version) } else { version };
        let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or(0).min(99));
        let mut next = || numbers.next().unwrap_or(0);
        Dialect { mariadb, version: next() * 10_000 + next() * 100 + next(), ..Dialect::default() }
    }

    /// The same with the sql_mode of a session.
    pub fn with_sql_mode(self, sql_mode: u64) -> Dialect {
        Dialect {
            real_as_float: sql_mode & 1 != 0,
            ansi_quotes: sql_mode & 1 << 2 != 0,
            no_backslash_escapes: sql_mode & 1 << 20 != 0,
            ..self
        }
    }

    /// Whether the text of a version comment runs. `only_mariadb`: it begins with `/*M!`.
    fn runs(&self, only_mariadb: bool, least: u32) -> bool {
        if self.version == 0 {
            return !only_mariadb || self.mariadb;
        }
        if self.mariadb {
            // What MySQL has had since 5.7 means nothing to MariaDB.
            self.version >= least && (only_mariadb || !(50_700..=99_999).contains(&least))
        } else {
            !only_mariadb && self.version >= least
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// A keyword, or a name without quotes.
    Word(&'a str),
    /// A name in quotes.
    Name(String),
    /// A string.
    Text(String),
    Number(&'a str),
    Punct(char),
}

impl Token<'_> {
    pub fn is_word(&self, word: &str) -> bool {
        matches!(self, Token::Word(w) if w.eq_ignore_ascii_case(word))
    }
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$') || c >= '\u{80}'
}

pub fn tokens<'a>(text: &'a str, dialect: &Dialect) -> Vec<Token<'a>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    // Version comments that are open.
    let mut open = 0usize;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            c if c.is_whitespace() => after,
            '#' => after.split_once('\n').map_or("", |(_, r)| r),
            '-' if after.starts_with('-') && after[1..].chars().next().is_none_or(|c| c.is_whitespace() || c.is_control()) => {
                after.split_once('\n').map_or("", |(_, r)| r)
            }
            '/' if after.starts_with("*!") || after.starts_with("*M!") => {
                let body = after.trim_start_matches(['*', 'M', '!']);
                let digits = body.bytes().take(6).take_while(u8::is_ascii_digit).count();
                let digits = if digits < 5 { 0 } else { digits };
                if dialect.runs(after.starts_with("*M!"), body[..digits].parse().unwrap_or(0)) {
                    open += 1;
                    &body[digits..]
                } else {
                    behind_comment(body)
                }
            }
            '/' if after.starts_with('*') => behind_comment(&after[1..]),
            '*' if open > 0 && after.starts_with('/') => {
                open -= 1;
                &after[1..]
            }
            '`' | '"' | '\'' => {
                let is_name = c == '`' || c == '"' && dialect.ansi_quotes;
                let (content, behind) = quoted(after, c, !is_name && !dialect.no_backslash_escapes);
                match tokens.last_mut() {
                    // Strings side by side are one.
                    Some(Token::Text(before)) if !is_name => before.push_str(&content),
                    _ => tokens.push(if is_name { Token::Name(content) } else { Token::Text(content) }),
                }
                behind
            }
            c if is_word_char(c) => {
                let end = rest.find(|c| !is_word_char(c)).unwrap_or(rest.len());
                let word = &rest[..end];
                let is_number = word.bytes().all(|b| b.is_ascii_digit());
                tokens.push(if is_number { Token::Number(word) } else { Token::Word(word) });
                &rest[end..]
            }
            c => {
                tokens.push(Token::Punct(c));
                after
            }
        };
    }
    tokens
}

/// What follows a comment, which may have version comments in it.
fn behind_comment(text: &str) -> &str {
    text.split_once("*/").map_or("", |(_, rest)| rest)
}

/// What stands between the quotes, and the text behind them. A doubled quote is one.
fn quoted(text: &str, quote: char, escapes: bool) -> (String, &str) {
    let mut content = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' if escapes => content.extend(chars.next().map(|(_, c)| unescaped(c))),
            c if c == quote => match chars.next_if(|(_, next)| *next == quote) {
                Some(_) => content.push(c),
                None => return (content, &text[i + 1..]),
            },
            c => content.push(c),
        }
    }
    (content, "")
}

fn unescaped(c: char) -> char {
    match c {
        '0' => '\0',
        'b' => '\u{8}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'Z' => '\u{1a}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str, dialect: &Dialect) -> String {
        let token = |t: &Token<'_>| match t {
            Token::Word(w) => (*w).to_owned(),
            Token::Name(n) => format!("<{n}>"),
            Token::Text(t) => format!("'{t}'"),
            Token::Number(n) => format!("#{n}"),
            Token::Punct(c) => c.to_string(),
        };
        tokens(text, dialect).iter().map(token).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn text_becomes_tokens() {
        let mysql = Dialect::of_version("9.7.0");
        let mariadb = Dialect::of_version("11.8.3-MariaDB-log");
        let ansi = mysql.with_sql_mode(4);
        for (text, dialect, expected) in [
            ("ALTER TABLE `a``b`.t -- x\n ADD c INT", mysql, "ALTER TABLE <a`b> . t ADD c INT"),
            ("a /* b */ c # d\ne--f", mysql, "a c e - - f"),
            ("'it''s' 'a\\'b\\n' \"q\"", mysql, "'it'sa'b\nq'"),
            ("\"q\" 'x'", ansi, "<q> 'x'"),
            ("'a\\'", mysql.with_sql_mode(1 << 20), "'a\\'"),
            ("a /*!50001 b */ c", mysql, "a b c"),
            ("a /*!99999 b */ c", mysql, "a c"),
            ("a /*!b*/ c", mysql, "a b c"),
            ("a /*M!100100 b */ c", mysql, "a c"),
            ("a /*M!100100 b */ c", mariadb, "a b c"),
            ("a /*!80023 INVISIBLE */ /*!100100 b */ c", mariadb, "a b c"),
            ("2col 12 1.5", mysql, "2col #12 #1 . #5"),
            ("таблица `😀`", mysql, "таблица <😀>"),
            ("'open", mysql, "'open'"),
            ("/* open", mysql, ""),
        ] {
            assert_eq!(plain(text, &dialect), expected, "{text}");
        }
        assert_eq!((mysql.version, mariadb.version, mariadb.mariadb), (90_700, 110_803, true));
    }
}
