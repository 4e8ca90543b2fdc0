//! Tables that are read, between the transactions of the stream: the feed's side of [`crate::source::snapshot`].
//!
//! A chunk goes into the lanes as if it were a transaction, at the first boundary at which the stream has passed everything that the
//! chunk sees. Its rows have batches of their own, and what is left of its table settles with them: after a crash a table goes on
//! behind the last chunk that is durable at the sink.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::{Ended, Reading};
use crate::failpoint;
use crate::lane::touched::Touched;
use crate::pipeline::PipelineError;
use crate::position::file_number;
use crate::source::SourceError;
use crate::source::binlog::error::{DecodeError, Problem};
use crate::source::binlog::plan::Plan;
use crate::source::snapshot::to_read::ToRead;
use crate::source::snapshot::{Chunk, Done, Pace, Readers, Stand, TablePlan};

/// How often readers are told where the stream stands.
const STAND_INTERVAL: Duration = Duration::from_millis(5);

/// The tables that are being read.
pub(super) struct Weave {
    readers: Readers,
    /// Chunks that the stream has not passed.
    waiting: VecDeque<Chunk>,
    /// Plans of tables as they were described last.
    plans: Vec<(Arc<TablePlan>, Option<Arc<Plan>>)>,
    told: Instant,
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

    fn has_room(&self) -> bool {
        self.waiting.len() < self.readers.board.pace.readers
    }
}

impl Reading {
    /// Begins to read tables. Called at a boundary of the stream.
    pub(super) fn read_tables(&mut self, reads: Vec<ToRead>, pace: Pace) {
        if reads.is_empty() {
            return;
        }
        let mut touched = Touched::default();
        let stand = Stand { stamp: touched.begin_stamp(), passed: self.feed.executed.clone() };
        tracing::info!(pipeline = self.feed.status.name, tables = reads.len(), "reading tables");
        let Some(readers) = self.feed.source.read_tables(reads, pace, stand) else { return };
        self.feed.lanes.touched = Some(touched);
        self.weave = Some(Weave { readers, waiting: VecDeque::new(), plans: Vec::new(), told: Instant::now() });
    }

    /// At a boundary of the stream: chunks that it has passed go into the lanes.
    pub(super) async fn weave(&mut self) -> Result<Option<Ended>, PipelineError> {
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
                let stand = Stand { stamp: touched.begin_stamp(), passed: self.feed.executed.clone() };
                weave.readers.stands.send_replace(Arc::new(stand));
            }
            if weave.readers.board.is_empty() {
                return self.end_weave().await;
            }
            let executed = (file_number(&self.feed.executed.file), self.feed.executed.offset);
            let has_passed = |chunk: &Chunk| executed >= (file_number(&chunk.high.0), chunk.high.1);
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
            read.map_err(|problem| self.read_error(&chunk.table, problem))?;
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

    /// The chunk is in the lanes: what is left of its table settles after it.
    fn take_over(&mut self, chunk: &Chunk) -> Result<Option<Ended>, PipelineError> {
        let Some(weave) = &mut self.weave else { return Ok(None) };
        let (id, rest) = match weave.readers.board.take_over(chunk) {
            Some(Done::Progress(work)) => (work.id, Some(work)),
            Some(Done::Table(work)) => {
                tracing::info!(pipeline = self.feed.status.name, table = work.to_string(), rows = work.rows, "table is read");
                (work.id, None)
            }
            None => return Ok(None),
        };
        self.feed.acks.lock().unwrap_or_else(PoisonError::into_inner).pass(|progress| progress.pass_chunk(id, rest));
        failpoint::pass("chunk-sent");
        Ok(None)
    }

    /// All tables are read.
    async fn end_weave(&mut self) -> Result<Option<Ended>, PipelineError> {
        self.weave = None;
        self.feed.lanes.touched = None;
        tracing::info!(pipeline = self.feed.status.name, "all tables are read");
        if self.has_reached_end() {
            return Ok(Some(self.send_everything().await?.unwrap_or(Ended::Stopped)));
        }
        Ok(None)
    }

    /// `None`: nobody wants the table's rows.
    fn plan(&mut self, table: &Arc<TablePlan>) -> Result<Option<Arc<Plan>>, PipelineError> {
        let Some(weave) = &mut self.weave else { return Ok(None) };
        if let Some((_, plan)) = weave.plans.iter().find(|(known, _)| Arc::ptr_eq(known, table)) {
            return Ok(plan.clone());
        }
        let plan = self.feed.decoder.read_plan(table.draft());
        let plan = plan.map_err(|problem| self.read_error(table, problem))?;
        if let Some(weave) = &mut self.weave {
            // As many as there are readers are in use.
            weave.plans.truncate(weave.readers.board.pace.readers * 4);
            weave.plans.insert(0, (Arc::clone(table), plan.clone()));
        }
        Ok(plan)
    }

    fn read_error(&self, table: &TablePlan, problem: Problem) -> PipelineError {
        let executed = &self.feed.executed;
        PipelineError::Decode(DecodeError {
            file: Arc::clone(&executed.file),
            offset: executed.offset,
            event: "SELECT",
            relation: Some(table.relation.to_string().into_boxed_str()),
            problem,
            after: Box::default(),
        })
    }
}
