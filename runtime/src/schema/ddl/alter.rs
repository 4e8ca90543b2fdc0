//! ALTER TABLE, and what else begins with ALTER.

use super::{Change, Default_, NotUnderstood, Place, Reader, Spec, TextAttributes, Token};
use crate::schema::PRIMARY;

/// Operations on partitions that may stand behind their word.
const PARTITION_WORK: [&str; 11] =
    ["ANALYZE", "CHECK", "COALESCE", "DISCARD", "EXCHANGE", "IMPORT", "OPTIMIZE", "REBUILD", "REORGANIZE", "REPAIR", "TRUNCATE"];

impl Reader<'_, '_> {
    pub(super) fn alter(&mut self) -> Result<Option<Change>, NotUnderstood> {
        if self.accept_any(&["DATABASE", "SCHEMA"]) {
            // The name may be left out.
            let is_named = self.peek_at(1).is_some() && !["DEFAULT", "CHARACTER", "CHARSET", "COLLATE"].iter().any(|w| self.is(w));
            let schema = if is_named { self.schema_name()? } else { self.schema.into() };
            return Ok(Some(Change::Schema { schema, text: self.schema_options()?, is_new: false, replaces: false }));
        }
        self.accept("ONLINE");
        let ignore = self.accept("IGNORE");
        if !self.accept("TABLE") {
            return Ok(None);
        }
        self.if_exists();
        let table = self.name()?;
        self.wait();
        let (mut specs, mut rename) = (Vec::new(), None);
        while self.peek().is_some_and(|t| *t != Token::Punct(';')) {
            if self.is_partitioning() {
                self.rest();
                break;
            }
            self.spec(&mut specs, &mut rename)?;
            // Options stand side by side without a comma.
            while self.accept_punct(',') {}
        }
        Ok(Some(Change::Alter { table, specs, rename, ignore }))
    }

    /// What is about partitions alone: always the last of a statement, and no column changes by it.
    fn is_partitioning(&self) -> bool {
        let next = |word: &str| self.peek_at(1).is_some_and(|t| t.is_word(word));
        self.is("PARTITION")
            || next("PARTITION") && (self.is("ADD") || self.is("DROP") || PARTITION_WORK.iter().any(|w| self.is(w)))
            || self.is("REMOVE") && next("PARTITIONING")
    }

    fn spec(&mut self, specs: &mut Vec<Spec>, rename: &mut Option<super::Name>) -> Result<(), NotUnderstood> {
        if self.accept("ADD") {
            self.add(specs)
        } else if self.accept("DROP") {
            self.drop_spec(specs)
        } else if self.accept("MODIFY") {
            self.accept("COLUMN");
            let guarded = self.if_exists();
            let old = self.column_name()?;
            let (column, keys) = self.column_named(old.clone())?;
            let place = self.place(Place::Same)?;
            specs.push(Spec::Change { old, column, place, guarded });
            specs.extend(keys.into_iter().map(Spec::AddKey));
            Ok(())
        } else if self.accept("CHANGE") {
            self.accept("COLUMN");
            let guarded = self.if_exists();
            let old = self.ident()?;
            let (column, keys) = self.column()?;
            let place = self.place(Place::Same)?;
            specs.push(Spec::Change { old, column, place, guarded });
            specs.extend(keys.into_iter().map(Spec::AddKey));
            Ok(())
        } else if self.accept("ALTER") {
            self.alter_column(specs)
        } else if self.accept("RENAME") {
            if self.accept("COLUMN") {
                self.if_exists();
                let old = self.ident()?;
                self.expect("TO")?;
                specs.push(Spec::RenameColumn { old, new: self.ident()? });
            } else if self.accept_any(&["INDEX", "KEY"]) {
                self.if_exists();
                let old = self.ident()?;
                self.expect("TO")?;
                specs.push(Spec::RenameKey { old, new: self.ident()? });
            } else {
                if !self.accept_any(&["TO", "AS"]) {
                    self.accept_punct('=');
                }
                *rename = Some(self.name()?);
            }
            Ok(())
        } else if self.accept_all(&["CONVERT", "TO"]) {
            let mut text = TextAttributes::default();
            if self.accept_all(&["CHARACTER", "SET", "DEFAULT"]) || self.accept_all(&["CHARSET", "DEFAULT"]) {
                return Err(NotUnderstood);
            }
            while self.text_option(&mut text)? {}
            specs.push(Spec::Convert(text));
            Ok(())
        } else if self.accept_all(&["ORDER", "BY"]) {
            self.order_by()
        } else if self.accept_any(&["FORCE"])
            || self.accept_all(&["ENABLE", "KEYS"])
            || self.accept_all(&["DISABLE", "KEYS"])
            || self.accept_all(&["DISCARD", "TABLESPACE"])
            || self.accept_all(&["IMPORT", "TABLESPACE"])
            || self.accept_all(&["WITH", "VALIDATION"])
            || self.accept_all(&["WITHOUT", "VALIDATION"])
            || self.accept_any(&["SECONDARY_LOAD", "SECONDARY_UNLOAD"])
        {
            Ok(())
        } else {
            self.accept("DEFAULT");
            let mut text = TextAttributes::default();
            while self.text_option(&mut text)? {
                self.accept("DEFAULT");
            }
            if text.is_said() {
                specs.push(Spec::Text(text));
                return Ok(());
            }
            if self.table_option()? { Ok(()) } else { Err(NotUnderstood) }
        }
    }

