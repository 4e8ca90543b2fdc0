//! Bonds: target tables whose rows depend on each other beyond the key, so that their changes share a lane.
//!
//! Lanes run ahead of each other, and a batch writes only the last state of each row. Where a target table has a unique key beside the
//! relation's, or a foreign key, a row may then meet one that is ahead of it and holds its value, or has lost its parent: waiting would not
//! cure that. In one lane the target goes through the same states as the source, and nothing can be in the way that the source did
//! not have. Tables that foreign keys connect form one group; a table with several unique keys is a group of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::change::Relation;
use crate::manifest::template::TableTemplate;

/// The groups of one target. Kept in the marks: which rows a mark covers depends on them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bonds {
    /// How the sink names its tables, as the manifest says it.
    template: String,
    /// The schema of tables that are named without one; empty where there are no schemas.
    home: String,
    /// Target table (`schema.table`, in lower case) → the first table of its group.
    groups: BTreeMap<String, String>,
}

impl Bonds {
    /// `unique`: tables with more than one unique key. `references`: tables that a foreign key connects. Names are `schema.table`.
    pub fn new(
        template: &TableTemplate,
        home: &str,
        unique: impl IntoIterator<Item = String>,
        references: impl IntoIterator<Item = (String, String)>,
    ) -> Bonds {
        let own = |name: String| (name.to_lowercase(), name.to_lowercase());
        let mut groups: BTreeMap<String, String> = unique.into_iter().map(own).collect();
        for (child, parent) in references {
            let of = |groups: &BTreeMap<String, String>, name: String| groups.get(&name).cloned().unwrap_or(name);
            let (child, parent) = (child.to_lowercase(), parent.to_lowercase());
            let (a, b) = (of(&groups, child.clone()), of(&groups, parent.clone()));
            groups.insert(child, a.clone());
            groups.insert(parent, b.clone());
            let first = a.clone().min(b.clone());
            groups.values_mut().filter(|group| **group == a || **group == b).for_each(|group| group.clone_from(&first));
        }
        Bonds { template: template.to_string(), home: home.to_lowercase(), groups }
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The group of the table that the changes of a relation go to, unless a plugin gives them another topic.
    pub fn group(&self, relation: &Relation) -> Option<&str> {
        let template: TableTemplate = self.template.parse().ok()?;
        let name = template.render(&relation.schema, &relation.table, &relation.to_string());
        let schema = name.schema.as_deref().unwrap_or(&self.home);
        let name = if schema.is_empty() { name.table.to_lowercase() } else { format!("{schema}.{}", name.table).to_lowercase() };
        self.groups.get(&name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::KeyOrigin;

    fn relation(schema: &str, table: &str) -> Relation {
        let (schema, table) = (schema.into(), table.into());
        Relation { id: 0, schema, table, columns: Vec::new(), key: Vec::new(), key_origin: KeyOrigin::WholeRow }
    }

    #[test]
    fn foreign_keys_connect_tables_to_groups() {
        let unique = ["d.users", "d.x"].map(str::to_owned);
        let references = [("d.c", "d.b"), ("d.B", "d.a"), ("e.c", "e.p"), ("d.x", "d.c")];
        let references = references.map(|(child, parent)| (child.to_owned(), parent.to_owned()));
        let bonds = Bonds::new(&"{table}".parse().unwrap(), "D", unique, references);
        let group = |table: &str| bonds.group(&relation("shop", table));
        assert_eq!(group("users"), Some("d.users"));
        for table in ["a", "b", "C", "x"] {
            assert_eq!(group(table), Some("d.a"), "{table}");
        }
        assert_eq!(group("p"), None);
        let bonds = Bonds::new(&"{schema}.{table}".parse().unwrap(), "d", [], [("e.c".to_owned(), "e.p".to_owned())]);
        assert_eq!(bonds.group(&relation("e", "p")), Some("e.c"));
    }
}
