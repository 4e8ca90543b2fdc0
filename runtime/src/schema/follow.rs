//! From a statement at the source to what targets are to do: `ddl = "follow"`.
//!
//! Pure. By the identity of columns a rename is told from a column that went and another that came, and what an online schema change
//! swaps in is told from another table. What is not known is an error, never a guess.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ddl::{Change, Name, Spec};
use super::history::{Altered as Version, Applied};
use super::{Column, Fill, Generated, State, Table};
use crate::alteration::{Altered, Constant, Conversion, Origin, TableChange, conversion};
use crate::change::{KeyOrigin, Relation, SourceType};

pub mod constant;

/// What a statement comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    pub tables: Vec<TableChange>,
    /// Tables whose rows have values now that only the source knows: they are read again.
    pub reads: Vec<Again>,
}

/// A table that is to be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    pub name: Name,
    /// False: its rows replace no others, so that those that the target has go first.
    pub has_key: bool,
}

/// Which tables the pipeline follows, and what it can do.
pub struct Following<'a> {
    pub follows: &'a dyn Fn(&Name) -> bool,
    /// A helper of an online schema change.
    pub is_shadow: &'a dyn Fn(&Name) -> bool,
    /// There is a server whose tables can be read.
    pub can_read: bool,
    /// See [`Alteration::is_strict`](crate::alteration::Alteration::is_strict).
    pub is_strict: bool,
}

/// What `applied` changes of followed tables. The error says why it cannot be told.
pub fn carry(applied: &Applied, following: &Following<'_>) -> Result<Carried, String> {
    let mut carried = Carried::default();
    let follows = following.follows;
    let versions: BTreeMap<&Name, &Version> = applied.altered.iter().map(|version| (&version.name, version)).collect();
    match &applied.change {
        None => {
            if applied.touched.iter().any(follows) {
                return Err("it is not understood".to_owned());
            }
        }
        Some(Change::Truncate(name)) => carried.tables.extend(follows(name).then(|| TableChange::Empty(name.clone()))),
        Some(Change::Drop(names)) => {
            carried.tables.extend(names.iter().filter(|name| follows(name)).map(|name| TableChange::Drop(name.clone())));
        }
        Some(Change::DropSchema(_) | Change::Schema { .. }) => {
            let dropped = applied.altered.iter().filter(|version| follows(&version.name) && version.after == State::Dropped);
            carried.tables.extend(dropped.map(|version| TableChange::Drop(version.name.clone())));
        }
        Some(Change::Create { table, .. } | Change::CreateLike { table, .. }) => {
            if let Some(version) = versions.get(table).filter(|_| follows(table)) {
                if matches!(version.before, Some(State::Known(_) | State::Unknown { .. })) {
                    carried.tables.push(TableChange::Drop(table.clone()));
                }
                carried.tables.push(TableChange::Create(created(table, &version.after)?));
            }
        }
        Some(Change::Rename(pairs)) => renamed(pairs, &[], &versions, following, &mut carried)?,
        Some(Change::Alter { table, specs, rename, ignore }) => {
            if *ignore && follows(table) && specs.iter().any(|s| matches!(s, Spec::AddKey(_) | Spec::Change { .. })) {
                return Err("with IGNORE it takes rows and values away that are in its way".to_owned());
            }
            if follows(table) && !specs.is_empty() && !versions.contains_key(table) {
                carried.tables.push(TableChange::Unknown(table.clone()));
            }
            let pairs = [(table.clone(), rename.clone().unwrap_or_else(|| table.clone()))];
            renamed(&pairs, specs, &versions, following, &mut carried)?;
        }
    }
    Ok(carried)
}

