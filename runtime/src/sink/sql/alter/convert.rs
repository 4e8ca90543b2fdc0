//! Types of the target's columns, and how SQLite, which does not change the type of a column, converts values.

use super::super::ddl;
use crate::alteration::Conversion;
use crate::change::SourceType;

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
