//! Tables without a key whose reading was cut, or that are read again: nobody knows which of their rows the target has, and none can be told
//! from another. They are emptied there and read anew, before anything else of a round.

use tokio::sync::watch;

use super::patience::{patiently, unless_told};
use super::{PipelineError, Running};
use crate::schema::ddl::Name;
use crate::source::snapshot::to_read::ToRead;

impl Running {
    /// What is to be read. One that cannot be emptied stays as it is; whoever reads it says what to do. `None`: stopped meanwhile.
    pub(super) async fn reads(&self, stop: &watch::Receiver<bool>) -> Result<Option<Vec<ToRead>>, PipelineError> {
        let mut reads = self.store.reads(&self.pipeline.name)?;
        if !reads.iter().any(ToRead::is_cut) || !self.seat.plugins().is_empty() {
            return Ok(Some(reads));
        }
        let tables = patiently(|| self.source.tables(self.pipeline.source.tables()));
        let Some(tables) = unless_told(stop, tables).await else { return Ok(None) };
        let others: Vec<Name> =
            tables?.into_iter().map(|(schema, table)| Name { schema: schema.into(), table: table.into() }).collect();
        let mut emptied = Vec::new();
        for read in &mut reads {
            // Of a table that was asked for in part, other rows are in the target as well.
            if !read.is_cut() || read.filter.is_some() {
                continue;
            }
            let table = Name { schema: read.schema.as_str().into(), table: read.table.as_str().into() };
            if emptied.iter().any(|(of, _)| *of == table) {
                continue;
            }
            match self.empty(stop, &table, &others).await? {
                None => return Ok(None),
                Some(false) => {}
                Some(true) => {
                    tracing::warn!(
                        pipeline = self.pipeline.name,
                        table = read.to_string(),
                        "a table without a key, of which the target has rows: it is emptied there and read anew"
                    );
                    // Until it is read: what a crash leaves is not known.
                    (read.whole, read.rows, read.is_again) = (None, 0, true);
                    self.store.add_reads(&self.pipeline.name, std::slice::from_ref(read))?;
                    read.is_again = false;
                    emptied.push((table, read.id));
                }
            }
        }
        // All its rows are read now; a second reading, as one that was asked for while it had a key, would double them.
        let is_other = |read: &ToRead| {
            emptied.iter().any(|(of, id)| *id != read.id && (&*of.schema, &*of.table) == (&*read.schema, &*read.table))
        };
        for other in reads.iter().filter(|read| is_other(read)) {
            self.store.remove_read(&self.pipeline.name, other.id)?;
        }
        reads.retain(|read| !is_other(read));
        Ok(Some(reads))
    }

    /// Empties the table at every sink that gets it, however long that takes. `Some(false)`: one of them cannot.
    async fn empty(&self, stop: &watch::Receiver<bool>, table: &Name, others: &[Name]) -> Result<Option<bool>, PipelineError> {
        let topic = table.to_string();
        for (name, sink) in &self.sinks {
            if !self.pipeline.routes.iter().any(|route| route.sink.name == *name && route.topics.matches_topic(&topic)) {
                continue;
            }
            let emptied = self.until_done(name, stop, || sink.empty(table, others)).await;
            match emptied.map_err(|error| PipelineError::Sink { sink: name.clone(), error })? {
                Some(true) => {}
                other => return Ok(other),
            }
        }
        Ok(Some(true))
    }
}
