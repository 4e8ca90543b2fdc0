//! Masks text columns, in the image before a change as well as after it: `{ "columns": ["email"], "style": "hash", "key": "…" }`.
//!
//! A table that has none of the columns passes by; masking a column that is not text is an error. NULL stays NULL.

use hmac::{Hmac, Mac};
use serde::Deserialize;
use sha2::Sha256;
use tidegate_plugin::{Batch, Plan, Plugin, Relation};

/// Bytes of the hash that are kept: 128 bits, twice as many hexadecimal digits.
const HASH_BYTES: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    columns: Vec<String>,
    #[serde(default)]
    style: Style,
    /// The secret of `hash`.
    key: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Style {
    /// `ada@example.com` → `a***@example.com`, `Ada` → `A***`.
    #[default]
    Stars,
    /// HMAC-SHA-256: equal values stay equal, so that masked columns can be joined and be keys.
    Hash,
    /// The empty text.
    Empty,
}

struct Mask {
    columns: Vec<String>,
    style: Style,
    hmac: Hmac<Sha256>,
}

impl Plugin for Mask {
    fn configure(config: &str) -> Result<Mask, String> {
        let Config { columns, style, key } = serde_json::from_str(config).map_err(|e| e.to_string())?;
        if columns.is_empty() {
            return Err("`columns` is empty".to_owned());
        }
        if (style == Style::Hash) != key.as_ref().is_some_and(|key| !key.is_empty()) {
            return Err("`key` goes with `style = \"hash\"`, and must not be empty".to_owned());
        }
        let hmac = Hmac::new_from_slice(key.unwrap_or_default().as_bytes()).map_err(|e| e.to_string())?;
        Ok(Mask { columns, style, hmac })
    }

    fn bind(&mut self, relation: &Relation) -> Result<Option<Plan>, String> {
        let mut plan = None;
        for name in &self.columns {
            let Some(column) = relation.column(name) else { continue };
            if !column.kind.is_text() {
                return Err(format!("column `{name}` is {}, not text", column.source_type));
            }
            plan = Some(plan.unwrap_or_else(Plan::new).rewrites(name));
        }
        Ok(plan)
    }

    fn process(&mut self, batch: &Batch) -> Result<(), String> {
        for name in self.columns.iter().filter(|name| batch.relation().column(name).is_some()) {
            batch.rewrite_text(name, |value, out| match self.style {
                Style::Stars => stars(value, out),
                Style::Hash => self.hash(value, out),
                Style::Empty => {}
            });
        }
        Ok(())
    }
}

impl Mask {
    fn hash(&self, value: &str, out: &mut String) {
        let mut hmac = self.hmac.clone();
        hmac.update(value.as_bytes());
        for byte in &hmac.finalize().into_bytes()[..HASH_BYTES] {
            for digit in [byte >> 4, byte & 15] {
                out.extend(char::from_digit(digit.into(), 16));
            }
        }
    }
}

fn stars(value: &str, out: &mut String) {
    out.extend(value.chars().next());
    out.push_str("***");
    if let Some(at) = value.rfind('@') {
        out.push_str(&value[at..]);
    }
}

tidegate_plugin::export!(Mask);

#[cfg(test)]
mod tests {
    use tidegate_plugin::test::{Change, Tester, table};
    use tidegate_plugin::{Kind, Value};

    use super::*;

    fn masked(config: &str, email: &str) -> Value {
        let mut tester = Tester::<Mask>::new(config).expect("configure");
        let customers = table("shop.customers", &[("id", Kind::Int64), ("email", Kind::Text)], 1);
        let rows = tester.run(&customers, &[Change::update([1.into(), email.into()], [1.into(), email.into()])]).expect("run");
        assert_eq!(rows[0].before["email"], rows[0].after["email"], "both images are masked alike");
        rows[0].after["email"].clone()
    }

    #[test]
    fn stars_keep_the_first_character_and_the_domain() {
        assert_eq!(masked(r#"{"columns": ["email"]}"#, "ada@example.com"), "a***@example.com".into());
        assert_eq!(masked(r#"{"columns": ["email"]}"#, "äda"), "ä***".into());
        assert_eq!(masked(r#"{"columns": ["email"]}"#, ""), "***".into());
    }

    #[test]
    fn a_hash_is_stable_and_depends_on_the_key() {
        let hash = |key: &str| masked(&format!(r#"{{"columns": ["email"], "style": "hash", "key": "{key}"}}"#), "ada@example.com");
        // printf ada@example.com | openssl dgst -sha256 -hmac k | cut -c-32
        assert_eq!(hash("k"), HASH.into());
        assert_ne!(hash("k"), hash("l"));
    }

    const HASH: &str = "12016e848bcbd7077260c2422bc708e7";

    #[test]
    fn what_cannot_be_masked_is_refused() {
        for config in
            ["{}", r#"{"columns": []}"#, r#"{"columns": ["a"], "style": "hash"}"#, r#"{"columns": ["a"], "stile": "hash"}"#]
        {
            assert!(Tester::<Mask>::new(config).is_err(), "{config}");
        }
        let mut tester = Tester::<Mask>::new(r#"{"columns": ["id"]}"#).expect("configure");
        assert!(tester.run(&table("shop.customers", &[("id", Kind::Int64)], 1), &[Change::insert([1.into()])]).is_err());
    }
}
