//! Which tables a running pipeline takes up, beside those that its first start found: those that `tables` takes since then, and those that
//! `tidegate snapshot` asks for.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::patience::{patiently, unless_told};
use super::requests::{self, RequestError};
use super::{PipelineError, Running};
use crate::manifest::pattern::Patterns;
use crate::schema::followed::Followed;
use crate::source::snapshot::to_read::ToRead;

/// How often a running pipeline looks for requests to read tables.
const REQUEST_INTERVAL: Duration = Duration::from_secs(1);

impl Running {
    /// Tables that `tables` did not take when the pipeline ran last are read, as all were at its first start. `None`: stopped while the
    /// source is away.
    pub(super) async fn take_up_tables(&self, stop: &watch::Receiver<bool>) -> Result<Option<()>, PipelineError> {
        let (name, patterns) = (&self.pipeline.name, self.pipeline.source.tables());
        let (now, before) = (patterns.texts(), self.store.followed(name)?);
        if before.as_ref() == Some(&now) {
            return Ok(Some(()));
        }
        if let Some(before) = before.and_then(|before| Patterns::parse_tables(&before).ok())
            && self.pipeline.source.reads_tables()
        {
            let before = Followed::new(&before);
            let asked = patiently(|| self.source.tables_with_rows(patterns));
            let Some(tables) = unless_told(stop, asked).await else { return Ok(None) };
            let mut reads = Vec::new();
            for (schema, table, estimate) in tables? {
                if !before.follows(&schema, &table) {
                    let id = self.store.next_read_id()?;
                    reads.push(ToRead { estimate, ..ToRead::new(id, &schema, &table, None) });
                }
            }
            if !reads.is_empty() {
                tracing::info!(pipeline = name, tables = reads.len(), "`tables` takes more than before: these are read");
                self.store.add_reads(name, &reads)?;
            }
        }
        // If that fails, they are read once more.
        self.store.set_followed(name, &now)?;
        Ok(Some(()))
    }

    /// Takes up what `tidegate snapshot` has left, now and from now on.
    pub(super) async fn take_requests(&self, stop: &watch::Receiver<bool>) -> Result<mpsc::Receiver<Vec<ToRead>>, PipelineError> {
        let (sender, requests) = mpsc::channel(1);
        let patterns = self.pipeline.source.tables().clone();
        let (data_dir, store, name) = (self.data_dir.clone(), self.store.clone(), self.pipeline.name.clone());
        let source = Arc::clone(&self.source);
        let take = async move || requests::take_up(&data_dir, &store, &name, &source, &patterns).await;
        // These are read with what is left of earlier ones.
        match unless_told(stop, take()).await {
            Some(Err(RequestError::Cursor(error))) => return Err(error.into()),
            Some(Err(RequestError::Source(error))) => tracing::warn!("{error}"),
            Some(Ok(_)) | None => {}
        }
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(REQUEST_INTERVAL) => {}
                    () = sender.closed() => return,
                }
                match take().await {
                    Ok(reads) if reads.is_empty() => {}
                    Ok(reads) => {
                        if sender.send(reads).await.is_err() {
                            return;
                        }
                    }
                    // The file is still there.
                    Err(error) => tracing::warn!("{error}"),
                }
            }
        });
        Ok(requests)
    }
}
