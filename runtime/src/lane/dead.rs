//! A lane and its dead letters: which rows of a batch wait, and what becomes of those that nobody can take.
//!
//! Letters are durable before anything of their batch is written, or, where it is the sink that refuses, before its batch settles. What was
//! read again after a crash finds its letters there. Rows that a plugin derived from a letter go nowhere: they have its id.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::change::{Batch, RowId};
use crate::dead_letter::{self, DeadLetterError, Fate, Letters, New, OfLane, Units, Why};

/// Rows of a lane that became letters in a row, without one that did not, before the pipeline stops.
pub const FAILED_MAX: usize = 1000;
/// Rows of a batch that a sink refused before the rest is written one by one.
pub const REFUSED_MAX: usize = 10;

/// How often a lane says that it sets rows aside.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// A lane's side of [`Letters`].
pub struct DeadLetters {
    letters: Arc<Letters>,
    lane: OfLane,
    /// `on_row_error = "dead-letter"`; else there are letters of an earlier run, and rows wait behind them.
    buries: bool,
    /// The batch as it was read.
    original: Option<Batch>,
    /// Its rows that are letters.
    out: HashSet<RowId>,
    /// Of these, those that did not only wait.
    dead: usize,
    refused: usize,
    /// Rows in a row that became letters.
    failed: usize,
    left_out: usize,
    /// When somebody was told last that there are new ones.
    told: Option<Instant>,
}

impl DeadLetters {
    pub fn new(letters: Arc<Letters>, lane: OfLane, buries: bool) -> DeadLetters {
        let out = HashSet::new();
        DeadLetters { letters, lane, buries, original: None, out, dead: 0, refused: 0, failed: 0, left_out: 0, told: None }
    }

    /// A row that nobody can take becomes a letter.
    pub fn buries(&self) -> bool {
        self.buries
    }

    /// How many letters the pipeline holds.
    pub fn held(&self) -> usize {
        self.letters.len()
    }

    /// A batch has come: what waits in it becomes letters, and is left out.
    pub fn begin(&mut self, batch: &mut Batch) -> Result<(), DeadLetterError> {
        (self.original, self.dead, self.refused, self.left_out) = (None, 0, 0, 0);
        self.out.clear();
        let holds = !self.letters.is_empty();
        if self.buries || holds {
            self.original = Some(batch.clone());
        }
        if !holds {
            return Ok(());
        }
        let mut waiting = HashSet::new();
        for rows in &batch.relations {
            let units = Units::new(rows, self.letters.ordering());
            let place = |row: usize| Some((dead_letter::place(batch, rows.ids[row])?, batch.is_read));
            let fates = self.letters.fates((0..rows.len()).map(|row| units.unit(row)), place);
            for (id, fate) in rows.ids.iter().zip(fates) {
                match fate {
                    Fate::Goes => {}
                    Fate::IsHeld => drop(self.out.insert(*id)),
                    Fate::Waits => drop(waiting.insert(*id)),
                }
            }
        }
        self.keep(&HashMap::new(), &waiting)?;
        self.leave_out(batch);
        Ok(())
    }

    /// Some row of the batch was not only behind another one, and nobody was told of such for a while.
    pub fn is_to_be_told(&mut self) -> bool {
        let is_due = self.dead > 0 && self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY);
        if is_due {
            self.told = Some(Instant::now());
        }
        is_due
    }

    /// Rows of the batch become letters, and with them all later ones of their units.
    pub fn bury(&mut self, dead: &HashMap<RowId, Why>) -> Result<(), DeadLetterError> {
        self.keep(dead, &HashSet::new())
    }

    fn keep(&mut self, dead: &HashMap<RowId, Why>, waiting: &HashSet<RowId>) -> Result<(), DeadLetterError> {
        let Some(batch) = self.original.as_ref().filter(|_| !dead.is_empty() || !waiting.is_empty()) else { return Ok(()) };
        let ordering = self.letters.ordering();
        // The first dead row of each unit.
        let mut units_dead: HashMap<u64, RowId> = HashMap::new();
        for rows in &batch.relations {
            let units = Units::new(rows, ordering);
            for (row, id) in rows.ids.iter().enumerate().filter(|(_, id)| dead.contains_key(id)) {
                let first = units_dead.entry(units.unit(row)).or_insert(*id);
                *first = (*first).min(*id);
            }
        }
        let mut news: Vec<(RowId, New)> = Vec::new();
        for rows in &batch.relations {
            let units = Units::new(rows, ordering);
            for (row, id) in rows.ids.iter().enumerate().filter(|(_, id)| !self.out.contains(id)) {
                let is_behind = || units_dead.get(&units.unit(row)).is_some_and(|first| first < id);
                let why = dead.get(id);
                if why.is_none() && !waiting.contains(id) && (units_dead.is_empty() || !is_behind()) {
                    continue;
                }
                let Some(place) = dead_letter::place(batch, *id) else { continue };
                let (before, after) = dead_letter::images(rows, row);
                let (op, relation, units) = (rows.ops[row], Arc::clone(&rows.relation), units.both(row));
                news.push((*id, New { place, op, relation, before, after, units, lane: self.lane, why: why.cloned() }));
            }
        }
        news.sort_by_key(|(id, _)| *id);
        self.dead += dead.len();
        let ids: Vec<RowId> = news.iter().map(|(id, _)| *id).collect();
        self.letters.keep(news.into_iter().map(|(_, new)| new).collect())?;
        crate::failpoint::pass("letters-kept");
        self.out.extend(ids);
        Ok(())
    }

    /// Takes the rows that are letters, and what was derived from them, out of a batch that has passed the plugins or not.
    pub fn leave_out(&mut self, batch: &mut Batch) {
        if self.out.is_empty() {
            return;
        }
        for rows in &mut batch.relations {
            self.left_out += rows.leave_out(|id| self.out.contains(&id));
        }
    }

    /// The batch as it was read, without the rows that are letters.
    pub fn restore(&mut self, batch: &mut Batch) {
        if let Some(original) = &self.original {
            *batch = original.clone();
        }
        self.left_out = 0;
        self.leave_out(batch);
    }

    pub fn is_out(&self, id: RowId) -> bool {
        self.out.contains(&id)
    }

    /// How many rows of the batch are letters.
    pub fn count(&self) -> usize {
        self.out.len()
    }

    /// How many rows of the batch, and derived ones, go nowhere for it.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The sink has refused one more; true if the rest of the batch is better written one by one.
    pub fn refused(&mut self) -> bool {
        self.refused += 1;
        self.refused > REFUSED_MAX
    }

    /// The batch is done. False: nothing but letters comes out any more.
    pub fn end(&mut self, rows: usize) -> bool {
        self.original = None;
        if self.out.len() < rows {
            self.failed = 0;
        } else {
            self.failed += self.dead;
        }
        self.failed <= FAILED_MAX
    }
}
