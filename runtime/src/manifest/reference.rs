//! `docs/manifest.schema.json` and `docs/manifest.md`, made from the schema and kept current by tests.
//!
//! `TIDEGATE_BLESS=1 cargo test -p tidegate reference` writes them anew.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value as Json;

use super::schema::schema;

const INTRODUCTION: &str = "\
# The manifest

<!-- Made from the doc comments of runtime/src/manifest by `TIDEGATE_BLESS=1 cargo test -p tidegate reference`. -->

One TOML file says what is read, how it is changed on the way, and where it is written. `tidegate init` writes one to start from,
and `tidegate check` says what is wrong with one. Editors that know JSON Schema take [manifest.schema.json](manifest.schema.json).

- Sizes and durations are strings with a unit: `\"4MiB\"` (B, kB, MB, GB, KiB, MiB, GiB), `\"250ms\"` (us, ms, s, m, h, d).
- In every string value `${env:NAME}` is replaced by a variable of the environment, and `${file:PATH}` by the content of a file
  (up to 64 KiB, without the newline at its end). What is put in is not looked at again. `$${` stands for `${`.
- Relative paths are relative to the manifest's folder.
- Names of sources, plugins, sinks and pipelines have 1 to 64 letters, digits, `_` and `-`.
- Unknown keys are errors.
- What is changed takes effect at the next start, but for the sections of plugins that run, which are taken up at once:
  [plugins/reload.md](plugins/reload.md).
";

fn reference() -> String {
    let schema = schema();
    let root = schema.as_value();
    let mut out = INTRODUCTION.to_owned();
    let sections = ["source", "plugin", "sink", "pipeline"];
    let top = root["properties"].as_object().unwrap().iter().filter(|(key, _)| !sections.contains(&key.as_str()));
    out.push_str("\n## At the top\n\n");
    keys(&mut out, top.map(|(key, value)| (key.as_str(), value, false)).collect());
    for section in sections {
        let _ = write!(out, "\n## `[{section}.NAME]`\n\n{}\n", text(&root["properties"][section]["description"]));
        describe(&mut out, section, &root["properties"][section]["additionalProperties"]);
    }
    out
}

/// A table of keys, and then the tables within it.
fn describe(out: &mut String, path: &str, schema: &Json) {
    if let Some(choices) = schema["oneOf"].as_array() {
        for choice in choices {
            let _ = write!(out, "\n### `type = {}`\n\n{}\n\n", choice["properties"]["type"]["const"], text(&choice["description"]));
            keys(out, properties(choice));
            within(out, &format!("type = {}", choice["properties"]["type"]["const"]), choice);
        }
        let later: Vec<String> = schema["x-later"].as_object().into_iter().flatten().map(|(name, _)| format!("`{name}`")).collect();
        let _ = write!(out, "\nA later version will know {}.\n", later.join(", "));
        return;
    }
    out.push('\n');
    keys(out, properties(schema));
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        if inner["items"]["type"] == "object" {
            let _ = write!(out, "\n### `[[{path}.NAME.{key}]]`\n\n{}\n", text(&inner["items"]["description"]));
            describe(out, path, &inner["items"]);
        }
    }
    within(out, &format!("[{path}.NAME]"), schema);
}

/// The keys of tables that are values.
fn within(out: &mut String, of: &str, schema: &Json) {
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        if inner["properties"].is_object() {
            let _ = write!(out, "\n#### `{key}` of `{of}`\n\n{}\n\n", text(&inner["description"]));
            keys(out, properties(inner));
        }
        let named = &inner["additionalProperties"];
        if named["properties"].is_object() {
            let _ = write!(out, "\n#### `{key}.NAME` of `{of}`\n\n{}\n\n", text(&named["description"]));
            keys(out, properties(named));
        }
    }
}

/// Without the key `type`, which the heading tells.
fn properties(schema: &Json) -> Vec<(&str, &Json, bool)> {
    let required = |key: &str| schema["required"].as_array().is_some_and(|r| r.iter().any(|k| k == key));
    let all = schema["properties"].as_object().into_iter().flatten();
    all.filter(|(_, value)| value["const"].is_null()).map(|(key, value)| (key.as_str(), value, required(key))).collect()
}

