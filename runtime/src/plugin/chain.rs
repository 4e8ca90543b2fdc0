//! The plugins of one lane, in order, bound to the relations that pass.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::apply::{self, Applied, Seen};
use super::engine::Plugin;
use super::error::{Fault, PluginError, RowError};
use super::instance::Instance;
use super::lower;
use super::plan::{Image, Plan};
use super::state::{State, StateChange};
use crate::change::{Batch, Column, Relation, Rows, Transaction};

/// Relations that a chain is bound to, at most; beyond it, all are forgotten, as they are where plans take much room.
const BINDINGS_MAX: usize = 4096;

/// One lane's instances of a pipeline's plugins. Calls block for as long as the guests compute.
#[derive(Debug)]
pub struct Chain {
    pub(super) instances: Vec<Instance>,
    /// By id of the relation that comes in.
    pub(super) bindings: HashMap<u32, Binding>,
}

#[derive(Debug)]
pub(super) struct Binding {
    /// One a plugin; `None`: it does not care.
    plans: Vec<Option<Plan>>,
    bound: Bound,
}

/// What the chain makes of one relation.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The relation that comes out: the same one if no plugin adds, drops or renames a column.
    pub output: Arc<Relation>,
    /// By column of `output`: the column of the input that it was. `None`: a plugin added it.
    pub input_of: Vec<Option<u16>>,
    /// By column of the input: some plugin reads it, so that the decoder must give it.
    pub reads_after: Vec<bool>,
    pub reads_before: Vec<bool>,
    /// False: no plugin cares, `process` leaves the rows alone.
    pub is_transformed: bool,
}

/// What came of rows besides what they are now.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub errors: Vec<RowError>,
    pub derived: Vec<Rows>,
}

impl Chain {
    /// Instantiates and configures the plugins.
    pub fn new(plugins: &[Plugin]) -> Result<Chain, PluginError> {
        let instances = plugins.iter().map(Plugin::instantiate).collect::<Result<_, _>>()?;
        Ok(Chain { instances, bindings: HashMap::new() })
    }

    /// Asks the plugins for their plans, once a relation. What comes out of one is bound to the next.
    pub fn bind(&mut self, relation: &Arc<Relation>) -> Result<Bound, PluginError> {
        self.know(relation)?;
        Ok(self.bindings[&relation.id].bound.clone())
    }

    /// What each plugin wants of a relation, in words. `None`: it leaves it alone.
    pub fn describe(&mut self, relation: &Arc<Relation>) -> Result<Vec<Option<String>>, PluginError> {
        self.know(relation)?;
        Ok(self.bindings[&relation.id].plans.iter().map(|plan| plan.as_ref().map(Plan::describe)).collect())
    }

    /// The relations that come out of those that the chain is bound to, derived ones among them.
    pub fn outputs(&self) -> impl Iterator<Item = &Arc<Relation>> {
        self.bindings.values().map(|binding| &binding.bound.output)
    }

    /// A plugin has crashed, and no batch passes any more.
    pub fn is_dead(&self) -> bool {
        !self.instances.iter().all(Instance::is_alive)
    }

    /// The SHA-256 of a plugin's file.
    pub fn sha256(&self, plugin: &str) -> Option<&str> {
        self.instances.iter().find(|instance| **instance.name() == *plugin).map(Instance::sha256)
    }

    /// The plugins that take none of the relations that the chain is bound to.
    pub fn idle(&self) -> impl Iterator<Item = &str> {
        let takes = |at: usize| self.bindings.values().any(|b| b.plans.get(at).is_some_and(Option::is_some));
        self.instances.iter().enumerate().filter(move |(at, _)| !takes(*at)).map(|(_, instance)| &**instance.name())
    }

