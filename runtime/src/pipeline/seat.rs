//! Where a running pipeline's plugins sit: which run now, and which are to take their place.
//!
//! New ones are made beside the old ones, in [`Seat::prepare`], on a thread of its own. The feed takes them at the next boundary
//! between two transactions, or a new round does before it begins. Until then the newest wait for all that were asked for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::batcher::Wanted;
use crate::change::{Batch, KeyOrigin, Relation};
use crate::lane::sample::Sample;
use crate::manifest::model::{self, OnDdl, OnRowError, WithoutKey};
use crate::plugin::versions::{Cause, Entry, Outcome, Versions};
use crate::plugin::{Chain, Plugin, PluginError, RowError};
use crate::sink::{BeforeNeed, Severity, Sink};
use crate::source::binlog::decode::Wants;
use crate::source::binlog::error::Refusal;

/// Relations that are remembered, at most; beyond it, new plugins are bound to the others when they come.
const RELATIONS_MAX: usize = 4096;

/// One pipeline's.
pub struct Seat {
    pub pipeline: Arc<model::Pipeline>,
    /// By sink index.
    pub sinks: Vec<(String, Arc<dyn Sink>)>,
    /// What comes to the plugins.
    pub sample: Arc<Sample>,
    versions: Versions,
    state: Mutex<State>,
    /// There is a swap to take: looked at after every transaction.
    is_due: AtomicBool,
    told: Notify,
}

#[derive(Default)]
struct State {
    plugins: Vec<Plugin>,
    /// Of the round that runs.
    lanes: usize,
    /// Rounds so far.
    round: u64,
    /// Met in this round.
    relations: Vec<Arc<Relation>>,
    due: Option<Swap>,
    has_ended: bool,
    /// The round is to end at the next boundary.
    ends_round: bool,
}

/// Plugins that are ready to take the place of others.
pub struct Swap {
    pub plugins: Vec<Plugin>,
    /// One a lane, bound to the relations that were met.
    pub chains: Vec<Chain>,
    /// For the decoder.
    pub wants: Wants,
    /// For statements that define tables (`ddl = "follow"`).
    pub follow: Option<Chain>,
    /// The target's tables are to be looked up again: the rows have other columns.
    pub changes_columns: bool,
    round: u64,
    answers: Answers,
}

/// Those who wait for an answer.
pub type Answers = Vec<oneshot::Sender<Answer>>;

/// What became of a swap. Who gets none has to do with a pipeline that has ended.
#[derive(Clone, Debug)]
pub enum Answer {
    Swapped {
        position: String,
        pause: Duration,
    },
    Refused(String),
    /// Another one came before this one was taken.
    Superseded,
}

/// Why plugins cannot take the place of others.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error("tried with rows that came just now: {0}")]
    Row(RowError),
}

impl Swap {
    pub fn answer(&mut self, answer: &Answer) {
        for sender in self.answers.drain(..) {
            let _ = sender.send(answer.clone());
        }
    }

    pub fn take_answers(&mut self) -> Answers {
        std::mem::take(&mut self.answers)
    }
}

