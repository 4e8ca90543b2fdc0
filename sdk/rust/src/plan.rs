//! What a plugin wants of one relation.

use crate::bindings::exports::tidegate::plugin::transform as wit;
use crate::relation::{Kind, Op, Relation};

/// Row metadata that a plan can ask for; read by [`Batch::metadata_text`](crate::Batch::metadata_text) and
/// [`Batch::metadata_int64`](crate::Batch::metadata_int64).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Metadata {
    /// Text: `file:offset` where the row's transaction begins.
    Position = 0,
    /// Number that grows within the transaction.
    Place = 1,
    /// Text: the transaction's GTID; `None` if it has none.
    Transaction = 2,
    /// Microseconds since the epoch, UTC, by the source's clock.
    CommitTime = 3,
}

#[derive(Clone, Debug)]
struct Read {
    name: String,
    after: wit::Want,
    before: wit::Want,
}

/// A table of the plugin's making, of which [`Row::derive`](crate::Row::derive) makes rows.
#[derive(Clone, Debug)]
pub struct Derivation {
    schema: String,
    table: String,
    columns: Vec<(String, Kind, bool)>,
    key: Vec<String>,
}

impl Derivation {
    /// `schema.table`, which is also the topic of its rows.
    pub fn new(name: &str) -> Derivation {
        let (schema, table) = name.split_once('.').unwrap_or(("", name));
        Derivation { schema: schema.to_owned(), table: table.to_owned(), columns: Vec::new(), key: Vec::new() }
    }

    /// A column that may be NULL, or absent.
    pub fn column(mut self, name: &str, kind: Kind) -> Derivation {
        self.columns.push((name.to_owned(), kind, true));
        self
    }

    /// The next column of the key, which every row sets. Without any, rows can be inserted only.
    pub fn key(mut self, name: &str, kind: Kind) -> Derivation {
        self.columns.push((name.to_owned(), kind, false));
        self.key.push(name.to_owned());
        self
    }

    fn finish(self) -> wit::Derivation {
        let key = (0..).zip(&self.columns).filter(|(_, (name, ..))| self.key.contains(name)).map(|(at, _)| at).collect();
        let columns = self.columns.into_iter().map(addition).collect();
        wit::Derivation { schema: self.schema, table: self.table, columns, key, attributes: Vec::new() }
    }
}

fn addition((name, kind, nullable): (String, Kind, bool)) -> wit::Addition {
    wit::Addition { name, kind: kind.code(), nullable, attributes: Vec::new() }
}

/// Columns are named; a name that the relation does not have is an error when the plan is handed over.
#[derive(Clone, Debug)]
pub struct Plan {
    ops: Vec<Op>,
    reads: Vec<Read>,
    metadata: Vec<Metadata>,
    adds: Vec<(String, Kind, bool)>,
    drops: Vec<String>,
    renames: Vec<(String, String)>,
    derives: Vec<Derivation>,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan::new()
    }
}

impl Plan {
    /// All operations, no columns.
    pub fn new() -> Plan {
        Plan {
            ops: Op::ALL.to_vec(),
            reads: Vec::new(),
            metadata: Vec::new(),
            adds: Vec::new(),
            drops: Vec::new(),
            renames: Vec::new(),
            derives: Vec::new(),
        }
    }

    /// Only these operations; rows of others pass by unseen.
    pub fn ops(mut self, ops: impl IntoIterator<Item = Op>) -> Plan {
        self.ops = ops.into_iter().collect();
        self
    }

    fn read(mut self, name: &str, after: wit::Want, before: wit::Want) -> Plan {
        self.reads.push(Read { name: name.to_owned(), after, before });
        self
    }

    /// Reads the row's value whatever happened to it: after an insert or update, before a delete.
    pub fn reads(self, name: &str) -> Plan {
        self.read(name, wit::Want::Yes, wit::Want::Yes)
    }

    pub fn reads_after(self, name: &str) -> Plan {
        self.read(name, wit::Want::Yes, wit::Want::No)
    }

    pub fn reads_before(self, name: &str) -> Plan {
        self.read(name, wit::Want::No, wit::Want::Yes)
    }

    /// Reads in order to replace, as [`Batch::rewrite_text`](crate::Batch::rewrite_text) does: the after image, and the before
    /// image where something downstream reads it.
    pub fn rewrites(self, name: &str) -> Plan {
        self.read(name, wit::Want::Yes, wit::Want::IfWanted)
    }

    pub fn reads_metadata(mut self, metadata: Metadata) -> Plan {
        self.metadata.push(metadata);
        self
    }

    /// Adds a column; absent in every row that does not set it.
    pub fn adds(mut self, name: &str, kind: Kind) -> Plan {
        self.adds.push((name.to_owned(), kind, true));
        self
    }

    /// Adds a column that every row sets.
    pub fn adds_not_null(mut self, name: &str, kind: Kind) -> Plan {
        self.adds.push((name.to_owned(), kind, false));
        self
    }

    /// Leaves a column out. Not a key column. It can still be read.
    pub fn drops(mut self, name: &str) -> Plan {
        self.drops.push(name.to_owned());
        self
    }

    pub fn renames(mut self, name: &str, to: &str) -> Plan {
        self.renames.push((name.to_owned(), to.to_owned()));
        self
    }

    /// Declares a table of which the plugin makes rows.
    pub fn derives(mut self, table: Derivation) -> Plan {
        self.derives.push(table);
        self
    }

    /// The plan as the host wants it, and the names of all columns: those of the relation, then those added.
    pub(crate) fn finish(self, relation: &Relation) -> Result<(wit::Plan, Vec<(String, Kind)>), String> {
        let index = |name: &str| {
            let at = relation.columns.iter().position(|c| c.name == name);
            at.map(|at| at as u16).ok_or_else(|| format!("{}.{} has no column `{name}`", relation.schema, relation.table))
        };
        let mut names: Vec<(String, Kind)> = relation.columns.iter().map(|c| (c.name.clone(), c.kind)).collect();
        names.extend(self.adds.iter().map(|(name, kind, _)| (name.clone(), *kind)));
        let mut reads: Vec<wit::Read> = Vec::new();
        for read in &self.reads {
            let index = index(&read.name)?;
            match reads.iter_mut().find(|r| r.index == index) {
                Some(same) => {
                    same.after = more(same.after, read.after);
                    same.before = more(same.before, read.before);
                }
                None => reads.push(wit::Read { index, after: read.after, before: read.before }),
            }
        }
        let renames = self.renames.into_iter().map(|(from, name)| Ok(wit::Rename { index: index(&from)?, name }));
        let plan = wit::Plan {
            ops: self.ops.into_iter().map(Op::code).collect(),
            reads,
            metadata: self.metadata.iter().map(|m| *m as u8).collect(),
            layout: wit::TextLayout::Packed,
            drops: self.drops.iter().map(|name| index(name)).collect::<Result<_, String>>()?,
            renames: renames.collect::<Result<_, String>>()?,
            adds: self.adds.into_iter().map(addition).collect(),
            derives: self.derives.into_iter().map(Derivation::finish).collect(),
            attributes: Vec::new(),
        };
        Ok((plan, names))
    }
}

/// The stronger of two wishes.
fn more(a: wit::Want, b: wit::Want) -> wit::Want {
    match (a, b) {
        (wit::Want::Yes, _) | (_, wit::Want::Yes) => wit::Want::Yes,
        (wit::Want::IfWanted, _) | (_, wit::Want::IfWanted) => wit::Want::IfWanted,
        (wit::Want::No, wit::Want::No) => wit::Want::No,
    }
}
