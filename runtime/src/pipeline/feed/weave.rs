//! Tables that are read, between the transactions of the stream: the feed's side of [`crate::source::snapshot`].
//!
//! A chunk goes into the lanes as if it were a transaction, at the first boundary at which the stream has passed everything that the
//! chunk sees. Its rows have batches of their own, and what is left of its table settles with them: after a crash a table goes on
//! behind the last chunk that is durable at the sink.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Ended, Reading};
use crate::change::Relation;
use crate::failpoint;
use crate::lane::Held;
use crate::lane::touched::Touched;
use crate::metrics::TablesRead;
use crate::pipeline::PipelineError;
use crate::pipeline::patience::unless_told;
use crate::position::{Position, file_number};
use crate::schema::State;
use crate::schema::ddl::Name;
use crate::source::SourceError;
use crate::source::binlog::error::{DecodeError, Problem};
use crate::source::binlog::plan::Plan;
use crate::source::snapshot::to_read::{ToRead, Whole};
use crate::source::snapshot::{Chunk, Done, Readers, Stand, TablePlan};

/// How often readers are told where the stream stands.
const STAND_INTERVAL: Duration = Duration::from_millis(25);

/// Between two attempts to begin with tables that have no key, where the source was away.
const WHOLE_AGAIN: Duration = Duration::from_secs(1);

/// Times in a row that chunks are read again because of changes without all columns, before it is an error.
const AGAIN_MAX: u32 = 100;

/// The tables that are being read.
pub(super) struct Weave {
    readers: Readers,
    /// Chunks that the stream has not passed.
    waiting: VecDeque<Chunk>,
    /// Plans of tables as they were described last.
    plans: Vec<(Arc<TablePlan>, Option<Arc<Plan>>)>,
    told: Instant,
    /// Chunks in a row that were read again because of changes without all columns.
    again: u32,
}

impl Weave {
    /// The next chunk, if there is room for it.
    pub(super) async fn arrive(weave: &mut Option<Weave>) -> Result<(), SourceError> {
        match weave {
            Some(weave) if weave.has_room() => match weave.readers.chunks.recv().await {
                Some(chunk) => {
                    weave.waiting.push_back(chunk?);
                    Ok(())
                }
                None => std::future::pending().await,
            },
            _ => std::future::pending().await,
        }
    }

    /// Others are wanted from now on.
    pub(super) fn forget_plans(&mut self) {
        self.plans.clear();
    }

    fn has_room(&self) -> bool {
        self.waiting.len() < self.readers.board.pace.readers
    }
}

impl Reading {
    /// Begins to read the tables that are asked for. Called at a boundary of the stream.
    pub(super) async fn read_tables(&mut self) -> Result<Option<Ended>, PipelineError> {
        if std::mem::take(&mut self.is_table_cut) {
            return Ok(Some(self.send_everything().await?.unwrap_or(Ended::Cut)));
        }
        // With the marks of other lanes, which is a moment, rows that are read would be in the wrong lanes.
        if self.asked.is_empty() || self.feed.options.until_levelled {
            return Ok(None);
        }
        let mut reads = std::mem::take(&mut self.asked);
        if self.feed.options.reads_whole {
            let all = std::mem::take(&mut reads);
            for read in all {
                match self.whole_table(read).await? {
                    Keyed::Yes(read) => reads.push(read),
                    Keyed::Later(read) => self.asked.push(read),
                    Keyed::No(None) => {}
                    Keyed::No(ended) => return Ok(ended),
                }
            }
        }
        if reads.is_empty() {
            if self.weave.is_none() {
                let left = self.asked.len();
                let (estimate, rests_at) = (self.asked.iter().map(|read| read.estimate).sum(), self.throttle.rests_at());
                self.feed.status.set_tables((left > 0).then_some(TablesRead { rows: 0, estimate, left, rests_at }));
            }
            return Ok(None);
        }
        if let Some(weave) = &self.weave {
            reads.into_iter().for_each(|read| weave.readers.board.add(read));
            return Ok(None);
        }
        let mut touched = Touched::default();
        let stand = Stand { stamp: touched.begin_stamp(), passed: self.feed.executed.clone() };
        tracing::info!(pipeline = self.feed.status.name, tables = reads.len(), "reading tables");
        let Some(readers) = self.feed.source.read_tables(reads, Arc::clone(&self.throttle), stand) else { return Ok(None) };
        self.feed.lanes.touched = Some(touched);
        self.feed.status.set_tables(Some(readers.board.progress()));
        self.weave = Some(Weave { readers, waiting: VecDeque::new(), plans: Vec::new(), told: Instant::now(), again: 0 });
        Ok(None)
    }

