//! The schema history of a pipeline: which columns each table had at which position.
//!
//! Between the decoder and the cursor store. A version is what a table became by a statement, by what the server said at a position at
//! which that is proven ([`scan`](super::scan)), or by hand. The versions of a table that lie before the cursor are one: what is older than
//! the newest of them is dropped. A version is durable before anything behind it is settled: call [`History::flush`] before a batch or a
//! mark leaves.
//!
//! Memory: the tables that this run has met, [`TABLES_MAX`] at most; the rest is in the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::apply::{self, Context, schema_itself};
use super::ddl::{self, Change, Name};
use super::followed::Followed;
use super::names::Collations;
use super::scan::{Ahead, Place, named, place};
use super::token::{Dialect, tokens};
use super::{State, Table, follow};
use crate::change::Relation;
use crate::cursor::CursorError;
use crate::cursor::histories::{Histories, Span, VersionKey};
use crate::position::{Position, file_number};
use crate::source::binlog::plan;
use crate::source::binlog::statement;
use crate::source::binlog::table_map::TableMap;
use crate::source::mysql::Server;
use crate::source::{Failure, Source, SourceError, TableInfo};

/// Tables that are remembered beside the store; beyond it all are forgotten and read again.
const TABLES_MAX: usize = 16_384;
/// When this much of the binlog lies ahead at the first start, tables are described when the first row needs it.
const AHEAD_BYTES_MAX: u64 = 64 << 20;

/// What made a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    Statement,
    Server,
    Hand,
}

/// What a table was from a position on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    pub at: Position,
    /// It holds wherever the pipeline goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_first: bool,
    pub origin: Origin,
    pub state: State,
}

impl Version {
    fn holds_at(&self, position: &Position) -> bool {
        self.is_first || position.covers(&self.at)
    }

    /// It comes behind `other` in the history.
    fn is_after(&self, other: &Version) -> bool {
        !self.is_first && (other.is_first || self.at.covers(&other.at))
    }
}

/// A statement that defines tables, as it stands in the binlog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ddl {
    pub text: String,
    /// The default schema.
    pub schema: String,
    pub sql_mode: u64,
    pub server_collation: u16,
    pub collations: Vec<(u16, u16)>,
    pub file: Arc<str>,
    pub offset: u64,
    /// Behind it.
    pub next: u64,
    /// It takes rows away that are not logged one by one.
    pub empties: bool,
    /// With which it ended at the source; 0: it succeeded.
    pub error: u16,
}

/// What a statement does to a table. `before`: `None` if it was not known, or was not there.
#[derive(Clone, Debug)]
pub struct Altered {
    pub name: Name,
    pub before: Option<State>,
    pub after: State,
}

/// What became of a statement.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// `None`: it is not understood.
    pub change: Option<Change>,
    pub altered: Vec<Altered>,
    /// The tables that it names, altered or not.
    pub touched: Vec<Name>,
    /// Followed tables that it makes of others, which are not followed: rows that were never seen have come with them.
    pub renamed_in: Vec<Name>,
}

