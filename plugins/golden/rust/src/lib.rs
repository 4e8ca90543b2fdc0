//! The golden plugin in Rust: does to each row what its column `todo` says, so that one file of cases shows an SDK to be whole.
//! ../README.md says what it has to do, in each language.

use serde::Deserialize;
use tidegate_plugin::plan::Metadata;
use tidegate_plugin::{Batch, Derivation, Kind, Op, Plan, Plugin, Relation, Row, Value, log};

#[derive(Deserialize)]
struct Config {
    table: Option<String>,
    #[serde(default)]
    prefix: String,
}

struct Golden {
    table: String,
    prefix: String,
}

/// Those that have a copy.
fn copied(relation: &Relation) -> impl Iterator<Item = (String, Kind)> + '_ {
    let is_key = |at: usize| relation.key.contains(&(at as u16));
    let columns = relation.columns.iter().enumerate().filter(move |(at, c)| !is_key(*at) && c.name != "todo");
    columns.map(|(_, c)| (c.name.clone(), c.kind))
}

fn made(relation: &Relation) -> String {
    format!("{}.golden_made", relation.schema)
}

impl Plugin for Golden {
    fn configure(config: &str) -> Result<Golden, String> {
        let Config { table, prefix } = serde_json::from_str(config).map_err(|e| e.to_string())?;
        Ok(Golden { table: table.ok_or("`table` is missing")?, prefix })
    }

    fn bind(&mut self, relation: &Relation) -> Result<Option<Plan>, String> {
        if !relation.matches(&self.table) {
            return Ok(None);
        }
        if relation.column("todo").is_none() {
            return Err("no column `todo`".to_owned());
        }
        let mut plan = Plan::new();
        for column in &relation.columns {
            plan = plan.reads(&column.name);
        }
        for metadata in [Metadata::Position, Metadata::Place, Metadata::Transaction, Metadata::CommitTime] {
            plan = plan.reads_metadata(metadata);
        }
        for (name, kind) in copied(relation) {
            plan = plan.adds(&format!("{name}_copy"), kind);
        }
        for name in ["absent", "op_seen", "seen_at"] {
            plan = plan.adds(name, Kind::Text);
        }
        if relation.column("dropped").is_some() {
            plan = plan.drops("dropped");
        }
        if relation.column("renamed").is_some() {
            plan = plan.renames("renamed", "renamed_new");
        }
        let table = Derivation::new(&made(relation)).key("id", Kind::Int64).key("n", Kind::Int64).column("note", Kind::Text);
        Ok(Some(plan.derives(table)))
    }

    fn process(&mut self, batch: &Batch) -> Result<(), String> {
        let todo = batch.text("todo");
        if (0..batch.len()).all(|row| todo.get(row) == Some("constant")) {
            batch.set_all("op_seen", "same");
            return Ok(());
        }
        for row in batch.rows() {
            row.set("op_seen", name(row.op()));
            self.one(batch, row)?;
        }
        Ok(())
    }
}

impl Golden {
    fn one(&self, batch: &Batch, row: Row<'_>) -> Result<(), String> {
        let relation = batch.relation();
        match row.text("todo").unwrap_or_default() {
            "copy" => {
                let mut absent = Vec::new();
                for (name, _) in copied(relation) {
                    if row.is_present(&name) {
                        row.set(&format!("{name}_copy"), row.value(&name));
                    } else {
                        absent.push(name);
                    }
                }
                row.set("absent", absent.join(","));
            }
            "metadata" => {
                let at = row.index();
                let text = |metadata| batch.metadata_text(metadata).get(at).unwrap_or("none").to_owned();
                let time = batch.metadata_int64(Metadata::CommitTime).get(at).unwrap_or_default();
                row.set("seen_at", format!("{} {} {time}", text(Metadata::Position), text(Metadata::Transaction)));
            }
            "null" => copied(relation).for_each(|(name, _)| row.set(&format!("{name}_copy"), Value::Null)),
            "drop" => row.drop(),
            "fail" => row.fail(format!("row failed: {}", self.prefix)),
            "route" => row.route(&format!("{}.one", self.prefix)),
            "both" => {
                row.route(&format!("{}.one", self.prefix));
                row.route_also(&format!("{}.two", self.prefix));
            }
            "delete" => row.set_op(Op::Delete),
            "keep" => row.set_op(Op::Update),
            "derive" => {
                for (n, note) in [(0, Some("a")), (1, None)] {
                    let made = row.derive(&made(relation));
                    made.set("id", row.int64("id"));
                    made.set("n", n);
                    made.set("note", note);
                }
            }
            "underive" => {
                let gone = row.derive_as(Op::Delete, &made(relation));
                gone.set("id", row.int64("id"));
                gone.set("n", 0);
            }
            "throw" => panic!("thrown"),
            "error" => return Err("refused".to_owned()),
            "log" => log::info("logged"),
            _ => {}
        }
        Ok(())
    }
}

fn name(op: Op) -> &'static str {
    match op {
        Op::Insert => "insert",
        Op::Update => "update",
        Op::Delete => "delete",
        Op::Snapshot => "snapshot",
    }
}

tidegate_plugin::export!(Golden);
