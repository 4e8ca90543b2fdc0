//! Where a round begins, and with which lanes: from the cursor, from the marks in the target, or, the first time, from the manifest.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use super::patience::{patiently, unless_told};
use super::recall::Recalled;
use super::{PipelineError, Running};
use crate::cursor::CursorError;
use crate::lane::bonds::Bonds;
use crate::lane::skip::Skip;
use crate::manifest::model::{Delivery, OnDdl, Ordering};
use crate::position::Position;
use crate::prepared::Prepared;
use crate::retry::Backoff;
use crate::schema::followed::Followed;
use crate::schema::history::{History, HistoryError};
use crate::sink::{Mark, SinkError};
use crate::source::snapshot::to_read::ToRead;
use crate::source::{SourceError, Start};

/// What a pipeline finds in its target.
enum Marks {
    NotKept,
    /// Empty at the first start, and after a move by hand.
    Found(Vec<Mark>),
    /// Told to stop while the target was away.
    Stopped,
}

/// Where a round begins, and with which lanes.
pub(super) struct Begin {
    pub(super) position: Position,
    pub(super) skip: Option<Skip>,
    pub(super) layout: Layout,
    pub(super) keeps_marks: bool,
    /// The marks in the target are of other lanes than the manifest's: run with theirs until they are level.
    pub(super) until_levelled: bool,
    pub(super) recalled: Recalled,
}

/// Which rows share a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) lanes: usize,
    pub(super) ordering: Ordering,
    pub(super) bonds: Arc<[Bonds]>,
}

impl Running {
    /// Where to begin. `None`: stopped while waiting for the source or a sink.
    pub(super) async fn begin(&self, stop: &watch::Receiver<bool>) -> Result<Option<Begin>, PipelineError> {
        let name = &self.pipeline.name;
        let Some(layout) = self.layout(stop).await? else { return Ok(None) };
        let cursor = self.store.get(name)?.map(|c| c.position);
        let (marks, keeps_marks) = match self.marks(stop).await? {
            Marks::Stopped => return Ok(None),
            Marks::NotKept => (Vec::new(), false),
            Marks::Found(marks) => (marks, true),
        };
        let fresh = |position| Begin {
            position,
            skip: None,
            layout: layout.clone(),
            keeps_marks,
            until_levelled: false,
            recalled: Recalled::default(),
        };
        let Some(first) = marks.first() else {
            let Some(position) = self.first_position(stop, cursor.clone()).await? else { return Ok(None) };
            if keeps_marks && self.relabel_marks(stop, &position, &layout).await?.is_none() {
                return Ok(None);
            }
            if self.store.is_moved(name)? {
                // What was prepared before the place that a user has chosen may have been decided unseen, and its id used again.
                Prepared::clear(&self.prepared_folder())?;
                if self.forget_altered(stop).await?.is_none() {
                    return Ok(None);
                }
            }
            self.store.set_moved_done(name)?;
            return self.recall(fresh(position), cursor, &[]).map(Some);
        };
        let theirs = Layout { lanes: first.lanes as usize, ordering: first.ordering, bonds: Arc::clone(&first.bonds) };
        let (mut skip, lowest) = Skip::new(marks.clone())?;
        // The cursor store can be behind the marks, and it can be ahead of the mark of a lane that had nothing to write.
        let position = cursor.clone().filter(|c| c.covers(&lowest)).unwrap_or(lowest);
        skip.begin_at(&position);
        if theirs != layout && skip.is_level_at(&position) {
            if self.relabel_marks(stop, &position, &layout).await?.is_none() {
                return Ok(None);
            }
            let marks = self.marks_at(&position, &layout)?;
            return self.recall(fresh(position), cursor, &marks).map(Some);
        }
        let until_levelled = theirs != layout;
        let begin =
            Begin { position, skip: Some(skip), layout: theirs, keeps_marks, until_levelled, recalled: Recalled::default() };
        self.recall(begin, cursor, &marks).map(Some)
    }

    /// What the manifest and the targets want. `None`: stopped while waiting for a sink.
    pub(super) async fn layout(&self, stop: &watch::Receiver<bool>) -> Result<Option<Layout>, PipelineError> {
        let mut bonds = Vec::new();
        for (name, sink) in &self.sinks {
            let Some(of_sink) = self.patiently_sink(name, stop, || sink.bonds()).await? else { return Ok(None) };
            bonds.extend(Some(of_sink).filter(|b| !b.is_empty()));
        }
        Ok(Some(Layout { lanes: self.pipeline.lanes, ordering: self.pipeline.ordering, bonds: bonds.into() }))
    }

    /// The marks of this pipeline in its target. An SQL sink that is alone keeps them in either mode: rows that are written again may
    /// meet rows that are ahead of them. At-least-once does without them where it must.
    async fn marks(&self, stop: &watch::Receiver<bool>) -> Result<Marks, PipelineError> {
        let exactly_once = self.pipeline.delivery == Delivery::ExactlyOnce;
        // A manifest with several sinks and exactly-once is refused.
        let [(name, sink)] = self.sinks.as_slice() else { return Ok(Marks::NotKept) };
        if !exactly_once && !sink.is_transactional() {
            return Ok(Marks::NotKept);
        }
        let mut marks = match self.patiently_sink(name, stop, || sink.marks(&self.pipeline.name)).await {
            Ok(Some(marks)) => marks,
            Ok(None) => return Ok(Marks::Stopped),
            Err(PipelineError::Sink { error: SinkError::Configuration { reason, .. }, .. }) if !exactly_once => {
                tracing::warn!(sink = name, reason, "no marks in the target: after a crash the last changes are written again");
                return Ok(Marks::NotKept);
            }
            Err(error) => return Err(error),
        };
        if self.store.is_moved(&self.pipeline.name)? {
            marks.clear();
        }
        if !exactly_once {
            // Another pipeline of this name may write into the same target.
            let own = self.store_number()?;
            marks.retain(|mark| mark.store == own);
            if Skip::new(marks.clone()).is_err() {
                marks.clear();
            }
        }
        Ok(Marks::Found(marks))
    }

