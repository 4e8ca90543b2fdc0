//! What an event asks for before its rows can be read, or after: columns of tables, statements that define tables, XA transactions.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Due, Ended, Reading};
use crate::failpoint;
use crate::pipeline::PipelineError;
use crate::pipeline::patience::unless_told;
use crate::position::{Progress, file_number};
use crate::prepared::{PreparedError, Replay};
use crate::retry::Backoff;
use crate::schema::ddl::Change;
use crate::schema::history::{self, Applied, Ddl, HistoryError};
use crate::source::binlog::decode::Step;
use crate::source::binlog::error::{After, DecodeError, Problem};
use crate::source::binlog::statement;
use crate::source::binlog::table_map::TableMap;
use crate::source::binlog::xa::Xa;
use crate::source::{Boundary, Segment, SourceError, TableInfo};

impl Reading {
    /// What an event means, once all its rows are read. Breaks if that ends reading.
    pub(super) async fn step(&mut self, segment: &Segment, index: usize) -> Result<ControlFlow<Ended, Step>, PipelineError> {
        loop {
            let step = self.feed.decoder.event(segment, index, &mut self.feed.lanes);
            match step.map_err(|error| DecodeError { after: self.after(segment, index), ..error })? {
                Step::NeedsTable(map) => {
                    let info = self.columns(&map, segment, index, false).await?;
                    let Some(info) = info else { return Ok(ControlFlow::Break(Ended::Stopped)) };
                    self.feed.decoder.provide(info);
                }
                Step::NeedsDefaults(map) => {
                    let info = self.columns(&map, segment, index, true).await?;
                    let Some(info) = info else { return Ok(ControlFlow::Break(Ended::Stopped)) };
                    self.feed.decoder.provide(info);
                }
                Step::Ddl(ddl) => {
                    if let Some(due) = self.ddl(&ddl, segment, index)? {
                        let ended = self.send_everything().await?;
                        return Ok(ControlFlow::Break(ended.unwrap_or(Ended::Altering(due))));
                    }
                }
                Step::More => {
                    self.open_batches();
                    if let Some(ended) = self.send_full().await? {
                        return Ok(ControlFlow::Break(ended));
                    }
                }
                step @ (Step::Done | Step::Xa(_)) => return Ok(ControlFlow::Continue(step)),
            }
        }
    }

