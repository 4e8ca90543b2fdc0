//! What a change of a column's type does to the values that are there.

use super::super::ddl;
use crate::change::SourceType;
use crate::schema::names::charset_of;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conversion {
    /// All values stay as they are.
    Same,
    /// The standard's conversions, which all databases do alike.
    Cast,
    /// Only the source's kind of server does it so.
    Other,
}

/// `is_strict`: the source would have refused to cut or replace a value, so that all fit.
pub(super) fn conversion(old: &SourceType, new: &SourceType, is_strict: bool) -> Conversion {
    use SourceType as T;
    let same_if = |is_same: bool| if is_same { Conversion::Same } else { Conversion::Other };
    let wider = |old: u32, new: u32| same_if(is_strict || new >= old);
    let takes_text = |old: u16, new: u16| is_strict || charset_of(old) == charset_of(new) || charset_of(new) == Some("utf8mb4");
    match (old, new) {
        (old, new) if old == new => Conversion::Same,
        (T::Int { bits: a, unsigned: u }, T::Int { bits: b, unsigned: v }) => {
            same_if(is_strict || (u == v && b >= a) || (*u && !v && b > a))
        }
        (T::Year, T::Int { bits: 16.., .. }) | (T::Float, T::Double) => Conversion::Same,
        (T::Bit { bits: a }, T::Bit { bits: b }) => wider(u32::from(*a), u32::from(*b)),
        (T::Bit { .. }, T::Int { .. }) => same_if(is_strict),
        (
            T::VarChar { length: a, collation: from } | T::Char { length: a, collation: from },
            T::VarChar { length: b, collation: to },
        )
        | (T::Char { length: a, collation: from }, T::Char { length: b, collation: to }) => {
            same_if(takes_text(*from, *to) && (is_strict || b >= a))
        }
        (T::Text { length_bytes: a, collation: from }, T::Text { length_bytes: b, collation: to }) => {
            same_if(is_strict || (b >= a && charset_of(*from) == charset_of(*to)))
        }
        (T::Text { .. }, T::VarChar { .. }) => same_if(is_strict),
        (T::VarChar { collation: from, .. } | T::Char { collation: from, .. }, T::Text { length_bytes, collation: to }) => {
            same_if(takes_text(*from, *to) && (is_strict || *length_bytes >= 3))
        }
        (T::Enum { .. } | T::Set { .. }, T::VarChar { .. }) => same_if(is_strict),
        (T::Enum { collation: from, .. } | T::Set { collation: from, .. }, T::Text { length_bytes: 3.., collation: to }) => {
            same_if(takes_text(*from, *to))
        }
        (T::Enum { members: a, .. }, T::Enum { members: b, .. }) => same_if(a.iter().all(|member| b.contains(member))),
        (T::Set { members: a, .. }, T::Set { members: b, .. }) => {
            // The values are written in the order of the members.
            let places: Option<Vec<usize>> = a.iter().map(|member| b.iter().position(|other| other == member)).collect();
            same_if(places.is_some_and(|places| places.windows(2).all(|pair| pair[0] < pair[1])))
        }
        (T::Binary { length: a } | T::VarBinary { length: a }, T::VarBinary { length: b }) => wider(*a, *b),
        (T::Blob { length_bytes: a }, T::Blob { length_bytes: b }) => wider(u32::from(*a), u32::from(*b)),
        (T::Binary { .. } | T::VarBinary { .. }, T::Blob { length_bytes }) => same_if(is_strict || *length_bytes >= 2),
        (T::Blob { .. }, T::VarBinary { .. }) => same_if(is_strict),
        (T::Decimal { precision: p, scale: s, unsigned: u }, T::Decimal { precision: q, scale: t, unsigned: v }) => {
            let is_wider = t >= s && q - t >= p - s && (u == v || *u);
            match (is_strict || is_wider, s == t) {
                (true, true) => Conversion::Same,
                (true, false) => Conversion::Cast,
                (false, _) => Conversion::Other,
            }
        }
        (T::Int { .. } | T::Year, T::Decimal { .. } | T::Double) | (T::Decimal { .. }, T::Int { .. }) if is_strict => {
            Conversion::Cast
        }
        (T::Double, T::Float) if is_strict => Conversion::Cast,
        (T::DateTime { fsp: a }, T::DateTime { fsp: b })
        | (T::Timestamp { fsp: a }, T::Timestamp { fsp: b })
        | (T::Time { fsp: a }, T::Time { fsp: b })
            if b > a =>
        {
            Conversion::Cast
        }
        (T::Date, T::DateTime { .. }) => Conversion::Cast,
        _ => Conversion::Other,
    }
}

