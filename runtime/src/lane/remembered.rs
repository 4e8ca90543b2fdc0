//! What plugins remember, on its way from the lanes to the cursor store.
//!
//! A lane hands over what a batch has changed when the batch settles, with how far the lane is then: a mark, as the target has them, but of the
//! state. Both become durable together with the cursor, or not at all. After a restart a lane's rows up to its mark are not read again, and
//! those behind it pass its plugins again, so that a state counts each row once, wherever it was killed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use crate::change::{Batch, RowId, Slice};
use crate::plugin::StateChange;
use crate::position::Position;
use crate::sink::Mark;

use super::skip::LaneMark;

/// Where a state is: plugin, lane, key.
pub type StateKey = (Arc<str>, u32, Box<[u8]>);
/// What is there.
pub type StateEntry = (StateKey, Box<[u8]>);

/// What the lanes have changed since it was last written.
#[derive(Debug, Default)]
pub struct Remembered {
    /// By lane.
    pub marks: BTreeMap<u32, Mark>,
    /// What was never written and is gone is not among them: a plugin may change its mind as often as it likes.
    pub entries: BTreeMap<StateKey, Change>,
}

/// What becomes of an entry that is written.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// `None`: it is gone.
    pub value: Option<Box<[u8]>>,
    /// It is there as it was last written.
    is_written: bool,
}

impl Remembered {
    /// The lane stands at the mark, and its plugins have changed this before it.
    pub fn add(&mut self, mark: Mark, changes: Vec<StateChange>) {
        let lane = mark.lane;
        self.marks.insert(lane, mark);
        self.add_letters(lane, changes);
    }

    /// The lane stands where it stood, and its plugins have changed this for dead letters.
    pub fn add_letters(&mut self, lane: u32, changes: Vec<StateChange>) {
        for StateChange { plugin, key, value, was_there } in changes {
            match self.entries.entry((plugin, lane, key)) {
                Entry::Occupied(entry) if value.is_none() && !entry.get().is_written => {
                    entry.remove();
                }
                Entry::Occupied(mut entry) => entry.get_mut().value = value,
                Entry::Vacant(entry) => {
                    entry.insert(Change { value, is_written: was_there });
                }
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }
}

/// What the target of a lane has beyond what the lane's plugins remember: rows that pass the plugins again, and are not written again.
#[derive(Debug)]
pub struct Written {
    mark: LaneMark,
    /// The same, of which no transaction is taken.
    end: LaneMark,
    /// By number of a transaction, of those of the last batch: rows below this place are written.
    below: Vec<(u64, u64)>,
    /// The batch was read from a table: such rows are in no mark.
    is_read: bool,
}

impl Written {
    pub fn new(mark: Mark) -> Written {
        Written { end: LaneMark::new(mark.clone()), mark: LaneMark::new(mark), below: Vec::new(), is_read: false }
    }

    /// A batch comes.
    pub fn begin(&mut self, batch: &Batch) {
        self.is_read = batch.is_read;
        if batch.is_read {
            return;
        }
        let before = std::mem::take(&mut self.below);
        for transaction in &batch.transactions {
            // One that goes on has begun in an earlier batch.
            let known = before.iter().find(|(number, _)| *number == transaction.number);
            let below = known.map_or_else(|| self.mark.begin(transaction), |(_, below)| *below);
            self.below.push((transaction.number, below));
        }
    }

    /// Takes the rows of the batch out that are written.
    pub fn leave_out(&self, slices: &mut [Vec<Slice<'_>>]) {
        for slice in slices.iter_mut().flatten() {
            slice.picks.retain(|row| !self.has(slice.rows.ids[*row as usize]));
        }
        slices.iter_mut().for_each(|slices| slices.retain(|slice| !slice.picks.is_empty()));
    }

    /// True if the row, one of the last batch, is written.
    pub fn has(&self, id: RowId) -> bool {
        !self.is_read && self.below.iter().any(|(number, below)| *number == id.transaction && id.place < *below)
    }

    /// True if nothing is written behind the boundary.
    pub fn ends_before(&self, position: &Position) -> bool {
        self.end.lies_before(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{KeyOrigin, Op, Relation, Rows, Transaction};
    use crate::manifest::model::Ordering;
    use crate::sink::Partial;

    fn position(offset: u64) -> Position {
        Position { file: "b.000001".into(), offset, gtids: None, home: None }
    }

    /// A batch of one row for each (transaction, place); transactions begin at their number times 100.
    fn batch(ids: &[(u64, u64)], resume: u64) -> Batch {
        let relation = Relation {
            id: 0,
            schema: "s".into(),
            table: "t".into(),
            columns: Vec::new(),
            key: Vec::new(),
            key_origin: KeyOrigin::WholeRow,
        };
        let ids: Vec<RowId> = ids.iter().map(|&(transaction, place)| RowId { transaction, place }).collect();
        let mut numbers: Vec<u64> = ids.iter().map(|id| id.transaction).collect();
        numbers.dedup();
        let transaction =
            |number: u64| Transaction { number, gtid: None, file: "b.000001".into(), offset: number * 100, commit_time_us: 0 };
        let (first, last) = (ids[0], ids[ids.len() - 1]);
        let ops = vec![Op::Insert; ids.len()];
        let rows = Rows { relation: Arc::new(relation), ops, ids, after: Vec::new(), before: Vec::new(), topics: None };
        Batch {
            rows: rows.len(),
            relations: vec![rows],
            transactions: numbers.into_iter().map(transaction).collect(),
            bytes: 0,
            first,
            last,
            resume: Arc::new(position(resume)),
            is_read: false,
            ends: Vec::new(),
            ends_transaction: true,
        }
    }

    #[test]
    fn rows_up_to_the_mark_are_left_out_through_cut_transactions() {
        let mark = Mark {
            lane: 0,
            lanes: 1,
            ordering: Ordering::Key,
            bonds: Arc::default(),
            store: "".into(),
            resume: Arc::new(position(200)),
            partial: Some(Partial { gtid: None, file: "b.000001".into(), offset: 300, place: 6 }),
            number: 0,
        };
        let mut written = Written::new(mark);
        let mut left = |batch: &Batch| {
            let rows = &batch.relations[0];
            let picks = (0..rows.len() as u32).collect();
            let mut slices = vec![vec![Slice { rows, topic: "s.t".into(), picks }]];
            written.begin(batch);
            written.leave_out(&mut slices);
            let left: Vec<u64> = slices[0].iter().flat_map(|s| &s.picks).map(|row| rows.ids[*row as usize].place).collect();
            (left, written.has(batch.last), written.ends_before(&batch.resume))
        };
        assert_eq!(left(&batch(&[(1, 1), (2, 1), (3, 2)], 300)), (vec![], true, false));
        assert_eq!(left(&batch(&[(3, 4), (3, 6)], 300)), (vec![], true, false));
        assert_eq!(left(&batch(&[(3, 7), (4, 1)], 500)), (vec![7, 1], false, true));
    }
}
