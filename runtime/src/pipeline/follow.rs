//! `ddl = "follow"`, the targets' side: between two rounds, with everything settled that was read before the statement.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Due, Follow, PipelineError, Running};
use crate::alteration::{Alteration, TableChange};
use crate::change::KeyOrigin;
use crate::cursor::CursorError;
use crate::failpoint;
use crate::manifest::model::OnDdl;
use crate::schema::ddl::Name;
use crate::sink::SinkError;
use crate::source::snapshot::to_read::ToRead;

impl Running {
    /// What a round needs to follow. `None`: stopped while a sink is away.
    pub(super) async fn follow(
        &self,
        stop: &watch::Receiver<bool>,
        store: &Arc<str>,
    ) -> Result<Option<Option<Follow>>, PipelineError> {
        if self.pipeline.ddl != OnDdl::Follow {
            return Ok(Some(None));
        }
        let mut made: Option<Option<String>> = None;
        for (name, sink) in &self.sinks {
            let Some(of_sink) = self.patiently_sink(name, stop, || sink.altered()).await? else { return Ok(None) };
            // One that lacks it makes all be asked again; those that have it know.
            made = Some(match made {
                Some(made) if made != of_sink => None,
                _ => of_sink,
            });
        }
        Ok(Some(Some(Follow { made: made.flatten(), store: Arc::clone(store), chain: self.seat.chain()? })))
    }

    /// A user has moved the cursor: what is read again is made again. `None`: stopped while a sink is away.
    pub(super) async fn forget_altered(&self, stop: &watch::Receiver<bool>) -> Result<Option<()>, PipelineError> {
        if self.pipeline.ddl == OnDdl::Follow {
            for (name, sink) in &self.sinks {
                if self.patiently_sink(name, stop, || sink.forget_altered()).await?.is_none() {
                    return Ok(None);
                }
            }
        }
        Ok(Some(()))
    }

    /// Makes a change at all targets. `None`: stopped before it was made.
    pub(super) async fn alter(&self, stop: &watch::Receiver<bool>, due: Box<Due>) -> Result<Option<Box<Due>>, PipelineError> {
        failpoint::pass("ddl-settled");
        tracing::info!(
            pipeline = self.pipeline.name,
            file = &*due.file,
            offset = due.offset,
            table = due.table,
            "altering the target's tables"
        );
        self.ask_reads(&due)?;
        for (name, sink) in &self.sinks {
            let routes = || self.pipeline.routes.iter().filter(|route| route.sink.name == *name);
            let is_routed = |change: &&TableChange| routes().any(|route| change.is_routed(&route.topics));
            let tables: Vec<TableChange> = due.alteration.tables.iter().filter(is_routed).cloned().collect();
            let half = due.alteration.tables.iter().filter(|change| !is_routed(change)).find(|change| {
                change.names().iter().any(|table| routes().any(|route| route.topics.matches_topic(&table.to_string())))
            });
            if half.is_some() {
                return Err(due.refused("it takes a table from one route to another", ""));
            }
            let alteration = Alteration { tables, ..due.alteration.clone() };
            match self.until_done(name, stop, || sink.alter(&alteration)).await {
                Ok(Some(())) => {}
                Ok(None) => return Ok(None),
                Err(SinkError::Configuration { reason, hint }) => {
                    return Err(due.refused(&format!("sink `{name}`: {reason}"), &hint));
                }
                Err(other) => return Err(due.refused(&format!("sink `{name}`: {other}"), "")),
            }
        }
        failpoint::pass("ddl-made");
        Ok(Some(due))
    }

    /// Tables to read once the change is made: those that it says, and under their new names those that are being read. It may be asked
    /// again after a crash: a table that is read once more does no harm.
    fn ask_reads(&self, due: &Due) -> Result<(), CursorError> {
        let pipeline = &self.pipeline.name;
        let reads = self.store.reads(pipeline)?;
        let of = |read: &&ToRead, name: &Name| read.schema == *name.schema && read.table == *name.table;
        let (mut asked, mut left): (Vec<ToRead>, Vec<u64>) = (Vec::new(), Vec::new());
        let mut ask = |name: &Name, filter: Option<&str>, is_again: bool| -> Result<(), CursorError> {
            let is_new = |read: &&ToRead| {
                read.rows == 0 && read.whole.is_none() && read.filter.as_deref() == filter && read.is_again == is_again
            };
            if !reads.iter().chain(&asked).any(|read| of(&read, name) && is_new(&read)) {
                let read = ToRead::new(self.store.next_read_id()?, &name.schema, &name.table, filter);
                asked.push(ToRead { is_again, ..read });
            }
            Ok(())
        };
        // What was read so far was read by another key, or is gone.
        let is_keyed = |change: &TableChange| matches!(change, TableChange::Alter(altered) if altered.is_key_changed());
        for change in &due.alteration.tables {
            match change {
                TableChange::Rename(moves) => {
                    for (old, new) in moves {
                        for read in reads.iter().filter(|read| of(read, old)) {
                            // Of a table without a key the target has rows already.
                            ask(new, read.filter.as_deref(), read.is_again || read.whole.is_some())?;
                            left.extend((!moves.iter().any(|(_, new)| new == old)).then_some(read.id));
                        }
                    }
                }
                // All that comes behind it comes by the stream.
                TableChange::Drop(name) | TableChange::Empty(name) => {
                    left.extend(reads.iter().filter(|read| of(read, name)).map(|read| read.id))
                }
                change if is_keyed(change) => {
                    // Without a key, what is read replaces no rows that the target has.
                    let loses_key = matches!(change, TableChange::Alter(to) if to.after.key_origin == KeyOrigin::WholeRow);
                    for name in change.names() {
                        let is_void = |read: &&ToRead| read.rows > 0 || loses_key && !read.is_again;
                        for read in reads.iter().filter(|read| of(read, &name) && !read.rest.is_empty() && is_void(read)) {
                            ask(&name, read.filter.as_deref(), read.is_again || read.whole.is_some() || loses_key)?;
                            left.push(read.id);
                        }
                    }
                }
                _ => {}
            }
        }
        due.reads.iter().try_for_each(|again| ask(&again.name, None, !again.has_key))?;
        self.store.add_reads(pipeline, &asked)?;
        left.into_iter().try_for_each(|id| self.store.remove_read(pipeline, id))
    }
}
