//! For unit tests of plugins: runs one on the host, without WebAssembly.
//!
//! ```
//! use tidegate_plugin::test::{Change, Tester, table};
//! use tidegate_plugin::{Batch, Kind, Plan, Plugin, Relation};
//!
//! struct Upper;
//! impl Plugin for Upper {
//!     fn configure(_: &str) -> Result<Upper, String> {
//!         Ok(Upper)
//!     }
//!     fn bind(&mut self, _: &Relation) -> Result<Option<Plan>, String> {
//!         Ok(Some(Plan::new().rewrites("name")))
//!     }
//!     fn process(&mut self, batch: &Batch) -> Result<(), String> {
//!         batch.rewrite_text("name", |value, out| out.push_str(&value.to_uppercase()));
//!         Ok(())
//!     }
//! }
//!
//! let mut tester = Tester::<Upper>::new("{}").unwrap();
//! let people = table("shop.people", &[("id", Kind::Int64), ("name", Kind::Text)], 1);
//! let rows = tester.run(&people, &[Change::insert([1.into(), "ada".into()])]).unwrap();
//! assert_eq!(rows[0].after["name"], "ADA".into());
//! ```

use std::collections::BTreeMap;

use crate::batch::{AFTER, BEFORE};
use crate::bindings::exports::tidegate::plugin::transform as wit;
use crate::bindings::tidegate::plugin::types::{Batch, Column as WireColumn};
use crate::column::{Value, bit};
use crate::outcome::Patches;
use crate::relation::{Column, Kind, Op, Relation};
use crate::{Plugin, Run, Running};

/// A table `schema.table`; the first `key` columns are its key.
pub fn table(name: &str, columns: &[(&str, Kind)], key: u16) -> Relation {
    let (schema, table) = name.split_once('.').unwrap_or(("", name));
    let column = |&(name, kind): &(&str, Kind)| Column {
        name: name.to_owned(),
        kind,
        nullable: true,
        source_type: format!("{kind:?}").to_lowercase(),
    };
    Relation {
        id: 0,
        schema: schema.to_owned(),
        table: table.to_owned(),
        columns: columns.iter().map(column).collect(),
        key: (0..key).collect(),
    }
}

/// A change to pass: one value a column, in the order of the table.
#[derive(Clone, Debug)]
pub struct Change {
    op: Op,
    before: Option<Vec<Value>>,
    after: Option<Vec<Value>>,
}

impl Change {
    pub fn insert(after: impl Into<Vec<Value>>) -> Change {
        Change { op: Op::Insert, before: None, after: Some(after.into()) }
    }

    pub fn update(before: impl Into<Vec<Value>>, after: impl Into<Vec<Value>>) -> Change {
        Change { op: Op::Update, before: Some(before.into()), after: Some(after.into()) }
    }

    pub fn delete(before: impl Into<Vec<Value>>) -> Change {
        Change { op: Op::Delete, before: Some(before.into()), after: None }
    }
}

/// What the plugin made of a change.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub op: Op,
    pub dropped: bool,
    /// Columns of the table by their names, then those added, as far as they were set. An image that the change did not have
    /// holds what was set in it.
    pub before: BTreeMap<String, Value>,
    pub after: BTreeMap<String, Value>,
    /// `None`: its table's own topic.
    pub topics: Option<Vec<String>>,
    /// The message of [`Row::fail`](crate::Row::fail).
    pub error: Option<String>,
    /// The rows that were made of it, table by table.
    pub derived: Vec<Derived>,
}

/// A row that the plugin made.
#[derive(Clone, Debug, PartialEq)]
pub struct Derived {
    /// `schema.table`.
    pub table: String,
    pub op: Op,
    /// What was set.
    pub before: BTreeMap<String, Value>,
    pub after: BTreeMap<String, Value>,
}

/// One instance of a plugin.
pub struct Tester<P> {
    running: Running<P>,
    relations: u32,
}

impl<P: Plugin> Tester<P> {
    pub fn new(config: &str) -> Result<Tester<P>, String> {
        #[cfg(not(target_arch = "wasm32"))]
        crate::state::host::clear();
        Ok(Tester { running: Running::new(config)?, relations: 0 })
    }

