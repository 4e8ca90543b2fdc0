//! `ddl = "follow"`, the feed's side: what a statement changes of followed tables, and whether the targets have it already.
//!
//! A change that the targets lack ends the round: what was read before it settles, as at any end; then the targets are altered, and the
//! next round begins at the statement again and passes over it. So whatever happens on the way is what happens at any restart.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Reading;
use crate::alteration::{Alteration, TableChange};
use crate::change::Relation;
use crate::manifest::pattern::Patterns;
use crate::pipeline::PipelineError;
use crate::pipeline::seat::aside;
use crate::plugin::Chain;
use crate::schema::ddl::Name;
use crate::schema::follow::{self, Again, Following};
use crate::schema::history::{Applied, Ddl, HistoryError, shown};
use crate::source::binlog::error::{After, DecodeError, NotFollowed, Problem};
use crate::source::{Segment, SourceError};

/// sql_mode: values that do not fit are errors.
const STRICT_MODES: u64 = 1 << 21 | 1 << 22;

/// How often the server is asked about tables that are not known.
const LEARN_INTERVAL: Duration = Duration::from_secs(1);

/// What following needs.
pub struct Follow {
    /// The last statement that all targets have.
    pub made: Option<String>,
    /// For statements without a GTID.
    pub store: Arc<str>,
    pub chain: Option<Chain>,
}

/// A change that the targets lack, and where it stands in the binlog.
#[derive(Debug)]
pub struct Due {
    pub alteration: Alteration,
    /// Tables to read again once it is made.
    pub reads: Vec<Again>,
    pub file: Arc<str>,
    pub offset: u64,
    pub after: Box<After>,
    /// The first table that it is about.
    pub table: String,
    pub statement: String,
}

impl Due {
    /// The change cannot be made. `by_hand`: what to run instead, or to do.
    pub fn refused(self, reason: &str, by_hand: &str) -> PipelineError {
        let Due { file, offset, after, table, statement, .. } = self;
        let by_hand = if by_hand.is_empty() { "do the same at the target" } else { by_hand };
        let refused = NotFollowed { table, statement, reason: reason.to_owned(), by_hand: by_hand.to_owned() };
        let problem = Problem::NotFollowed(Box::new(refused));
        DecodeError { file, offset, event: "QUERY", relation: None, problem, after }.into()
    }
}

impl TableChange {
    /// The tables that it names, the one that it makes or alters last.
    pub fn names(&self) -> Vec<Name> {
        let of = |relation: &Relation| Name { schema: relation.schema.clone(), table: relation.table.clone() };
        match self {
            TableChange::Create(relation) => vec![of(relation)],
            TableChange::Alter(altered) => vec![of(&altered.after)],
            TableChange::Drop(name) | TableChange::Empty(name) | TableChange::Unknown(name) => vec![name.clone()],
            TableChange::Rename(moves) => moves.iter().flat_map(|(old, new)| [old.clone(), new.clone()]).collect(),
        }
    }

    /// True if its rows go where these topics go. A table that is renamed from one route to another goes nowhere.
    pub fn is_routed(&self, topics: &Patterns) -> bool {
        self.names().iter().all(|name| topics.matches_topic(&name.to_string()))
    }
}