fn keys(out: &mut String, keys: Vec<(&str, &Json, bool)>) {
    if keys.is_empty() {
        return out.push_str("No other keys.\n");
    }
    out.push_str("| key | value | meaning |\n|---|---|---|\n");
    for (key, schema, required) in keys {
        let mut meaning = text(&schema["description"]).to_owned();
        for choice in schema["oneOf"].as_array().into_iter().flatten() {
            let _ = write!(meaning, "<br>{}: {}", choice_name(choice), text(&choice["description"]));
        }
        let simple = !schema["default"].is_null() && !schema["default"].is_object() && !meaning.contains("Default");
        if simple && schema["default"] != Json::Array(Vec::new()) {
            let _ = write!(meaning, "<br>Default: `{}`.", schema["default"]);
        }
        if let Some(example) = schema["examples"].get(0) {
            let _ = write!(meaning, "<br>Example: `{}`", toml(example));
        }
        let needed = if required { " (needed)" } else { "" };
        let _ = writeln!(out, "| `{key}`{needed} | {} | {} |", kind(schema), meaning.replace('|', "\\|"));
    }
}

fn choice_name(choice: &Json) -> String {
    match choice["const"].as_str() {
        Some(word) => format!("`\"{word}\"`"),
        None => {
            let keys: Vec<String> =
                choice["properties"].as_object().into_iter().flatten().map(|(k, _)| format!("{k} = …")).collect();
            format!("`{{ {} }}`", keys.join(", "))
        }
    }
}

fn kind(schema: &Json) -> &'static str {
    match (schema["type"].as_str(), schema["x-form"].as_str()) {
        (_, Some("size")) => "size",
        (_, Some("duration")) => "duration",
        (Some("array"), _) if schema["items"]["type"] == "object" => "tables",
        (Some("array"), _) => "array of strings",
        (Some("string"), _) => "string",
        (Some("integer"), _) => "integer",
        (Some("boolean"), _) => "boolean",
        (Some("object"), _) => "table",
        _ => "one of",
    }
}

/// A value as TOML writes it in one line.
fn toml(value: &Json) -> String {
    match value {
        Json::Object(table) => {
            format!("{{ {} }}", table.iter().map(|(k, v)| format!("{k} = {}", toml(v))).collect::<Vec<_>>().join(", "))
        }
        Json::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap_or_default()
}

fn is_current(file: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        std::fs::write(&path, made).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == made,
        "docs/{file} is not what the structs say: TIDEGATE_BLESS=1 cargo test -p tidegate reference"
    );
}

#[test]
fn the_schema_is_current() {
    is_current("manifest.schema.json", &(serde_json::to_string_pretty(&schema()).unwrap() + "\n"));
}

#[test]
fn the_reference_is_current() {
    is_current("manifest.md", &reference());
}

/// What people read of a key: its meaning, and its choices, its form, a default or an example.
#[test]
fn every_key_is_documented() {
    fn visit(schema: &Json, path: &str, missing: &mut Vec<String>) {
        if !schema.is_object() {
            return;
        }
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            let shown = !inner["const"].is_null()
                || !inner["oneOf"].is_null()
                || !inner["default"].is_null()
                || !inner["examples"].is_null()
                || inner["items"]["type"] == "object"
                || text(&inner["description"]).contains("Default")
                || inner["type"] == "object"
                || inner["x-form"].is_string();
            if inner["const"].is_null() && (text(&inner["description"]).is_empty() || !shown) {
                missing.push(path.clone());
            }
            visit(inner, &path, missing);
        }
        for inner in
            [&schema["additionalProperties"], &schema["items"]].into_iter().chain(schema["oneOf"].as_array().into_iter().flatten())
        {
            visit(inner, path, missing);
        }
    }
    let mut missing = Vec::new();
    visit(schema().as_value(), "", &mut missing);
    assert!(missing.is_empty(), "{missing:?}");
}