/// Tables that are altered, get other names, or both.
fn renamed(
    pairs: &[(Name, Name)],
    specs: &[Spec],
    versions: &BTreeMap<&Name, &Version>,
    following: &Following<'_>,
    carried: &mut Carried,
) -> Result<(), String> {
    let follows = following.follows;
    // Name → the name that its table had before the statement; `None`: no table has it.
    let mut now: BTreeMap<&Name, Option<&Name>> = BTreeMap::new();
    for (old, new) in pairs {
        let table = *now.get(old).unwrap_or(&Some(old));
        now.insert(old, None);
        now.insert(new, table);
    }
    let end_of = |old: &Name| now.iter().find(|(_, table)| **table == Some(old)).map(|(name, _)| *name);
    let (mut moves, mut rest) = (Vec::new(), Vec::new());
    for (&name, &table) in &now {
        let Some(old) = table else { continue };
        let before = versions.get(old).and_then(|v| v.before.as_ref());
        let after = versions.get(name).map(|v| &v.after);
        match (follows(old), follows(name)) {
            (true, true) => {
                if old != name {
                    moves.push((old.clone(), name.clone()));
                }
                if specs.is_empty() && (before.is_none() || matches!(before, Some(State::Unknown { .. }))) {
                    // A new name alone.
                    continue;
                }
                alter(name, before, after, specs, following, &mut rest, carried)?;
            }
            // An online change: the table goes on with what its copy has become.
            (true, false) if now.get(old).copied().flatten().is_some_and(following.is_shadow) => {}
            (true, false) => return Err(format!("it gives the table a name that is not followed, `{name}`")),
            (false, true) => {
                let was = versions.get(name).and_then(|v| v.before.as_ref());
                let is_replaced = (following.is_shadow)(old) && matches!(was, Some(State::Known(_)));
                if is_replaced && end_of(name).is_some_and(|end| !follows(end)) {
                    // The tool has copied the rows, and converts values in its own way.
                    if is_recomputed(was, after) {
                        read_if_possible(name, after, following, carried);
                    }
                    alter(name, was, after, &[], following, &mut rest, carried)?;
                    continue;
                }
                let after = after.ok_or("the table's columns are not known")?;
                rest.push(TableChange::Create(created(name, after)?));
                read(name, Some(after), following, carried)?;
            }
            (false, false) => {}
        }
    }
    if !moves.is_empty() {
        carried.tables.push(TableChange::Rename(moves));
    }
    carried.tables.append(&mut rest);
    Ok(())
}

fn created(name: &Name, after: &State) -> Result<Arc<Relation>, String> {
    match after {
        State::Known(table) => relation(name, table).map(Arc::new),
        State::Unknown { .. } | State::Dropped => Err("it is not understood".to_owned()),
    }
}

fn relation(name: &Name, table: &Table) -> Result<Relation, String> {
    let relation = table.info().relation(&name.schema, &name.table);
    let relation = relation.map_err(|column| format!("the type of column `{column}` is not known"))?;
    // Equal ones are equal.
    Ok(Relation { id: 0, ..relation })
}

/// The table has values that only the source knows.
fn read(name: &Name, after: Option<&State>, following: &Following<'_>, carried: &mut Carried) -> Result<(), String> {
    let has_key = match after {
        Some(State::Known(table)) => relation(name, table)?.key_origin != KeyOrigin::WholeRow,
        _ => false,
    };
    if !following.can_read {
        return Err("the table has values then that only the source knows, and there is no server to read it from".to_owned());
    }
    if !carried.reads.iter().any(|again| again.name == *name) {
        carried.reads.push(Again { name: name.clone(), has_key });
    }
    Ok(())
}

/// As [`read`]; where it is not possible, the target's own conversion is all there is.
fn read_if_possible(name: &Name, after: Option<&State>, following: &Following<'_>, carried: &mut Carried) {
    if following.can_read {
        let _ = read(name, after, following, carried);
    }
}

/// A copy may have other values than the table had: of columns with another type, or that are computed.
fn is_recomputed(before: Option<&State>, after: Option<&State>) -> bool {
    let (Some(State::Known(before)), Some(State::Known(after))) = (before, after) else { return false };
    let is_other = |column: &Column| {
        let was = before.columns.iter().find(|c| c.id == column.id);
        column.generated != Generated::Not || was.is_some_and(|was| was.column_type != column.column_type)
    };
    after.columns.iter().any(is_other)
}

