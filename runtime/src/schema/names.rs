//! Names of collations and character sets, as statements write them, to ids.

use std::collections::HashMap;

use mysql_common::collations::CollationId;

use super::COLLATION_UNKNOWN;
use crate::source::binlog::values::charset::Charset;

/// What a server and a session mean by them.
#[derive(Clone, Debug, Default)]
pub struct Collations {
    /// What the server has, in lower case; empty: what all servers have.
    named: HashMap<String, u16>,
    /// By character set.
    defaults: HashMap<String, u16>,
}

/// Default collations of character sets that every server agrees on.
const DEFAULTS: [(&str, u16); 41] = [
    ("big5", 1),
    ("dec8", 3),
    ("cp850", 4),
    ("hp8", 6),
    ("koi8r", 7),
    ("latin1", 8),
    ("latin2", 9),
    ("swe7", 10),
    ("ascii", 11),
    ("ujis", 12),
    ("sjis", 13),
    ("hebrew", 16),
    ("tis620", 18),
    ("euckr", 19),
    ("koi8u", 22),
    ("gb2312", 24),
    ("greek", 25),
    ("cp1250", 26),
    ("gbk", 28),
    ("latin5", 30),
    ("armscii8", 32),
    ("utf8mb3", 33),
    ("ucs2", 35),
    ("cp866", 36),
    ("keybcs2", 37),
    ("macce", 38),
    ("macroman", 39),
    ("cp852", 40),
    ("latin7", 41),
    ("cp1251", 51),
    ("utf16", 54),
    ("utf16le", 56),
    ("cp1256", 57),
    ("cp1257", 59),
    ("utf32", 60),
    ("binary", 63),
    ("geostd8", 92),
    ("cp932", 95),
    ("eucjpms", 97),
    ("gb18030", 248),
    ("utf8mb4", 45),
];

impl Collations {
    /// What the server says: name, character set, id, and whether it is the character set's default.
    pub fn of_server<'a>(rows: impl Iterator<Item = (&'a str, &'a str, u16, bool)>) -> Collations {
        let mut collations = Collations::default();
        for (name, charset, id, is_default) in rows {
            collations.named.insert(name.to_ascii_lowercase(), id);
            if is_default {
                collations.defaults.insert(charset.to_ascii_lowercase(), id);
            }
        }
        collations
    }

    /// Of a server of which only the version is known.
    pub fn of_version(mariadb: bool, version: u32) -> Collations {
        let mut collations = Collations::default();
        if !mariadb && version >= 80_001 {
            collations.defaults.insert("utf8mb4".to_owned(), 255);
        }
        collations
    }

    /// The default collation of a character set in a session whose own choices are `session`: by the default that they replace.
    pub fn default_of(&self, charset: &str, session: &[(u16, u16)]) -> u16 {
        let charset = charset.to_ascii_lowercase();
        let charset = if charset == "utf8" { "utf8mb3" } else { &charset };
        let fixed = || DEFAULTS.iter().find(|(name, _)| *name == charset).map(|(_, id)| *id);
        let of_charset = |(from, _): &&(u16, u16)| Charset::of_collation(*from).is_some_and(|c| c.name() == charset);
        match session.iter().find(of_charset) {
            Some((_, id)) => *id,
            None => self.defaults.get(charset).copied().or_else(fixed).unwrap_or(COLLATION_UNKNOWN),
        }
    }

    /// `charset`: to which a short name (`uca1400_ai_ci`) belongs.
    pub fn named(&self, name: &str, charset: Option<&str>) -> u16 {
        let name = name.to_ascii_lowercase();
        let name = match name.strip_prefix("utf8_") {
            Some(rest) => format!("utf8mb3_{rest}"),
            None => name,
        };
        if name == "binary" {
            return 63;
        }
        if !self.named.is_empty() {
            let find = |name: &str| self.named.get(name).copied();
            let old = || find(&name.replacen("utf8mb3_", "utf8_", 1));
            let long = || charset.and_then(|charset| find(&format!("{charset}_{name}")));
            return find(&name).or_else(old).or_else(long).unwrap_or(COLLATION_UNKNOWN);
        }
        match CollationId::from(&*name) {
            CollationId::UNKNOWN_COLLATION_ID => COLLATION_UNKNOWN,
            id => id as u16,
        }
    }

    /// The `_bin` collation of a character set.
    pub fn binary_of(&self, charset: &str) -> u16 {
        self.named(&format!("{}_bin", if charset.eq_ignore_ascii_case("utf8") { "utf8mb3" } else { charset }), None)
    }
}

/// The character set of a collation.
pub fn charset_of(collation: u16) -> Option<&'static str> {
    Charset::of_collation(collation).map(Charset::name)
}

/// Bytes of its longest character. Where the collation is not known, as many as any has.
pub fn bytes_per_char(collation: u16) -> u32 {
    Charset::of_collation(collation).map_or(4, |c| u32::from(c.bytes_per_char()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_belong_to_their_character_sets() {
        for (name, id) in DEFAULTS {
            assert_eq!(charset_of(id), Some(name));
        }
    }

    #[test]
    fn names_are_found() {
        let c = Collations::of_version(false, 90_700);
        assert_eq!((c.named("utf8mb4_0900_as_cs", None), c.named("UTF8_general_ci", None), c.named("x", None)), (278, 33, 0));
        assert_eq!((c.default_of("utf8mb4", &[]), c.default_of("utf8", &[]), c.binary_of("latin1")), (255, 33, 47));
        assert_eq!(c.default_of("utf8mb4", &[(45, 2304)]), 2304);
    }
}
