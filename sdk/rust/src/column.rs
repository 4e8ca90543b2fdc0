//! Columns of a batch, typed, and values.

use crate::bindings::tidegate::plugin::types::{Buffer, Varlen, Vector};
use crate::relation::Kind;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Boolean(bool),
    /// Also dates and times.
    Int64(i64),
    UInt64(u64),
    Float64(f64),
    /// Also decimals and JSON.
    Text(String),
    Bytes(Vec<u8>),
}

impl Value {
    /// The value of a row in a vector that the host or this SDK made.
    pub(crate) fn of(vector: &Vector, row: usize) -> Value {
        if !vector.nulls.is_empty() && !bit(&vector.nulls, row) {
            return Value::Null;
        }
        match (&vector.data, Kind::from_code(vector.kind)) {
            (Buffer::Bits(bits), _) => Value::Boolean(bit(bits, row)),
            (Buffer::Words(_), Kind::UInt64) => Value::UInt64(u64::from_le_bytes(word(vector, row))),
            (Buffer::Words(_), Kind::Float64) => Value::Float64(f64::from_le_bytes(word(vector, row))),
            (Buffer::Words(_), _) => Value::Int64(i64::from_le_bytes(word(vector, row))),
            (Buffer::Packed(_), Kind::Bytes) => Value::Bytes(packed(vector, row).to_vec()),
            (Buffer::Packed(_), _) => Value::Text(String::from_utf8_lossy(packed(vector, row)).into_owned()),
            (Buffer::Strings(strings), _) => Value::Text(strings[row].clone()),
        }
    }
}

macro_rules! into_value {
    ($($from:ty => $variant:ident),*) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Value {
                Value::$variant(value.into())
            }
        }
    )*};
}
into_value!(bool => Boolean, i32 => Int64, i64 => Int64, u64 => UInt64, f64 => Float64, &str => Text, String => Text, &[u8] => Bytes, Vec<u8> => Bytes);

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

pub(crate) fn bit(bits: &[u8], i: usize) -> bool {
    bits[i / 8] >> (i % 8) & 1 == 1
}

/// Sets a bit of a bitmap.
pub(crate) fn set_bit(bits: &mut [u8], i: usize) {
    bits[i / 8] |= 1 << (i % 8);
}

/// Both images of a column, and which one counts for which row.
#[derive(Clone, Copy)]
pub(crate) struct Images<'a> {
    pub ops: &'a [u8],
    /// `None`: not passed, so every value is `None`.
    pub after: Option<&'a Vector>,
    pub before: Option<&'a Vector>,
    /// Has the value of every row, so that none has to be asked where its own is.
    pub whole: Option<&'a Vector>,
}

impl<'a> Images<'a> {
    #[inline]
    pub(crate) fn of_row(&self, row: usize) -> Option<&'a Vector> {
        if self.ops[row] == 2 { self.before } else { self.after }
    }

    /// Those in which the row has a value.
    #[inline(always)]
    fn of(&self, row: usize) -> Option<&'a Vector> {
        if self.whole.is_some() { self.whole } else { self.of_image(row) }
    }

    /// Not inline: that keeps [`of`](Self::of) small enough to become a part of the plugin's loops.
    #[inline(never)]
    fn of_image(&self, row: usize) -> Option<&'a Vector> {
        let vector = self.of_row(row)?;
        (vector.nulls.is_empty() || bit(&vector.nulls, row)).then_some(vector)
    }
}

fn wrong(expected: &str) -> ! {
    panic!("the column is not made of {expected}")
}

#[inline(always)]
fn packed(vector: &Vector, row: usize) -> &[u8] {
    let Buffer::Packed(Varlen { offsets, data }) = &vector.data else { wrong("values of variable length") };
    let offset = |i: usize| i32::from_le_bytes(offsets[i * 4..i * 4 + 4].try_into().unwrap_or_default()) as usize;
    &data[offset(row)..offset(row + 1)]
}

#[inline(always)]
fn word(vector: &Vector, row: usize) -> [u8; 8] {
    let Buffer::Words(words) = &vector.data else { wrong("words") };
    words[row * 8..row * 8 + 8].try_into().unwrap_or_default()
}

macro_rules! column {
    ($(#[$doc:meta])* $name:ident, $value:ty, |$vector:ident, $row:ident| $get:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name<'a> {
            pub(crate) images: Images<'a>,
        }

        impl<'a> $name<'a> {
            /// `None`: NULL, not in the row's image, or the row does not have this image.
            #[inline(always)]
            pub fn get(&self, $row: usize) -> Option<$value> {
                let $vector: &'a Vector = self.images.of($row)?;
                Some($get)
            }

            /// One item a row.
            pub fn iter(self) -> impl Iterator<Item = Option<$value>> + 'a {
                (0..self.images.ops.len()).map(move |row| self.get(row))
            }
        }
    };
}

column!(
    /// Text, decimal or JSON.
    Texts, &'a str, |vector, row| {
        // SAFETY: the host checks that text is UTF-8 and that offsets are on character boundaries before it passes them.
        unsafe { std::str::from_utf8_unchecked(packed(vector, row)) }
    }
);
column!(Bytes, &'a [u8], |vector, row| packed(vector, row));
column!(
    /// Also dates and times: see [`Kind`](crate::Kind).
    Int64s, i64, |vector, row| i64::from_le_bytes(word(vector, row))
);
column!(UInt64s, u64, |vector, row| u64::from_le_bytes(word(vector, row)));
column!(Float64s, f64, |vector, row| f64::from_le_bytes(word(vector, row)));
column!(Booleans, bool, |vector, row| {
    let Buffer::Bits(bits) = &vector.data else { wrong("bits") };
    bit(bits, row)
});