    /// Passes rows through for nothing but to see whether that fails. Rows that were decoded for other plugins may lack images that these
    /// read, and are passed over.
    pub fn rehearse(&mut self, mut batch: Batch) -> Result<Vec<RowError>, PluginError> {
        let mut kept = Vec::with_capacity(batch.relations.len());
        for rows in batch.relations {
            let bound = self.bind(&rows.relation)?;
            let has = |image: &[Option<Column>], reads: &[bool]| {
                image.iter().all(Option::is_none) || reads.iter().zip(image).all(|(read, column)| !read || column.is_some())
            };
            if has(&rows.before, &bound.reads_before) && has(&rows.after, &bound.reads_after) {
                kept.push(rows);
            }
        }
        batch.relations = kept;
        self.process(&mut batch)
    }

    /// Binds a relation that comes in, if that was not done.
    fn know(&mut self, relation: &Arc<Relation>) -> Result<(), PluginError> {
        if self.bindings.contains_key(&relation.id) {
            return Ok(());
        }
        if self.bindings.len() >= BINDINGS_MAX || self.instances.iter().any(Instance::is_full_of_plans) {
            self.bindings.clear();
            // What the guests keep of their relations goes with them.
            self.instances = self.instances.iter().map(Instance::anew).collect::<Result<_, _>>()?;
        }
        self.bind_from(0, relation)
    }

    /// Binds a relation to the plugins from the `first` on, and what these derive from it to those behind them.
    fn bind_from(&mut self, first: usize, relation: &Arc<Relation>) -> Result<(), PluginError> {
        let columns = relation.columns.len();
        let mut bound = Bound {
            output: Arc::clone(relation),
            input_of: (0..columns as u16).map(Some).collect(),
            reads_after: vec![false; columns],
            reads_before: vec![false; columns],
            is_transformed: false,
        };
        let mut plans: Vec<Option<Plan>> = (0..first).map(|_| None).collect();
        let mut derived = Vec::new();
        for (at, instance) in self.instances.iter_mut().enumerate().skip(first) {
            let plan = Plan::ask(instance, &bound.output).map_err(|fault| failed(instance, relation, fault))?;
            if let Some(plan) = &plan {
                bound.is_transformed = true;
                derived.extend(plan.derives.iter().map(|relation| (at + 1, Arc::clone(relation))));
                for read in plan.reads.iter().filter(|read| read.needed) {
                    if let Some(column) = bound.input_of[read.index] {
                        match read.image {
                            Image::After => bound.reads_after[usize::from(column)] = true,
                            Image::Before => bound.reads_before[usize::from(column)] = true,
                        }
                    }
                }
                bound.input_of = plan.origin.iter().map(|&c| bound.input_of.get(c).copied().flatten()).collect();
                bound.output = Arc::clone(&plan.output);
            }
            plans.push(plan);
        }
        self.bindings.insert(relation.id, Binding { plans, bound });
        derived.iter().try_for_each(|(first, relation)| self.bind_from(*first, relation))
    }

    /// Puts back what a plugin remembered in this lane, though the version that runs may keep no state.
    pub fn restore(&mut self, change: StateChange) {
        let of_plugin = self.instances.iter_mut().find(|instance| **instance.name() == *change.plugin);
        if let (Some(instance), Some(value)) = (of_plugin, change.value) {
            instance.restore(change.key, value);
        }
    }

    /// Goes on with what the plugins of an earlier chain of this lane remember.
    pub fn inherit(&mut self, earlier: &Chain) {
        for instance in &mut self.instances {
            instance.inherit(earlier.instances.iter().find(|earlier| earlier.name() == instance.name()));
        }
    }

    /// Some plugin remembers something.
    pub fn keeps_state(&self) -> bool {
        self.instances.iter().any(|instance| instance.state().is_some())
    }

    /// The rows since [`Chain::take_changes`] was called last count for nothing: the plugins remember what they did before those.
    pub fn revert(&mut self) {
        self.instances.iter().filter_map(Instance::state).for_each(State::revert);
    }