/// Why the columns of a table are not known.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error(transparent)]
    Cursor(#[from] CursorError),
    #[error(transparent)]
    Source(#[from] SourceError),
}

pub struct History {
    kept: Histories,
    source: Arc<Source>,
    followed: Followed,
    dialect: Dialect,
    collations: Collations,
    /// As of where reading stands.
    now: HashMap<Name, Option<State>>,
    ahead: Ahead,
    is_dirty: bool,
    /// The server has not been asked yet about all followed tables.
    is_first_asked: bool,
}

impl History {
    /// The history of a pipeline that begins to read at `position`. `whole`: it has to know the tables that no row asks about.
    pub async fn open(
        kept: Histories,
        source: Arc<Source>,
        followed: Followed,
        position: &Position,
        whole: bool,
    ) -> Result<History, HistoryError> {
        let mut dialect = Dialect::of_version(&source.version().await?);
        let server = source.server().cloned();
        if let Some(server) = &server {
            dialect.lower_names = server.lowers_names().await.map_err(|f| source.error(f))?;
        }
        let collations = match &server {
            Some(server) => server.collations().await.map_err(|f| source.error(f))?,
            None => Collations::of_version(dialect.mariadb, dialect.version),
        };
        let span = kept.span()?.filter(|span| position.covers(&span.since));
        let mut history = History {
            kept,
            source: Arc::clone(&source),
            followed,
            dialect,
            collations,
            now: HashMap::new(),
            ahead: Ahead::default(),
            is_dirty: false,
            is_first_asked: span.is_some(),
        };
        if let Some(span) = span {
            history.compact_all()?;
            if whole && !span.is_whole {
                history.learn(position).await?;
            }
            return Ok(history);
        }
        history.kept.clear()?;
        history.kept.set_span(&Span { since: position.clone(), reached: position.clone(), is_whole: false })?;
        if whole {
            history.learn(position).await?;
        } else if let Some(server) = server
            && server.logs_in_part().await.map_err(|f| source.error(f))?
        {
            let end = server.end().await.map_err(|f| source.error(f))?;
            if end.file == position.file && end.offset.saturating_sub(position.offset) < AHEAD_BYTES_MAX {
                history.ask_first(&server, position).await?;
            }
        }
        history.flush()?;
        Ok(history)
    }

    /// Asks the server about all tables, of which some are not known. Where all were described, it is remembered.
    pub async fn learn(&mut self, executed: &Position) -> Result<(), HistoryError> {
        let Some(server) = self.source.server().cloned() else { return Ok(()) };
        if self.ask_first(&server, executed).await?
            && let Some(span) = self.kept.span()?
        {
            self.kept.set_span(&Span { is_whole: true, ..span })?;
        }
        Ok(self.kept.flush()?)
    }

    /// True if there may be followed tables that are not known.
    pub fn is_whole(&self) -> Result<bool, CursorError> {
        Ok(self.source.server().is_none() || self.kept.span()?.is_some_and(|span| span.is_whole))
    }

    /// Makes durable what was written.
    pub fn flush(&mut self) -> Result<(), CursorError> {
        if std::mem::take(&mut self.is_dirty) {
            self.kept.flush()?;
        }
        Ok(())
    }

    /// What is known of a table where reading stands, which is `executed`.
    pub fn state(&mut self, name: &Name, executed: &Position) -> Result<Option<State>, CursorError> {
        if let Some(state) = self.now.get(name) {
            return Ok(state.clone());
        }
        let versions = self.versions(name)?;
        let state = newest(&versions, executed).map(|(_, version)| version.state.clone());
        self.remember(name, state.clone());
        Ok(state)
    }

    fn remember(&mut self, name: &Name, state: Option<State>) {
        if self.now.len() >= TABLES_MAX {
            self.now.clear();
        }
        self.now.insert(name.clone(), state);
    }

    fn versions(&self, name: &Name) -> Result<Vec<(VersionKey, Version)>, CursorError> {
        let parse = |(key, value): (VersionKey, Vec<u8>)| {
            let version = serde_json::from_slice(&value).map_err(|e| self.kept.damaged(&e))?;
            Ok((key, version))
        };
        self.kept.of_table(&name.schema, &name.table)?.into_iter().map(parse).collect()
    }

    /// Takes in a statement; `after` is the position behind it.
    pub fn apply(&mut self, ddl: &Ddl, executed: &Position, after: &Position) -> Result<Applied, CursorError> {
        let dialect = self.dialect.with_sql_mode(ddl.sql_mode);
        let tokens = tokens(&ddl.text, &dialect);
        let at = format!("{}:{}", ddl.file, ddl.offset);
        let shown = shown(&ddl.text);
        let mut before = BTreeMap::new();
        let mut touched = named(statement::parse_tokens(&ddl.text, &tokens), &ddl.schema, &dialect);
        let mut renamed_in = Vec::new();
        let change = ddl::read(&tokens, &dialect, &ddl.schema).unwrap_or(None);
        let mut made = BTreeMap::new();
        if let Some(Change::DropSchema(schema) | Change::Schema { schema, replaces: true, .. }) = &change {
            let mut tables = self.kept.tables_of(schema)?;
            tables.extend(self.now.keys().filter(|name| name.schema == *schema).map(|name| name.table.to_string()));
            touched.extend(tables.into_iter().map(|t| Name { schema: schema.clone(), table: t.into() }));
            made = touched.iter().map(|name| (name.clone(), State::Dropped)).collect();
        }
        match &change {
            Some(Change::DropSchema(_)) => {}
            Some(change) => {
                touched.extend(apply::touches(change));
                renamed_in = self.renamed_in(change);
                for name in apply::looks_at(change) {
                    if let Some(state) = self.state(&name, executed)? {
                        before.insert(name, state);
                    }
                }
                let context = Context {
                    dialect,
                    collations: &self.collations,
                    session: &ddl.collations,
                    server_collation: ddl.server_collation,
                    seed: statement_number(&ddl.file, ddl.offset),
                    statement: &shown,
                    at: &at,
                };
                made.extend(apply::apply(change, &before, &context));
                self.recognize(change, &mut made, executed)?;
            }
            None => {
                let unknown = State::Unknown { statement: shown.as_str().into(), at: at.as_str().into() };
                made = touched.iter().map(|name| (name.clone(), unknown.clone())).collect();
            }
        }
        let mut altered = Vec::new();
        for (name, state) in made {
            let was = match before.remove(&name) {
                Some(was) => Some(was),
                None => self.state(&name, executed)?,
            };
            let is_new = was.is_none() || was == Some(State::Dropped);
            let is_nothing = match &state {
                State::Known(_) => false,
                State::Dropped => is_new,
                State::Unknown { .. } => is_new && !self.followed.concerns(&name.schema, &name.table),
            };
            if is_nothing {
                continue;
            }
            let version = Version { at: after.clone(), is_first: false, origin: Origin::Statement, state };
            let after = self.put(&name, version)?;
            altered.push(Altered { name, before: was, after });
        }
        let (since, was_whole) = self.kept.span()?.map_or_else(|| (after.clone(), false), |span| (span.since, span.is_whole));
        let is_unknown = |name: &Name| match altered.iter().find(|altered| altered.name == *name) {
            Some(altered) => matches!(altered.after, State::Unknown { .. }),
            None => matches!(change, Some(Change::Alter { .. })),
        };
        let is_whole = was_whole && !touched.iter().any(|name| self.follows(name) && is_unknown(name));
        self.kept.set_span(&Span { since, reached: after.clone(), is_whole })?;
        self.is_dirty = true;
        touched.extend(altered.iter().map(|a| a.name.clone()));
        touched.sort();
        touched.dedup();
        Ok(Applied { change, altered, touched, renamed_in })
    }

    /// A helper table of an online change that is written out is a copy all the same, as pt-online-schema-change makes it: its columns are
    /// those of the followed table.
    fn recognize(&mut self, change: &Change, made: &mut BTreeMap<Name, State>, executed: &Position) -> Result<(), CursorError> {
        let Change::Create { table: name, .. } = change else { return Ok(()) };
        for original in self.followed.originals(&name.schema, &name.table) {
            let original = Name { schema: name.schema.clone(), table: original };
            let known = self.state(&original, executed)?;
            if let (Some(State::Known(original)), Some(State::Known(copy))) = (known, made.get_mut(name)) {
                for column in &mut copy.columns {
                    if let Some(at) = original.column(&column.name) {
                        column.id = original.columns[at].id;
                    }
                }
            }
        }
        Ok(())
    }

    /// A table of which rows have been read, unless it is known.
    pub fn take_down(&mut self, relation: &Relation, executed: &Position) -> Result<(), CursorError> {
        let name = Name { schema: relation.schema.clone(), table: relation.table.clone() };
        if matches!(self.state(&name, executed)?, Some(State::Known(_))) {
            return Ok(());
        }
        let table = Table::of_relation(relation, statement_number(&executed.file, executed.offset));
        let version = Version { at: executed.clone(), is_first: false, origin: Origin::Server, state: State::Known(table) };
        self.put(&name, version).map(drop)
    }

    /// The followed tables that there are where reading stands.
    pub fn tables(&mut self, executed: &Position) -> Result<Vec<Name>, CursorError> {
        let mut names: Vec<Name> = Vec::new();
        for (key, _) in self.kept.all()? {
            names.extend(key.table().map(|(schema, table)| Name { schema: schema.into(), table: table.into() }));
        }
        names.dedup();
        let mut known = Vec::new();
        for name in names {
            let is_there = self.follows(&name) && !name.table.is_empty();
            if is_there && self.state(&name, executed)?.is_some_and(|state| state != State::Dropped) {
                known.push(name);
            }
        }
        Ok(known)
    }

    /// A table where reading stands, if it is known.
    pub fn relation(&mut self, name: &Name, executed: &Position) -> Result<Option<Relation>, CursorError> {
        Ok(self.state(name, executed)?.and_then(|state| follow::known(name, &state)))
    }

    /// See [`Followed::is_shadow`].
    pub fn is_shadow(&self, name: &Name) -> bool {
        !self.follows(name) && self.followed.is_shadow(&name.schema, &name.table)
    }

    /// See [`Applied::renamed_in`]; not those that replace a followed table, as the copy of a table that is altered does.
    fn renamed_in(&self, change: &Change) -> Vec<Name> {
        let pairs: Vec<(&Name, &Name)> = match change {
            Change::Rename(pairs) => pairs.iter().map(|(old, new)| (old, new)).collect(),
            Change::Alter { table, rename: Some(new), .. } => vec![(table, new)],
            _ => Vec::new(),
        };
        let is_in =
            |(old, new): &&(&Name, &Name)| !self.follows(old) && self.follows(new) && !pairs.iter().any(|(other, _)| other == new);
        pairs.iter().filter(is_in).map(|(_, new)| (*new).clone()).collect()
    }

    /// Writes a version, unless a user or the server has told what the table was from there on.
    fn put(&mut self, name: &Name, version: Version) -> Result<State, CursorError> {
        let versions = self.versions(name)?;
        let place = |at: &Position| (at.file.clone(), at.offset, at.home.clone());
        let told = versions.iter().find(|(_, v)| place(&v.at) == place(&version.at));
        let state = match told {
            Some((_, told)) if told.origin != Origin::Statement && version.origin == Origin::Statement => told.state.clone(),
            _ => {
                self.write(name, &version)?;
                version.state
            }
        };
        self.compact(name)?;
        self.remember(name, Some(state.clone()));
        Ok(state)
    }

    fn write(&mut self, name: &Name, version: &Version) -> Result<(), CursorError> {
        self.is_dirty = true;
        let value = serde_json::to_vec(version).unwrap_or_default();
        self.kept.put(&name.schema, &name.table, &version.at, value)
    }

    /// Drops the versions of a table that no position from the cursor on needs.
    fn compact(&mut self, name: &Name) -> Result<(), CursorError> {
        let Some(cursor) = self.kept.cursor()? else { return Ok(()) };
        let versions = self.versions(name)?;
        let Some((kept, newest)) = newest(&versions, &cursor) else { return Ok(()) };
        for (key, version) in &versions {
            if key != kept && version.holds_at(&cursor) {
                self.kept.remove(key)?;
                self.is_dirty = true;
            }
        }
        if newest.state == State::Dropped {
            self.kept.remove(kept)?;
            self.is_dirty = true;
        } else if !newest.is_first {
            let at = Position { gtids: None, ..newest.at.clone() };
            let first = Version { at, is_first: true, ..newest.clone() };
            self.kept.replace(kept, serde_json::to_vec(&first).unwrap_or_default())?;
            self.is_dirty = true;
        }
        Ok(())
    }

    /// At the start: tables with several versions, and those that are gone.
    fn compact_all(&mut self) -> Result<(), CursorError> {
        let mut due: Vec<Name> = Vec::new();
        for (key, value) in self.kept.all()? {
            // A first version is alone with what comes after the cursor.
            if !value.windows(FIRST.len()).any(|w| w == FIRST)
                && let Some((schema, table)) = key.table()
            {
                due.push(Name { schema: schema.into(), table: table.into() });
            }
        }
        due.dedup();
        due.iter().try_for_each(|name| self.compact(name))?;
        self.flush()
    }

    /// The columns of the table of a TABLE_MAP that does not say them, which stands at `here`.
    /// `None`: there is no server to ask; the text: why its columns are not known.
    pub async fn table(
        &mut self,
        map: &TableMap,
        executed: &Position,
        here: Place,
    ) -> Result<Result<Option<TableInfo>, String>, HistoryError> {
        if map.has_names() {
            let name = Name { schema: map.schema.clone(), table: map.table.clone() };
            // It is about the key alone, which counts only if the names fit.
            return match (self.state(&name, executed)?, self.source.server()) {
                (Some(State::Known(table)), _) => Ok(Ok(Some(table.info()))),
                (_, Some(_)) => Ok(Ok(self.source.table(&name.schema, &name.table).await?)),
                (_, None) => Ok(Ok(None)),
            };
        }
        self.proven(map, executed, here).await
    }

    /// As it was at `here`, whether the TABLE_MAP says its names or not.
    pub async fn proven(
        &mut self,
        map: &TableMap,
        executed: &Position,
        here: Place,
    ) -> Result<Result<Option<TableInfo>, String>, HistoryError> {
        let name = Name { schema: map.schema.clone(), table: map.table.clone() };
        let server = self.source.server().cloned();
        let known = self.state(&name, executed)?;
        let why = match &known {
            Some(State::Known(table)) => match plan::misfit(map, &table.info()) {
                None => return Ok(Ok(Some(table.info()))),
                Some(misfit) => format!("its columns are not those that are known: {misfit}"),
            },
            Some(State::Unknown { statement, at }) => format!("its columns are not known behind `{statement}` at {at}"),
            Some(State::Dropped) | None => "its columns are not known".to_owned(),
        };
        let Some(server) = server else {
            return Ok(Err(format!("{why}, and there is no server to ask")));
        };
        if !self.is_first_asked {
            self.ask_first(&server, executed).await?;
            if let Some(State::Known(table)) = self.state(&name, executed)?
                && plan::misfit(map, &table.info()).is_none()
            {
                return Ok(Ok(Some(table.info())));
            }
        }
        tracing::info!(table = %name, "asking the server: {why}");
        match self.ask(&server, map, &name, executed, here).await {
            Ok(Ok(table)) => {
                let info = table.info();
                let version = Version { at: executed.clone(), is_first: false, origin: Origin::Server, state: State::Known(table) };
                self.put(&name, version)?;
                Ok(Ok(Some(info)))
            }
            Ok(Err(refused)) => Ok(Err(format!("{why}; and {refused}"))),
            Err(failure) => Err(self.source.error(failure).into()),
        }
    }

    /// The table as the server has it, if that is proven to be what it was here; why not otherwise.
    async fn ask(
        &mut self,
        server: &Arc<Server>,
        map: &TableMap,
        name: &Name,
        executed: &Position,
        here: Place,
    ) -> Result<Result<Table, String>, Failure> {
        let described = server.describe(&name.schema, &[&name.table], &self.collations).await?;
        let end = server.end().await?;
        self.ahead.reach(server, executed, &end, &self.dialect).await?;
        if let Some((file, offset)) = self.ahead.defined_after(name, here) {
            return Ok(Err(format!("the server's are newer, by a statement before {file:06}:{offset}")));
        }
        let Some((_, table)) = described.into_iter().find(|(table, _)| **table == *name.table) else {
            return Ok(Err("the server has no table of this name (or the account may not see it)".to_owned()));
        };
        Ok(match plan::misfit(map, &table.info()) {
            None => Ok(table),
            Some(misfit) => Err(format!("the server's do not fit: {misfit}")),
        })
    }

    /// Takes down all tables that may be followed, as far as they are proven to be now what they were at `executed`.
    /// False: of some it is not proven.
    async fn ask_first(&mut self, server: &Arc<Server>, executed: &Position) -> Result<bool, HistoryError> {
        self.is_first_asked = true;
        let source = Arc::clone(&self.source);
        let schemas = server.schemas(&self.collations).await.map_err(|f| source.error(f))?;
        let (mut taken, mut all) = (0, true);
        for (schema, collation) in schemas {
            let itself = (schema_itself(&schema), Table { collation, ..Table::default() });
            self.take_described(server, executed, vec![itself]).await?;
            let mut names = server.table_names(&schema).await.map_err(|f| source.error(f))?;
            names.retain(|table| self.followed.concerns(&schema, table));
            for names in names.chunks(server.describes_at_once().await.map_err(|f| source.error(f))?) {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let tables = server.describe(&schema, &names, &self.collations).await.map_err(|f| source.error(f))?;
                let named =
                    |(table, described): (String, Table)| (Name { schema: schema.as_str().into(), table: table.into() }, described);
                let (some, are_all) = self.take_described(server, executed, tables.into_iter().map(named).collect()).await?;
                (taken, all) = (taken + some, all && are_all);
            }
        }
        tracing::info!(source = self.source.name(), tables = taken, "took down the columns of the tables");
        Ok(all)
    }

    /// Writes what was just described, if it was so at `executed`. How many tables that were, and whether all that are followed are known.
    async fn take_described(
        &mut self,
        server: &Arc<Server>,
        executed: &Position,
        described: Vec<(Name, Table)>,
    ) -> Result<(usize, bool), HistoryError> {
        let source = Arc::clone(&self.source);
        // Where the server stood behind the description.
        let end = server.end().await.map_err(|f| source.error(f))?;
        self.ahead.reach(server, executed, &end, &self.dialect).await.map_err(|f| source.error(f))?;
        let here = place(executed);
        let (mut taken, mut all) = (0, true);
        for (name, table) in described {
            let is_known = matches!(self.state(&name, executed)?, Some(State::Known(_)));
            let is_proven = self.ahead.defined_after(&name, here).is_none();
            all &= is_known || is_proven || !self.follows(&name);
            if is_proven && !is_known {
                let version = Version { at: executed.clone(), is_first: false, origin: Origin::Server, state: State::Known(table) };
                self.write(&name, &version)?;
                taken += 1;
            }
            self.now.remove(&name);
        }
        Ok((taken, all))
    }

    pub fn follows(&self, name: &Name) -> bool {
        self.followed.follows(&name.schema, &name.table)
    }
}

/// Another one for each place of a binlog.
fn statement_number(file: &str, offset: u64) -> u64 {
    file_number(file).unwrap_or_default() << 40 ^ offset
}

/// How a first version is written.
const FIRST: &[u8] = b"\"is_first\":true";

/// The version that holds at a position.
fn newest<'v>(versions: &'v [(VersionKey, Version)], position: &Position) -> Option<&'v (VersionKey, Version)> {
    versions.iter().filter(|(_, v)| v.holds_at(position)).fold(None, |best, entry| match best {
        Some((_, version)) if !entry.1.is_after(version) => best,
        _ => Some(entry),
    })
}

/// What of a statement is told: as much as fits, without what may be a secret.
pub fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 500;
    let mut shown: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for option in ["CONNECTION", "PASSWORD"] {
        if let Some(at) = shown.to_ascii_uppercase().find(option) {
            shown.truncate(at + option.len());
            shown.push_str(" …");
        }
    }
    if shown.chars().count() > CHARS_MAX {
        shown = shown.chars().take(CHARS_MAX).collect::<String>() + " …";
    }
    shown
}
