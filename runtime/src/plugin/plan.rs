//! What a plugin wants of one relation: its plan, checked, and the relation that comes out.

use std::collections::HashSet;
use std::sync::Arc;

use super::bindings::exports::tidegate::plugin::transform::{self as wit, TextLayout, Want};
use super::bindings::tidegate::plugin::types;
use super::derive;
use super::error::Fault;
use super::instance::{Instance, MESSAGE_BYTES_MAX, tame};
use crate::change::{ColumnDef, Kind, Op, Relation, SourceType};

/// Which image a column is of. The discriminants are the image codes of the plugin interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(super) enum Image {
    After = 0,
    Before = 1,
}

impl Image {
    pub(super) fn from_code(code: u8) -> Option<Image> {
        [Image::After, Image::Before].into_iter().find(|image| *image as u8 == code)
    }
}

/// Row metadata. The discriminants are the metadata codes of the plugin interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Metadata {
    Position = 0,
    Place = 1,
    Transaction = 2,
    CommitTime = 3,
}

impl Metadata {
    fn from_code(code: u8) -> Option<Metadata> {
        let all = [Metadata::Position, Metadata::Place, Metadata::Transaction, Metadata::CommitTime];
        all.into_iter().find(|metadata| *metadata as u8 == code)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    pub index: usize,
    pub image: Image,
    /// False: passed only if it is there anyway.
    pub needed: bool,
}

/// One plugin's plan for one relation.
#[derive(Debug)]
pub(super) struct Plan {
    /// By op code.
    pub ops: [bool; 4],
    /// After before before, each in the plugin's order.
    pub reads: Vec<Read>,
    pub metadata: Vec<Metadata>,
    pub strings: bool,
    /// Kinds by column index: those of the input, then those that the plugin adds.
    pub kinds: Vec<Kind>,
    /// How many of them are of the input.
    pub inputs: usize,
    /// By output column: the index in `kinds`.
    pub origin: Vec<usize>,
    pub input: Arc<Relation>,
    pub output: Arc<Relation>,
    /// The tables that the plugin makes rows of.
    pub derives: Vec<Arc<Relation>>,
    /// What the host holds for it, about.
    pub bytes: usize,
}

/// What a column that a plugin names takes besides its name.
const COLUMN_BYTES: usize = 64;

/// What the host holds of columns and tables that a plugin names.
pub(super) fn named_bytes<'a>(names: impl IntoIterator<Item = &'a str>) -> usize {
    names.into_iter().map(|name| COLUMN_BYTES + name.len()).sum()
}

impl Plan {
    /// Asks an instance. `None`: the relation does not concern the plugin.
    pub(super) fn ask(instance: &mut Instance, input: &Arc<Relation>) -> Result<Option<Plan>, Fault> {
        let plan = Plan::answered(input, |relation| instance.bind(relation))?;
        instance.hold_plan(plan.as_ref().map_or(0, |plan| plan.bytes))?;
        Ok(plan)
    }

