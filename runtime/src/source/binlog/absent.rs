//! What a row has in the columns that were left out when it was inserted (`binlog_row_image` is not FULL): the columns' defaults as they were
//! then. Servers log what they compute, so that only literals and NULL are left out.

use crate::alteration::Constant;
use crate::batcher::ColumnBuilder;
use crate::change::{ColumnDef, Kind, Relation, SourceType};
use crate::schema::Fill;
use crate::schema::follow::constant;
use crate::source::TableInfo;
use crate::temporal::Fields;

/// A value, as [`crate::batcher::ColumnBuilder`] takes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Absent {
    /// The column stays absent.
    Unknown,
    Null,
    Word(i64),
    Bytes(Box<[u8]>),
}

impl Absent {
    pub fn append(&self, out: &mut ColumnBuilder) {
        match self {
            Absent::Unknown => out.absent(),
            Absent::Null => out.null(),
            Absent::Word(word) => out.word(*word),
            Absent::Bytes(bytes) => out.bytes(bytes),
        }
    }
}

/// By column. `info`: the table as it was when the row was written.
pub fn of(relation: &Relation, info: Option<&TableInfo>) -> Box<[Absent]> {
    let said = |def: &ColumnDef| {
        let column = info?.columns.iter().find(|column| column.name.eq_ignore_ascii_case(&def.name))?;
        match column.default.as_ref()? {
            Fill::Null => Some(Absent::Null),
            // FLOAT(7,4) rounds.
            Fill::Value(_)
                if matches!(def.source_type, SourceType::Float | SourceType::Double) && column.column_type.contains('(') =>
            {
                None
            }
            Fill::Value(text) => value(constant::of(text, &def.source_type)?, def.kind()),
            Fill::Computed => None,
        }
    };
    relation.columns.iter().map(|def| said(def).unwrap_or(Absent::Unknown)).collect()
}

fn value(constant: Constant, kind: Kind) -> Option<Absent> {
    let bytes = |bytes: Vec<u8>| Some(Absent::Bytes(bytes.into()));
    match (constant, kind) {
        (Constant::Null, _) => Some(Absent::Null),
        (Constant::Number(text), Kind::Int64) => text.parse().ok().map(Absent::Word),
        (Constant::Number(text), Kind::UInt64) => text.parse::<u64>().ok().map(|n| Absent::Word(n as i64)),
        (Constant::Number(text), Kind::Float64) => text.parse::<f64>().ok().map(|n| Absent::Word(n.to_bits() as i64)),
        (Constant::Text(text), Kind::Date) => fields(&text, "").map(|f| Absent::Word(f.date_word())),
        (Constant::Text(text), Kind::DateTime) => {
            let (date, time) = text.split_once(' ')?;
            fields(date, time).map(|f| Absent::Word(f.datetime_word()))
        }
        (Constant::Text(text), Kind::Time) => {
            let (negative, time) = text.strip_prefix('-').map_or((false, &*text), |time| (true, time));
            let f = fields("", time)?;
            let seconds = f.hour * 3600 + f.minute * 60 + f.second;
            let micros = i64::from(seconds) * 1_000_000 + i64::from(f.microsecond);
            Some(Absent::Word(if negative { -micros } else { micros }))
        }
        (Constant::Text(text), Kind::Text | Kind::Decimal) => bytes(text.into_bytes()),
        (Constant::Bytes(value), Kind::Bytes) => bytes(value),
        _ => None,
    }
}

/// Of `YYYY-MM-DD` and `HH:MM:SS.ffffff`; either may be empty.
fn fields(date: &str, time: &str) -> Option<Fields> {
    fn three(text: &str, between: char) -> Option<[u32; 3]> {
        if text.is_empty() {
            return Some([0; 3]);
        }
        let mut parts = text.split(between).map(|part| part.parse().ok());
        Some([parts.next()??, parts.next()??, parts.next()??])
    }
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let ([year, month, day], [hour, minute, second]) = (three(date, '-')?, three(time, ':')?);
    let microsecond = format!("{fraction:0<6}").parse().ok()?;
    Some(Fields { year, month, day, hour, minute, second, microsecond })
}