    /// What the TABLE_MAP of an event does not say. `None`: told to stop while the source did not answer.
    pub(super) async fn columns(
        &mut self,
        map: &TableMap,
        segment: &Segment,
        index: usize,
        for_defaults: bool,
    ) -> Result<Option<Option<TableInfo>>, PipelineError> {
        let offset = segment.events[index].offset;
        let here = (file_number(&segment.file).unwrap_or_default(), offset);
        let mut backoff = Backoff::default();
        loop {
            let history = &mut self.feed.history;
            let asked = async {
                match for_defaults {
                    true => history.proven(map, &self.feed.executed, here).await,
                    false => history.table(map, &self.feed.executed, here).await,
                }
            };
            match unless_told(&self.feed.stop, asked).await {
                None => return Ok(None),
                // What is not proven is not known; whoever needs it says so.
                Some(Ok(Err(_))) if for_defaults => return Ok(Some(None)),
                Some(Ok(Ok(info))) => return Ok(Some(info)),
                Some(Ok(Err(reason))) => {
                    let table = format!("{}.{}", map.schema, map.table);
                    return Err(self.stopped(segment, index, "TABLE_MAP", Problem::Schema { table, reason }));
                }
                Some(Err(HistoryError::Source(SourceError::Transient { name, error }))) => {
                    tracing::warn!(source = &*name, "{error}; trying again");
                    if unless_told(&self.feed.stop, tokio::time::sleep(backoff.next_delay())).await.is_none() {
                        return Ok(None);
                    }
                }
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// Takes in a statement that defines tables. Returns what the targets have to have before anything more is read.
    pub(super) fn ddl(&mut self, ddl: &Ddl, segment: &Segment, index: usize) -> Result<Option<Box<Due>>, PipelineError> {
        let mut after = self.feed.executed.clone();
        let mut progress = Progress::default();
        progress.pass(self.feed.decoder.transaction().gtid.as_ref(), (&segment.file, segment.home.as_ref()), ddl.next);
        after.advance(progress);
        self.take_down_relations()?;
        let applied = self.feed.history.apply(ddl, &self.feed.executed, &after)?;
        if let Some(due) = self.due(&applied, ddl, segment, index)? {
            failpoint::pass("ddl-read");
            return Ok(Some(due));
        }
        let Applied { touched, renamed_in, change, .. } = applied;
        if self.feed.follow.is_none() {
            self.read_renamed(&renamed_in)?;
        }
        let followed: Vec<_> = touched.iter().filter(|name| self.feed.history.follows(name)).collect();
        if let Some(marks) = &mut self.feed.lanes.touched {
            followed.iter().for_each(|name| marks.note_altered(&name.schema, &name.table));
        }
        if let Some(table) = followed.first().map(ToString::to_string) {
            let what = statement::first_words(&ddl.text);
            tracing::info!(
                pipeline = self.feed.status.name,
                file = &*ddl.file,
                offset = ddl.offset,
                table,
                "DDL at a followed table: {what}"
            );
            let is_emptied = ddl.empties && !(self.feed.follow.is_some() && matches!(change, Some(Change::Truncate(_))));
            if is_emptied || self.feed.options.stop_at_ddl {
                // Whoever goes on after it by hand needs what became of the table.
                self.feed.history.flush()?;
            }
            if self.feed.options.stop_at_ddl && !ddl.empties {
                let statement = history::shown(&ddl.text);
                return Err(self.stopped(segment, index, "QUERY", Problem::Ddl { table, statement }));
            }
            if is_emptied {
                return Err(self.stopped(segment, index, "QUERY", Problem::Emptied { table }));
            }
        }
        self.feed.decoder.pass_ddl(&touched);
        Ok(None)
    }

    pub(super) fn stopped(&self, segment: &Segment, index: usize, event: &'static str, problem: Problem) -> PipelineError {
        let offset = segment.events[index].offset;
        let (file, relation) = (Arc::clone(&segment.file), None);
        DecodeError { file, offset, event, relation, problem, after: self.after(segment, index) }.into()
    }

    /// How to go on after the transaction of an event.
    pub(super) fn after(&self, segment: &Segment, index: usize) -> Box<After> {
        let (decoder, executed) = (&self.feed.decoder, &self.feed.executed.gtids);
        let position = match (executed, decoder.transaction().gtid.as_ref().filter(|_| decoder.is_in_transaction())) {
            (Some(executed), Some(gtid)) => {
                let mut set = executed.clone();
                set.add(gtid);
                Some(set.to_string())
            }
            _ => {
                let mut rest = segment.events[index..].iter().take_while(|e| !matches!(e.boundary, Boundary::Begin(_)));
                rest.find(|e| e.boundary == Boundary::End).map(|end| format!("{}:{}", segment.file, end.next))
            }
        };
        Box::new(After { pipeline: self.feed.status.name.clone(), position })
    }

    /// Keeps what belongs to an XA transaction.
    pub(super) fn keep(&self, step: Step, segment: &Segment, index: usize) -> Result<(), PreparedError> {
        let Step::Xa(xa) = step else { return Ok(()) };
        let event = segment.events[index];
        match xa {
            Xa::Begin => self.prepared().begin(&segment.file, event.offset),
            Xa::Keep => self.prepared().add(&segment.data[event.start..event.start + event.len]),
            Xa::Prepare(xid) => self.prepared().prepare(xid),
            Xa::Rollback(xid) => {
                self.prepared().rollback(&xid);
                Ok(())
            }
            Xa::Commit(_) => Ok(()),
        }
    }

    /// What was kept of the transaction that an event commits.
    pub(super) fn kept(&self, xid: Option<&str>, segment: &Segment, index: usize) -> Result<Replay, PipelineError> {
        let kept = match xid {
            Some(xid) => self.prepared().commit(xid)?,
            None => self.prepared().commit_open()?,
        };
        kept.ok_or_else(|| {
            let (file, offset) = (Arc::clone(&segment.file), segment.events[index].offset);
            let problem = Problem::XaCommit { xid: xid.unwrap_or_default().to_owned() };
            DecodeError { file, offset, event: "QUERY", relation: None, problem, after: self.after(segment, index) }.into()
        })
    }
}