    fn add(&mut self, specs: &mut Vec<Spec>) -> Result<(), NotUnderstood> {
        let says_column = self.accept("COLUMN");
        if !says_column {
            let mut keys = Vec::new();
            // ADD PERIOD FOR …, ADD SYSTEM VERSIONING: columns that no one sees.
            if (self.is("PERIOD") || self.is("SYSTEM"))
                && matches!(self.peek_at(1), Some(t) if t.is_word("FOR") || t.is_word("VERSIONING"))
            {
                return Err(NotUnderstood);
            }
            if self.table_key(&mut keys)? {
                specs.extend(keys.into_iter().map(Spec::AddKey));
                return Ok(());
            }
        }
        let guarded = self.if_not_exists();
        if self.accept_punct('(') {
            loop {
                let mut keys = Vec::new();
                if !self.table_key(&mut keys)? {
                    let (column, more) = self.column()?;
                    specs.push(Spec::Add { column, place: Place::Last, guarded });
                    keys.extend(more);
                }
                specs.extend(keys.into_iter().map(Spec::AddKey));
                if !self.accept_punct(',') {
                    return self.expect_punct(')');
                }
            }
        }
        let (column, keys) = self.column()?;
        let place = self.place(Place::Last)?;
        specs.push(Spec::Add { column, place, guarded });
        specs.extend(keys.into_iter().map(Spec::AddKey));
        Ok(())
    }

    fn place(&mut self, otherwise: Place) -> Result<Place, NotUnderstood> {
        if self.accept("FIRST") {
            Ok(Place::First)
        } else if self.accept("AFTER") {
            Ok(Place::After(self.ident()?))
        } else {
            Ok(otherwise)
        }
    }

    fn drop_spec(&mut self, specs: &mut Vec<Spec>) -> Result<(), NotUnderstood> {
        if self.accept_all(&["PRIMARY", "KEY"]) {
            specs.push(Spec::DropKey(PRIMARY.into()));
        } else if self.accept_any(&["INDEX", "KEY"]) {
            self.if_exists();
            specs.push(Spec::DropKey(self.ident()?));
        } else if self.accept_all(&["FOREIGN", "KEY"]) || self.is_check() {
            self.if_exists();
            self.ident()?;
        } else if self.accept("CONSTRAINT") {
            self.if_exists();
            // Of a unique key, too; the names of other constraints are no names of keys, but for PRIMARY.
            specs.push(Spec::DropKey(self.ident()?));
        } else if self.accept_all(&["SYSTEM", "VERSIONING"]) || self.accept_all(&["PERIOD", "FOR"]) {
            return Err(NotUnderstood);
        } else {
            self.accept("COLUMN");
            let guarded = self.if_exists();
            let column = self.column_name()?;
            self.accept_any(&["RESTRICT", "CASCADE"]);
            specs.push(Spec::Drop { column, guarded });
        }
        Ok(())
    }

    /// DROP CHECK name, and not a column that is called so.
    fn is_check(&mut self) -> bool {
        let is = self.is("CHECK") && matches!(self.peek_at(1), Some(Token::Word(_) | Token::Name(_)));
        self.at += usize::from(is);
        is
    }

    fn alter_column(&mut self, specs: &mut Vec<Spec>) -> Result<(), NotUnderstood> {
        if self.accept_any(&["INDEX", "KEY"]) {
            self.if_exists();
            self.ident()?;
            self.accept("NOT");
            return self.expect_any(&["VISIBLE", "INVISIBLE", "IGNORED"]);
        }
        if self.accept_any(&["CHECK", "CONSTRAINT"]) {
            self.ident()?;
            self.accept("NOT");
            return self.expect("ENFORCED");
        }
        self.accept("COLUMN");
        self.if_exists();
        let column = self.ident()?;
        if self.accept_all(&["DROP", "DEFAULT"]) {
            specs.push(Spec::Default { column, default: Default_::Unsaid });
            return Ok(());
        }
        self.expect("SET")?;
        if self.accept("DEFAULT") {
            specs.push(Spec::Default { column, default: self.default()? });
        } else {
            let visible = self.accept("VISIBLE");
            if !visible {
                self.expect("INVISIBLE")?;
            }
            specs.push(Spec::Visible { column, visible });
        }
        Ok(())
    }

    fn order_by(&mut self) -> Result<(), NotUnderstood> {
        loop {
            self.ident()?;
            // The table's name, and its schema's, may stand before the column's.
            while self.accept_punct('.') {
                self.ident()?;
            }
            self.accept_any(&["ASC", "DESC"]);
            if !self.accept_punct(',') {
                return Ok(());
            }
        }
    }
}
