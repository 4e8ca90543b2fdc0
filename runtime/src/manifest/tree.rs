//! A manifest as a tree in which every key and value knows where it stands in the text.

use std::ops::Range;

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub span: Range<usize>,
    pub value: Value,
    /// Some of its text was put in for a `${…}`, so that it must not be shown.
    pub replaced: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    /// An integer that needs more than 64 bits.
    LargeInteger,
    Float(f64),
    Boolean(bool),
    /// TOML's own date and time, which no key takes.
    DateTime,
    /// A string whose `${…}` could not be replaced, which was told already.
    Unknown,
    Array(Vec<Node>),
    Table(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub key_span: Range<usize>,
    pub node: Node,
}

impl Node {
    /// The nesting is bounded by the TOML parser (80).
    pub fn of_table(table: &Spanned<DeTable<'_>>) -> Node {
        Node { span: table.span(), value: Value::Table(entries(table.get_ref())), replaced: false }
    }

    fn of_value(value: &Spanned<DeValue<'_>>) -> Node {
        let span = value.span();
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix()).map_or(Value::LargeInteger, Value::Integer),
            DeValue::Float(f) => Value::Float(f.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(b) => Value::Boolean(*b),
            DeValue::Datetime(_) => Value::DateTime,
            DeValue::Array(items) => Value::Array(items.iter().map(Node::of_value).collect()),
            DeValue::Table(table) => Value::Table(entries(table)),
        };
        Node { span, value, replaced: false }
    }

    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|e| e.key == key)
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|e| &e.node)
    }

    /// The keys of a table in the order of the text; empty for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Array(items) => items,
            _ => &[],
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// With an article: `a string`.
    pub fn type_name(&self) -> &'static str {
        match self.value {
            Value::Text(_) | Value::Unknown => "a string",
            Value::Integer(_) | Value::LargeInteger => "an integer",
            Value::Float(_) => "a float",
            Value::Boolean(_) => "a boolean",
            Value::DateTime => "a date",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }

    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Text(text) => Json::from(text.as_str()),
            Value::Integer(i) => Json::from(*i),
            Value::LargeInteger | Value::DateTime | Value::Unknown => Json::Null,
            Value::Float(f) => Json::from(*f),
            Value::Boolean(b) => Json::from(*b),
            Value::Array(items) => items.iter().map(Node::to_json).collect(),
            Value::Table(entries) => entries.iter().map(|e| (e.key.clone(), e.node.to_json())).collect(),
        }
    }

    /// Every string in it, with its place, for the replacement of `${…}`.
    pub fn texts_mut(&mut self, path: &mut Vec<String>, visit: &mut impl FnMut(&[String], &mut Node)) {
        match &mut self.value {
            Value::Text(_) => visit(path, self),
            Value::Array(items) => items.iter_mut().for_each(|item| item.texts_mut(path, visit)),
            Value::Table(entries) => {
                for entry in entries {
                    path.push(entry.key.clone());
                    entry.node.texts_mut(path, visit);
                    path.pop();
                }
            }
            Value::Integer(_) | Value::LargeInteger | Value::Float(_) | Value::Boolean(_) | Value::DateTime | Value::Unknown => {}
        }
    }
}

fn entries(table: &DeTable<'_>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry { key: key.get_ref().to_string(), key_span: key.span(), node: Node::of_value(value) })
        .collect();
    entries.sort_by_key(|e| e.key_span.start);
    entries
}
