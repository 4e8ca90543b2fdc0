//! Where a round begins whose plugins remember: at the cursor, and each lane behind the rows that its plugins have counted. What the target has
//! beyond those passes the plugins again, and is not written again.

use std::sync::Arc;

use super::begin::{Begin, Layout};
use super::{PipelineError, Running};
use crate::lane::remembered::{StateEntry, Written};
use crate::lane::skip::Skip;
use crate::plugin::{Chain, Plugin, StateChange};
use crate::position::Position;
use crate::sink::Mark;

/// What plugins remember, and what the target has beyond it.
#[derive(Default)]
pub(super) struct Recalled {
    entries: Vec<StateEntry>,
    /// By lane.
    written: Vec<Option<Written>>,
}

impl Recalled {
    /// Gives a lane what is its.
    pub(super) fn give(&mut self, lane: usize, chain: Option<&mut Chain>) -> Option<Written> {
        if let Some(chain) = chain {
            restore(&self.entries, lane as u32, chain);
        }
        self.written.get_mut(lane).and_then(Option::take)
    }

    /// No lane has rows in the target that are yet to pass its plugins again.
    pub(super) fn is_level(&self) -> bool {
        self.written.iter().all(Option::is_none)
    }
}

fn restore(entries: &[StateEntry], lane: u32, chain: &mut Chain) {
    for ((plugin, _, key), value) in entries.iter().filter(|((_, of, _), _)| *of == lane) {
        let (plugin, key, value) = (Arc::clone(plugin), key.clone(), Some(value.clone()));
        chain.restore(StateChange { plugin, key, value, was_there: true });
    }
}

impl Running {
    /// Some plugin remembers something.
    pub(super) fn remembers(&self) -> bool {
        self.seat.plugins().iter().any(Plugin::keeps_state)
    }

    /// A chain with what the plugins remember in a lane while it does not run. `None`: there are no plugins.
    pub(super) fn chain_of(&self, lane: u32) -> Result<Option<Chain>, PipelineError> {
        let mut chain = self.seat.chain()?;
        if let Some(chain) = chain.as_mut().filter(|chain| chain.keeps_state()) {
            restore(&self.store.states(&self.pipeline.name)?, lane, chain);
        }
        Ok(chain)
    }

    /// Dead letters were delivered meanwhile, and plugins remember more.
    pub(super) fn recall_again(&self, recalled: &mut Recalled) -> Result<(), PipelineError> {
        if self.remembers() {
            recalled.entries = self.store.states(&self.pipeline.name)?;
        }
        Ok(())
    }

    /// `begin`: how the round would begin without any; `marks`: of the target, as far as they are kept.
    pub(super) fn recall(&self, begin: Begin, cursor: Option<Position>, marks: &[Mark]) -> Result<Begin, PipelineError> {
        if self.seat.plugins().is_empty() {
            return Ok(begin);
        }
        let name = &self.pipeline.name;
        let (entries, kept) = (self.store.states(name)?, self.store.state_marks(name)?);
        let layout = &begin.layout;
        if !self.remembers() {
            // A version that is taken up later may.
            let is_theirs = kept.iter().all(|mark| Layout::of(mark) == *layout);
            let entries = if is_theirs { entries } else { Vec::new() };
            return Ok(Begin { recalled: Recalled { entries, written: Vec::new() }, ..begin });
        }
        if begin.until_levelled {
            let theirs = format!("lanes = {}, ordering = \"{}\"", layout.lanes, word(layout));
            let problem = format!("it was killed with other lanes ({theirs}), and its plugins remember what belongs to those");
            let hint = "go back to those once, let it catch up and stop it; then change them".to_owned();
            return Err(PipelineError::State { problem, hint });
        }
        if let Some(other) = kept.iter().map(Layout::of).find(|of| of != layout).filter(|_| !entries.is_empty()) {
            let (now, then) = ((layout.lanes, word(layout)), (other.lanes, word(&other)));
            let problem = match now == then {
                true => "what its plugins remember belongs to other lanes: the foreign keys of the target have changed".to_owned(),
                false => format!(
                    "what its plugins remember belongs to lanes = {}, ordering = \"{}\", and not to lanes = {}, ordering = \"{}\"",
                    then.0, then.1, now.0, now.1
                ),
            };
            let hint = format!("go back to those, or let the plugins forget it: `tidegate plugin state clear --pipeline {name}`");
            return Err(PipelineError::State { problem, hint });
        }
        let position = cursor.unwrap_or_else(|| begin.position.clone());
        let at_cursor = |lane| Mark {
            lane,
            store: Arc::default(),
            lanes: layout.lanes as u32,
            ordering: layout.ordering,
            bonds: Arc::clone(&layout.bonds),
            resume: Arc::new(position.clone()),
            partial: None,
            number: 0,
        };
        let is_ahead = |mark: &&Mark| Layout::of(mark) == *layout && !Written::new((*mark).clone()).ends_before(&position);
        let ahead = |marks: &[Mark], lane: u32| marks.iter().filter(|mark| mark.lane == lane).find(is_ahead).cloned();
        let lanes = 0..layout.lanes as u32;
        let counted: Vec<Mark> = lanes.clone().map(|lane| ahead(&kept, lane).unwrap_or_else(|| at_cursor(lane))).collect();
        let (mut skip, _) = Skip::new(counted)?;
        skip.begin_at(&position);
        let written = lanes.map(|lane| ahead(marks, lane).map(Written::new)).collect();
        Ok(Begin { position, skip: Some(skip), recalled: Recalled { entries, written }, ..begin })
    }
}

impl Layout {
    /// Tells layouts apart.
    pub(super) fn digest(&self) -> u32 {
        let Layout { lanes, ordering, bonds } = self;
        crc32fast::hash(&serde_json::to_vec(&(lanes, ordering, bonds)).unwrap_or_default())
    }

    fn of(mark: &Mark) -> Layout {
        Layout { lanes: mark.lanes as usize, ordering: mark.ordering, bonds: Arc::clone(&mark.bonds) }
    }
}

fn word(layout: &Layout) -> String {
    format!("{:?}", layout.ordering).to_lowercase()
}
