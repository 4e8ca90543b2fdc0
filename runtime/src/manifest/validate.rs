//! Keys and values of a manifest against its JSON Schema: every unknown key, wrong type and malformed value, not the first alone.
//!
//! It knows the part of JSON Schema that [`super::schema`] makes: `type`, `properties`, `additionalProperties`, `required`,
//! `items`, `minItems`, `minLength`, `minimum`, `maximum`, `const`, `oneOf`; and the `x-` keywords told there.

use std::ops::Range;

use serde_json::Value as Json;

use super::grant::Grant;
use super::nearest::nearest;
use super::pattern::{PatternError, Patterns};
use super::problem::Problem;
use super::start::parse_time;
use super::template::TableTemplate;
use super::tree::{Node, Value};
use super::units::{ByteSize, Sha256, TablePath, TimeSpan};
use crate::position::GtidSet;

/// What the checks find.
#[derive(Default)]
pub(super) struct Findings {
    pub problems: Vec<Problem>,
    /// Where strings stand that may be shown.
    pub harmless: Vec<Range<usize>>,
}

impl Findings {
    /// Checks a tree; `path` is what to call it, empty for the whole manifest.
    pub fn check(&mut self, schema: &Json, node: &Node, path: &str) {
        if matches!(node.value, Value::Unknown) {
            return;
        }
        if node.text().is_some() && schema.get("x-secret").is_none() && schema.get("type").or(schema.get("oneOf")).is_some() {
            self.harmless.push(node.span.clone());
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            return self.check_choice(schema, choices, node, path);
        }
        match schema["type"].as_str() {
            Some("object") => self.check_table(schema, node, path),
            Some("array") => self.check_array(schema, node, path),
            Some("string") => self.check_text(schema, node, path),
            Some("integer") => self.check_integer(schema, node, path),
            Some("boolean") if !matches!(node.value, Value::Boolean(_)) => {
                self.wrong_type(node, path, "true or false", "write it without quotes")
            }
            _ => {}
        }
    }

    fn error(&mut self, span: &Range<usize>, what: String, hint: impl Into<String>) {
        self.problems.push(Problem::error(span.clone(), what, hint));
    }

    fn wrong_type(&mut self, node: &Node, path: &str, wanted: &str, hint: &str) {
        self.error(&node.span, format!("`{path}` must be {wanted}, and not {}", node.type_name()), hint);
    }

