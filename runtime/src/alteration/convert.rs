//! What a change of a column's type does to the values that are there.

use crate::change::SourceType;
use crate::schema::names::charset_of;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// All values stay as they are.
    Same,
    /// The standard's conversions, which all databases do alike.
    Cast,
    /// Only the source's kind of server does it so.
    Other,
}

/// `is_strict`: the source would have refused to cut or replace a value, so that all fit.
pub fn conversion(old: &SourceType, new: &SourceType, is_strict: bool) -> Conversion {
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
}
