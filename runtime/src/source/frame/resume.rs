//! Where a reading goes on after it was lost.

use std::sync::Arc;

use crate::position::{Home, Position};
use crate::source::{Boundary, Framed, Segment, TransactionBegin};

/// Where reading goes on: at the last transaction boundary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resume {
    pub position: Position,
    /// The transaction that has begun and not ended.
    pub open: Option<TransactionBegin>,
}

impl Resume {
    pub(crate) fn at(position: Position) -> Resume {
        Resume { position, open: None }
    }

    /// Moves on over a whole segment.
    pub(crate) fn advance(&mut self, segment: &Segment) {
        for event in &segment.events {
            self.step(segment, event);
        }
    }

    pub(crate) fn step(&mut self, segment: &Segment, event: &Framed) {
        match event.boundary {
            Boundary::Begin(i) | Boundary::BeginAgain(i) => self.open = segment.transactions.get(i as usize).cloned(),
            Boundary::Within if self.open.is_some() => {}
            Boundary::End | Boundary::Within => self.boundary(&segment.file, segment.home.as_ref(), event.next),
        }
    }

    pub(super) fn boundary(&mut self, file: &Arc<str>, home: Option<&Arc<Home>>, next: u64) {
        if let Some(TransactionBegin { gtid, .. }) = self.open.take() {
            match (&mut self.position.gtids, gtid) {
                (Some(gtids), Some(gtid)) => gtids.add(&gtid),
                // A set does not tell the place behind a transaction that is in none.
                (gtids @ Some(_), None) => *gtids = None,
                (None, _) => {}
            }
        }
        self.position.offset = next;
        if !Arc::ptr_eq(&self.position.file, file) {
            self.position.file = file.clone();
        }
        if !matches!((&self.position.home, home), (Some(known), Some(home)) if Arc::ptr_eq(known, home)) {
            self.position.home = home.cloned();
        }
    }
}