/// What stands for `column` in a statement that converts it. `None`: it stays as it is, or SQLite has no expression for it.
pub(super) fn sqlite_value(column: &str, old: &SourceType, new: &SourceType, conversion: Conversion) -> Option<String> {
    use SourceType as T;
    let zeros = |n: u8| "0".repeat(usize::from(n));
    // Behind text that has `a` digits of fraction.
    let padded = |a: u8, b: u8| match a {
        0 => format!("{column} || '.{}'", zeros(b)),
        a => format!("{column} || '{}'", zeros(b - a)),
    };
    match (old, new) {
        (_, _) if conversion == Conversion::Same && ddl::sqlite_type(old) != ddl::sqlite_type(new) => Some(column.to_owned()),
        (_, _) if conversion != Conversion::Cast => None,
        (T::Decimal { scale: a, .. }, T::Decimal { scale: b, .. }) if b > a => Some(padded(*a, *b)),
        (T::Int { .. } | T::Year, T::Decimal { scale: 0, .. }) => Some(format!("CAST({column} AS TEXT)")),
        (T::Int { .. } | T::Year, T::Decimal { scale, .. }) => Some(format!("CAST({column} AS TEXT) || '.{}'", zeros(*scale))),
        (T::Int { .. } | T::Year, T::Double) => Some(format!("CAST({column} AS REAL)")),
        (T::DateTime { fsp: a }, T::DateTime { fsp: b })
        | (T::Timestamp { fsp: a }, T::Timestamp { fsp: b })
        | (T::Time { fsp: a }, T::Time { fsp: b }) => Some(padded(*a, *b)),
        (T::Date, T::DateTime { fsp: 0 }) => Some(format!("{column} || ' 00:00:00'")),
        (T::Date, T::DateTime { fsp }) => Some(format!("{column} || ' 00:00:00.{}'", zeros(*fsp))),
        _ => None,
    }
}

/// The target's column has the type that the source's has, as a server of either kind writes it.
pub(super) fn is_mysql_type(full: &str, source_type: &SourceType) -> bool {
    let plain = |text: &str| {
        let text = text.to_ascii_lowercase();
        let (word, rest) = text.split_at(text.find(['(', ' ']).unwrap_or(text.len()));
        // Widths for showing.
        let rest = match (word.ends_with("int") || word == "year", rest.split_once(')')) {
            (true, Some((_, rest))) => rest,
            _ => rest,
        };
        format!("{word}{}", rest.replace(" zerofill", ""))
    };
    let wanted = match source_type {
        SourceType::Address(address) => format!("varchar({})", address.text_len()),
        SourceType::Json if full.eq_ignore_ascii_case("longtext") => return true,
        source_type => source_type.to_string(),
    };
    match source_type {
        // Members keep their capital letters.
        SourceType::Enum { .. } | SourceType::Set { .. } => full == wanted,
        _ => plain(full) == plain(&wanted),
    }
}

/// The target's column has a type that `create = true` gives, as the catalog writes it.
pub(super) fn is_postgres_type(full: &str, created: &str) -> bool {
    let (word, digits) = created.split_once('(').map_or((created, String::new()), |(word, rest)| (word, format!("({rest}")));
    let wanted = match word {
        "varchar" => format!("character varying{digits}"),
        "timestamp" => format!("timestamp{digits} without time zone"),
        "timestamptz" => format!("timestamp{digits} with time zone"),
        word => format!("{word}{digits}"),
    };
    full == wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use SourceType as T;

    #[test]
    fn values_that_change_are_told_from_those_that_stay() {
        let text = |length| T::VarChar { length, collation: 45 };
        let members = |list: &[&str]| T::Set { members: list.iter().map(|m| Box::from(*m)).collect(), collation: 45 };
        let decimal = |precision, scale| T::Decimal { precision, scale, unsigned: false };
        let int = |bits| T::Int { bits, unsigned: false };
        for (old, new, strict, lenient) in [
            (int(32), int(64), Conversion::Same, Conversion::Same),
            (int(32), int(8), Conversion::Same, Conversion::Other),
            (text(40), text(400), Conversion::Same, Conversion::Same),
            (text(40), text(4), Conversion::Same, Conversion::Other),
            (text(40), int(8), Conversion::Other, Conversion::Other),
            (decimal(10, 2), decimal(12, 3), Conversion::Cast, Conversion::Cast),
            (decimal(10, 2), decimal(12, 2), Conversion::Same, Conversion::Same),
            (members(&["a", "b"]), members(&["a", "c", "b"]), Conversion::Same, Conversion::Same),
            (members(&["a", "b"]), members(&["b", "a"]), Conversion::Other, Conversion::Other),
            (T::DateTime { fsp: 3 }, T::DateTime { fsp: 0 }, Conversion::Other, Conversion::Other),
            (T::VarBinary { length: 4 }, T::Binary { length: 8 }, Conversion::Other, Conversion::Other),
        ] {
            assert_eq!((conversion(&old, &new, true), conversion(&old, &new, false)), (strict, lenient), "{old} to {new}");
        }
    }

    #[test]
    fn types_are_known_again() {
        assert!(is_mysql_type("int(11) unsigned", &T::Int { bits: 32, unsigned: true }));
        assert!(is_mysql_type("varchar(36)", &T::Address(crate::change::Address::Uuid)));
        assert!(!is_mysql_type("bigint", &T::Int { bits: 32, unsigned: false }));
        assert!(is_mysql_type("decimal(10,2)", &T::Decimal { precision: 10, scale: 2, unsigned: false }));
        assert!(is_postgres_type("character varying(40)", "varchar(40)"));
        assert!(is_postgres_type("timestamp(3) with time zone", "timestamptz(3)"));
        assert!(is_postgres_type("numeric(20,0)", "numeric(20,0)"));
    }
}
