//! Rows that come just now, for a new version of a plugin to be tried with before it takes over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::change::Batch;

/// Rows of a relation that are taken.
const ROWS_MAX: usize = 100;

/// Shared by the lanes of a pipeline: the first batch that comes while one is wanted is taken.
#[derive(Debug, Default)]
pub struct Sample {
    is_wanted: AtomicBool,
    taken: Mutex<Option<Batch>>,
    told: Notify,
}

impl Sample {
    /// A batch is about to pass through the plugins.
    #[inline]
    pub fn offer(&self, batch: &Batch) {
        if self.is_wanted.load(Ordering::Relaxed) {
            self.take(batch);
        }
    }

    #[cold]
    fn take(&self, batch: &Batch) {
        if self.is_wanted.swap(false, Ordering::Relaxed) {
            *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(batch.head(ROWS_MAX));
            self.told.notify_one();
        }
    }

    /// The next rows. `None`: none come within this time.
    pub async fn next(&self, time_max: Duration) -> Option<Batch> {
        self.is_wanted.store(true, Ordering::Relaxed);
        let _ = tokio::time::timeout(time_max, self.told.notified()).await;
        self.is_wanted.store(false, Ordering::Relaxed);
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
