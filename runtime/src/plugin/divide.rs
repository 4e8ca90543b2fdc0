//! Finding the rows for which a plugin fails as a whole: it crashed, took too long, wanted too much, reported an error, or answered what
//! cannot be. The rows are halved until the piece that fails is one row, which is then an error like those that plugins report by row.
//!
//! Each piece is made of the rows as they came in, and passes through the whole chain; after a crash, through fresh instances. Where rows
//! do not fail this costs one copy of their ids: columns are shared.

use std::ops::Range;
use std::time::Duration;

use super::chain::Chain;
use super::error::{Fault, PluginError, RowError};
use super::give_way::{Spent, give_way};
use super::instance::Instance;
use crate::change::{Batch, Rows, Transaction};

/// Pieces of one batch that may fail,
pub const FAILURES_MAX: usize = 1000;
/// and how long dividing one batch may take (see [`Spent`]). Beyond either, the plugin is taken to fail whatever it is given.
pub const DIVIDING_TIME_MAX: Duration = Duration::from_secs(60);
/// The same where one row is looked for, to name it.
pub const NAMING_TIME_MAX: Duration = Duration::from_secs(10);

/// The same, by the clock, once the pipeline is to stop: what is not settled is read again at the next start.
const STOPPING_TIME_MAX: Duration = Duration::from_secs(2);

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// The first row that fails, to name it: the batch is of no use after it, even if no row fails alone.
    First,
    /// Every row that fails: what is left of the batch is transformed.
    All,
}

struct Budget<'a> {
    failures: usize,
    spent: Spent,
    time_max: Duration,
    /// A plugin may wait for something outside.
    waits: bool,
    stops: &'a dyn Fn() -> bool,
}

impl Budget<'_> {
    fn is_spent(&self) -> bool {
        self.failures > FAILURES_MAX
            || self.spent.time(self.waits) > self.time_max
            || (self.spent.time(true) > STOPPING_TIME_MAX && (self.stops)())
    }
}

impl Chain {
    /// As [`Chain::process`]; rows that make a plugin fail as a whole are found and are among the errors. An `Err` is of no row, or of more
    /// than could be told apart, also because `stops` says that the pipeline is to stop.
    pub fn process_dividing(
        &mut self,
        batch: &mut Batch,
        find: Find,
        stops: &dyn Fn() -> bool,
    ) -> Result<Vec<RowError>, PluginError> {
        let mut errors = Vec::new();
        let mut done = Vec::with_capacity(batch.relations.len());
        let mut derived = Vec::new();
        let mut budget: Option<Budget<'_>> = None;
        for mut rows in std::mem::take(&mut batch.relations) {
            if rows.is_empty() {
                continue;
            }
            let whole = rows.slice(0..rows.len());
            match self.whole(&mut rows, &batch.transactions) {
                Ok(mut made) => {
                    done.push(rows);
                    derived.append(&mut made.derived);
                    errors.append(&mut made.errors);
                }
                Err(error) if error.is_of_rows() => {
                    give_way();
                    let time_max = if find == Find::All { DIVIDING_TIME_MAX } else { NAMING_TIME_MAX };
                    let waits = self.instances.iter().any(Instance::waits);
                    let fresh = || Budget { failures: 0, spent: Spent::begin(), time_max, waits, stops };
                    let budget = budget.get_or_insert_with(fresh);
                    self.renew()?;
                    let mut pieces = Pieces { rows: &whole, transactions: &batch.transactions, find, budget };
                    pieces.divide(self, error, (&mut done, &mut derived, &mut errors))?;
                }
                Err(error) => return Err(error),
            }
            if find == Find::First && !errors.is_empty() {
                break;
            }
        }
        done.append(&mut derived);
        batch.relations = done;
        Ok(errors)
    }

    /// Fresh instances, if one of them is dead; they know no relations yet.
    fn renew(&mut self) -> Result<(), PluginError> {
        if !self.is_dead() {
            return Ok(());
        }
        self.bindings.clear();
        self.instances = self.instances.iter().map(Instance::anew).collect::<Result<_, _>>()?;
        Ok(())
    }
}

/// The rows of one relation, some of which fail.
struct Pieces<'a, 'b> {
    rows: &'a Rows,
    transactions: &'a [Transaction],
    find: Find,
    budget: &'a mut Budget<'b>,
}

impl Pieces<'_, '_> {
    /// `error`: of all rows at once. What comes out is appended to: rows, derived rows, errors.
    fn divide(
        &mut self,
        chain: &mut Chain,
        error: PluginError,
        (done, derived, errors): (&mut Vec<Rows>, &mut Vec<Rows>, &mut Vec<RowError>),
    ) -> Result<(), PluginError> {
        let mut left = vec![];
        let of_all = self.fail(0..self.rows.len(), error, &mut left, errors)?;
        while let Some(range) = left.pop() {
            if self.find == Find::First && !errors.is_empty() {
                break;
            }
            let mut piece = self.rows.slice(range.clone());
            match chain.whole(&mut piece, self.transactions) {
                Ok(mut made) => {
                    made.errors.iter_mut().for_each(|error| error.row += range.start);
                    done.push(piece);
                    derived.append(&mut made.derived);
                    errors.append(&mut made.errors);
                }
                Err(error) if error.is_of_rows() => {
                    give_way();
                    chain.renew()?;
                    self.fail(range, error, &mut left, errors)?;
                }
                Err(error) => return Err(error),
            }
        }
        match of_all {
            Some(error) if self.find == Find::First && errors.is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    /// A piece has failed: its halves are left to try, and the error is given back; or it is one row.
    fn fail(
        &mut self,
        range: Range<usize>,
        error: PluginError,
        left: &mut Vec<Range<usize>>,
        errors: &mut Vec<RowError>,
    ) -> Result<Option<PluginError>, PluginError> {
        self.budget.failures += 1;
        if self.budget.is_spent() {
            return Err(error);
        }
        if range.len() == 1 {
            errors.push(RowError {
                plugin: error.plugin,
                relation: self.rows.relation.clone(),
                id: self.rows.ids[range.start],
                row: range.start,
                message: error.fault.to_string(),
            });
            return Ok(None);
        }
        let middle = range.start + range.len() / 2;
        left.push(middle..range.end);
        left.push(range.start..middle);
        Ok(Some(error))
    }
}

impl PluginError {
    /// Fewer rows, or others, might not have led to it.
    pub fn is_of_rows(&self) -> bool {
        match &self.fault {
            Fault::Reported(_) | Fault::Malformed(_) => true,
            Fault::Trap { call, .. } | Fault::Deadline { call, .. } | Fault::Memory { call, .. } => *call == "process",
            Fault::Engine(_)
            | Fault::Read { .. }
            | Fault::Digest { .. }
            | Fault::NotKept { .. }
            | Fault::NotAPlugin { .. }
            | Fault::OtherVersion { .. }
            | Fault::RefusedImports { .. }
            | Fault::Variable { .. }
            | Fault::Http { .. }
            | Fault::Instances { .. }
            | Fault::Configure(_)
            | Fault::Bind(_)
            | Fault::Plan(_)
            | Fault::Output { .. }
            | Fault::Dead => false,
        }
    }
}