    /// Tables that got the name of a followed one have rows that the stream never had under that name.
    pub(super) fn read_renamed(&mut self, renamed: &[Name]) -> Result<(), PipelineError> {
        for Name { schema, table } in renamed {
            if self.feed.options.reads_tables {
                let read = ToRead::new(self.feed.store.next_read_id()?, schema, table, None);
                self.feed.store.add_reads(&self.feed.status.name, std::slice::from_ref(&read))?;
                self.asked.push(read);
            }
        }
        Ok(())
    }

    /// Reads a table without a key, in one go: its rows are told apart by nothing, so that they have to be those of one position, and the
    /// stream stands still meanwhile.
    async fn whole_table(&mut self, mut read: ToRead) -> Result<Keyed, PipelineError> {
        let (schema, table) = (read.schema.clone(), read.table.clone());
        let held = |before: Option<&Position>| Held { schema: schema.clone(), table: table.clone(), before: before.cloned() };
        self.feed.lanes.held.retain(|held| held.before.is_some() || (&held.schema, &held.table) != (&schema, &table));
        match &read.whole {
            Some(Whole { position, is_done: true }) => {
                self.feed.lanes.held.push(held(Some(position)));
                self.held.push((position.clone(), read.id));
                return Ok(Keyed::No(None));
            }
            _ if read.is_cut() => {
                let name = &self.feed.status.name;
                return Err(PipelineError::Read {
                    problem: format!(
                        "table {read} has no key, and reading it was cut, or is asked for again: which of its rows the target has is not known"
                    ),
                    hint: format!("empty the table in the target, then `tidegate snapshot --pipeline {name} --tables '{read}'`"),
                });
            }
            _ => {}
        }
        // The stream, which stands still while the table is read, does not wait for that.
        if self.whole_again.is_some_and(|again| Instant::now() < again) {
            // Reading will find what the stream brings until then.
            self.feed.lanes.held.push(held(None));
            return Ok(Keyed::Later(read));
        }
        let source = &self.feed.source;
        let opened = async {
            match source.gives_leave(&self.throttle).await? {
                true => source.whole_table(&read, &self.feed.executed).await.map(Some),
                false => Ok(None),
            }
        };
        let mut whole = match unless_told(&self.feed.stop, opened).await {
            None => return Ok(Keyed::No(Some(Ended::Stopped))),
            Some(Ok(None)) => {
                self.feed.lanes.held.push(held(None));
                return Ok(Keyed::Later(read));
            }
            Some(Ok(Some(None))) => {
                if self.feed.follow.is_some() {
                    // Or else it has another name, under which it is read once the stream has come to that.
                    self.feed.lanes.held.push(held(None));
                }
                return Ok(Keyed::Yes(read));
            }
            Some(Ok(Some(Some(whole)))) => whole,
            // The stream is what finds another server.
            Some(Err(SourceError::Transient { name, error })) => {
                tracing::warn!(source = &*name, "reading {read}: {error}; trying again");
                self.whole_again = Some(Instant::now() + WHOLE_AGAIN);
                self.feed.lanes.held.push(held(None));
                return Ok(Keyed::Later(read));
            }
            Some(Err(definite)) => return Err(definite.into()),
        };
        if self.is_altered_ahead(&whole.table)? {
            tracing::info!(table = read.to_string(), "the table is read once the stream has come to the statement that altered it");
            self.feed.lanes.held.push(held(None));
            self.put_off.push(read);
            return Ok(Keyed::No(None));
        }
        self.feed.lanes.held.push(held(Some(&whole.position)));
        let Some(plan) = self.plan_of(&whole.table)? else { return Ok(Keyed::No(None)) };
        tracing::info!(pipeline = self.feed.status.name, table = read.to_string(), "reading a table without a key");
        read.whole = Some(Whole { position: whole.position.clone(), is_done: false });
        self.feed.store.add_reads(&self.feed.status.name, std::slice::from_ref(&read))?;
        if let Some(ended) = self.send_everything().await? {
            return Ok(Keyed::No(Some(ended)));
        }
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64);
        self.feed.decoder.begin_read(&self.feed.executed.file, self.feed.executed.offset, now_us);
        let mut row = 0;
        loop {
            let (data, rows, is_last) = match whole.next().await {
                Err(SourceError::Transient { error, .. }) => {
                    tracing::warn!(pipeline = self.feed.status.name, table = read.to_string(), "reading is cut: {error}");
                    // Only the stream knows when a server is there again, and which.
                    self.is_table_cut = true;
                    self.feed.lanes.held.push(held(None));
                    return Ok(Keyed::No(self.send_everything().await?));
                }
                next => next?,
            };
            let mut at = 0;
            while at < data.len() {
                let done = self.feed.decoder.read_rows(&plan, data, &mut at, &mut row, 0, &mut self.feed.lanes);
                done.map_err(|problem| read_error(&self.feed.executed, &plan.relation, problem))?;
                failpoint::pass("chunk-decoded");
                self.open_batches();
                if let Some(ended) = self.send_full().await? {
                    return Ok(Keyed::No(Some(ended)));
                }
            }
            self.count();
            read.rows += rows;
            let rest = tokio::time::sleep(self.throttle.rest(rows));
            if unless_told(&self.feed.stop, rest).await.is_none() {
                return Ok(Keyed::No(Some(Ended::Stopped)));
            }
            if is_last {
                break;
            }
        }
        if let Some(ended) = self.send_everything().await? {
            return Ok(Keyed::No(Some(ended)));
        }
        tracing::info!(pipeline = self.feed.status.name, table = read.to_string(), rows = read.rows, "table is read");
        read.rest.clear();
        read.whole = Some(Whole { position: whole.position.clone(), is_done: true });
        self.held.push((whole.position, read.id));
        self.feed
            .acks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pass(|progress| progress.pass_chunk(read.id, Some(read.clone())));
        Ok(Keyed::No(None))
    }

    /// The table, which has no key, has other columns already than the targets, a name that they do not know, or a key there: a statement that
    /// is still to come changes that, and reading is tried again behind it.
    fn is_altered_ahead(&mut self, table: &TablePlan) -> Result<bool, PipelineError> {
        if self.feed.follow.is_none() {
            return Ok(false);
        }
        let now = &table.relation;
        let name = Name { schema: now.schema.clone(), table: now.table.clone() };
        let known = match self.feed.history.state(&name, &self.feed.executed)? {
            Some(State::Known(table)) => table,
            Some(State::Dropped) => return Ok(true),
            Some(State::Unknown { .. }) => return Ok(false),
            // What was dropped is forgotten in the end.
            None => return Ok(self.feed.history.is_whole()?),
        };
        if now.columns.len() != known.columns.len() || now.columns.iter().any(|column| known.column(&column.name).is_none()) {
            return Ok(true);
        }
        // Under a key that the targets still have its rows may be too many.
        let known = self.feed.history.relation(&name, &self.feed.executed)?;
        Ok(known.is_some_and(|known| known.key_origin != now.key_origin))
    }

    /// The stream has passed what tables without a key were read at: from here on their changes count.
    fn release_held(&mut self) {
        let executed = &self.feed.executed;
        let passed = |position: &Position| executed.covers(position);
        if !self.held.iter().any(|(position, _)| passed(position)) {
            return;
        }
        let mut acks = self.feed.acks.lock().unwrap_or_else(PoisonError::into_inner);
        for (position, id) in std::mem::take(&mut self.held) {
            if executed.covers(&position) {
                acks.pass(|progress| progress.pass_chunk(id, None));
                self.feed.lanes.held.retain(|held| held.before.as_ref() != Some(&position));
            } else {
                self.held.push((position, id));
            }
        }
    }

    /// At a boundary of the stream: chunks that it has passed go into the lanes.
    pub(super) async fn weave(&mut self) -> Result<Option<Ended>, PipelineError> {
        if let Some(ended) = self.read_tables().await? {
            return Ok(Some(ended));
        }
        self.release_held();
        loop {
            let Some(weave) = &mut self.weave else { return Ok(None) };
            while weave.has_room()
                && let Ok(chunk) = weave.readers.chunks.try_recv()
            {
                weave.waiting.push_back(chunk?);
            }
            if weave.told.elapsed() >= STAND_INTERVAL
                && let Some(touched) = &mut self.feed.lanes.touched
            {
                weave.told = Instant::now();
                self.feed.status.set_tables(Some(weave.readers.board.progress()));
                let stand = Stand { stamp: touched.begin_stamp(), passed: self.feed.executed.clone() };
                weave.readers.stands.send_replace(Arc::new(stand));
            }
            if let Some(touched) = self.feed.lanes.touched.as_mut().filter(|touched| touched.is_full()) {
                // The stream is far behind what was read: it goes first.
                weave.waiting.drain(..).for_each(|chunk| weave.readers.board.begin_again(&chunk, 0));
                let stand = Stand { stamp: touched.forget(), passed: self.feed.executed.clone() };
                weave.readers.stands.send_replace(Arc::new(stand));
            }
            for gone in weave.readers.board.take_gone() {
                tracing::warn!(pipeline = self.feed.status.name, table = gone.to_string(), "the table is no longer there");
                if self.feed.follow.is_some() {
                    // The statement that took it away, or gave it another name, is still to come.
                    continue;
                }
                let mut acks = self.feed.acks.lock().unwrap_or_else(PoisonError::into_inner);
                acks.pass(|progress| progress.pass_chunk(gone.id, None));
            }
            if weave.readers.board.is_empty() {
                return self.end_weave().await;
            }
            let executed = (file_number(&self.feed.executed.file), self.feed.executed.offset);
            let gtids = self.feed.executed.gtids.as_ref();
            // A stream that has gone over to another server stands at the head of a file there, until something is written.
            let is_at_end = self.idles > 0;
            let has_passed = |chunk: &Chunk| {
                executed >= (file_number(&chunk.high.file), chunk.high.offset)
                    || is_at_end && gtids.zip(chunk.high.gtids.as_ref()).is_some_and(|(passed, high)| passed.contains_set(high))
            };
            let home = self.feed.executed.home.clone();
            let is_elsewhere = |chunk: &Chunk| home.as_ref().is_some_and(|home| home.server != chunk.server);
            let Some(chunk) = weave.waiting.pop_front_if(|chunk| has_passed(chunk) || is_elsewhere(chunk)) else { return Ok(None) };
            // The stream has gone over to another server, and never passes a place of that one.
            if is_elsewhere(&chunk) {
                weave.readers.board.begin_again(&chunk, 0);
                continue;
            }
            if let Some(ended) = self.chunk(&chunk).await? {
                return Ok(Some(ended));
            }
        }
    }

    async fn chunk(&mut self, chunk: &Chunk) -> Result<Option<Ended>, PipelineError> {
        let (Some(weave), Some(touched)) = (&mut self.weave, &mut self.feed.lanes.touched) else { return Ok(None) };
        let board = Arc::clone(&weave.readers.board);
        if !board.is_current(chunk) {
            return Ok(None);
        }
        let relation = &chunk.table.relation;
        if touched.is_altered(&relation.schema, &relation.table, chunk.described) {
            board.begin_again(chunk, touched.begin_stamp());
            return Ok(None);
        }
        if chunk.stand.stamp < touched.known_since() {
            board.begin_again(chunk, 0);
            return Ok(None);
        }
        let Some(plan) = self.plan(&chunk.table)? else {
            return self.take_over(chunk);
        };
        failpoint::pass("chunk-arrived");
        if let Some(ended) = self.send_everything().await? {
            return Ok(Some(ended));
        }
        let executed = &self.feed.executed;
        self.feed.decoder.begin_read(&executed.file, executed.offset, chunk.read_us);
        let (mut at, mut row) = (0, 0);
        while at < chunk.data.len() {
            let read = self.feed.decoder.read_rows(&plan, &chunk.data, &mut at, &mut row, chunk.stand.stamp, &mut self.feed.lanes);
            if matches!(read, Err(Problem::ReadPartial)) && self.begin_again(chunk) {
                return self.send_everything().await;
            }
            read.map_err(|problem| read_error(&self.feed.executed, &chunk.table.relation, problem))?;
            failpoint::pass("chunk-decoded");
            self.open_batches();
            if let Some(ended) = self.send_full().await? {
                return Ok(Some(ended));
            }
        }
        self.count();
        if let Some(ended) = self.send_everything().await? {
            return Ok(Some(ended));
        }
        self.take_over(chunk)
    }

    /// A change touched the chunk that does not stand for a whole row: it is read once more, in the hope of a quieter moment.
    fn begin_again(&mut self, chunk: &Chunk) -> bool {
        let Some(weave) = self.weave.as_mut().filter(|weave| weave.again < AGAIN_MAX) else { return false };
        weave.again += 1;
        weave.readers.board.begin_again(chunk, 0);
        true
    }

    /// The chunk is in the lanes: what is left of its table settles after it.
    fn take_over(&mut self, chunk: &Chunk) -> Result<Option<Ended>, PipelineError> {
        let Some(weave) = &mut self.weave else { return Ok(None) };
        weave.again = 0;
        let (id, rest) = match weave.readers.board.take_over(chunk) {
            Some(Done::Progress(read)) => (read.id, Some(read)),
            Some(Done::Table(read)) => {
                tracing::info!(pipeline = self.feed.status.name, table = read.to_string(), rows = read.rows, "table is read");
                (read.id, None)
            }
            None => return Ok(None),
        };
        self.feed.status.set_tables(Some(weave.readers.board.progress()));
        self.feed.acks.lock().unwrap_or_else(PoisonError::into_inner).pass(|progress| progress.pass_chunk(id, rest));
        failpoint::pass("chunk-sent");
        Ok(None)
    }

    /// All tables are read.
    async fn end_weave(&mut self) -> Result<Option<Ended>, PipelineError> {
        self.weave = None;
        self.feed.status.set_tables(None);
        self.feed.lanes.touched = None;
        tracing::info!(pipeline = self.feed.status.name, "all tables are read");
        if self.has_reached_end() {
            return Ok(Some(self.send_everything().await?.unwrap_or(Ended::Stopped)));
        }
        Ok(None)
    }

    /// `None`: nobody wants the table's rows.
    fn plan_of(&mut self, table: &TablePlan) -> Result<Option<Arc<Plan>>, PipelineError> {
        let plan = self.feed.decoder.read_plan(table.draft());
        plan.map_err(|problem| read_error(&self.feed.executed, &table.relation, problem))
    }

    /// As [`Reading::plan_of`], made once for a description of a table.
    fn plan(&mut self, table: &Arc<TablePlan>) -> Result<Option<Arc<Plan>>, PipelineError> {
        let Some(weave) = &mut self.weave else { return Ok(None) };
        if let Some((_, plan)) = weave.plans.iter().find(|(known, _)| Arc::ptr_eq(known, table)) {
            return Ok(plan.clone());
        }
        let plan = self.plan_of(table)?;
        if let Some(weave) = &mut self.weave {
            // As many as there are readers are in use.
            weave.plans.truncate(weave.readers.board.pace.readers * 4);
            weave.plans.insert(0, (Arc::clone(table), plan.clone()));
        }
        Ok(plan)
    }
}

/// Whether a table has a key; what reading one without came to.
enum Keyed {
    Yes(ToRead),
    /// Nobody knows yet: the source is too busy.
    Later(ToRead),
    No(Option<Ended>),
}

fn read_error(executed: &Position, relation: &Relation, problem: Problem) -> PipelineError {
    PipelineError::Decode(DecodeError {
        file: Arc::clone(&executed.file),
        offset: executed.offset,
        event: "SELECT",
        relation: Some(relation.to_string().into_boxed_str()),
        problem,
        after: Box::default(),
    })
}
