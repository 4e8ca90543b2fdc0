//! Changes of tables by the statements that [`ddl`](super::ddl) read, as the servers make them.
//!
//! Pure: tables in, tables out. What does not fit the table that is known makes it [`State::Unknown`], never a guess.

use std::collections::BTreeMap;

use super::ddl::{Change, Default_, Definition, Name, NewColumn, NewKey, NotUnderstood, Place, Spec};
use super::names::{Collations, charset_of};
use super::token::Dialect;
use super::types::{self, TextAttributes};
use super::{COLLATION_UNKNOWN, Column, Fill, Generated, IMPLICIT_VERSIONS, Key, PRIMARY, State, Table, is_same_name};

/// What a statement means beside its text.
pub struct Context<'a> {
    pub dialect: Dialect,
    pub collations: &'a Collations,
    /// Default collations that the session has chosen: by the default that they replace.
    pub session: &'a [(u16, u16)],
    /// collation_server of the session; [`COLLATION_UNKNOWN`] if it is not told.
    pub server_collation: u16,
    /// Different for each statement of a binlog.
    pub seed: u64,
    /// For [`State::Unknown`].
    pub statement: &'a str,
    pub at: &'a str,
}

impl Context<'_> {
    fn unknown(&self) -> State {
        State::Unknown { statement: self.statement.into(), at: self.at.into() }
    }

    /// The collation that attributes mean; `otherwise` if they say nothing.
    fn collation(&self, text: &TextAttributes, otherwise: u16) -> u16 {
        let charset = || text.charset.as_deref().or_else(|| charset_of(otherwise));
        match (&text.collation, &text.charset) {
            (Some(collation), _) if collation.eq_ignore_ascii_case("default") => otherwise,
            (Some(collation), _) => self.collations.named(collation, charset()),
            (None, Some(charset)) if charset.eq_ignore_ascii_case("default") => otherwise,
            (None, Some(charset)) if text.binary => self.collations.binary_of(charset),
            (None, Some(charset)) => self.collations.default_of(charset, self.session),
            (None, None) if text.binary => charset_of(otherwise).map_or(COLLATION_UNKNOWN, |c| self.collations.binary_of(c)),
            (None, None) => otherwise,
        }
    }
}

/// Under this name in a schema stands what the schema itself has: the collation of its new tables.
pub fn schema_itself(schema: &str) -> Name {
    Name { schema: schema.into(), table: "".into() }
}

/// The tables whose states [`apply`] looks at.
pub fn looks_at(change: &Change) -> Vec<Name> {
    match change {
        Change::Create { table, .. } => vec![table.clone(), schema_itself(&table.schema)],
        Change::CreateLike { table, like, .. } => vec![table.clone(), like.clone()],
        Change::Alter { table, rename, .. } => {
            [Some(table.clone()), Some(schema_itself(&table.schema)), rename.clone()].into_iter().flatten().collect()
        }
        Change::Rename(pairs) => pairs.iter().flat_map(|(a, b)| [a.clone(), b.clone()]).collect(),
        Change::Drop(names) => names.clone(),
        Change::Truncate(_) | Change::DropSchema(_) => Vec::new(),
        Change::Schema { schema, .. } => vec![schema_itself(schema)],
    }
}

/// The tables that a change is about, as far as it names them: for who follows them.
pub fn touches(change: &Change) -> Vec<Name> {
    match change {
        Change::Create { table, .. } | Change::CreateLike { table, .. } | Change::Truncate(table) => vec![table.clone()],
        Change::Alter { table, rename, .. } => [Some(table.clone()), rename.clone()].into_iter().flatten().collect(),
        Change::Rename(pairs) => pairs.iter().flat_map(|(a, b)| [a.clone(), b.clone()]).collect(),
        Change::Drop(names) => names.clone(),
        Change::DropSchema(_) | Change::Schema { .. } => Vec::new(),
    }
}