impl Reading {
    /// What a statement changes at the targets. `None`: nothing, or they have it.
    pub(super) fn due(
        &mut self,
        applied: &Applied,
        ddl: &Ddl,
        segment: &Segment,
        index: usize,
    ) -> Result<Option<Box<Due>>, PipelineError> {
        let Some(Follow { made, store, .. }) = &self.feed.follow else { return Ok(None) };
        // Numbers and places come again where a server is set back, but hardly with the same text.
        let mut text = DefaultHasher::new();
        (&ddl.text, &ddl.schema).hash(&mut text);
        let key = match &self.feed.decoder.transaction().gtid {
            Some(gtid) => format!("{gtid} {:016x}", text.finish()),
            None => format!("{store} {}:{} {:016x}", ddl.file, ddl.offset, text.finish()),
        };
        if made.as_ref() == Some(&key) {
            self.asked.append(&mut self.put_off);
            return Ok(None);
        }
        let is_strict = ddl.sql_mode & STRICT_MODES != 0;
        let (history, can_read) = (&self.feed.history, self.feed.source.server().is_some());
        let (follows, is_shadow) = (|name: &Name| history.follows(name), |name: &Name| history.is_shadow(name));
        let following = Following { follows: &follows, is_shadow: &is_shadow, can_read, is_strict };
        let carried = follow::carry(applied, &following);
        let table = applied.touched.iter().find(|name| follows(name)).map(ToString::to_string).unwrap_or_default();
        let mut due = Due {
            alteration: Alteration { key, is_strict, tables: Vec::new(), others: Vec::new() },
            reads: Vec::new(),
            file: Arc::clone(&segment.file),
            offset: ddl.offset,
            after: self.after(segment, index),
            table,
            statement: shown(&ddl.text),
        };
        match carried {
            Ok(carried) if carried.tables.is_empty() && carried.reads.is_empty() => return Ok(None),
            Ok(carried) => (due.alteration.tables, due.reads) = (carried.tables, carried.reads),
            Err(reason) => return Err(self.refused(due, &reason)),
        }
        if ddl.error != 0 {
            let reason = format!("it ended with error {} at the source, and what it did before that is not known", ddl.error);
            return Err(self.refused(due, &reason));
        }
        let names: Vec<Name> = due.alteration.tables.iter().flat_map(TableChange::names).collect();
        if let Some(table) = self.taken_by_plugin(&due.alteration, applied)? {
            return Err(
                self.refused(due, &format!("a plugin takes the rows of `{table}`, and what it makes of columns is its own"))
            );
        }
        let mut others = self.feed.history.tables(&self.feed.executed)?;
        others.retain(|name| !names.contains(name));
        due.alteration.others = others;
        Ok(Some(Box::new(due)))
    }

    /// Where nothing is left to read, the server's tables are those of here: a good moment to ask about those that are not known.
    pub(super) async fn learn(&mut self) -> Result<(), PipelineError> {
        let (feed, is_due) = (&mut self.feed, self.last_learnt.elapsed() >= LEARN_INTERVAL);
        if feed.follow.is_none() || !is_due || feed.decoder.is_in_transaction() || feed.history.is_whole()? {
            return Ok(());
        }
        self.last_learnt = Instant::now();
        match feed.history.learn(&feed.executed).await {
            // There is another moment.
            Err(HistoryError::Source(SourceError::Transient { .. })) => Ok(()),
            learnt => Ok(learnt?),
        }
    }

    /// Before a statement: what the history does not know of tables, their rows have said.
    pub(super) fn take_down_relations(&mut self) -> Result<(), PipelineError> {
        let feed = &mut self.feed;
        if feed.follow.is_some() && !feed.history.is_whole()? {
            for relation in feed.decoder.relations() {
                feed.history.take_down(relation, &feed.executed)?;
            }
        }
        Ok(())
    }

    fn refused(&mut self, due: Due, reason: &str) -> PipelineError {
        // Whoever goes on after it by hand needs what became of the table.
        match self.feed.history.flush() {
            Ok(()) => due.refused(reason, ""),
            Err(error) => error.into(),
        }
    }

    /// The first of its tables that some plugin of the pipeline takes.
    fn taken_by_plugin(&mut self, alteration: &Alteration, applied: &Applied) -> Result<Option<String>, PipelineError> {
        let Some(chain) = self.feed.follow.as_mut().and_then(|follow| follow.chain.as_mut()) else { return Ok(None) };
        let mut relations: Vec<Arc<Relation>> = Vec::new();
        for change in &alteration.tables {
            match change {
                TableChange::Create(relation) => relations.push(Arc::clone(relation)),
                TableChange::Alter(altered) => relations.extend([Arc::clone(&altered.before), Arc::clone(&altered.after)]),
                TableChange::Drop(_) | TableChange::Empty(_) | TableChange::Rename(_) | TableChange::Unknown(_) => {
                    let names = change.names();
                    let of = applied.altered.iter().filter(|version| names.contains(&version.name));
                    for version in of {
                        relations.extend(follow::relations(version).into_iter().map(Arc::new));
                    }
                    if let TableChange::Empty(name) = change {
                        match self.feed.history.relation(name, &self.feed.executed)? {
                            Some(relation) => relations.push(Arc::new(relation)),
                            // Nobody knows whether one would.
                            None => return Ok(Some(name.to_string())),
                        }
                    }
                }
            }
        }
        for relation in relations {
            // A plugin is bound once for each id.
            let relation = Arc::new(Relation { id: Relation::next_id(), ..Relation::clone(&relation) });
            if aside(|| chain.bind(&relation))?.is_transformed {
                return Ok(Some(relation.to_string()));
            }
        }
        Ok(None)
    }
}
