//! The JSON Schema of the manifest: what editors, the reference in the documentation, and our own checks go by.
//!
//! Besides the standard's keywords it has some of ours: `x-form` (how a text must be made), `x-secret` (never show it),
//! `x-missing` (the hint where a key is missing), `x-later` (values that a later version will know, with a hint each).

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};

use super::file::ManifestFile;

/// JSON Schema 2020-12, with nothing referred to from elsewhere.
pub fn schema() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true).with_transform(Tidy);
    settings.into_generator().into_root_schema_for::<ManifestFile>()
}

/// TOML has no null: what may be null in a struct is a key that may be left out. And descriptions are running text.
#[derive(Clone)]
struct Tidy;

impl Transform for Tidy {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(types) = schema.get("type").and_then(|t| t.as_array()) {
            let kept = types.iter().find(|t| *t != "null").cloned();
            schema.insert("type".to_owned(), kept.unwrap_or_default());
        }
        if let Some(any) = schema.get("anyOf").and_then(|a| a.as_array()) {
            let inner = any.iter().find(|s| s["type"] != "null").cloned();
            schema.remove("anyOf");
            for (key, value) in inner.as_ref().and_then(|s| s.as_object()).into_iter().flatten() {
                if schema.get(key).is_none() {
                    schema.insert(key.clone(), value.clone());
                }
            }
        }
        if schema.get("default").is_some_and(serde_json::Value::is_null) {
            schema.remove("default");
        }
        if let Some(text) = schema.get("description").and_then(|d| d.as_str()) {
            let text = text.replace('\n', " ");
            schema.insert("description".to_owned(), text.into());
        }
        transform_subschemas(self, schema);
    }
}