impl Seat {
    pub fn new(
        pipeline: Arc<model::Pipeline>,
        sinks: Vec<(String, Arc<dyn Sink>)>,
        plugins: Vec<Plugin>,
        versions: Versions,
    ) -> Seat {
        let state = Mutex::new(State { plugins, ..State::default() });
        let sample = Arc::default();
        Seat { pipeline, sinks, sample, versions, state, is_due: AtomicBool::new(false), told: Notify::new() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that run.
    pub fn plugins(&self) -> Vec<Plugin> {
        self.state().plugins.clone()
    }

    /// Those that run, or will in a moment.
    pub fn intended(&self) -> Vec<Plugin> {
        let state = self.state();
        state.due.as_ref().map_or(&state.plugins, |swap| &swap.plugins).clone()
    }

    /// Without plugins there is nothing to process.
    pub fn chain(&self) -> Result<Option<Chain>, PluginError> {
        aside(|| chain(&self.plugins()))
    }

    /// A round begins at `position`, with what was to take its place.
    pub fn begin(&self, lanes: usize, position: &str) {
        let mut state = self.state();
        let is_first = state.round == 0;
        (state.lanes, state.round) = (lanes, state.round + 1);
        state.relations.clear();
        state.ends_round = false;
        self.is_due.store(false, Ordering::Relaxed);
        if let Some(mut swap) = state.due.take() {
            state.plugins = std::mem::take(&mut swap.plugins);
            swap.answer(&Answer::Swapped { position: position.to_owned(), pause: Duration::ZERO });
        }
        let plugins = state.plugins.clone();
        drop(state);
        if is_first {
            plugins.iter().for_each(|plugin| self.note_start(plugin, position));
        }
    }

    /// What runs from the start on stands in the history, unless it ran at the end already.
    fn note_start(&self, plugin: &Plugin, position: &str) {
        let (name, version) = (plugin.name(), plugin.version());
        let is_of_pipeline =
            |entry: &&Entry| entry.pipeline.as_ref() == Some(&self.pipeline.name) && entry.outcome != Outcome::Refused;
        // One that cannot be read is told when it is written to.
        let history = self.versions.history(name).unwrap_or_default();
        let last = history.iter().rfind(is_of_pipeline);
        let is_known =
            |entry: &Entry| entry.sha256.as_ref() == Some(&version.sha256) && entry.settings.as_ref() == Some(&version.settings);
        if !last.is_some_and(is_known) {
            let entry = Entry {
                pipeline: Some(self.pipeline.name.clone()),
                before: last.and_then(|entry| entry.sha256.clone()),
                position: Some(position.to_owned()),
                ..Entry::new(Outcome::Started, Cause::Start, Some(version))
            };
            self.versions.note(name, &entry);
        }
    }

    /// The pipeline runs no more.
    pub fn end(&self) {
        let mut state = self.state();
        state.has_ended = true;
        state.due = None;
    }

    pub fn has_ended(&self) -> bool {
        self.state().has_ended
    }

    /// True if there is something to take.
    #[inline]
    pub fn is_due(&self) -> bool {
        self.is_due.load(Ordering::Relaxed)
    }

    /// Returns when there is.
    pub async fn due(&self) {
        while !self.is_due() {
            self.told.notified().await;
        }
    }

    /// What is to be done between two rounds asks for the end of the one that runs. What is due then is for the next one.
    pub fn end_round(&self) {
        self.state().ends_round = true;
        self.is_due.store(true, Ordering::Relaxed);
        self.told.notify_one();
    }

    pub fn ends_round(&self) -> bool {
        self.state().ends_round
    }

    pub fn take(&self) -> Option<Swap> {
        let mut state = self.state();
        self.is_due.store(false, Ordering::Relaxed);
        state.due.take()
    }

    /// The lanes go on with these.
    pub fn set(&self, plugins: Vec<Plugin>) {
        self.state().plugins = plugins;
    }

    /// Hands over what was prepared. `Err`: the pipeline has begun a new round meanwhile, and it is to be prepared again.
    pub fn propose(&self, mut swap: Swap, answers: Answers) -> Result<(), Answers> {
        let mut state = self.state();
        if state.has_ended {
            return Ok(());
        }
        if swap.round != state.round {
            return Err(answers);
        }
        swap.answers = answers;
        if let Some(mut before) = state.due.replace(swap) {
            before.answer(&Answer::Superseded);
        }
        self.is_due.store(true, Ordering::Relaxed);
        self.told.notify_one();
        Ok(())
    }

    /// Makes new plugins ready, beside the old ones: by name, those that are new. They are tried with `sample`. Blocks while guests compute.
    pub fn prepare(self: &Arc<Seat>, new: &HashMap<String, Plugin>, sample: Option<Batch>) -> Result<Prepared, PrepareError> {
        let (old, lanes, round, relations) = {
            let state = self.state();
            let intended = state.due.as_ref().map_or(&state.plugins, |swap| &swap.plugins).clone();
            (intended, state.lanes, state.round, state.relations.clone())
        };
        let plugins: Vec<Plugin> = old.iter().map(|plugin| new.get(&**plugin.name()).unwrap_or(plugin).clone()).collect();
        let bound = |plugins: &[Plugin]| -> Result<Chain, PrepareError> {
            let mut chain = Chain::new(plugins)?;
            relations.iter().try_for_each(|relation| chain.bind(relation).map(drop))?;
            Ok(chain)
        };
        let of_decoder = bound(&plugins)?;
        // Compared by what sinks see of them: ids differ.
        let of =
            |chain: &Chain| chain.outputs().map(|relation| Relation { id: 0, ..Relation::clone(relation) }).collect::<Vec<_>>();
        let after = of(&of_decoder);
        let before = of(&bound(&old)?);
        let changed = |some: &[Relation], others: &[Relation]| -> Vec<Arc<Relation>> {
            some.iter().filter(|relation| !others.contains(relation)).cloned().map(Arc::new).collect()
        };
        let (added, gone) = (changed(&after, &before), changed(&before, &after));
        let chains = (0..lanes).map(|_| bound(&plugins)).collect::<Result<_, PrepareError>>()?;
        let follow = if self.pipeline.ddl == OnDdl::Follow { Some(bound(&plugins)?) } else { None };
        // A trial has no effects; one that sends requests would have.
        if let Some(batch) = sample.filter(|_| !plugins.iter().any(Plugin::sends_requests)) {
            // By instances of their own: what guests keep of these rows goes with them.
            let errors = bound(&plugins)?.rehearse(batch)?;
            if let Some(error) = errors.into_iter().next().filter(|_| self.pipeline.on_row_error == OnRowError::Stop) {
                return Err(PrepareError::Row(error));
            }
        }
        let wants = self.wants(Some(of_decoder));
        let changes_columns = !added.is_empty() || !gone.is_empty();
        let swap = Swap { plugins, chains, wants, follow, changes_columns, round, answers: Vec::new() };
        Ok(Prepared { swap, outputs: Outputs { added, gone } })
    }

    /// What the rows of a relation are wanted for.
    pub fn wants(self: &Arc<Seat>, mut chain: Option<Chain>) -> Wants {
        let seat = Arc::clone(self);
        let without_key = self.pipeline.source.without_key();
        // A dead letter has the whole change.
        let buries = self.pipeline.on_row_error == OnRowError::DeadLetter;
        let need = self.sinks.iter().map(|(_, s)| s.before_need()).max().unwrap_or(BeforeNeed::Key);
        Box::new(move |relation: &Relation| -> Result<Option<Wanted>, Refusal> {
            if relation.key_origin == KeyOrigin::WholeRow && without_key == WithoutKey::Refuse {
                return Err(format!(
                    "table {relation} has neither a primary key nor a unique key of NOT NULL columns\nhint: give it a key, leave \
                     it out of `tables`, or write `without_key = \"whole-row\"` at the source"
                )
                .into());
            }
            let width = relation.columns.len();
            let whole = buries || need == BeforeNeed::All || relation.key_origin == KeyOrigin::WholeRow;
            let mut before: Vec<bool> = (0..width).map(|c| whole || relation.key.contains(&(c as u16))).collect();
            if let Some(chain) = &mut chain {
                let relation = Arc::new(relation.clone());
                let bound = aside(|| chain.bind(&relation))?;
                before.iter_mut().zip(bound.reads_before).for_each(|(wanted, read)| *wanted |= read);
                seat.meet(relation);
            }
            Ok(Some(Wanted { after: vec![true; width], before }))
        })
    }

    fn meet(&self, relation: Arc<Relation>) {
        let mut state = self.state();
        if state.relations.len() < RELATIONS_MAX && !state.relations.iter().any(|known| known.id == relation.id) {
            state.relations.push(relation);
        }
    }
}

/// Guests may compute for as long as their time limit: other tasks of this thread go on elsewhere meanwhile.
pub fn aside<T>(call: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(call)
}

pub fn chain(plugins: &[Plugin]) -> Result<Option<Chain>, PluginError> {
    if plugins.is_empty() { Ok(None) } else { Chain::new(plugins).map(Some) }
}

/// New plugins, and what they change of the rows that come out.
pub struct Prepared {
    pub swap: Swap,
    pub outputs: Outputs,
}

/// Relations that come out otherwise than before.
pub struct Outputs {
    /// New, or with other columns.
    added: Vec<Arc<Relation>>,
    /// As they are without.
    gone: Vec<Arc<Relation>>,
}

impl Outputs {
    /// Asks the sinks whether they would take what comes out: a table that lacks a column would stop the pipeline at the next row. What
    /// is wrong already, like a sink that is away, is no reason against the new ones.
    pub async fn check(&self, seat: &Seat) -> Result<(), String> {
        for (name, sink) in seat.sinks.iter().filter(|_| !self.added.is_empty()) {
            let routes = || seat.pipeline.routes.iter().filter(|route| route.sink.name == *name);
            let routed = |relations: &[Arc<Relation>]| -> Vec<Arc<Relation>> {
                let goes = |relation: &&Arc<Relation>| routes().any(|route| route.topics.matches_topic(&relation.to_string()));
                relations.iter().filter(goes).cloned().collect()
            };
            let known = sink.check(&routed(&self.gone)).await;
            let found = sink.check(&routed(&self.added)).await;
            if let Some(new) = found.into_iter().find(|f| f.severity == Severity::Error && !known.contains(f)) {
                return Err(format!(
                    "pipeline `{}`: sink `{name}` would not take what comes out: {}\nhint: {}",
                    seat.pipeline.name, new.problem, new.hint
                ));
            }
        }
        Ok(())
    }
}