/// The states that a change makes of those before it, each of which may be absent: not known, or no table at all.
pub fn apply(change: &Change, before: &BTreeMap<Name, State>, context: &Context<'_>) -> BTreeMap<Name, State> {
    let mut after = BTreeMap::new();
    match change {
        Change::Create { table, guarded, definition } => match before.get(table) {
            Some(State::Known(_)) if *guarded => {}
            Some(State::Unknown { .. }) if *guarded => {
                after.insert(table.clone(), context.unknown());
            }
            _ => {
                let collation = match before.get(&schema_itself(&table.schema)) {
                    Some(State::Known(schema)) => schema.collation,
                    _ => COLLATION_UNKNOWN,
                };
                let made = create(definition, collation, context).map_or_else(|NotUnderstood| context.unknown(), State::Known);
                after.insert(table.clone(), made);
            }
        },
        Change::CreateLike { table, like, guarded } => match (before.get(table), before.get(like)) {
            (Some(State::Known(_)), _) if *guarded => {}
            (Some(State::Unknown { .. }), _) if *guarded => {
                after.insert(table.clone(), context.unknown());
            }
            (_, Some(State::Known(model))) => {
                after.insert(table.clone(), State::Known(model.clone()));
            }
            _ => {
                after.insert(table.clone(), context.unknown());
            }
        },
        Change::Alter { table, specs, rename, .. } => {
            let altered = match before.get(table) {
                Some(State::Known(known)) => {
                    alter(known, specs, context).map_or_else(|NotUnderstood| context.unknown(), State::Known)
                }
                // What nobody knows does not become less known.
                None if rename.is_none() => return after,
                _ => context.unknown(),
            };
            if let Some(new) = rename.as_ref().filter(|new| *new != table) {
                after.insert(table.clone(), State::Dropped);
                after.insert(new.clone(), altered);
            } else {
                after.insert(table.clone(), altered);
            }
        }
        Change::Rename(pairs) => {
            for (old, new) in pairs {
                let moved = after.get(old).or_else(|| before.get(old)).cloned();
                let moved = moved.filter(|state| *state != State::Dropped).unwrap_or_else(|| context.unknown());
                after.insert(old.clone(), State::Dropped);
                after.insert(new.clone(), moved);
            }
        }
        Change::Drop(names) => after.extend(names.iter().map(|name| (name.clone(), State::Dropped))),
        Change::Truncate(_) | Change::DropSchema(_) => {}
        Change::Schema { schema, text, is_new, .. } => {
            let name = schema_itself(schema);
            let otherwise = match before.get(&name) {
                Some(State::Known(known)) if !*is_new => known.collation,
                _ if *is_new => context.server_collation,
                _ => COLLATION_UNKNOWN,
            };
            let table = Table { collation: context.collation(text, otherwise), ..Table::default() };
            after.insert(name, State::Known(table));
        }
    }
    after
}

/// Servers have no table of more columns, and no statement changes more of them.
const COLUMNS_MAX: usize = 4096;

fn create(definition: &Definition, schema_collation: u16, context: &Context<'_>) -> Result<Table, NotUnderstood> {
    if definition.columns.len() > COLUMNS_MAX {
        return Err(NotUnderstood);
    }
    let collation = context.collation(&definition.text, schema_collation);
    let mut table = Table { columns: Vec::new(), keys: Vec::new(), collation };
    for new in &definition.columns {
        let column = column(new, &table, context, table.columns.len())?;
        if table.column(&column.name).is_some() {
            return Err(NotUnderstood);
        }
        table.columns.push(Column { fill: None, ..column });
    }
    for key in &definition.keys {
        add_key(&mut table, key)?;
    }
    Ok(table)
}

/// A column of a statement. `ordinal` tells apart the columns of one statement.
fn column(new: &NewColumn, table: &Table, context: &Context<'_>, ordinal: usize) -> Result<Column, NotUnderstood> {
    let collation = if new.data_type.is_text() { context.collation(&new.text, table.collation) } else { COLLATION_UNKNOWN };
    let (column_type, collation) = new.data_type.resolve(collation);
    let is_timestamp = column_type.starts_with("timestamp");
    let old_timestamps = match context.dialect.mariadb {
        true => context.dialect.version < 101_000,
        false => context.dialect.version < 80_002,
    };
    let nullable = new.nullable.unwrap_or(!(is_timestamp && old_timestamps));
    let fill = match &new.default {
        _ if new.generated != Generated::Not => Fill::Computed,
        Default_::Null => Fill::Null,
        // The server makes text of it in its own way.
        Default_::Number(_) if new.data_type.is_text() => Fill::Computed,
        Default_::Value(value) | Default_::Number(value) => Fill::Value(value.clone()),
        Default_::Computed => Fill::Computed,
        Default_::Unsaid if nullable => Fill::Null,
        Default_::Unsaid => implicit(&column_type),
    };
    Ok(Column {
        id: id(context.seed, ordinal as u64),
        name: new.name.clone(),
        column_type,
        collation,
        nullable,
        generated: new.generated,
        invisible: new.invisible,
        default: Some(fill.clone()),
        fill: Some(fill),
    })
}

