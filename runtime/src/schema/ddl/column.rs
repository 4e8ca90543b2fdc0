//! Column definitions, keys and table options, as CREATE TABLE and ALTER TABLE share them.

use super::{DataType, Default_, Generated, KeyParts, NewColumn, NewKey, NotUnderstood, Reader, TextAttributes, Token, types};
use crate::schema::PRIMARY;

impl Reader<'_, '_> {
    /// A column with its name, and the keys that stand in its definition.
    pub(super) fn column(&mut self) -> Result<(NewColumn, Vec<NewKey>), NotUnderstood> {
        let name = self.column_name()?;
        self.column_named(name)
    }

    pub(super) fn column_named(&mut self, name: Box<str>) -> Result<(NewColumn, Vec<NewKey>), NotUnderstood> {
        let mut keys = Vec::new();
        let mut key = |primary: bool| {
            let key_name = if primary { PRIMARY } else { "" };
            let parts = KeyParts { columns: vec![name.clone()], ..KeyParts::default() };
            keys.push(NewKey { name: key_name.into(), parts, guarded: false });
        };
        let is_serial = self.accept("SERIAL");
        let (data_type, text) = match is_serial {
            true => (DataType::Plain("bigint unsigned".into()), TextAttributes::default()),
            false => types::read(self)?,
        };
        let is_timestamp = matches!(&data_type, DataType::Plain(t) if t.starts_with("timestamp"));
        let (nullable, default) = match is_serial {
            true => (Some(false), Default_::Computed),
            false => (None, Default_::Unsaid),
        };
        let mut column =
            NewColumn { name: name.clone(), data_type, text, nullable, generated: Generated::Not, invisible: false, default };
        if is_serial {
            key(false);
        }
        while let Some(token) = self.peek() {
            match token {
                Token::Punct(',' | ')' | ';') => break,
                Token::Word(_) => {}
                _ => return Err(NotUnderstood),
            }
            if self.is("FIRST") || self.is("AFTER") {
                break;
            }
            if self.accept_all(&["NOT", "NULL"]) {
                self.accept("ENABLE");
                column.nullable = Some(false);
            } else if self.accept_all(&["NOT", "SECONDARY"]) {
                // Of the copy that a secondary engine has.
            } else if self.accept("NULL") {
                column.nullable = Some(true);
            } else if self.accept("DEFAULT") {
                column.default = self.default()?;
            } else if self.accept_all(&["ON", "UPDATE"]) {
                self.call()?;
            } else if self.accept("AUTO_INCREMENT") {
                column.default = Default_::Computed;
                // What makes a column a key makes it NOT NULL.
                column.nullable.get_or_insert(false);
            } else if self.accept_all(&["SERIAL", "DEFAULT", "VALUE"]) {
                column.default = Default_::Computed;
                column.nullable = Some(false);
                key(false);
            } else if self.accept("UNIQUE") {
                self.accept("KEY");
                key(false);
            } else if self.accept_all(&["PRIMARY", "KEY"]) || self.accept("KEY") {
                column.nullable = Some(false);
                key(true);
            } else if self.accept_any(&["COMMENT", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"]) {
                self.accept_punct('=');
                self.text()?;
            } else if self.accept_any(&["COLUMN_FORMAT", "STORAGE", "SRID"]) {
                self.take();
            } else if self.accept("REF_SYSTEM_ID") {
                self.expect_punct('=')?;
                self.take();
            } else if self.accept("INVISIBLE") {
                column.invisible = true;
            } else if self.accept("VISIBLE") {
                column.invisible = false;
            } else if self.accept("COLLATE") {
                column.text.collation = Some(self.word_or_text()?);
            } else if self.accept_all(&["CHARACTER", "SET"]) || self.accept_all(&["CHAR", "SET"]) || self.accept("CHARSET") {
                column.text.charset = Some(self.word_or_text()?);
            } else if self.accept("BINARY") {
                column.text.binary = true;
            } else if self.accept("ASCII") {
                column.text.charset = Some("latin1".to_owned());
            } else if self.accept("UNICODE") {
                column.text.charset = Some("ucs2".to_owned());
            } else if self.accept("BYTE") {
                column.text.charset = Some("binary".to_owned());
            } else if self.is("GENERATED") || self.is("AS") {
                self.generated(&mut column)?;
            } else if self.accept("REFERENCES") {
                self.references()?;
            } else if self.is("CONSTRAINT") || self.is("CHECK") {
                self.check()?;
            } else {
                // COMPRESSED, WITH SYSTEM VERSIONING and what is not known.
                return Err(NotUnderstood);
            }
        }
        if is_timestamp && column.default == Default_::Unsaid && column.nullable != Some(true) {
            // Which it is without a word depends on a setting.
            column.default = Default_::Computed;
        }
        Ok((column, keys))
    }

    fn generated(&mut self, column: &mut NewColumn) -> Result<(), NotUnderstood> {
        self.accept_all(&["GENERATED", "ALWAYS"]);
        self.expect("AS")?;
        // MariaDB: GENERATED ALWAYS AS ROW START
        self.skip_parentheses()?;
        column.default = Default_::Computed;
        column.generated = if self.accept_any(&["STORED", "PERSISTENT"]) {
            Generated::Stored
        } else {
            self.accept("VIRTUAL");
            Generated::Virtual
        };
        Ok(())
    }

    /// [CONSTRAINT [name]] CHECK (…) [[NOT] ENFORCED]
    fn check(&mut self) -> Result<(), NotUnderstood> {
        if self.accept("CONSTRAINT") && !self.is("CHECK") {
            self.ident()?;
        }
        self.expect("CHECK")?;
        self.skip_parentheses()?;
        self.accept("NOT");
        self.accept("ENFORCED");
        Ok(())
    }

    /// Behind REFERENCES.
    fn references(&mut self) -> Result<(), NotUnderstood> {
        self.ident()?;
        if self.accept_punct('.') {
            self.ident()?;
        }
        if self.is_punct('(') {
            self.skip_parentheses()?;
        }
        loop {
            if self.accept("MATCH") {
                self.take();
            } else if self.accept_all(&["ON", "DELETE"]) || self.accept_all(&["ON", "UPDATE"]) {
                if !self.accept_all(&["SET", "NULL"])
                    && !self.accept_all(&["SET", "DEFAULT"])
                    && !self.accept_all(&["NO", "ACTION"])
                {
                    self.expect_any(&["RESTRICT", "CASCADE"])?;
                }
            } else {
                return Ok(());
            }
        }
    }

    fn text(&mut self) -> Result<(), NotUnderstood> {
        // N'x' and _utf8mb4'x'
        if matches!((self.peek(), self.peek_at(1)), (Some(Token::Word(_)), Some(Token::Text(_)))) {
            self.take();
        }
        if let Some(Token::Text(_)) = self.take() { Ok(()) } else { Err(NotUnderstood) }
    }

    /// CURRENT_TIMESTAMP, CURRENT_TIMESTAMP(6), now()
    fn call(&mut self) -> Result<(), NotUnderstood> {
        self.ident()?;
        if self.is_punct('(') { self.skip_parentheses() } else { Ok(()) }
    }

    /// Behind DEFAULT.
    pub(super) fn default(&mut self) -> Result<Default_, NotUnderstood> {
        if self.is_punct('(') {
            self.skip_parentheses()?;
            return Ok(Default_::Computed);
        }
        let negative = self.accept_punct('-');
        if !negative {
            self.accept_punct('+');
        }
        match self.take() {
            Some(Token::Text(text)) if !negative => Ok(Default_::Value(text.as_str().into())),
            Some(Token::Number(number)) => self.number(negative, number),
            // .5
            Some(Token::Punct('.')) => match self.take() {
                Some(Token::Number(fraction)) => Ok(Default_::Number(format!("{}0.{fraction}", minus(negative)).into())),
                _ => Err(NotUnderstood),
            },
            Some(Token::Word(word)) => {
                let word = word.to_ascii_uppercase();
                match word.as_str() {
                    "NULL" => Ok(Default_::Null),
                    "TRUE" => Ok(Default_::Number("1".into())),
                    "FALSE" => Ok(Default_::Number("0".into())),
                    // _latin1 0x41
                    _ if word.starts_with('_') && matches!(self.peek(), Some(Token::Word(next)) if next.starts_with("0x")) => {
                        self.take();
                        Ok(Default_::Computed)
                    }
                    // x'41', b'1', _utf8mb4'x', N'x', DATE '2026-01-01'
                    _ if matches!(self.peek(), Some(Token::Text(_))) => {
                        self.take();
                        Ok(Default_::Computed)
                    }
                    _ if word.starts_with(|c: char| c.is_ascii_digit()) && !word.starts_with("0X") && !word.starts_with("0B") => {
                        let text = self.exponent(&word)?;
                        Ok(Default_::Number(format!("{}{text}", minus(negative)).into()))
                    }
                    // NOW(), CURRENT_TIMESTAMP; 0x41 is a word, too.
                    _ => {
                        if self.is_punct('(') {
                            self.skip_parentheses()?;
                        }
                        Ok(Default_::Computed)
                    }
                }
            }
            _ => Err(NotUnderstood),
        }
    }

    fn number(&mut self, negative: bool, whole: &str) -> Result<Default_, NotUnderstood> {
        let sign = minus(negative);
        if !self.accept_punct('.') {
            return Ok(Default_::Number(format!("{sign}{whole}").into()));
        }
        match self.peek() {
            Some(Token::Number(fraction)) => {
                self.take();
                Ok(Default_::Number(format!("{sign}{whole}.{fraction}").into()))
            }
            // 1.5e3
            Some(Token::Word(word)) => {
                self.take();
                let fraction = self.exponent(word)?;
                Ok(Default_::Number(format!("{sign}{whole}.{fraction}").into()))
            }
            _ => Ok(Default_::Number(format!("{sign}{whole}").into())),
        }
    }

    /// The end of a number that has an exponent, which begins as a word: `1e3`, and `1e` before `-3`.
    fn exponent(&mut self, word: &str) -> Result<String, NotUnderstood> {
        let mut text = word.to_ascii_lowercase();
        if text.ends_with('e') {
            text.push(if self.accept_punct('-') { '-' } else { '+' });
            self.accept_punct('+');
            match self.take() {
                Some(Token::Number(digits)) => text.push_str(digits),
                _ => return Err(NotUnderstood),
            }
        }
        let is_number = text
            .split_once('e')
            .is_some_and(|(digits, exponent)| digits.bytes().all(|b| b.is_ascii_digit()) && exponent.parse::<i32>().is_ok());
        if is_number { Ok(text) } else { Err(NotUnderstood) }
    }

    /// A key, constraint or period among the columns of a table; false: a column stands here.
    pub(super) fn table_key(&mut self, keys: &mut Vec<NewKey>) -> Result<bool, NotUnderstood> {
        let begins = |r: &Self, word: &str, next: &[&str]| {
            // A column may have such a name: a type follows then.
            r.is(word) && r.peek_at(1).is_some_and(|t| *t == Token::Punct('(') || next.iter().any(|n| t.is_word(n)))
        };
        if self.accept("CONSTRAINT") {
            let name = match self.peek() {
                Some(t) if ["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"].iter().any(|w| t.is_word(w)) => "".into(),
                _ => self.ident()?,
            };
            return match self.peek() {
                Some(t) if t.is_word("UNIQUE") => self.unique(name, keys).map(|()| true),
                Some(t) if t.is_word("CONSTRAINT") => Err(NotUnderstood),
                _ => self.table_key(keys),
            };
        }
        if self.is("UNIQUE") {
            self.unique("".into(), keys)?;
        } else if self.accept_all(&["PRIMARY", "KEY"]) {
            self.if_not_exists();
            self.using()?;
            if !self.is_punct('(') {
                self.ident()?;
                self.using()?;
            }
            let parts = self.key_parts()?;
            self.key_options()?;
            keys.push(NewKey { name: PRIMARY.into(), parts, guarded: false });
        } else if self.accept_all(&["FOREIGN", "KEY"]) {
            self.if_not_exists();
            if !self.is_punct('(') {
                self.ident()?;
            }
            self.skip_parentheses()?;
            self.expect("REFERENCES")?;
            self.references()?;
        } else if self.is("CHECK") {
            self.check()?;
        } else if self.is("FULLTEXT")
            || self.is("SPATIAL")
            || self.is("KEY")
            || self.is("INDEX")
            || begins(self, "VECTOR", &["KEY", "INDEX"])
        {
            if self.accept_any(&["FULLTEXT", "SPATIAL", "VECTOR"]) {
                self.accept_any(&["KEY", "INDEX"]);
            } else {
                self.take();
            }
            self.if_not_exists();
            if !self.is_punct('(') && !self.is("USING") {
                self.ident()?;
            }
            self.using()?;
            self.key_parts()?;
            self.key_options()?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn unique(&mut self, constraint: Box<str>, keys: &mut Vec<NewKey>) -> Result<(), NotUnderstood> {
        self.expect("UNIQUE")?;
        self.accept_any(&["KEY", "INDEX"]);
        let guarded = self.if_not_exists();
        let mut name = constraint;
        if !self.is_punct('(') && !self.is("USING") {
            name = self.ident()?;
        }
        self.using()?;
        let parts = self.key_parts()?;
        self.key_options()?;
        keys.push(NewKey { name, parts, guarded });
        Ok(())
    }

    fn using(&mut self) -> Result<(), NotUnderstood> {
        if self.accept_any(&["USING", "TYPE"]) {
            self.expect_any(&["BTREE", "HASH", "RTREE"])?;
        }
        Ok(())
    }

    pub(super) fn key_parts(&mut self) -> Result<KeyParts, NotUnderstood> {
        let mut parts = KeyParts::default();
        self.expect_punct('(')?;
        loop {
            if self.is_punct('(') {
                parts.is_functional |= parts.columns.is_empty();
                parts.is_partial = true;
                self.skip_parentheses()?;
            } else {
                let column = self.ident()?;
                parts.is_partial |= !self.numbers()?.is_empty();
                // MariaDB: WITHOUT OVERLAPS is of a period.
                if self.is("WITHOUT") {
                    return Err(NotUnderstood);
                }
                parts.columns.push(column);
            }
            self.accept_any(&["ASC", "DESC"]);
            if !self.accept_punct(',') {
                self.expect_punct(')')?;
                return Ok(parts);
            }
        }
    }

    pub(super) fn key_options(&mut self) -> Result<(), NotUnderstood> {
        loop {
            self.using()?;
            if self.accept_any(&["COMMENT", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"]) {
                self.accept_punct('=');
                self.text()?;
            } else if self.accept("KEY_BLOCK_SIZE") || self.accept("CLUSTERING") || self.accept("M") || self.accept("DISTANCE") {
                self.accept_punct('=');
                self.take();
            } else if self.accept_all(&["WITH", "PARSER"]) {
                self.take();
            } else if !self.accept_any(&["VISIBLE", "INVISIBLE", "IGNORED"])
                && !self.accept_all(&["NOT", "IGNORED"])
                && !self.is("USING")
            {
                return Ok(());
            }
        }
    }

    /// An option of a table that changes none of its columns; false: it is not known.
    pub(super) fn table_option(&mut self) -> Result<bool, NotUnderstood> {
        if self.accept_all(&["DATA", "DIRECTORY"]) || self.accept_all(&["INDEX", "DIRECTORY"]) || self.accept_any(&OPTIONS) {
            self.accept_punct('=');
            if self.is_punct('(') {
                // UNION = (t, u)
                self.skip_parentheses()?;
            } else {
                self.accept_punct('-');
                self.take().ok_or(NotUnderstood)?;
                if self.accept_punct('.') {
                    self.take();
                }
            }
            return Ok(true);
        }
        // MariaDB takes options that engines define: `name` = value.
        let is_of_engine = self.dialect.mariadb
            && matches!(self.peek(), Some(Token::Word(_) | Token::Name(_)))
            && self.peek_at(1) == Some(&Token::Punct('='));
        if is_of_engine {
            self.take();
            self.take();
            self.take().ok_or(NotUnderstood)?;
        }
        Ok(is_of_engine)
    }
}

fn minus(negative: bool) -> &'static str {
    if negative { "-" } else { "" }
}

const OPTIONS: [&str; 38] = [
    "ENGINE",
    "TYPE",
    "AUTO_INCREMENT",
    "AVG_ROW_LENGTH",
    "CHECKSUM",
    "TABLE_CHECKSUM",
    "COMMENT",
    "COMPRESSION",
    "CONNECTION",
    "DELAY_KEY_WRITE",
    "ENCRYPTION",
    "ENCRYPTED",
    "ENCRYPTION_KEY_ID",
    "IETF_QUOTES",
    "INSERT_METHOD",
    "KEY_BLOCK_SIZE",
    "MAX_ROWS",
    "MIN_ROWS",
    "PACK_KEYS",
    "PAGE_CHECKSUM",
    "PAGE_COMPRESSED",
    "PAGE_COMPRESSION_LEVEL",
    "PASSWORD",
    "RAID_TYPE",
    "ROW_FORMAT",
    "SECONDARY_ENGINE",
    "SECONDARY_ENGINE_ATTRIBUTE",
    "ENGINE_ATTRIBUTE",
    "STATS_AUTO_RECALC",
    "STATS_PERSISTENT",
    "STATS_SAMPLE_PAGES",
    "STORAGE",
    "TABLESPACE",
    "AUTOEXTEND_SIZE",
    "TRANSACTIONAL",
    "UNION",
    "ALGORITHM",
    "LOCK",
];