    fn check_table(&mut self, schema: &Json, node: &Node, path: &str) {
        if !matches!(node.value, Value::Table(_)) {
            let hint = match path.split_once('.') {
                None => format!("write [{path}.NAME] on a line of its own, and the keys below"),
                Some(_) => String::new(),
            };
            return self.wrong_type(node, path, "a table", &hint);
        }
        let empty = serde_json::Map::new();
        let known = schema["properties"].as_object().unwrap_or(&empty);
        for entry in node.entries() {
            let name = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
            match (known.get(&entry.key), &schema["additionalProperties"]) {
                (Some(inner), _) => self.check(inner, &entry.node, &name),
                (None, Json::Bool(false)) => {
                    let place = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
                    self.error(
                        &entry.key_span,
                        format!("unknown key `{}`{place}", printable(&entry.key)),
                        hint_for_key(&entry.key, known),
                    );
                }
                (None, inner @ Json::Object(_)) => self.check(inner, &entry.node, &name),
                (None, _) => {}
            }
        }
        // A key that is there, but misspelt, is told once.
        let unknown = node.entries().iter().filter(|e| !known.contains_key(&e.key));
        let meant: Vec<&str> = unknown.filter_map(|e| nearest(&e.key, known.keys().map(String::as_str))).collect();
        for key in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            if node.get(key).is_none() && !meant.contains(&key) {
                self.error(&node.span, format!("`{path}` has no `{key}`"), hint_for_missing(key, &known[key]));
            }
        }
    }

    fn check_array(&mut self, schema: &Json, node: &Node, path: &str) {
        let Value::Array(items) = &node.value else {
            let hint = match (node.text(), node.replaced) {
                (Some(text), false) => format!("write [{text:?}]"),
                _ => "put it in brackets: […]".to_owned(),
            };
            return self.wrong_type(node, path, "an array", &hint);
        };
        let before = self.problems.len();
        for item in items {
            self.check(&schema["items"], item, path);
        }
        if self.problems.len() > before || items.iter().any(|i| matches!(i.value, Value::Unknown)) {
            return;
        }
        let texts: Vec<String> = items.iter().filter_map(|i| i.text().map(str::to_owned)).collect();
        let found = match schema["x-form"].as_str() {
            Some("tables") => Patterns::parse_tables(&texts),
            Some("topics") => Patterns::parse(&texts),
            _ if (items.len() as u64) < schema["minItems"].as_u64().unwrap_or(0) => {
                return self.error(&node.span, format!("`{path}` is empty"), "");
            }
            _ => return,
        };
        if let Err(PatternError { index, problem, hint }) = found {
            let span = items.get(index).map_or(&node.span, |i| &i.span).clone();
            self.error(&span, format!("`{path}`: {problem}"), hint);
        }
    }

    fn check_text(&mut self, schema: &Json, node: &Node, path: &str) {
        let form = schema["x-form"].as_str();
        let Some(text) = node.text() else {
            let hint = match (&node.value, form) {
                (Value::Integer(n), Some("size")) => format!("give the unit: \"{n}B\""),
                (Value::Integer(n), Some("duration")) => format!("give the unit: \"{n}ms\" or \"{n}s\""),
                (Value::DateTime, _) => "put the time in quotes".to_owned(),
                (Value::Integer(n), _) if schema.get("x-secret").is_none() => format!("write \"{n}\""),
                (Value::Integer(_) | Value::LargeInteger, _) => "put it in quotes".to_owned(),
                _ => String::new(),
            };
            return self.wrong_type(node, path, "a string", &hint);
        };
        if (text.chars().count() as u64) < schema["minLength"].as_u64().unwrap_or(0) {
            let hint = if schema.get("x-secret").is_some() { String::new() } else { hint_of_example(path, schema) };
            return self.error(&node.span, format!("`{path}` is empty"), hint);
        }
        if text.contains('\0') {
            return self.error(&node.span, format!("`{path}` has a NUL character in it"), "");
        }
        let found: Result<(), (String, String)> = match form {
            Some("path of a table") => text.parse::<TablePath>().map(drop).map_err(|e| (format!("names no table: {e}"), e.hint)),
            Some("grant") => text.parse::<Grant>().map(drop).map_err(|e| (format!("grants nothing: {e}"), e.hint)),
            Some("sha256") => text.parse::<Sha256>().map(drop).map_err(|e| (format!("is not a SHA-256: {e}"), e.hint)),
            Some("size") => text.parse::<ByteSize>().map(drop).map_err(|e| (format!("is not a size: {e}"), e.hint)),
            Some("duration") => text.parse::<TimeSpan>().map(drop).map_err(|e| (format!("is not a duration: {e}"), e.hint)),
            Some("table") => text.parse::<TableTemplate>().map(drop).map_err(|e| (format!("is not a table's name: {e}"), e.hint)),
            Some("gtid") => GtidSet::parse(text).map(drop).map_err(|_| {
                let hint = "MySQL writes uuid:1-5,… and MariaDB domain-server-sequence,…";
                ("is not a GTID set".to_owned(), hint.to_owned())
            }),
            Some("time") => parse_time(text).map(drop).ok_or_else(|| {
                (
                    "is not a time".to_owned(),
                    "write it as 2026-11-01T00:00:00Z, or with an offset: 2026-11-01T00:00:00+01:00".to_owned(),
                )
            }),
            _ => Ok(()),
        };
        if let Err((problem, hint)) = found {
            self.error(&node.span, format!("`{path}` {problem}"), hint);
        }
    }

    fn check_integer(&mut self, schema: &Json, node: &Node, path: &str) {
        let min = schema["minimum"].as_i64();
        // A limit by the integer's size in memory means nothing to people, but going beyond it must not pass.
        let max = schema["maximum"].as_i64().or((schema["format"] == "uint32").then_some(u32::MAX.into()));
        let range = match (min, max) {
            (Some(min), Some(max)) => format!("a whole number from {min} to {max}"),
            (Some(min), None) => format!("a whole number from {min} on"),
            _ => "a whole number".to_owned(),
        };
        match &node.value {
            Value::Integer(n) if min.is_none_or(|min| *n >= min) && max.is_none_or(|max| *n <= max) => {}
            Value::Integer(_) | Value::LargeInteger => self.error(&node.span, format!("`{path}` must be {range}"), ""),
            _ => {
                let hint = match node.text().map(|t| t.trim().parse::<i64>()) {
                    Some(Ok(_)) => "leave out the quotes",
                    _ => "",
                };
                self.wrong_type(node, path, &range, hint);
            }
        }
    }

    fn check_choice(&mut self, schema: &Json, choices: &[Json], node: &Node, path: &str) {
        if choices.iter().all(|c| !c["properties"]["type"]["const"].is_null()) {
            return self.check_tagged(schema, choices, node, path);
        }
        let words: Vec<&str> = choices.iter().filter_map(|c| c["const"].as_str()).collect();
        let tables: Vec<&Json> = choices.iter().filter(|c| c["type"] == "object").collect();
        match &node.value {
            Value::Text(text) if words.contains(&text.as_str()) => {}
            Value::Text(text) => self.unknown_word(schema, &words, text, node, path, "value"),
            Value::Table(_) if !tables.is_empty() => {
                let known = |table: &Json| node.entries().iter().filter(|e| table["properties"].get(&e.key).is_some()).count();
                let best = tables.iter().copied().max_by_key(|t| known(t)).unwrap_or(&Json::Null);
                if known(best) > 0 {
                    return self.check_table(best, node, path);
                }
                let all: Vec<&String> = tables.iter().filter_map(|t| t["properties"].as_object()).flat_map(|p| p.keys()).collect();
                for entry in node.entries() {
                    let hint = match nearest(&entry.key, all.iter().map(|k| k.as_str())) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("write {}", alternatives(&words, &tables)),
                    };
                    self.error(&entry.key_span, format!("unknown key `{}` in `{path}`", printable(&entry.key)), hint);
                }
                if !node.entries().is_empty() {
                    return;
                }
                self.error(&node.span, format!("`{path}` is empty"), format!("write {}", alternatives(&words, &tables)));
            }
            _ => {
                let wanted = if tables.is_empty() { "a string" } else { "a string or a table" };
                self.wrong_type(node, path, wanted, &format!("write {}", alternatives(&words, &tables)));
            }
        }
    }

    /// A table whose `type` says which keys it has.
    fn check_tagged(&mut self, schema: &Json, choices: &[Json], node: &Node, path: &str) {
        let words: Vec<&str> = choices.iter().filter_map(|c| c["properties"]["type"]["const"].as_str()).collect();
        if !matches!(node.value, Value::Table(_)) {
            let section = path.split('.').next().unwrap_or(path);
            return self.wrong_type(
                node,
                path,
                "a table",
                &format!("write [{section}.NAME] on a line of its own, and the keys below"),
            );
        }
        let Some(tag) = node.get("type") else {
            return self.error(
                &node.span,
                format!("`{path}` has no `type`"),
                format!("write type = {}", alternatives(&words, &[])),
            );
        };
        let Value::Text(word) = &tag.value else {
            if !matches!(tag.value, Value::Unknown) {
                self.wrong_type(tag, &format!("{path}.type"), "a string", &format!("write {}", alternatives(&words, &[])));
            }
            return;
        };
        match choices.iter().find(|c| c["properties"]["type"]["const"] == word.as_str()) {
            Some(choice) => self.check_table(choice, node, path),
            None => {
                self.harmless.push(tag.span.clone());
                self.unknown_word(schema, &words, word, tag, &format!("{path}.type"), "type");
            }
        }
    }

    fn unknown_word(&mut self, schema: &Json, words: &[&str], word: &str, node: &Node, path: &str, noun: &str) {
        if let Some(hint) = schema["x-later"][word].as_str() {
            return self.error(&node.span, format!("`{path}`: `{word}` is not in this version"), hint);
        }
        let shown = if node.replaced { String::new() } else { format!(" `{}`", printable(word)) };
        let tables: Vec<&Json> = schema["oneOf"].as_array().into_iter().flatten().filter(|c| c["const"].is_null()).collect();
        let tables = if noun == "type" { &[][..] } else { &tables[..] };
        let hint = match nearest(word, words.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"? known: {}", alternatives(words, tables)),
            None => format!("known: {}", alternatives(words, tables)),
        };
        self.error(&node.span, format!("`{path}`: unknown {noun}{shown}"), hint);
    }
}

