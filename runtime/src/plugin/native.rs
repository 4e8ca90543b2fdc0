//! What plugins are measured against: one that is linked into the program, between the same steps of the host as a component.

use std::collections::HashMap;
use std::time::{Duration, Instant};

pub use super::bindings::exports::tidegate::plugin::transform as answer;
pub use super::bindings::tidegate::plugin::types as wire;

use super::apply::{self, Seen};
use super::error::Fault;
use super::lower;
use super::plan::Plan;
use crate::change::{Batch, Rows, Transaction};
use crate::manifest::model;

/// A plugin that is no component. The types are the host's of the plugin interface.
pub trait Linked {
    fn bind(&mut self, relation: wire::Relation<'_>) -> Result<Option<answer::Plan>, String>;

    /// Also how long the plugin took, without what was done only to hand it its rows.
    fn process(&mut self, relation: u32, rows: wire::Batch<'_>) -> Result<(answer::Outcome, Duration), String>;
}

/// A linked plugin and the relations that it is bound to.
pub struct Native<L> {
    plugin: L,
    /// By id of the relation. `None`: it does not concern the plugin.
    plans: HashMap<u32, Option<Plan>>,
}

impl<L: Linked> Native<L> {
    pub fn new(plugin: L) -> Native<L> {
        Native { plugin, plans: HashMap::new() }
    }

    /// Passes a batch through the plugin, as a pipeline would a component. What it took: the plugin, and checking and applying
    /// its answer; there is no boundary to hand the rows over.
    pub fn pass(&mut self, batch: &mut Batch) -> Result<Duration, Fault> {
        let mut taken = Duration::ZERO;
        for rows in batch.relations.iter_mut().filter(|rows| !rows.is_empty()) {
            taken += self.rows(rows, &batch.transactions)?;
        }
        Ok(taken)
    }

    fn rows(&mut self, rows: &mut Rows, transactions: &[Transaction]) -> Result<Duration, Fault> {
        let id = rows.relation.id;
        if !self.plans.contains_key(&id) {
            let bind = |relation: wire::Relation<'_>| self.plugin.bind(relation).map_err(Fault::Bind);
            let plan = Plan::answered(&rows.relation, bind)?;
            self.plans.insert(id, plan);
        }
        let Some(plan) = &self.plans[&id] else { return Ok(Duration::ZERO) };
        let started = Instant::now();
        let picks = lower::selection(plan, rows);
        let selecting = started.elapsed();
        if picks.as_ref().is_some_and(Vec::is_empty) {
            return Ok(selecting);
        }
        let process = |batch: wire::Batch<'_>| self.plugin.process(id, batch);
        let (outcome, processing) = lower::lowered(plan, rows, transactions, picks.as_deref(), process).map_err(Fault::Reported)?;
        let answered = Instant::now();
        let seen = Seen::new(picks.as_deref(), rows.len());
        apply::apply(plan, rows, &seen, outcome, model::plugin_memory().0 as usize)?;
        Ok(selecting + processing + answered.elapsed())
    }
}