/// Spreads seeds, so that columns of different statements differ (the finalizer of SplitMix64).
pub(super) fn id(seed: u64, ordinal: u64) -> u64 {
    let mut z = (seed ^ ordinal.rotate_left(48)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// What a NOT NULL column without a default has in old rows.
fn implicit(column_type: &str) -> Fill {
    let word = column_type.split([' ', '(']).next().unwrap_or_default();
    match word {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "float" | "double" => Fill::Value("0".into()),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => Fill::Value("".into()),
        // Zero dates, first members, zero bytes and the like: no two kinds of targets have them the same.
        _ => Fill::Computed,
    }
}

fn add_key(table: &mut Table, new: &NewKey) -> Result<(), NotUnderstood> {
    let mut columns = Vec::with_capacity(new.parts.columns.len());
    for name in &new.parts.columns {
        let at = table.column(name).ok_or(NotUnderstood)?;
        if &*new.name == PRIMARY {
            table.columns[at].nullable = false;
        }
        columns.push(table.columns[at].name.clone());
    }
    let exists = |name: &str| table.keys.iter().any(|k| is_same_name(&k.name, name));
    if new.guarded && exists(&new.name) {
        return Ok(());
    }
    let name = if new.name.is_empty() {
        let first = columns.first().filter(|_| !new.parts.is_functional);
        let first: Box<str> = first.cloned().unwrap_or_else(|| "functional_index".into());
        // Names of keys that are not unique are not known; what the server chose beside them matters only for their order.
        let numbered = (2..).map(|n| format!("{first}_{n}").into_boxed_str());
        let mut names = std::iter::once(first.clone()).chain(numbered);
        names.find(|name| !exists(name) && !is_same_name(name, PRIMARY)).unwrap_or(first)
    } else {
        new.name.clone()
    };
    table.keys.push(Key { name, columns, is_whole: !new.parts.is_partial });
    Ok(())
}

/// ALTER TABLE. First what is dropped, changed or kept, in the old order; then what has a place of its own, in the statement's.
fn alter(old: &Table, specs: &[Spec], context: &Context<'_>) -> Result<Table, NotUnderstood> {
    if specs.len() > 2 * COLUMNS_MAX {
        return Err(NotUnderstood);
    }
    let mut table = old.clone();
    // They stay the last, and are in every key.
    if table.columns.last().is_some_and(|c| c.invisible && &*c.name == IMPLICIT_VERSIONS[1]) {
        return Err(NotUnderstood);
    }
    for spec in specs {
        match spec {
            Spec::Text(text) => table.collation = context.collation(text, table.collation),
            Spec::Convert(text) => convert(&mut table, text, context)?,
            Spec::DropKey(name) => table.keys.retain(|k| !is_same_name(&k.name, name)),
            Spec::RenameKey { old, new } => {
                table.keys.iter_mut().filter(|k| is_same_name(&k.name, old)).for_each(|k| k.name = new.clone());
            }
            Spec::Default { column, default } => {
                let at = table.column(column).ok_or(NotUnderstood)?;
                table.columns[at].default = match default {
                    Default_::Null => Some(Fill::Null),
                    Default_::Number(_) if table.columns[at].collation.is_some() => Some(Fill::Computed),
                    Default_::Value(value) | Default_::Number(value) => Some(Fill::Value(value.clone())),
                    Default_::Computed => Some(Fill::Computed),
                    Default_::Unsaid => None,
                };
            }
            Spec::Visible { column, visible } => {
                let at = table.column(column).ok_or(NotUnderstood)?;
                table.columns[at].invisible = !visible;
            }
            Spec::Add { .. } | Spec::Change { .. } | Spec::Drop { .. } | Spec::RenameColumn { .. } | Spec::AddKey(_) => {}
        }
    }
    let mut columns: Vec<Column> = Vec::new();
    let mut placed: Vec<(usize, Column, &Place)> = Vec::new();
    let mut renamed: Vec<(Box<str>, Box<str>)> = Vec::new();
    let mut used = vec![false; specs.len()];
    for before in &table.columns {
        let mut kept = Some(before.clone());
        for (n, spec) in specs.iter().enumerate() {
            match spec {
                Spec::Drop { column, .. } if is_same_name(column, &before.name) => {
                    used[n] = true;
                    kept = None;
                }
                Spec::RenameColumn { old, new } if is_same_name(old, &before.name) => {
                    used[n] = true;
                    kept = kept.map(|c| Column { name: new.clone(), ..c });
                    renamed.push((before.name.clone(), new.clone()));
                }
                Spec::Change { old, column: new, place, .. } if is_same_name(old, &before.name) => {
                    used[n] = true;
                    let changed = column(new, &table, context, n)?;
                    let changed = Column { id: before.id, fill: before.fill.clone(), ..changed };
                    if *before.name != *changed.name {
                        renamed.push((before.name.clone(), changed.name.clone()));
                    }
                    // Until its turn comes it stands where it was: other columns are placed behind it there.
                    if *place != Place::Same {
                        placed.push((n, changed.clone(), place));
                    }
                    kept = Some(changed);
                }
                _ => {}
            }
        }
        columns.extend(kept);
    }
    for (n, spec) in specs.iter().enumerate() {
        match spec {
            Spec::Add { column: new, place, guarded } => {
                if *guarded && table.column(&new.name).is_some() {
                    continue;
                }
                placed.push((n, column(new, &table, context, n)?, place));
            }
            Spec::Drop { guarded, .. } | Spec::Change { guarded, .. } if !used[n] && !guarded => return Err(NotUnderstood),
            Spec::RenameColumn { .. } if !used[n] => return Err(NotUnderstood),
            _ => {}
        }
    }
    // In the statement's order, though they were found in the table's.
    placed.sort_by_key(|(n, ..)| *n);
    for (_, column, place) in placed {
        columns.retain(|c| c.id != column.id);
        if columns.iter().any(|c| is_same_name(&c.name, &column.name)) {
            return Err(NotUnderstood);
        }
        match place {
            Place::First => columns.insert(0, column),
            Place::After(name) => {
                let at = columns.iter().position(|c| is_same_name(&c.name, name)).ok_or(NotUnderstood)?;
                columns.insert(at + 1, column);
            }
            Place::Last | Place::Same => columns.push(column),
        }
    }
    table.columns = columns;
    rename_in_keys(&mut table, &renamed);
    for spec in specs {
        if let Spec::AddKey(key) = spec {
            add_key(&mut table, key)?;
        }
    }
    // Columns of a primary key are NOT NULL, whatever MODIFY leaves unsaid.
    let primary: Vec<Box<str>> = table.keys.iter().filter(|k| &*k.name == PRIMARY).flat_map(|k| k.columns.clone()).collect();
    table.columns.iter_mut().filter(|c| primary.contains(&c.name)).for_each(|c| c.nullable = false);
    if table.columns.is_empty() { Err(NotUnderstood) } else { Ok(table) }
}

/// Columns that are gone leave their keys; a key without columns goes, too.
fn rename_in_keys(table: &mut Table, renamed: &[(Box<str>, Box<str>)]) {
    let columns = &table.columns;
    for key in &mut table.keys {
        for name in &mut key.columns {
            if let Some((_, new)) = renamed.iter().find(|(old, _)| is_same_name(old, name)) {
                *name = new.clone();
            }
        }
        key.columns.retain(|name| columns.iter().any(|c| is_same_name(&c.name, name)));
    }
    table.keys.retain(|key| !key.columns.is_empty());
}

fn convert(table: &mut Table, text: &TextAttributes, context: &Context<'_>) -> Result<(), NotUnderstood> {
    let to = context.collation(text, table.collation);
    if charset_of(to) == Some("binary") {
        return Err(NotUnderstood);
    }
    table.collation = to;
    for column in &mut table.columns {
        if let Some(from) = column.collation {
            column.column_type = types::converted(&column.column_type, from, to);
            column.collation = Some(to);
        }
    }
    Ok(())
}
