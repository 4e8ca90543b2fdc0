//! A target table as the target's catalog describes it, and what the columns of a change are there.

use super::Failure;
use super::fold::{Group, GroupColumn, Role};
use crate::change::{KeyOrigin, Relation, SourceType};
use crate::check::{Finding, Severity};
use crate::manifest::template::TableName;

#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// Quoted, for statements.
    pub sql: String,
    pub columns: Vec<TargetColumn>,
    /// Column names of the primary key and of each unique key; keys over expressions or prefixes have an empty list.
    pub unique: Vec<Vec<String>>,
    /// How those keys are called; `PRIMARY` in MySQL.
    pub unique_names: Vec<String>,
    /// Names are equal whatever the case of their ASCII letters (MySQL, SQLite).
    pub ignores_case: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetColumn {
    pub name: String,
    /// Type without length, as the dialect casts to it: `varchar`, `timestamp without time zone`.
    pub base: String,
    /// Type as it is declared: `varchar(55)`.
    pub full: String,
    /// The target makes its value.
    pub generated: bool,
    pub nullable: bool,
    pub has_default: bool,
}

/// A column of a group and where it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound<'t, 'a> {
    /// Index in the group's columns.
    pub index: usize,
    pub source: GroupColumn<'a>,
    pub target: &'t TargetColumn,
}

impl Table {
    pub fn column(&self, name: &str) -> Option<&TargetColumn> {
        self.columns.iter().find(|c| self.is_same(&c.name, name))
    }

    fn is_same(&self, a: &str, b: &str) -> bool {
        if self.ignores_case { a.eq_ignore_ascii_case(b) } else { a == b }
    }

    /// The group's columns at the target. Columns that the target generates are left out unless they find the row.
    pub fn bind<'t, 'a>(&'t self, group: &Group<'_, 'a>) -> Result<Vec<Bound<'t, 'a>>, Failure> {
        let mut bound = Vec::with_capacity(group.columns.len());
        for (index, source) in group.columns.iter().enumerate() {
            let name = &source.def.name;
            let target = self.column(name).ok_or_else(|| self.no_column(name))?;
            if !(target.generated && source.role == Role::Set) {
                bound.push(Bound { index, source: *source, target });
            }
        }
        Ok(bound)
    }

    pub fn no_column(&self, name: &str) -> Failure {
        Failure::configuration(
            format!("table {} has no column `{name}`", self.sql),
            "add the column to the target table, or drop it in a plugin; `ddl = \"follow\"` adds columns as the source does",
        )
    }

    /// The relation's key is the primary key or a unique key here.
    pub fn has_key(&self, relation: &Relation) -> bool {
        self.unique.iter().any(|unique| self.is_key(unique, relation))
    }

    /// There is a unique key other than the relation's.
    pub fn has_other_unique(&self, relation: &Relation) -> bool {
        self.unique.iter().any(|unique| !self.is_key(unique, relation))
    }

    /// The columns of those keys, for messages: `(email), (seat)`.
    pub fn other_unique(&self, relation: &Relation) -> String {
        let others = self.unique.iter().filter(|unique| !self.is_key(unique, relation) && !unique.is_empty());
        others.map(|unique| format!("({})", unique.join(", "))).collect::<Vec<_>>().join(", ")
    }

    /// A key of the same columns, in any order.
    pub fn is_key(&self, unique: &[String], relation: &Relation) -> bool {
        let mut names = relation.key.iter().map(|k| &*relation.columns[usize::from(*k)].name);
        unique.len() == relation.key.len() && names.all(|name| unique.iter().any(|u| self.is_same(u, name)))
    }
}

/// For messages: `schema.table`, or the table alone.
pub(crate) fn plain_name(name: &TableName) -> String {
    match &name.schema {
        Some(schema) => format!("{schema}.{}", name.table),
        None => name.table.clone(),
    }
}

/// `name` between quotes, with quotes inside it doubled.
pub(crate) fn quoted(name: &str, quote: char) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    out.push(quote);
    for c in name.chars() {
        if c == quote {
            out.push(c);
        }
        out.push(c);
    }
    out.push(quote);
    out
}

/// `"schema"."table"` in the given quotes.
pub(crate) fn quoted_name(name: &TableName, quote: char) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", quoted(schema, quote), quoted(&name.table, quote)),
        None => quoted(&name.table, quote),
    }
}

pub(crate) fn missing(name: &TableName) -> Failure {
    Failure::configuration(
        format!("there is no table `{}`", plain_name(name)),
        "create it, set create = true, or grant the user rights on it",
    )
}

pub(crate) fn no_key(name: &TableName, relation: &Relation) -> Failure {
    let key: Vec<&str> = relation.key.iter().map(|k| &*relation.columns[usize::from(*k)].name).collect();
    Failure::configuration(
        format!("table `{}` has no unique key over ({}), which is the key of `{relation}`", plain_name(name), key.join(", ")),
        format!("ALTER TABLE {} ADD PRIMARY KEY ({})", plain_name(name), key.join(", ")),
    )
}

/// Rows that an update or delete did not find: right after a restart, when changes come again; a difference between source and
/// target otherwise.
pub(crate) fn report_missed(group: &Group<'_, '_>, missed: u64) {
    if missed > 0 {
        tracing::warn!(
            table = plain_name(&group.unit.target),
            rows = missed,
            "rows to change were not found at the target; after a restart this is to be expected"
        );
    }
}

impl Table {
    /// What would fail for a relation. `fits` says why a source type may not arrive in a target column.
    pub fn check(
        &self,
        place: &str,
        relation: &Relation,
        fits: impl Fn(&SourceType, &TargetColumn) -> Option<String>,
    ) -> Vec<Finding> {
        let finding = |severity, problem: String, hint: String| Finding { severity, subject: place.to_owned(), problem, hint };
        let mut findings = Vec::new();
        for def in &relation.columns {
            let Some(target) = self.column(&def.name) else {
                let problem = format!("table {} has no column `{}`, which `{relation}` has", self.sql, def.name);
                let hint = format!("add a column for `{}`, or drop it in a plugin", def.source_type);
                findings.push(finding(Severity::Error, problem, hint));
                continue;
            };
            if let Some(hint) = fits(&def.source_type, target) {
                let (name, full) = (&target.name, &target.full);
                let problem = format!("table {}, column `{name}`: `{full}` may not take all of `{}`", self.sql, def.source_type);
                findings.push(finding(Severity::Warning, problem, hint));
            }
            if def.nullable && !target.nullable && !target.generated {
                let problem = format!("table {}, column `{}`: NOT NULL, but NULL at the source", self.sql, target.name);
                findings.push(finding(Severity::Warning, problem, "allow NULL in the target column".to_owned()));
            }
        }
        for target in &self.columns {
            let is_fed = relation.columns.iter().any(|def| self.is_same(&target.name, &def.name));
            if !is_fed && !target.nullable && !target.has_default && !target.generated {
                let problem = format!(
                    "table {}, column `{}`: NOT NULL without a default, and `{relation}` does not have it",
                    self.sql, target.name
                );
                findings.push(finding(Severity::Error, problem, "give the column a default, or allow NULL".to_owned()));
            }
        }
        if relation.key_origin != KeyOrigin::WholeRow && !self.has_key(relation) {
            let key: Vec<&str> = relation.key.iter().map(|k| &*relation.columns[usize::from(*k)].name).collect();
            let problem = format!("table {} has no unique key over ({}), the key of `{relation}`", self.sql, key.join(", "));
            findings.push(finding(Severity::Error, problem, "add a primary or unique key of these columns".to_owned()));
        }
        findings
    }
}
