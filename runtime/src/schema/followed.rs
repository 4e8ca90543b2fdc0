//! Which tables a pipeline follows, and which it leaves out though a pattern takes them: what online schema changes work with.

use crate::manifest::pattern::Patterns;

/// The tables of a source.
#[derive(Clone, Debug)]
pub struct Followed {
    tables: Patterns,
    named: Vec<(String, String)>,
}

impl Followed {
    pub fn new(tables: &Patterns) -> Followed {
        Followed { tables: tables.clone(), named: tables.named_tables() }
    }

    /// True if its rows are wanted: a pattern takes it, and it is no helper of a change of another followed table, unless it is followed
    /// by its name.
    pub fn follows(&self, schema: &str, table: &str) -> bool {
        self.tables.matches(schema, table) && (self.is_named(schema, table) || !self.is_shadow(schema, table))
    }

    /// True if its columns are worth knowing: it may become a followed one.
    pub fn concerns(&self, schema: &str, table: &str) -> bool {
        self.tables.matches(schema, table) || self.is_shadow(schema, table)
    }

    /// A table that gh-ost or pt-online-schema-change made beside a followed one.
    pub fn is_shadow(&self, schema: &str, table: &str) -> bool {
        originals(table).any(|original| self.tables.matches(schema, original))
    }

    /// The followed tables that a helper's name may belong to.
    pub fn originals(&self, schema: &str, table: &str) -> Vec<Box<str>> {
        if self.follows(schema, table) {
            return Vec::new();
        }
        originals(table).filter(|original| self.tables.matches(schema, original)).map(Into::into).collect()
    }

    fn is_named(&self, schema: &str, table: &str) -> bool {
        self.named.iter().any(|(s, t)| s == schema && t == table)
    }
}

/// The tables that a helper's name may belong to. gh-ost: `_t_gho`, `_t_ghc`, `_t_ghk`, `_t_del`, `_t_20260101120000_del`. pt-online-schema-change:
/// `_t_new`, `_t_old`, each with more underscores in front where one was left behind.
fn originals(table: &str) -> impl Iterator<Item = &str> {
    let stem = |suffix| table.strip_suffix(suffix).and_then(|stem| stem.strip_prefix('_'));
    let ghost = ["_gho", "_ghc", "_ghk", "_del"].into_iter().find_map(stem);
    let stamped =
        ghost.and_then(|stem| stem.rsplit_once('_')).filter(|(_, at)| at.len() == 14 && at.bytes().all(|b| b.is_ascii_digit()));
    let percona = ["_new", "_old"].into_iter().find_map(stem);
    let mut all: Vec<&str> = ghost.into_iter().chain(stamped.map(|(stem, _)| stem)).chain(percona).collect();
    let mut rest = percona;
    while let Some(stem) = rest.and_then(|stem| stem.strip_prefix('_')) {
        all.push(stem);
        rest = Some(stem);
    }
    all.into_iter().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_of_online_changes_are_left_out() {
        let followed = |patterns: &[&str]| {
            let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
            Followed::new(&Patterns::parse_tables(&patterns).unwrap())
        };
        let all = followed(&["shop.*"]);
        for table in
            ["_orders_gho", "_orders_ghc", "_orders_del", "_orders_20260101120000_del", "_orders_new", "__orders_old", "_a_new"]
        {
            assert!(!all.follows("shop", table) && all.concerns("shop", table), "{table}");
        }
        for table in ["orders", "_orders", "orders_gho", "_gho", "_new", "brand_new"] {
            assert!(all.follows("shop", table), "{table}");
        }
        let named = followed(&["shop.orders", "shop._orders_new"]);
        assert!(named.follows("shop", "_orders_new"));
        assert!(!named.follows("shop", "_orders_gho") && named.concerns("shop", "_orders_gho"));
        assert!(!named.concerns("shop", "_other_gho"));
        // Taken out: the table is not followed, so nothing is its helper.
        let without = followed(&["shop.*", "!shop.orders"]);
        assert!(without.follows("shop", "_orders_new"));
    }
}
