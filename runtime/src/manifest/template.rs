//! The name of a target table, made from where a change comes from: `"{schema}.{table}"`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

/// A checked template; the text before its only dot outside of `{…}` names the target's schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableTemplate {
    schema: Option<Vec<Part>>,
    table: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Schema,
    Table,
    Topic,
}

/// A table at the target; names as they are, not quoted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TableName {
    /// `None`: the schema (database) that the connection begins in.
    pub schema: Option<String>,
    pub table: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct TemplateError {
    pub problem: String,
    pub hint: String,
}

impl TableTemplate {
    pub fn render(&self, schema: &str, table: &str, topic: &str) -> TableName {
        let text = |parts: &[Part]| {
            let piece = |part: &Part| match part {
                Part::Text(text) => text.to_string(),
                Part::Schema => schema.to_owned(),
                Part::Table => table.to_owned(),
                Part::Topic => topic.to_owned(),
            };
            parts.iter().map(piece).collect::<String>()
        };
        TableName { schema: self.schema.as_deref().map(text), table: text(&self.table) }
    }
}

/// As the manifest writes it.
impl fmt::Display for TableTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let write = |f: &mut fmt::Formatter<'_>, parts: &[Part]| {
            parts.iter().try_for_each(|part| match part {
                Part::Text(text) => f.write_str(text),
                Part::Schema => f.write_str("{schema}"),
                Part::Table => f.write_str("{table}"),
                Part::Topic => f.write_str("{topic}"),
            })
        };
        if let Some(schema) = &self.schema {
            write(f, schema)?;
            f.write_str(".")?;
        }
        write(f, &self.table)
    }
}

impl Default for TableTemplate {
    fn default() -> TableTemplate {
        TableTemplate { schema: None, table: vec![Part::Table] }
    }
}

impl FromStr for TableTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<TableTemplate, TemplateError> {
        let fail = |problem: &str, hint: &str| TemplateError { problem: problem.to_owned(), hint: hint.to_owned() };
        let known = "placeholders are {schema}, {table} and {topic}";
        let mut halves: Vec<Vec<Part>> = vec![Vec::new()];
        let mut rest = text;
        while !rest.is_empty() {
            let parts = halves.last_mut().expect("halves begins with one and only grows");
            let plain = rest.find(['{', '}', '.']).unwrap_or(rest.len());
            if plain > 0 {
                parts.push(Part::Text(rest[..plain].into()));
            }
            let mut after = rest[plain..].chars();
            match after.next() {
                Some('.') => halves.push(Vec::new()),
                Some('{') => {
                    let Some((name, tail)) = after.as_str().split_once('}') else {
                        return Err(fail("a { is not closed", known));
                    };
                    parts.push(match name {
                        "schema" => Part::Schema,
                        "table" => Part::Table,
                        "topic" => Part::Topic,
                        _ if name.starts_with("column:") => {
                            return Err(fail(
                                "a table's name cannot come from a column",
                                "route the rows to topics in a plugin, and use {topic}",
                            ));
                        }
                        _ => return Err(fail("the placeholder is not known", known)),
                    });
                    after = tail.chars();
                }
                Some(_) => return Err(fail("a } has no { before it", known)),
                None => {}
            }
            rest = after.as_str();
        }
        if halves.iter().any(Vec::is_empty) {
            return Err(fail("a name is empty", "write \"{table}\" or \"{schema}.{table}\""));
        }
        match (halves.pop(), halves.pop(), halves.pop()) {
            (Some(table), schema, None) => Ok(TableTemplate { schema, table }),
            _ => Err(fail("there is more than one dot", "write \"{table}\" or \"{schema}.{table}\"")),
        }
    }
}

impl<'de> Deserialize<'de> for TableTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TableTemplate, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for TableTemplate {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TableTemplate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "x-form": "table" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made() {
        let name = |template: &str| template.parse::<TableTemplate>().unwrap().render("shop", "a.b", "vip.x");
        assert_eq!(name("{table}"), TableName { schema: None, table: "a.b".into() });
        assert_eq!(name("{schema}.{table}"), TableName { schema: Some("shop".into()), table: "a.b".into() });
        assert_eq!(name("copy.{schema}_{table}_v2"), TableName { schema: Some("copy".into()), table: "shop_a.b_v2".into() });
        assert_eq!(name("{topic}"), TableName { schema: None, table: "vip.x".into() });
        assert_eq!(TableTemplate::default(), "{table}".parse().unwrap());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let problem = |template: &str| template.parse::<TableTemplate>().unwrap_err().problem;
        assert_eq!(problem("{tabel}"), "the placeholder is not known");
        assert_eq!(problem("{table"), "a { is not closed");
        assert_eq!(problem("table}"), "a } has no { before it");
        assert_eq!(problem("a.b.c"), "there is more than one dot");
        assert_eq!(problem(".{table}"), "a name is empty");
        assert_eq!(problem(""), "a name is empty");
        assert!(problem("{column:x}").contains("column"));
    }
}
