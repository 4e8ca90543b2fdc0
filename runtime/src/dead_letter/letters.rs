//! The letters of a running pipeline: which units wait, shared by its lanes and by whoever retries.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use super::store::LetterFile;
use super::{DeadLetterError, Image, Letter, OfLane, Place, Why};
use crate::change::{Op, Relation};
use crate::manifest::model::Ordering;

/// What becomes of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on: nothing of its unit is a letter, or it comes before the first one (what was read is read again).
    Goes,
    /// It is a letter already.
    IsHeld,
    /// It becomes a letter behind another.
    Waits,
}

/// A change that is to become a letter.
#[derive(Clone, Debug)]
pub struct New {
    pub place: Place,
    pub op: Op,
    pub relation: Arc<Relation>,
    pub before: Option<Image>,
    pub after: Option<Image>,
    pub units: (u64, u64),
    pub lane: OfLane,
    /// `None`: it waits behind an earlier one of its unit.
    pub why: Option<Why>,
}

#[derive(Debug)]
pub struct Letters {
    ordering: Ordering,
    max: u64,
    count: AtomicUsize,
    /// A unit has become free: its first letter only waited for one that is gone.
    freed: Notify,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: LetterFile,
    /// In the order of the source.
    units: HashMap<u64, Vec<Entry>>,
    /// By id of the letter.
    unit_of: BTreeMap<u64, u64>,
    /// Units whose first letter waits for nothing any more.
    freed: BTreeSet<u64>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    place: Place,
    /// The row was read from its table: it has no place in the order of the changes but the one in which it came.
    is_read: bool,
    waits: bool,
    lane: OfLane,
}

impl Letters {
    /// Opens those of a pipeline; a process that has the cursor store open may.
    pub fn open(data_dir: &Path, pipeline: &str, ordering: Ordering, max: u64) -> Result<Letters, DeadLetterError> {
        let (file, letters) = LetterFile::open(data_dir, pipeline)?;
        let mut inner = Inner { file, units: HashMap::new(), unit_of: BTreeMap::new(), freed: BTreeSet::new() };
        for letter in &letters {
            inner.enter(unit(ordering, letter.units), letter);
        }
        let count = AtomicUsize::new(letters.len());
        Ok(Letters { ordering, max, count, freed: Notify::new(), inner: Mutex::new(inner) })
    }