    /// Binds the table and passes the changes (at least one) as one batch. A table that does not concern the plugin comes back as
    /// it was; operations and columns that the plan does not ask for are not passed.
    pub fn run(&mut self, relation: &Relation, changes: &[Change]) -> Result<Vec<Outcome>, String> {
        let names: Vec<String> = relation.columns.iter().map(|c| c.name.clone()).collect();
        let image = |values: &Option<Vec<Value>>| match values {
            None => BTreeMap::new(),
            Some(values) => {
                assert_eq!(values.len(), names.len(), "one value a column");
                names.iter().cloned().zip(values.iter().cloned()).collect()
            }
        };
        let unchanged = |change: &Change| Outcome {
            op: change.op,
            dropped: false,
            before: image(&change.before),
            after: image(&change.after),
            topics: None,
            error: None,
            derived: Vec::new(),
        };
        let mut outcomes: Vec<Outcome> = changes.iter().map(unchanged).collect();
        let bound = Relation { id: self.relations, ..relation.clone() };
        self.relations += 1;
        let id = bound.id;
        let Some(plan) = self.running.bind(bound)? else { return Ok(outcomes) };
        let passed: Vec<usize> = (0..changes.len()).filter(|&i| plan.ops.contains(&changes[i].op.code())).collect();
        if passed.is_empty() {
            return Ok(outcomes);
        }
        let columns = names.iter().cloned().chain(plan.adds.iter().map(|add| add.name.clone())).collect::<Vec<_>>();
        let batch = self.batch(relation, &plan, changes, &passed);
        let answer = self.running.process(id, batch)?;
        for (i, &row) in passed.iter().enumerate() {
            apply(&mut outcomes[row], i, &answer, &columns);
            outcomes[row].derived = derived(i, &answer, &plan.derives);
        }
        Ok(outcomes)
    }

    fn batch(&self, relation: &Relation, plan: &wit::Plan, changes: &[Change], passed: &[usize]) -> Batch {
        let mut columns = Vec::new();
        for (image, code) in [(AFTER, AFTER), (BEFORE, BEFORE)] {
            for read in &plan.reads {
                let want = if image == AFTER { read.after } else { read.before };
                let values = |row: &usize| if image == AFTER { &changes[*row].after } else { &changes[*row].before };
                if want == wit::Want::No || (image == BEFORE && passed.iter().all(|row| values(row).is_none())) {
                    continue;
                }
                let index = usize::from(read.index);
                let mut cells = Patches::new(passed.len());
                for (i, row) in passed.iter().enumerate() {
                    let value = values(row).as_ref().map_or(Value::Null, |values| values[index].clone());
                    let kind = relation.columns[index].kind;
                    cells.set(i, read.index, code, kind, value).unwrap_or_else(|| panic!("a value that is not {kind:?}"));
                }
                let vectors = cells.finish().assigns.into_iter().map(|assign| match assign.values {
                    wit::Values::Each(vector) | wit::Values::Constant(vector) => vector,
                });
                columns.extend(vectors.map(|vector| WireColumn { index: read.index, image: code, vector }));
            }
        }
        let ops = passed.iter().map(|&row| changes[row].op.code()).collect();
        Batch { rows: passed.len() as u32, ops, columns, metadata: Vec::new() }
    }
}

/// Applies what the answer says about its row `i`.
fn apply(outcome: &mut Outcome, i: usize, answer: &wit::Outcome, columns: &[String]) {
    if !answer.ops.is_empty() {
        outcome.op = Op::from_code(answer.ops[i]);
    }
    outcome.dropped = !answer.keep.is_empty() && !bit(&answer.keep, i);
    for assign in answer.assigns.iter().filter(|a| a.rows.is_empty() || bit(&a.rows, i)) {
        let image = if assign.image == BEFORE { &mut outcome.before } else { &mut outcome.after };
        let value = match &assign.values {
            wit::Values::Each(vector) => Value::of(vector, i),
            wit::Values::Constant(vector) => Value::of(vector, 0),
        };
        image.insert(columns[usize::from(assign.index)].clone(), value);
    }
    outcome.topics = match &answer.routing {
        wit::Routing::Unchanged => None,
        wit::Routing::All(topics) => Some(topics.clone()),
        wit::Routing::ByRow(by_row) => {
            let list = u16::from_le_bytes([by_row.rows[i * 2], by_row.rows[i * 2 + 1]]);
            by_row.lists.get(usize::from(list)).cloned()
        }
    };
    outcome.error = answer.errors.iter().find(|e| e.row as usize == i).map(|e| e.message.clone());
}

/// The rows that were made of row `i`.
fn derived(i: usize, answer: &wit::Outcome, tables: &[wit::Derivation]) -> Vec<Derived> {
    let mut rows = Vec::new();
    for derived in &answer.derived {
        let table = &tables[usize::from(derived.derivation)];
        for row in 0..derived.ops.len() {
            if derived.origins[row * 4..row * 4 + 4] != (i as u32).to_le_bytes() {
                continue;
            }
            let image = |image: u8| {
                let set = derived.columns.iter().filter(|c| c.image == image && bit(&c.vector.present, row));
                set.map(|c| (table.columns[usize::from(c.index)].name.clone(), Value::of(&c.vector, row))).collect()
            };
            let name = format!("{}.{}", table.schema, table.table);
            rows.push(Derived { table: name, op: Op::from_code(derived.ops[row]), before: image(BEFORE), after: image(AFTER) });
        }
    }
    rows
}
