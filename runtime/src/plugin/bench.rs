//! What a plugin's work takes: the way of batches through one instance, timed in its parts.
//!
//! Passing is measured with another component, [`PROBE`], that takes what the plugin takes and does nothing with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::PluginConfig;
use super::apply::{self, Seen};
use super::engine::{Engine, Plugin};
use super::error::{Fault, PluginError};
use super::instance::Instance;
use super::lower;
use super::plan::Plan;
use crate::change::{Batch, Relation, Rows, Transaction};

const PROBE: &[u8] = include_bytes!("bench/probe.wasm");

/// One plugin, and the component that it is compared with.
pub struct Bench {
    instance: Instance,
    probe: Instance,
    /// By id of the relation. `None`: it does not concern the plugin.
    plans: HashMap<u32, Option<Plan>>,
}

/// Where the time of one batch went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// All of it, as in a pipeline.
    pub whole: Duration,
    /// Handing the rows over, without anything that the plugin or its language does: a part of `whole`.
    pub passing: Duration,
    /// Checking and applying the answer: a part of `whole`.
    pub applying: Duration,
    /// Rows that the plugin was asked about.
    pub rows: usize,
}

impl Bench {
    /// `config`: that of `plugin`, for the limits.
    pub fn new(engine: &Engine, plugin: &Plugin, config: &PluginConfig) -> Result<Bench, PluginError> {
        let config = PluginConfig { name: "probe".to_owned(), sha256: None, ..config.clone() };
        let probe = engine.load_bytes(&config, PROBE)?;
        Ok(Bench { instance: plugin.instantiate()?, probe: probe.instantiate()?, plans: HashMap::new() })
    }

    /// Linear memory of the plugin's instance, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.instance.memory_bytes()
    }

    /// Passes a batch through the plugin, as a pipeline of this plugin alone would.
    pub fn pass(&mut self, batch: &mut Batch) -> Result<Times, PluginError> {
        let mut times = Times::default();
        for rows in batch.relations.iter_mut().filter(|rows| !rows.is_empty()) {
            let relation = Arc::clone(&rows.relation);
            self.rows(rows, &batch.transactions, &mut times).map_err(|fault| failed(&self.instance, &relation, fault))?;
        }
        Ok(times)
    }

    fn rows(&mut self, rows: &mut Rows, transactions: &[Transaction], times: &mut Times) -> Result<(), Fault> {
        let id = rows.relation.id;
        if !self.plans.contains_key(&id) {
            let plan = Plan::ask(&mut self.instance, &rows.relation)?;
            self.plans.insert(id, plan);
        }
        let Some(plan) = &self.plans[&id] else { return Ok(()) };
        let started = Instant::now();
        let picks = lower::selection(plan, rows);
        if picks.as_ref().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        let outcome = lower::call(&mut self.instance, plan, rows, transactions, picks.as_deref())?;
        let called = Instant::now();
        // The probe sees the rows as the plugin saw them, but has no part in the time of the whole.
        drop(lower::call(&mut self.probe, plan, rows, transactions, picks.as_deref())?);
        times.passing += called.elapsed();
        let answered = Instant::now();
        let seen = Seen::new(picks.as_deref(), rows.len());
        times.rows += seen.len();
        apply::apply(plan, rows, &seen, outcome, self.instance.output_bytes_max())?;
        if let Some(state) = self.instance.state() {
            state.keep();
            state.take_changes(self.instance.name(), &mut Vec::new());
        }
        let applying = answered.elapsed();
        times.applying += applying;
        times.whole += (called - started) + applying;
        Ok(())
    }
}

fn failed(instance: &Instance, relation: &Relation, fault: Fault) -> PluginError {
    PluginError { plugin: Arc::clone(instance.name()), relation: Some(relation.to_string()), fault }
}