    async fn first_position(
        &self,
        stop: &watch::Receiver<bool>,
        cursor: Option<Position>,
    ) -> Result<Option<Position>, PipelineError> {
        if cursor.is_some() {
            return Ok(cursor);
        }
        let start: Start = self.pipeline.source.start();
        let Some(position) = unless_told(stop, patiently(|| self.source.resolve(&start))).await else { return Ok(None) };
        let position = position?;
        let mut reads = BTreeMap::new();
        if self.pipeline.source.reads_tables() {
            let patterns = self.pipeline.source.tables();
            let asked = patiently(|| self.source.tables_with_rows(patterns));
            let Some(tables) = unless_told(stop, asked).await else { return Ok(None) };
            let tables = tables?;
            self.tell_unseen(&tables);
            for (schema, table, estimate) in tables {
                let id = self.store.next_read_id()?;
                reads.insert(id, Some(ToRead { estimate, ..ToRead::new(id, &schema, &table, None) }));
            }
        }
        // Once and for all: `start` is for the first start only.
        self.store.commit_with(&self.pipeline.name, position.clone(), &reads)?;
        Ok(Some(position))
    }

    /// Tables that are not there yet are taken up when they are made; those that the account may not see would not be read.
    fn tell_unseen(&self, seen: &[(String, String, u64)]) {
        const HINT: &str = "hint: check `tables` (capital letters matter), and GRANT SELECT on them; then `tidegate snapshot`";
        let (name, patterns) = (&self.pipeline.name, self.pipeline.source.tables());
        if seen.is_empty() {
            tracing::warn!(pipeline = name, "no table that the account may see is taken by `tables`: none is read; {HINT}");
            return;
        }
        for (schema, table) in patterns.named_tables() {
            if !seen.iter().any(|(s, t, _)| (s, t) == (&schema, &table)) {
                tracing::warn!(pipeline = name, "no table {schema}.{table} that the account may see: it is not read; {HINT}");
            }
        }
    }

    /// Everything before `executed` is settled: all lanes, as the manifest and the targets want them now, stand there. `None`: stopped
    /// while a sink is away.
    pub(super) async fn level_marks(&self, stop: &watch::Receiver<bool>, executed: &Position) -> Result<Option<()>, PipelineError> {
        let Some(layout) = self.layout(stop).await? else { return Ok(None) };
        self.relabel_marks(stop, executed, &layout).await
    }

    /// All lanes of `layout` stand at `position`. `None`: stopped while a sink is away.
    pub(super) async fn relabel_marks(
        &self,
        stop: &watch::Receiver<bool>,
        position: &Position,
        layout: &Layout,
    ) -> Result<Option<()>, PipelineError> {
        let marks = self.marks_at(position, layout)?;
        for (name, sink) in &self.seat.sinks {
            if self.patiently_sink(name, stop, || sink.set_marks(&self.pipeline.name, &marks)).await?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    }

    /// All lanes at one position.
    pub(super) fn marks_at(&self, position: &Position, layout: &Layout) -> Result<Vec<Mark>, CursorError> {
        let (store, resume) = (self.store_number()?, Arc::new(position.clone()));
        let mark = |lane| Mark {
            lane,
            store: Arc::clone(&store),
            lanes: layout.lanes as u32,
            ordering: layout.ordering,
            bonds: Arc::clone(&layout.bonds),
            resume: Arc::clone(&resume),
            number: 0,
            partial: None,
        };
        Ok((0..layout.lanes as u32).map(mark).collect())
    }

    pub(super) fn store_number(&self) -> Result<Arc<str>, CursorError> {
        Ok(self.store.number(&self.pipeline.name)?.into())
    }

    /// Where prepared XA transactions are kept.
    pub(super) fn prepared_folder(&self) -> PathBuf {
        Prepared::folder(&self.data_dir, &self.pipeline.name)
    }

    /// The columns that tables had at `position`, and what is known of them behind it. `None`: stopped while the source is away.
    pub(super) async fn history(
        &self,
        stop: &watch::Receiver<bool>,
        position: &Position,
    ) -> Result<Option<History>, PipelineError> {
        let followed = Followed::new(self.pipeline.source.tables());
        let open = || {
            let kept = self.store.history(&self.pipeline.name);
            let whole = self.pipeline.ddl == OnDdl::Follow;
            History::open(kept, Arc::clone(&self.source), followed.clone(), position, whole)
        };
        let mut backoff = Backoff::default();
        loop {
            let Some(opened) = unless_told(stop, open()).await else { return Ok(None) };
            match opened {
                Ok(history) => return Ok(Some(history)),
                Err(HistoryError::Source(SourceError::Transient { name, error })) => {
                    tracing::warn!(source = &*name, "{error}; trying again");
                    if unless_told(stop, tokio::time::sleep(backoff.next_delay())).await.is_none() {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