    /// What `bind` answers to the relation.
    pub(super) fn answered(
        input: &Arc<Relation>,
        bind: impl FnOnce(types::Relation<'_>) -> Result<Option<wit::Plan>, Fault>,
    ) -> Result<Option<Plan>, Fault> {
        let types: Vec<String> = input.columns.iter().map(|c| c.source_type.to_string()).collect();
        let columns: Vec<types::ColumnDef<'_>> = input
            .columns
            .iter()
            .zip(&types)
            .map(|(c, source_type)| types::ColumnDef {
                name: &c.name,
                kind: c.kind() as u8,
                nullable: c.nullable,
                source_type: if matches!(c.source_type, SourceType::Plugin(_)) { "" } else { source_type },
                attributes: &[],
            })
            .collect();
        let relation = types::Relation {
            id: input.id,
            schema: &input.schema,
            table: &input.table,
            columns: &columns,
            key: &input.key,
            attributes: &[],
        };
        let checked = |plan| {
            Plan::check(plan, input).map_err(|mut problem| {
                tame(&mut problem, MESSAGE_BYTES_MAX);
                Fault::Plan(problem)
            })
        };
        bind(relation)?.map(checked).transpose()
    }

    /// True if the rows leave with other columns than they came with.
    pub(super) fn changes_columns(&self) -> bool {
        !Arc::ptr_eq(&self.input, &self.output)
    }

    fn check(plan: wit::Plan, input: &Arc<Relation>) -> Result<Plan, String> {
        if let Some(attribute) = plan.attributes.first() {
            return Err(format!("attribute {:?} of the plan, which this version of tidegate does not know", attribute.name));
        }
        let inputs = input.columns.len();
        let column = |index: u16, what: &str| match usize::from(index) {
            index if index < inputs => Ok(index),
            _ => Err(format!("{what} column {index} of a table of {inputs} columns")),
        };
        let mut ops = [false; 4];
        for code in plan.ops {
            let op = Op::from_code(code).ok_or_else(|| format!("operation code {code}"))?;
            ops[op as usize] = true;
        }
        let mut reads = Vec::new();
        for image in [Image::After, Image::Before] {
            for read in &plan.reads {
                let index = column(read.index, "read of")?;
                let want = if image == Image::After { read.after } else { read.before };
                match want {
                    Want::No => {}
                    Want::Yes => reads.push(Read { index, image, needed: true }),
                    Want::IfWanted => reads.push(Read { index, image, needed: false }),
                }
            }
        }
        // Each is made for every batch.
        let mut seen = HashSet::new();
        if let Some(twice) = reads.iter().find(|read| !seen.insert((read.index, read.image))) {
            return Err(format!("column `{}` twice", input.columns[twice.index].name));
        }
        let metadata = plan.metadata.iter().map(|&code| Metadata::from_code(code).ok_or_else(|| format!("metadata code {code}")));
        let metadata = metadata.collect::<Result<Vec<Metadata>, String>>()?;
        if metadata.iter().enumerate().any(|(at, code)| metadata[..at].contains(code)) {
            return Err("row metadata of one code twice".to_owned());
        }

        let adds = plan.adds.iter().map(|add| add.name.as_str());
        let mut bytes = named_bytes(adds.chain(plan.renames.iter().map(|rename| rename.name.as_str())));
        let mut kinds: Vec<Kind> = input.columns.iter().map(ColumnDef::kind).collect();
        let mut columns = input.columns.clone();
        for add in plan.adds {
            let add = derive::added(add)?;
            kinds.push(add.kind());
            columns.push(add);
        }
        for rename in plan.renames.iter() {
            columns[column(rename.index, "new name for")?].name = rename.name.as_str().into();
        }
        let mut dropped = vec![false; columns.len()];
        for index in plan.drops {
            let at = column(index, "drop of")?;
            if input.key.contains(&index) {
                return Err(format!("drop of key column `{}`: the sink could not tell rows apart", input.columns[at].name));
            }
            dropped[at] = true;
        }
        let origin: Vec<usize> = (0..columns.len()).filter(|&c| !dropped[c]).collect();
        let same = columns.len() == inputs && plan.renames.is_empty() && origin.len() == inputs;
        let output = if same { Arc::clone(input) } else { Arc::new(output(input, &columns, &origin)?) };
        let strings = plan.layout == TextLayout::Strings;
        let derives = derive::relations(plan.derives)?;
        bytes += derives.iter().map(|table| named_bytes(table.columns.iter().map(|column| &*column.name))).sum::<usize>();
        Ok(Plan { ops, reads, metadata, strings, kinds, inputs, origin, input: Arc::clone(input), output, derives, bytes })
    }
}

/// The relation made of the columns that are left.
fn output(input: &Relation, columns: &[ColumnDef], origin: &[usize]) -> Result<Relation, String> {
    let columns = derive::distinct(origin.iter().map(|&c| columns[c].clone()).collect())?;
    let key = input.key.iter().filter_map(|&k| origin.iter().position(|&c| c == usize::from(k))).map(|k| k as u16).collect();
    Ok(Relation {
        id: Relation::next_id(),
        schema: input.schema.clone(),
        table: input.table.clone(),
        columns,
        key,
        key_origin: input.key_origin,
    })
}