    pub fn len(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn ordering(&self) -> Ordering {
        self.ordering
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the fates of changes, by their units; `place` is called for those of which there are letters.
    pub fn fates(&self, units: impl Iterator<Item = u64>, mut place: impl FnMut(usize) -> Option<(Place, bool)>) -> Vec<Fate> {
        let inner = self.inner();
        let fate = |(row, unit): (usize, u64)| match inner.units.get(&unit) {
            None => Fate::Goes,
            Some(entries) => place(row).map_or(Fate::Waits, |(place, is_read)| fate(entries, &place, is_read)),
        };
        units.enumerate().map(fate).collect()
    }

    /// Keeps changes, in the order of the source. Durable when it returns; those that are kept already are left as they are.
    pub fn keep(&self, news: Vec<New>) -> Result<(), DeadLetterError> {
        let now = now();
        let mut inner = self.inner();
        let mut letters: Vec<Letter> = Vec::with_capacity(news.len());
        // The last letter of a unit, of this call.
        let mut lasts: HashMap<u64, u64> = HashMap::new();
        for New { place, op, relation, before, after, units, lane, why } in news {
            let of = unit(self.ordering, units);
            let entries = inner.units.get(&of).map(Vec::as_slice).unwrap_or_default();
            let is_read = op == Op::Snapshot;
            if !entries.is_empty() && fate(entries, &place, is_read) == Fate::IsHeld {
                continue;
            }
            let id = inner.file.next() + letters.len() as u64;
            let last = lasts.insert(of, id).or(entries.last().map(|entry| entry.id));
            let why = why.unwrap_or(Why::Behind { id: last.unwrap_or(0) });
            letters.push(Letter { id, place, op, relation, before, after, why, time: now, retries: 0, units, lane });
        }
        let count = inner.unit_of.len() + letters.len();
        if count as u64 > self.max {
            return Err(DeadLetterError::Full { max: self.max });
        }
        inner.file.append(&mut letters)?;
        let mut replaced = Vec::new();
        for letter in &letters {
            replaced.extend(inner.enter(unit(self.ordering, letter.units), letter));
        }
        if !replaced.is_empty() {
            inner.file.remove(&replaced)?;
        }
        self.count.store(inner.unit_of.len(), Relaxed);
        // What it was to wait for may be gone meanwhile.
        if !inner.freed.is_empty() {
            self.freed.notify_one();
        }
        Ok(())
    }

    /// Returns when there are units to be delivered without being asked for.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    /// The units whose first letter waits for nothing any more, ordered as by [`Letters::units`].
    pub fn freed_units(&self) -> VecDeque<u64> {
        let inner = self.inner();
        inner.ordered(inner.freed.iter().copied().collect())
    }

    /// The units of letters, or all, by lane and in the order of their first letters; and the ids that are no letters.
    pub fn units(&self, ids: Option<&[u64]>) -> (VecDeque<u64>, Vec<u64>) {
        let inner = self.inner();
        let mut unknown = Vec::new();
        let units: HashSet<u64> = match ids {
            None => inner.units.keys().copied().collect(),
            Some(ids) => {
                unknown.extend(ids.iter().filter(|id| !inner.unit_of.contains_key(id)));
                ids.iter().filter_map(|id| inner.unit_of.get(id)).copied().collect()
            }
        };
        (inner.ordered(units), unknown)
    }

    /// The first letters of the first units, which are taken from `units` unless some of their letters are left: of one lane, at most `max`, and
    /// no more than `bytes_max` bytes, but at least one, if there is any.
    pub fn first(&self, units: &mut VecDeque<u64>, max: usize, bytes_max: u64) -> Result<Vec<(u64, Letter)>, DeadLetterError> {
        let mut inner = self.inner();
        let mut letters: Vec<(u64, Letter)> = Vec::new();
        let mut bytes = 0;
        while let Some(unit) = units.front().copied() {
            let entries = inner.units.get(&unit).map(Vec::as_slice).unwrap_or_default();
            let ids: Vec<(u64, OfLane)> = entries.iter().take(max).map(|entry| (entry.id, entry.lane)).collect();
            for (id, lane) in ids {
                bytes += inner.file.bytes(id);
                let is_enough = letters.len() == max || bytes > bytes_max;
                if letters.first().is_some_and(|(_, first)| is_enough || first.lane != lane) {
                    return Ok(letters);
                }
                letters.extend(inner.file.get(id)?.map(|letter| (unit, letter)));
            }
            if inner.units.get(&unit).is_some_and(|entries| entries.len() > max) {
                return Ok(letters);
            }
            units.pop_front();
        }
        Ok(letters)
    }

    /// Letters are delivered or dropped. Durable when it returns; those of which there is none are left out. How many they were.
    pub fn remove(&self, ids: &[u64]) -> Result<usize, DeadLetterError> {
        let mut inner = self.inner();
        let known: Vec<u64> = ids.iter().filter(|id| inner.unit_of.contains_key(id)).copied().collect();
        if known.is_empty() {
            return Ok(0);
        }
        inner.file.remove(&known)?;
        inner.leave(&known);
        self.count.store(inner.unit_of.len(), Relaxed);
        if !inner.freed.is_empty() {
            self.freed.notify_one();
        }
        Ok(known.len())
    }

    /// Letters were tried in vain: they do not only wait any more.
    pub fn tried(&self, again: Vec<(u64, Why)>) -> Result<(), DeadLetterError> {
        let mut inner = self.inner();
        let known: Vec<(u64, Why)> = again.into_iter().filter(|(id, _)| inner.unit_of.contains_key(id)).collect();
        let ids: Vec<u64> = known.iter().map(|(id, _)| *id).collect();
        inner.file.tried(known, now())?;
        for id in ids {
            let unit = inner.unit_of[&id];
            for entry in inner.units.get_mut(&unit).into_iter().flatten().filter(|entry| entry.id == id) {
                entry.waits = false;
            }
            inner.look(unit);
        }
        Ok(())
    }

    /// Letters are dropped, or all, and nothing of them is left in the file; those behind them become free. How many they were.
    pub fn drop_letters(&self, ids: Option<&[u64]>) -> Result<usize, DeadLetterError> {
        let count = match ids {
            Some(ids) => self.remove(ids)?,
            None => {
                let all: Vec<u64> = self.inner().unit_of.keys().copied().collect();
                self.remove(&all)?
            }
        };
        self.inner().file.forget_gone()?;
        Ok(count)
    }

    /// Of these, which are known by their ids and places, those that are still there are removed: they were delivered before a crash.
    pub fn remove_delivered(&self, delivered: &[(u64, Place)]) -> Result<(), DeadLetterError> {
        let is_there = |(id, place): &&(u64, Place)| {
            let inner = self.inner();
            let entries = inner.unit_of.get(id).and_then(|unit| inner.units.get(unit));
            entries.is_some_and(|entries| entries.iter().any(|entry| entry.id == *id && entry.place == *place))
        };
        let ids: Vec<u64> = delivered.iter().filter(is_there).map(|(id, _)| *id).collect();
        self.remove(&ids).map(drop)
    }

    /// How many letters a unit has.
    pub fn count_of(&self, unit: u64) -> usize {
        self.inner().units.get(&unit).map_or(0, Vec::len)
    }

    /// The letters of a table.
    pub fn of_table(&self, schema: &str, table: &str) -> Result<Vec<u64>, DeadLetterError> {
        let mut inner = self.inner();
        let mut ids = Vec::new();
        for id in inner.unit_of.keys().copied().collect::<Vec<_>>() {
            let is_of = |letter: &Letter| (&*letter.relation.schema, &*letter.relation.table) == (schema, table);
            ids.extend(inner.file.get(id)?.filter(is_of).map(|letter| letter.id));
        }
        Ok(ids)
    }
}

fn fate(entries: &[Entry], place: &Place, is_read: bool) -> Fate {
    if !is_read && entries.iter().any(|entry| !entry.is_read && entry.place.is(place)) {
        return Fate::IsHeld;
    }
    match entries.first() {
        Some(first) if is_read || first.is_read || !place.is_before(&first.place) => Fate::Waits,
        _ => Fate::Goes,
    }
}

fn unit(ordering: Ordering, (of_key, of_table): (u64, u64)) -> u64 {
    if ordering == Ordering::Table { of_table } else { of_key }
}

impl Inner {
    /// Enters a letter in the order of the source. Gives the letter that it replaces: a row that was read again before anything happened to
    /// it.
    fn enter(&mut self, unit: u64, letter: &Letter) -> Option<u64> {
        let Letter { id, place, op, why, lane, .. } = letter;
        let new = Entry { id: *id, place: place.clone(), is_read: *op == Op::Snapshot, waits: why.waits(), lane: *lane };
        let entries = self.units.entry(unit).or_default();
        let at = entries.iter().position(|entry| !new.is_read && !entry.is_read && new.place.is_before(&entry.place));
        // One that does not only wait is what the others wait for.
        let replaced = entries.pop_if(|last| new.is_read && last.is_read && (last.waits || !new.waits));
        entries.insert(at.unwrap_or(entries.len()), new);
        self.unit_of.insert(letter.id, unit);
        self.look(unit);
        replaced.map(|entry| {
            self.unit_of.remove(&entry.id);
            entry.id
        })
    }

    fn leave(&mut self, ids: &[u64]) {
        let units: HashSet<u64> = ids.iter().filter_map(|id| self.unit_of.remove(id)).collect();
        for unit in units {
            if let Some(entries) = self.units.get_mut(&unit) {
                entries.retain(|entry| self.unit_of.contains_key(&entry.id));
                if entries.is_empty() {
                    self.units.remove(&unit);
                }
            }
            self.look(unit);
        }
    }

    /// Something of the unit has changed: is it free?
    fn look(&mut self, unit: u64) {
        match self.units.get(&unit).and_then(|entries| entries.first()) {
            Some(first) if first.waits => self.freed.insert(unit),
            Some(_) | None => self.freed.remove(&unit),
        };
    }

    fn ordered(&self, units: HashSet<u64>) -> VecDeque<u64> {
        let first = |unit: u64| self.units.get(&unit).and_then(|entries| entries.first()).map(|entry| (entry.lane, entry.id, unit));
        let mut units: Vec<_> = units.into_iter().filter_map(first).collect();
        units.sort_unstable();
        units.into_iter().map(|(.., unit)| unit).collect()
    }
}

/// Seconds since the epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, letter};
    use super::*;

    fn new(unit: u64, place: Place, op: Op, is_dead: bool) -> New {
        let Letter { relation, before, after, .. } = letter(0, place.clone());
        let why = is_dead.then(|| Why::Sink { name: "s".into(), message: "no".into() });
        New { place, op, relation, before, after, units: (unit, 0), lane: OfLane::default(), why }
    }

    fn fates(letters: &Letters, changes: &[(u64, Place)]) -> Vec<Fate> {
        letters.fates(changes.iter().map(|(unit, _)| *unit), |row| Some((changes[row].1.clone(), false)))
    }

    fn ids(letters: &Letters, unit: u64) -> Vec<u64> {
        letters.first(&mut [unit].into(), 100, u64::MAX).unwrap().iter().map(|(_, letter)| letter.id).collect()
    }

    #[test]
    fn later_changes_of_a_key_wait_and_earlier_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Letters::open(dir.path(), "p", Ordering::Key, 4).unwrap();
        let letters = open();
        assert!(letters.is_empty());
        letters.keep(vec![new(1, at(50, 2), Op::Update, true), new(1, at(60, 2), Op::Update, false)]).unwrap();
        drop(letters);
        let letters = open();
        // What was read before a crash comes again: the change in front of the letter, the letter, the one behind it, a new one.
        let changes = [(1, at(40, 2)), (1, at(50, 2)), (1, at(60, 2)), (1, at(70, 2)), (2, at(70, 4))];
        assert_eq!(fates(&letters, &changes), [Fate::Goes, Fate::IsHeld, Fate::IsHeld, Fate::Waits, Fate::Goes]);
        // The change in front of the letter fails now: it goes in front of it.
        letters.keep(vec![new(1, at(40, 2), Op::Update, true), new(1, at(50, 2), Op::Update, true)]).unwrap();
        assert_eq!(ids(&letters, 1), [3, 1, 2]);
        assert!(letters.freed_units().is_empty());
        let full = letters.keep(vec![new(2, at(80, 2), Op::Update, true), new(3, at(80, 4), Op::Update, true)]);
        assert!(matches!(full, Err(DeadLetterError::Full { max: 4 })));
        letters.remove(&[3, 1]).unwrap();
        assert_eq!((letters.freed_units(), letters.len()), ([1].into(), 1));
        letters.remove(&[2, 99]).unwrap();
        assert!(letters.is_empty() && letters.freed_units().is_empty());
        assert_eq!(fates(&letters, &changes[3..]), [Fate::Goes, Fate::Goes]);
    }

    #[test]
    fn a_row_that_is_read_again_takes_the_place_of_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let letters = Letters::open(dir.path(), "p", Ordering::Key, 100).unwrap();
        letters.keep(vec![new(1, at(50, 2), Op::Snapshot, true)]).unwrap();
        letters.keep(vec![new(1, at(40, 2), Op::Update, false)]).unwrap();
        letters.keep(vec![new(1, at(90, 2), Op::Snapshot, false)]).unwrap();
        assert_eq!(ids(&letters, 1), [1, 2, 3]);
        letters.keep(vec![new(1, at(95, 2), Op::Snapshot, false)]).unwrap();
        assert_eq!((ids(&letters, 1), letters.len()), (vec![1, 2, 4], 3));
        drop(letters);
        let letters = Letters::open(dir.path(), "p", Ordering::Key, 100).unwrap();
        assert_eq!(ids(&letters, 1), [1, 2, 4]);
    }
}
