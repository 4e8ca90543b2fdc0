//! Reads the statements that define tables.
//!
//! Allowed not to know a statement: whatever it does not understand wholly is [`NotUnderstood`], never half of a change. It looks at
//! nothing but the text; what IF EXISTS or a default means for the tables that there are is up to [`super::apply`].

use super::Generated;
use super::token::{Dialect, Token};
use super::types::{self, DataType, TextAttributes};

mod alter;
mod column;

/// The statement has something that is not known, or is no statement that defines tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUnderstood;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    pub schema: Box<str>,
    pub table: Box<str>,
}

impl Name {
    /// As the server keeps it.
    pub fn lowered(self, dialect: &Dialect) -> Name {
        match dialect.lower_names {
            true => Name { schema: self.schema.to_lowercase().into(), table: self.table.to_lowercase().into() },
            false => self,
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// What a statement changes. `guarded`: IF EXISTS or IF NOT EXISTS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Create {
        table: Name,
        guarded: bool,
        definition: Definition,
    },
    CreateLike {
        table: Name,
        like: Name,
        guarded: bool,
    },
    Alter {
        table: Name,
        specs: Vec<Spec>,
        rename: Option<Name>,
        /// IGNORE: rows that are in the way of a key are taken away.
        ignore: bool,
    },
    /// One after the other.
    Rename(Vec<(Name, Name)>),
    Drop(Vec<Name>),
    Truncate(Name),
    DropSchema(Box<str>),
    /// CREATE DATABASE (which says nothing if the default of the server holds) and ALTER DATABASE.
    Schema {
        schema: Box<str>,
        text: TextAttributes,
        is_new: bool,
        /// MariaDB's CREATE OR REPLACE: what was in it is gone.
        replaces: bool,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definition {
    pub columns: Vec<NewColumn>,
    pub keys: Vec<NewKey>,
    pub text: TextAttributes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewColumn {
    pub name: Box<str>,
    pub data_type: DataType,
    pub text: TextAttributes,
    /// `None`: not said.
    pub nullable: Option<bool>,
    pub generated: Generated,
    pub invisible: bool,
    pub default: Default_,
}

/// A DEFAULT clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Default_ {
    Unsaid,
    Null,
    /// Text.
    Value(Box<str>),
    /// As it is written.
    Number(Box<str>),
    /// An expression, or AUTO_INCREMENT.
    Computed,
}

/// A unique key. `name`: empty if the server chooses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    pub name: Box<str>,
    pub parts: KeyParts,
    pub guarded: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyParts {
    pub columns: Vec<Box<str>>,
    /// There are expressions or parts of columns among them,
    pub is_partial: bool,
    /// and the first is an expression.
    pub is_functional: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Last,
    First,
    After(Box<str>),
    /// MODIFY and CHANGE: where it is.
    Same,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    Add {
        column: NewColumn,
        place: Place,
        guarded: bool,
    },
    Change {
        old: Box<str>,
        column: NewColumn,
        place: Place,
        guarded: bool,
    },
    Drop {
        column: Box<str>,
        guarded: bool,
    },
    RenameColumn {
        old: Box<str>,
        new: Box<str>,
    },
    Visible {
        column: Box<str>,
        visible: bool,
    },
    /// [`Default_::Unsaid`]: none any more.
    Default {
        column: Box<str>,
        default: Default_,
    },
    AddKey(NewKey),
    DropKey(Box<str>),
    RenameKey {
        old: Box<str>,
        new: Box<str>,
    },
    /// Of the columns that are added later.
    Text(TextAttributes),
    Convert(TextAttributes),
}

/// Reads a statement whose unqualified tables are in `schema`. `None`: it defines no table.
pub fn read(tokens: &[Token<'_>], dialect: &Dialect, schema: &str) -> Result<Option<Change>, NotUnderstood> {
    let mut r = Reader { tokens, at: 0, dialect, schema };
    // MariaDB: SET STATEMENT variable = value FOR statement
    if r.accept("SET") {
        if !r.accept("STATEMENT") {
            return Ok(None);
        }
        while !r.accept("FOR") {
            r.take().ok_or(NotUnderstood)?;
        }
    }
    let change = if r.accept("CREATE") {
        r.create()?
    } else if r.accept("ALTER") {
        r.alter()?
    } else if r.accept("RENAME") {
        r.rename()?
    } else if r.accept("DROP") {
        r.drop()?
    } else if r.accept("TRUNCATE") {
        r.accept("TABLE");
        let table = r.name()?;
        r.wait();
        Some(Change::Truncate(table))
    } else {
        None
    };
    if change.is_some() {
        r.accept_punct(';');
        r.end()?;
    }
    Ok(change)
}

/// A table's definition from a CREATE TABLE statement alone.
pub fn read_create(tokens: &[Token<'_>], dialect: &Dialect, schema: &str) -> Result<Definition, NotUnderstood> {
    match read(tokens, dialect, schema)? {
        Some(Change::Create { definition, .. }) => Ok(definition),
        _ => Err(NotUnderstood),
    }
}

/// Servers know names in characters of up to three bytes; what is longer becomes a question mark.
fn identifier(name: &str) -> Box<str> {
    if name.chars().all(|c| c <= '\u{ffff}') {
        return name.into();
    }
    name.chars().map(|c| if c > '\u{ffff}' { '?' } else { c }).collect::<String>().into()
}

/// Reads from the front of the tokens.
pub struct Reader<'t, 'a> {
    tokens: &'t [Token<'a>],
    at: usize,
    pub dialect: &'t Dialect,
    schema: &'t str,
}

impl<'t, 'a> Reader<'t, 'a> {
    fn peek(&self) -> Option<&'t Token<'a>> {
        self.tokens.get(self.at)
    }

    fn peek_at(&self, ahead: usize) -> Option<&'t Token<'a>> {
        self.tokens.get(self.at + ahead)
    }

    pub fn take(&mut self) -> Option<&'t Token<'a>> {
        let token = self.tokens.get(self.at)?;
        self.at += 1;
        Some(token)
    }

    fn is(&self, word: &str) -> bool {
        self.peek().is_some_and(|t| t.is_word(word))
    }

    pub fn accept(&mut self, word: &str) -> bool {
        let is = self.is(word);
        self.at += usize::from(is);
        is
    }

    fn accept_any(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.accept(word))
    }

    /// All of the words, or none.
    fn accept_all(&mut self, words: &[&str]) -> bool {
        let all = words.iter().enumerate().all(|(i, word)| self.peek_at(i).is_some_and(|t| t.is_word(word)));
        self.at += if all { words.len() } else { 0 };
        all
    }

    pub fn expect(&mut self, word: &str) -> Result<(), NotUnderstood> {
        if self.accept(word) { Ok(()) } else { Err(NotUnderstood) }
    }

    pub fn expect_any(&mut self, words: &[&str]) -> Result<(), NotUnderstood> {
        if self.accept_any(words) { Ok(()) } else { Err(NotUnderstood) }
    }

    fn is_punct(&self, c: char) -> bool {
        self.peek() == Some(&Token::Punct(c))
    }

    pub fn accept_punct(&mut self, c: char) -> bool {
        let is = self.is_punct(c);
        self.at += usize::from(is);
        is
    }

    pub fn expect_punct(&mut self, c: char) -> Result<(), NotUnderstood> {
        if self.accept_punct(c) { Ok(()) } else { Err(NotUnderstood) }
    }

    fn end(&self) -> Result<(), NotUnderstood> {
        if self.at == self.tokens.len() { Ok(()) } else { Err(NotUnderstood) }
    }

    fn ident(&mut self) -> Result<Box<str>, NotUnderstood> {
        match self.take() {
            // Bytes that were no characters: what the server made of them is not known.
            Some(Token::Word(name)) if name.contains('\u{fffd}') => Err(NotUnderstood),
            Some(Token::Name(name)) if name.contains('\u{fffd}') => Err(NotUnderstood),
            Some(Token::Word(word)) => Ok(identifier(word)),
            Some(Token::Name(name)) => Ok(identifier(name)),
            _ => Err(NotUnderstood),
        }
    }

    /// A word, a name or a string: as character sets, engines and the like are written.
    fn word_or_text(&mut self) -> Result<String, NotUnderstood> {
        match self.take() {
            Some(Token::Word(word)) => Ok((*word).to_owned()),
            Some(Token::Name(text) | Token::Text(text)) => Ok(text.clone()),
            _ => Err(NotUnderstood),
        }
    }

    /// The name of a column that is defined or dropped. MariaDB and MySQL 5.7 take the table's, and its schema's, in front of it.
    fn column_name(&mut self) -> Result<Box<str>, NotUnderstood> {
        self.accept_punct('.');
        let mut name = self.ident()?;
        while self.accept_punct('.') {
            name = self.ident()?;
        }
        Ok(name)
    }

    /// `table`, `.table` or `schema.table`.
    fn name(&mut self) -> Result<Name, NotUnderstood> {
        let is_alone = self.accept_punct('.');
        let first = self.ident()?;
        if !is_alone && self.accept_punct('.') {
            // A name may begin with a digit behind the dot.
            let table = if let Some(Token::Number(number)) = self.peek() {
                self.at += 1;
                (*number).into()
            } else {
                self.ident()?
            };
            return Ok(Name { schema: first, table }.lowered(self.dialect));
        }
        if self.schema.is_empty() {
            return Err(NotUnderstood);
        }
        Ok(Name { schema: self.schema.into(), table: first }.lowered(self.dialect))
    }

    /// The name of a schema.
    fn schema_name(&mut self) -> Result<Box<str>, NotUnderstood> {
        let schema = self.ident()?;
        Ok(if self.dialect.lower_names { schema.to_lowercase().into() } else { schema })
    }

    fn names(&mut self) -> Result<Vec<Name>, NotUnderstood> {
        let mut names = vec![self.name()?];
        while self.accept_punct(',') {
            names.push(self.name()?);
        }
        Ok(names)
    }

    /// What stands between parentheses, as numbers; empty without parentheses.
    pub fn numbers(&mut self) -> Result<Vec<u32>, NotUnderstood> {
        let mut numbers = Vec::new();
        if !self.accept_punct('(') {
            return Ok(numbers);
        }
        loop {
            match self.take() {
                Some(Token::Number(n)) => numbers.push(n.parse().map_err(|_| NotUnderstood)?),
                _ => return Err(NotUnderstood),
            }
            // DECIMAL(19.5): what is behind the point does not count.
            if self.accept_punct('.') {
                self.take();
            }
            if !self.accept_punct(',') {
                self.expect_punct(')')?;
                return Ok(numbers);
            }
        }
    }

    /// Passes over what stands between parentheses.
    fn skip_parentheses(&mut self) -> Result<(), NotUnderstood> {
        self.expect_punct('(')?;
        let mut depth = 1usize;
        while depth > 0 {
            match self.take() {
                Some(Token::Punct('(')) => depth += 1,
                Some(Token::Punct(')')) => depth -= 1,
                Some(_) => {}
                None => return Err(NotUnderstood),
            }
        }
        Ok(())
    }

    fn if_exists(&mut self) -> bool {
        self.accept_all(&["IF", "EXISTS"])
    }

    fn if_not_exists(&mut self) -> bool {
        self.accept_all(&["IF", "NOT", "EXISTS"])
    }

    /// MariaDB: WAIT n, NOWAIT.
    fn wait(&mut self) {
        if self.accept("WAIT") {
            self.take();
        } else {
            self.accept("NOWAIT");
        }
    }

    fn rename(&mut self) -> Result<Option<Change>, NotUnderstood> {
        if !self.accept_any(&["TABLE", "TABLES"]) {
            // RENAME USER
            return Ok(None);
        }
        self.if_exists();
        let mut pairs = Vec::new();
        loop {
            let from = self.name()?;
            self.wait();
            self.expect("TO")?;
            pairs.push((from, self.name()?));
            if !self.accept_punct(',') {
                return Ok(Some(Change::Rename(pairs)));
            }
        }
    }

    fn drop(&mut self) -> Result<Option<Change>, NotUnderstood> {
        if self.accept_any(&["DATABASE", "SCHEMA"]) {
            self.if_exists();
            return Ok(Some(Change::DropSchema(self.schema_name()?)));
        }
        if self.accept("INDEX") {
            self.if_exists();
            let key = self.ident()?;
            self.expect("ON")?;
            let table = self.name()?;
            self.wait();
            self.algorithm_and_lock();
            return Ok(Some(Change::Alter { table, specs: vec![Spec::DropKey(key)], rename: None, ignore: false }));
        }
        // A temporary table hides no other from the binlog.
        if !self.accept_any(&["TABLE", "TABLES"]) {
            return Ok(None);
        }
        self.if_exists();
        let names = self.names()?;
        self.wait();
        self.accept_any(&["RESTRICT", "CASCADE"]);
        Ok(Some(Change::Drop(names)))
    }

    fn algorithm_and_lock(&mut self) {
        while self.accept_any(&["ALGORITHM", "LOCK"]) {
            self.accept_punct('=');
            self.take();
        }
    }

    fn create(&mut self) -> Result<Option<Change>, NotUnderstood> {
        let replace = self.accept_all(&["OR", "REPLACE"]);
        if self.accept_any(&["DATABASE", "SCHEMA"]) {
            self.if_not_exists();
            let schema = self.schema_name()?;
            return Ok(Some(Change::Schema { schema, text: self.schema_options()?, is_new: true, replaces: replace }));
        }
        if self.is("UNIQUE") || self.is("INDEX") || self.is("FULLTEXT") || self.is("SPATIAL") || self.is("VECTOR") {
            return self.create_index();
        }
        if !self.accept("TABLE") {
            return Ok(None);
        }
        let guarded = self.if_not_exists() && !replace;
        let table = self.name()?;
        let in_parentheses = self.is_punct('(') && self.peek_at(1).is_some_and(|t| t.is_word("LIKE"));
        self.at += usize::from(in_parentheses);
        if self.accept("LIKE") {
            let like = self.name()?;
            if in_parentheses {
                self.expect_punct(')')?;
            }
            return Ok(Some(Change::CreateLike { table, like, guarded }));
        }
        let definition = self.definition()?;
        Ok(Some(Change::Create { table, guarded, definition }))
    }

    fn create_index(&mut self) -> Result<Option<Change>, NotUnderstood> {
        let unique = self.accept("UNIQUE");
        self.accept_any(&["FULLTEXT", "SPATIAL", "VECTOR"]);
        self.expect("INDEX")?;
        let guarded = self.if_not_exists();
        let name = self.ident()?;
        if self.accept("USING") {
            self.take();
        }
        self.expect("ON")?;
        let table = self.name()?;
        self.wait();
        let parts = self.key_parts()?;
        self.wait();
        self.key_options()?;
        self.algorithm_and_lock();
        let specs = if unique { vec![Spec::AddKey(NewKey { name, parts, guarded })] } else { Vec::new() };
        Ok(Some(Change::Alter { table, specs, rename: None, ignore: false }))
    }

    fn schema_options(&mut self) -> Result<TextAttributes, NotUnderstood> {
        let mut text = TextAttributes::default();
        while self.peek().is_some_and(|t| *t != Token::Punct(';')) {
            self.accept("DEFAULT");
            if self.text_option(&mut text)? {
                continue;
            }
            // COMMENT 'x', ENCRYPTION = 'Y', READ ONLY = 1, UPGRADE DATA DIRECTORY NAME
            self.take();
        }
        Ok(text)
    }

    /// CHARACTER SET and COLLATE, as options of tables and schemas.
    fn text_option(&mut self, text: &mut TextAttributes) -> Result<bool, NotUnderstood> {
        if self.accept_all(&["CHARACTER", "SET"]) || self.accept_all(&["CHAR", "SET"]) || self.accept("CHARSET") {
            self.accept_punct('=');
            text.charset = Some(self.word_or_text()?);
        } else if self.accept("COLLATE") {
            self.accept_punct('=');
            text.collation = Some(self.word_or_text()?);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Columns, keys and options of a CREATE TABLE.
    fn definition(&mut self) -> Result<Definition, NotUnderstood> {
        let mut definition = Definition::default();
        self.expect_punct('(')?;
        loop {
            if !self.table_key(&mut definition.keys)? {
                let (column, keys) = self.column()?;
                definition.columns.push(column);
                definition.keys.extend(keys);
            }
            if !self.accept_punct(',') {
                self.expect_punct(')')?;
                break;
            }
        }
        while let Some(token) = self.peek() {
            if *token == Token::Punct(';') {
                break;
            }
            if self.accept_punct(',') {
                continue;
            }
            // Rows that a SELECT brings along are logged as rows behind the definition.
            if self.accept_all(&["START", "TRANSACTION"]) || self.accept_all(&["REMOVE", "PARTITIONING"]) {
                continue;
            }
            if self.is("PARTITION") {
                self.rest();
                break;
            }
            self.accept("DEFAULT");
            if !self.text_option(&mut definition.text)? && !self.table_option()? {
                return Err(NotUnderstood);
            }
        }
        Ok(definition)
    }

    /// Passes over all there is but a final semicolon.
    fn rest(&mut self) {
        self.at = self.tokens.len() - usize::from(self.tokens.last() == Some(&Token::Punct(';')));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::token::tokens;

    #[test]
    fn names_and_members_that_are_no_characters_are_not_understood() {
        let dialect = Dialect::of_version("9.7.0");
        for (text, is_understood) in [
            ("CREATE TABLE t (a ENUM('x'))", true),
            ("CREATE TABLE t\u{fffd} (a INT)", false),
            ("CREATE TABLE t (`\u{fffd}` INT)", false),
            ("CREATE TABLE t (a ENUM('\u{fffd}'))", false),
            ("CREATE TABLE t (a INT COMMENT '\u{fffd}')", true),
        ] {
            assert_eq!(read(&tokens(text, &dialect), &dialect, "s").is_ok(), is_understood, "{text}");
        }
    }
}
