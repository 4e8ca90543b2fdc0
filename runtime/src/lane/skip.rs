//! What a pipeline with marks in its target leaves out after a restart: reading begins at the lowest mark, and every lane skips what it has.
//!
//! A row belongs to the lane that it had when the marks were written, so the number of lanes and the ordering may change between
//! two runs.

use std::sync::Arc;

use super::Assignment;
use crate::change::{Relation, Transaction};
use crate::position::{GtidSet, Position, file_number};
use crate::sink::{Mark, Partial};

/// The marks found in the target, and what they mean for the transaction that is being read.
#[derive(Debug)]
pub struct Skip {
    assignment: Assignment,
    lanes: Vec<LaneMark>,
}

#[derive(Debug)]
pub(super) struct LaneMark {
    resume: Arc<Position>,
    /// The transaction that was cut; `None` once it was read.
    partial: Option<Partial>,
    /// Rows of the current transaction below this place are written.
    below: u64,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the target's marks of this pipeline do not fit together: {0}\nhint: they were changed from outside; say where to go on with \
     `tidegate cursor set PIPELINE POSITION`"
)]
pub struct MarksError(&'static str);

impl Skip {
    /// From the marks in the target, and where reading begins: the lowest of them.
    pub fn new(mut marks: Vec<Mark>) -> Result<(Skip, Position), MarksError> {
        marks.sort_by_key(|m| m.lane);
        let first = marks.first().ok_or(MarksError("there are none"))?;
        let (ordering, lanes, bonds) = (first.ordering, first.lanes, Arc::clone(&first.bonds));
        if marks.iter().any(|m| (m.ordering, m.lanes, &m.bonds) != (ordering, lanes, &bonds)) || marks.len() != lanes as usize {
            return Err(MarksError("they are of different lanes"));
        }
        if (0..).zip(&marks).any(|(n, m)| m.lane != n) {
            return Err(MarksError("a lane's mark is missing"));
        }
        let lowest = marks.iter().find(|m| marks.iter().all(|other| other.resume.covers(&m.resume)));
        let start = Position::clone(&lowest.ok_or(MarksError("no lane's position lies before all others"))?.resume);
        let assignment = Assignment::new(ordering, lanes as usize, bonds);
        Ok((Skip { assignment, lanes: marks.into_iter().map(LaneMark::new).collect() }, start))
    }

    /// Reading begins at `position`, before which everything is settled: a transaction that was cut before it never comes again.
    pub fn begin_at(&mut self, position: &Position) {
        for lane in &mut self.lanes {
            lane.partial = lane.partial.take().filter(|cut| !cut.lies_before(position));
        }
    }

    /// A transaction begins, and everything in `executed` was read. True if nothing is left to skip, from here on.
    pub fn begin(&mut self, transaction: &Transaction, executed: &Position) -> bool {
        for lane in &mut self.lanes {
            lane.begin(transaction);
        }
        self.lanes.iter().all(|lane| lane.below == 0) && self.is_level_at(executed)
    }

    /// True if no lane has written anything behind `executed`.
    pub fn is_level_at(&self, executed: &Position) -> bool {
        self.lanes.iter().all(|lane| lane.partial.is_none() && executed.covers(&lane.resume))
    }

    /// True if the row at `place` of the current transaction is in the target.
    pub fn covers(&mut self, relation: &Relation, key_hash: u64, place: u64) -> bool {
        let lane = self.assignment.lane(relation, key_hash);
        place < self.lanes[lane].below
    }
}

impl Partial {
    fn lies_before(&self, position: &Position) -> bool {
        match (self.gtid.as_deref().and_then(|gtid| GtidSet::parse(gtid).ok()), &position.gtids) {
            (Some(cut), Some(executed)) => executed.contains_set(&cut),
            _ => (file_number(&self.file), self.offset) < (file_number(&position.file), position.offset),
        }
    }
}

impl LaneMark {
    pub(super) fn new(mark: Mark) -> LaneMark {
        LaneMark { resume: mark.resume, partial: mark.partial, below: 0 }
    }

    /// True if it reaches no further than the boundary.
    pub(super) fn lies_before(&self, position: &Position) -> bool {
        self.partial.as_ref().is_none_or(|cut| cut.lies_before(position)) && position.covers(&self.resume)
    }

    /// Rows of the transaction below this place are written. Called once a transaction.
    pub(super) fn begin(&mut self, transaction: &Transaction) -> u64 {
        let at = (file_number(&transaction.file), transaction.offset);
        let (all, none) = (u64::MAX, 0);
        self.below = match &self.partial {
            // Up to the transaction that was cut, everything is written.
            Some(cut) => {
                let is_it = match (&cut.gtid, &transaction.gtid) {
                    (Some(cut), Some(gtid)) => *cut == gtid.to_string(),
                    _ => *cut.file == *transaction.file && cut.offset == transaction.offset,
                };
                let is_past = transaction.gtid.is_none() && at > (file_number(&cut.file), cut.offset);
                let below = match (is_it, is_past) {
                    (true, _) => cut.place.saturating_add(1),
                    (false, true) => none,
                    (false, false) => all,
                };
                if is_it || is_past {
                    self.partial = None;
                }
                below
            }
            None => {
                let written = match (&self.resume.gtids, &transaction.gtid) {
                    (Some(set), Some(gtid)) => set.contains(gtid),
                    _ => at < (file_number(&self.resume.file), self.resume.offset),
                };
                if written { all } else { none }
            }
        };
        self.below
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::KeyOrigin;
    use crate::manifest::model::Ordering;
    use crate::position::Gtid;

    fn position(offset: u64) -> Arc<Position> {
        Arc::new(Position { file: "b.000001".into(), offset, gtids: None, home: None })
    }

    fn transaction(offset: u64) -> Transaction {
        Transaction { number: 0, gtid: None, file: "b.000001".into(), offset, commit_time_us: 0 }
    }

    fn mark(lane: u32, resume: u64, partial: Option<(u64, u64)>) -> Mark {
        let partial = partial.map(|(offset, place)| Partial { gtid: None, file: "b.000001".into(), offset, place });
        Mark {
            lane,
            lanes: 2,
            ordering: Ordering::Key,
            bonds: Arc::default(),
            store: "".into(),
            resume: position(resume),
            partial,
            number: 0,
        }
    }

    #[test]
    fn each_lane_skips_what_it_has() {
        let relation = Relation {
            id: 0,
            schema: "s".into(),
            table: "t".into(),
            columns: Vec::new(),
            key: Vec::new(),
            key_origin: KeyOrigin::WholeRow,
        };
        let (mut skip, start) = Skip::new(vec![mark(1, 100, None), mark(0, 300, Some((300, 6)))]).unwrap();
        assert_eq!(start, *position(100));
        let mut covered = |offset: u64| {
            let done = skip.begin(&transaction(offset), &position(offset));
            (skip.covers(&relation, 0, 6), skip.covers(&relation, 0, 8), skip.covers(&relation, 1, 6), done)
        };
        assert_eq!(covered(100), (true, true, false, false));
        assert_eq!(covered(200), (true, true, false, false));
        assert_eq!(covered(300), (true, false, false, false));
        assert_eq!(covered(400), (false, false, false, true));
    }

    /// The cut lane had nothing more of its transaction, so the cursor went on without its mark.
    #[test]
    fn a_cut_before_the_beginning_is_passed() {
        let relation = Relation {
            id: 0,
            schema: "s".into(),
            table: "t".into(),
            columns: Vec::new(),
            key: Vec::new(),
            key_origin: KeyOrigin::WholeRow,
        };
        let uuid = "11111111-1111-1111-1111-111111111111";
        let at =
            |gtids: &str| Position { file: "b.000001".into(), offset: 4, gtids: Some(GtidSet::parse(gtids).unwrap()), home: None };
        let lane = |lane: u32, partial: Option<Partial>| Mark {
            resume: Arc::new(at(&format!("{uuid}:1-5"))),
            partial,
            ..mark(lane, 0, None)
        };
        let cut = Partial { gtid: Some(format!("{uuid}:6")), file: "b.000001".into(), offset: 4, place: 3 };
        let (mut skip, _) = Skip::new(vec![lane(0, Some(cut)), lane(1, None)]).unwrap();
        let begin = at(&format!("{uuid}:1-7"));
        skip.begin_at(&begin);
        let gtid = Gtid::MySql { source: [0x11; 16], tag: None, number: 8 };
        assert!(skip.begin(&Transaction { gtid: Some(gtid), ..transaction(900) }, &begin));
        assert!(!skip.covers(&relation, 0, 0));
    }

    #[test]
    fn marks_that_do_not_fit_are_refused() {
        assert!(Skip::new(Vec::new()).is_err());
        assert!(Skip::new(vec![mark(0, 1, None)]).is_err());
        assert!(Skip::new(vec![mark(0, 1, None), mark(0, 2, None)]).is_err());
    }
}