/// Other columns of a table.
fn alter(
    name: &Name,
    before: Option<&State>,
    after: Option<&State>,
    specs: &[Spec],
    following: &Following<'_>,
    changes: &mut Vec<TableChange>,
    carried: &mut Carried,
) -> Result<(), String> {
    let (before, after_table) = match (before, after) {
        (None, None) => return Ok(()),
        (Some(State::Known(before)), Some(State::Known(after))) => (before, after),
        (Some(State::Known(_)), _) => return Err("it is not understood".to_owned()),
        _ => {
            changes.push(TableChange::Unknown(name.clone()));
            return Ok(());
        }
    };
    let relations = (Arc::new(relation(name, before)?), Arc::new(relation(name, after_table)?));
    let (mut origins, mut has_computed, mut is_changed) = (Vec::new(), false, false);
    let (mut is_retyped, mut has_other) = (false, false);
    for (at, column) in after_table.columns.iter().enumerate() {
        let def = &relations.1.columns[at];
        if let Some(was) = before.columns.iter().position(|c| c.id == column.id) {
            let old = &relations.0.columns[was];
            let (from, to) = (&old.source_type, &def.source_type);
            is_retyped |= from != to;
            // What servers do differently, or by the session's time zone, is left to the source.
            has_other |= conversion(from, to, following.is_strict) == Conversion::Other;
            // FLOAT(7,4) rounds.
            let is_float = matches!(to, SourceType::Float | SourceType::Double);
            has_other |= is_float && before.columns[was].column_type != column.column_type && from == to;
            is_changed |= old.name != def.name || (def.nullable && !old.nullable);
            // What a statement in a lenient session does with NULLs is not logged row by row.
            has_computed |= old.nullable && !def.nullable && !following.is_strict;
            has_computed |= column.generated != Generated::Not && before.columns[was].generated == Generated::Not;
            origins.push(Origin::Was(was));
            continue;
        }
        is_changed = true;
        let is_key = relations.1.key.contains(&(at as u16));
        origins.push(Origin::New(match constant(column, &def.source_type) {
            Some(constant) => constant,
            None if is_key => {
                return Err(format!(
                    "only the source knows the values of `{}`, which is in the key (empty the target's table, give it the column, and \
                     read it again by `tidegate snapshot`)",
                    column.name
                ));
            }
            None => {
                has_computed = true;
                Constant::Null
            }
        }));
        if def.source_type.collation() == Some(super::COLLATION_UNKNOWN) {
            return Err(format!("the character set of `{}` is not known", column.name));
        }
    }
    let defines = |spec: &Spec| matches!(spec, Spec::Change { column, .. } if column.generated != Generated::Not);
    has_computed |= specs.iter().any(defines);
    has_computed |= is_retyped && after_table.columns.iter().any(|c| c.generated != Generated::Not);
    let altered = Altered { before: relations.0, after: relations.1, origins };
    let is_gone = (0..before.columns.len()).any(|column| altered.becomes(column).is_none());
    if has_computed {
        read(name, after, following, carried)?;
    } else if has_other {
        read_if_possible(name, after, following, carried);
    }
    if is_changed || is_retyped || is_gone || altered.is_key_changed() {
        changes.push(TableChange::Alter(altered));
    }
    Ok(())
}

/// The relations that a table was and is, as far as they are known.
pub fn relations(version: &Version) -> Vec<Relation> {
    let states = [version.before.as_ref(), Some(&version.after)].into_iter().flatten();
    states.filter_map(|state| known(&version.name, state)).collect()
}

/// The relation of a table that is known.
pub fn known(name: &Name, state: &State) -> Option<Relation> {
    match state {
        State::Known(table) => relation(name, table).ok(),
        State::Unknown { .. } | State::Dropped => None,
    }
}

/// What rows that are older than a column hold in it. `None`: only the source knows.
fn constant(column: &Column, source_type: &SourceType) -> Option<Constant> {
    let is_rounded = matches!(source_type, SourceType::Float | SourceType::Double) && column.column_type.contains('(');
    match &column.fill {
        Some(Fill::Value(_)) if is_rounded => None,
        Some(Fill::Null) => Some(Constant::Null),
        Some(Fill::Value(text)) => constant::of(text, source_type),
        Some(Fill::Computed) | None => None,
    }
}