/// A key or word of the manifest as it may be shown in a message.
pub(super) fn printable(text: &str) -> String {
    let cut: String = text.chars().take(60).collect();
    let dots = if cut.len() < text.len() { "…" } else { "" };
    format!("{}{dots}", cut.escape_debug())
}

/// `"now", "earliest", { gtid } or { file, offset }`
fn alternatives(words: &[&str], tables: &[&Json]) -> String {
    let keys = |table: &Json| {
        let required = table["required"].as_array().into_iter().flatten().filter_map(Json::as_str);
        format!("{{ {} }}", required.map(|k| format!("{k} = …")).collect::<Vec<_>>().join(", "))
    };
    let all: Vec<String> = words.iter().map(|w| format!("\"{w}\"")).chain(tables.iter().map(|t| keys(t))).collect();
    match all.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => all.concat(),
    }
}

fn hint_for_key(key: &str, known: &serde_json::Map<String, Json>) -> String {
    match nearest(key, known.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known keys: {}", known.keys().cloned().collect::<Vec<_>>().join(", ")),
    }
}

fn hint_for_missing(key: &str, schema: &Json) -> String {
    match schema["x-missing"].as_str() {
        Some(hint) => hint.to_owned(),
        None => hint_of_example(key, schema),
    }
}

fn hint_of_example(path: &str, schema: &Json) -> String {
    let key = path.rsplit('.').next().unwrap_or(path);
    match schema["examples"].get(0) {
        Some(example) => format!("write, for example, {key} = {example}"),
        None => String::new(),
    }
}