    /// What the plugins have remembered or forgotten since the last call.
    pub fn take_changes(&mut self) -> Vec<StateChange> {
        let mut changes = Vec::new();
        for instance in &self.instances {
            if let Some(state) = instance.state() {
                state.take_changes(instance.name(), &mut changes);
            }
        }
        changes
    }

    /// Transforms a batch in place: values, operations, columns and topics. Dropped rows stay, with an empty topic list; derived
    /// rows follow those that were there. Returns the rows that a plugin could not process, which are marked as dropped as well.
    ///
    /// After an `Err` the batch is half transformed and must not be written; a plugin that crashed stays dead.
    pub fn process(&mut self, batch: &mut Batch) -> Result<Vec<RowError>, PluginError> {
        let mut errors = Vec::new();
        let mut derived = Vec::new();
        for rows in batch.relations.iter_mut().filter(|rows| !rows.is_empty()) {
            let mut made = self.whole(rows, &batch.transactions)?;
            errors.append(&mut made.errors);
            derived.append(&mut made.derived);
        }
        batch.relations.append(&mut derived);
        Ok(errors)
    }

    /// Rows of one relation, and what is derived from them, through all plugins.
    /// Where that fails the plugins remember nothing of the rows.
    pub(super) fn whole(&mut self, rows: &mut Rows, transactions: &[Transaction]) -> Result<Made, PluginError> {
        let made = self.whole_or_part(rows, transactions);
        for state in self.instances.iter().filter_map(Instance::state) {
            if made.is_ok() { state.keep() } else { state.undo() }
        }
        made
    }

    fn whole_or_part(&mut self, rows: &mut Rows, transactions: &[Transaction]) -> Result<Made, PluginError> {
        let mut made = Made::default();
        let mut derived = VecDeque::new();
        self.know(&rows.relation)?;
        self.pass(rows, transactions, &mut made.errors, &mut derived)?;
        // Before another relation is bound, for which all others may be forgotten.
        while let Some(mut rows) = derived.pop_front() {
            self.pass(&mut rows, transactions, &mut made.errors, &mut derived)?;
            made.derived.push(rows);
        }
        Ok(made)
    }

    /// Passes rows of a relation that is bound through its plugins.
    fn pass(
        &mut self,
        rows: &mut Rows,
        transactions: &[Transaction],
        errors: &mut Vec<RowError>,
        derived: &mut VecDeque<Rows>,
    ) -> Result<(), PluginError> {
        let relation = Arc::clone(&rows.relation);
        let plans = &self.bindings[&relation.id].plans;
        for (instance, plan) in self.instances.iter_mut().zip(plans) {
            let Some(plan) = plan else { continue };
            let applied = step(instance, plan, rows, transactions).map_err(|fault| failed(instance, &relation, fault))?;
            errors.extend(applied.errors.into_iter().map(|(row, message)| RowError {
                plugin: Arc::clone(instance.name()),
                relation: Arc::clone(&relation),
                id: rows.ids[row],
                row,
                message,
            }));
            derived.extend(applied.derived.into_iter().filter(|rows| !rows.is_empty()));
        }
        Ok(())
    }
}

fn failed(instance: &Instance, relation: &Relation, fault: Fault) -> PluginError {
    PluginError { plugin: Arc::clone(instance.name()), relation: Some(relation.to_string()), fault }
}

/// One plugin's turn at the rows of one relation.
fn step(instance: &mut Instance, plan: &Plan, rows: &mut Rows, transactions: &[Transaction]) -> Result<Applied, Fault> {
    let picks = lower::selection(plan, rows);
    if picks.as_ref().is_some_and(Vec::is_empty) {
        apply::pass_by(plan, rows)?;
        return Ok(Applied { errors: Vec::new(), derived: Vec::new() });
    }
    let outcome = lower::call(instance, plan, rows, transactions, picks.as_deref())?;
    apply::apply(plan, rows, &Seen::new(picks.as_deref(), rows.len()), outcome, instance.output_bytes_max())
}
