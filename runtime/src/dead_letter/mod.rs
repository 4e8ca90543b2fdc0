//! Dead letters: changes that a plugin or a sink cannot take, kept whole until someone mends what is wrong and has them retried.
//!
//! Beside the flow: a lane puts letters here before its batch settles, and takes no change of a key to the sink while an earlier one of
//! that key is a letter: it becomes a letter as well, which waits behind the first. So the order of each key holds, whatever happens in
//! between. [`store`] is the file, [`letters`] what the lanes share, [`request`] how the command line asks a running process.
//!
//! Values stay in the file: they are in no message and no log line.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::batcher::{Batcher, ColumnBuilder, Wanted};
use crate::change::{Batch, Column, Kind, Op, Relation, RowId, Rows, Transaction};
use crate::position::{Gtid, Position, file_number};
use crate::sink::cell::{Cell, View};

pub mod letters;
pub mod request;
pub mod store;
mod unit;

pub use letters::{Fate, Letters, New};
pub use store::DeadLetterError;
pub use unit::Units;

/// A change that could not be delivered, with all that is needed to try again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Letter {
    /// Counted from 1 in each pipeline, and never used again.
    pub id: u64,
    pub place: Place,
    pub op: Op,
    /// As it was when the change was read.
    pub relation: Arc<Relation>,
    /// `None` where the operation has none. A column that is missing was not in the row image.
    pub before: Option<Image>,
    pub after: Option<Image>,
    pub why: Why,
    /// When it became a letter, or was tried last: seconds since the epoch.
    pub time: u64,
    /// How often it was retried.
    #[serde(default)]
    pub retries: u32,
    /// See [`Units`]: of the key, and of the table.
    pub units: (u64, u64),
    pub lane: OfLane,
}

/// The lane of a change that was set aside: what plugins remember of it belongs there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfLane {
    /// Which lanes those were, as a hash.
    pub layout: u32,
    pub number: u32,
}

/// By column name: a word as a number (the bits of a float), text as it is, bytes as base64. Exact, unlike what people are shown.
pub type Image = Map<String, Json>;

/// Why a change is a letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Why {
    /// A plugin could not process it.
    Plugin { name: Arc<str>, sha256: Arc<str>, message: String },
    /// A sink cannot take it.
    Sink { name: String, message: String },
    /// An earlier change of its key is a letter.
    Behind { id: u64 },
}

impl Why {
    pub fn waits(&self) -> bool {
        matches!(self, Why::Behind { .. })
    }
}

/// In one line.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |message: &str| message.lines().next().unwrap_or_default().to_owned();
        match self {
            Why::Plugin { name, message, .. } => write!(f, "plugin `{name}`: {}", line(message)),
            Why::Sink { name, message } => write!(f, "sink `{name}`: {}", line(message)),
            Why::Behind { id } => write!(f, "behind {id}"),
        }
    }
}

/// Where a change stands in its source: the same whenever it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtid: Option<Gtid>,
    /// Where its transaction begins.
    pub file: Arc<str>,
    pub offset: u64,
    /// [`RowId::place`].
    pub row: u64,
    pub commit_time_us: i64,
}

impl Place {
    pub fn new(transaction: &Transaction, id: RowId) -> Place {
        let Transaction { gtid, file, offset, commit_time_us, .. } = transaction;
        Place { gtid: gtid.clone(), file: Arc::clone(file), offset: *offset, row: id.place, commit_time_us: *commit_time_us }
    }

    /// Both are of one change. A GTID tells its transaction on every server; without one, a file that began anew has other times.
    pub fn is(&self, other: &Place) -> bool {
        let same = match (&self.gtid, &other.gtid) {
            (Some(a), Some(b)) => a == b,
            _ => (self.offset, &self.file, self.commit_time_us) == (other.offset, &other.file, other.commit_time_us),
        };
        same && self.row == other.row
    }

    /// Of two changes of one key, this one was made first.
    pub fn is_before(&self, other: &Place) -> bool {
        match (&self.gtid, &other.gtid) {
            (Some(a), Some(b)) if a == b => self.row < other.row,
            (
                Some(Gtid::MySql { source: a, tag: of_a, number: before }),
                Some(Gtid::MySql { source: b, tag: of_b, number: after }),
            ) if (a, of_a) == (b, of_b) => before < after,
            (Some(Gtid::MariaDb { domain: a, sequence: before, .. }), Some(Gtid::MariaDb { domain: b, sequence: after, .. }))
                if a == b =>
            {
                before < after
            }
            _ => (file_number(&self.file), self.offset, self.row) < (file_number(&other.file), other.offset, other.row),
        }
    }
}

/// `binlog.000012:4711 (3e11fa47-…:5)`
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)?;
        self.gtid.as_ref().map_or(Ok(()), |gtid| write!(f, " ({gtid})"))
    }
}

/// The transaction of a row of the batch.
pub fn place(batch: &Batch, id: RowId) -> Option<Place> {
    let at = batch.transactions.partition_point(|t| t.number < id.transaction);
    batch.transactions.get(at).filter(|t| t.number == id.transaction).map(|transaction| Place::new(transaction, id))
}

/// The images of a row: before, after.
pub fn images(rows: &Rows, row: usize) -> (Option<Image>, Option<Image>) {
    let op = rows.ops[row];
    let before = matches!(op, Op::Update | Op::Delete).then(|| image(&rows.relation, &rows.before, row));
    (before, (op != Op::Delete).then(|| image(&rows.relation, &rows.after, row)))
}

fn image(relation: &Relation, columns: &[Option<Column>], row: usize) -> Image {
    let mut image = Image::new();
    for (def, column) in relation.columns.iter().zip(columns) {
        let Some(view) = column.as_ref().and_then(|column| View::new(column, def.kind())) else { continue };
        if view.is_present(row) {
            image.insert(def.name.to_string(), value(view.cell(row)));
        }
    }
    image
}

fn value(cell: Cell<'_>) -> Json {
    match cell {
        Cell::Null => Json::Null,
        Cell::Boolean(value) => value.into(),
        Cell::Int(word) | Cell::Date(word) | Cell::Time(word) | Cell::DateTime(word) | Cell::Timestamp(word) => word.into(),
        Cell::UInt(word) => word.into(),
        Cell::Float(number) => number.to_bits().into(),
        Cell::Text(text) | Cell::Decimal(text) | Cell::Json(text) => text.into(),
        Cell::Bytes(bytes) => STANDARD.encode(bytes).into(),
    }
}

/// Letters as a batch of changes, in their order, each in a transaction of its own: the n-th row has transaction n.
pub fn batch<'a>(letters: impl IntoIterator<Item = &'a Letter>) -> Result<Option<Batch>, String> {
    let mut batcher = Batcher::new(usize::MAX, usize::MAX);
    let mut relations: Vec<(Arc<Relation>, Arc<Wanted>)> = Vec::new();
    for (number, letter) in (0..).zip(letters) {
        let Letter { place, op, relation, before, after, .. } = letter;
        let is_known = |(known, _): &&(Arc<Relation>, Arc<Wanted>)| Arc::ptr_eq(known, relation) || known.is_like(relation);
        let (relation, wanted) = match relations.iter().find(is_known) {
            Some(known) => known.clone(),
            None => {
                let all = vec![true; relation.columns.len()];
                let new = (Arc::clone(relation), Arc::new(Wanted { after: all.clone(), before: all }));
                relations.push(new.clone());
                new
            }
        };
        let Place { gtid, file, offset, row, commit_time_us } = place.clone();
        let transaction = || Transaction { number, gtid, file, offset, commit_time_us };
        let rows = batcher.row(&relation, &wanted, *op, RowId { transaction: number, place: row }, 0, transaction);
        let lacks = |image: &str| format!("letter {} has no `{image}`", letter.id);
        match op {
            Op::Delete => rows.no_after(),
            _ => append(rows.after(), &relation, after.as_ref().ok_or_else(|| lacks("after"))?)?,
        }
        match op {
            Op::Insert | Op::Snapshot => rows.no_before(),
            _ => append(rows.before(), &relation, before.as_ref().ok_or_else(|| lacks("before"))?)?,
        }
    }
    let resume = Position { file: "".into(), offset: 0, gtids: None, home: None };
    batcher.finish(Arc::new(resume), true).map_err(|error| error.to_string())
}

fn append(builders: &mut [Option<ColumnBuilder>], relation: &Relation, image: &Image) -> Result<(), String> {
    for (builder, def) in builders.iter_mut().flatten().zip(&relation.columns) {
        match image.get(&*def.name) {
            None => builder.absent(),
            Some(value) => {
                append_value(builder, def.kind(), value).ok_or_else(|| format!("column `{}` of {relation} is damaged", def.name))?
            }
        }
    }
    Ok(())
}

fn append_value(builder: &mut ColumnBuilder, kind: Kind, value: &Json) -> Option<()> {
    match kind {
        _ if value.is_null() => builder.null(),
        Kind::Boolean => builder.word(i64::from(value.as_bool()?)),
        Kind::UInt64 | Kind::Float64 => builder.word(value.as_u64()?.cast_signed()),
        Kind::Int64 | Kind::Date | Kind::Time | Kind::DateTime | Kind::Timestamp => builder.word(value.as_i64()?),
        Kind::Text | Kind::Decimal | Kind::Json => builder.bytes(value.as_str()?.as_bytes()),
        Kind::Bytes => builder.bytes(&STANDARD.decode(value.as_str()?).ok()?),
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{ColumnDef, KeyOrigin, SourceType};

    pub(super) fn letter(id: u64, place: Place) -> Letter {
        let column = |name: &str, source_type| ColumnDef { name: name.into(), source_type, nullable: true };
        let columns = vec![
            column("id", SourceType::Int { bits: 64, unsigned: true }),
            column("f", SourceType::Double),
            column("note", SourceType::Text { length_bytes: 2, collation: 255 }),
            column("blob", SourceType::Blob { length_bytes: 2 }),
            column("at", SourceType::DateTime { fsp: 6 }),
            column("doc", SourceType::Json),
            column("state", SourceType::Enum { members: Arc::new(["a".into(), "b".into()]), collation: 255 }),
        ];
        let relation =
            Relation { id: 0, schema: "s".into(), table: "t".into(), columns, key: vec![0], key_origin: KeyOrigin::Primary };
        let image = |json: Json| json.as_object().cloned();
        Letter {
            id,
            place,
            op: Op::Update,
            relation: Arc::new(relation),
            before: image(serde_json::json!({"id": u64::MAX, "note": null})),
            after: image(serde_json::json!({
                "id": u64::MAX, "f": (-0.1f64).to_bits(), "blob": "AP8=", "at": i64::MIN + 5, "state": "b",
                "doc": "{\"n\": 1.00000000000000000000000001}"
            })),
            why: Why::Behind { id: 1 },
            time: 5,
            retries: 0,
            units: (id, 7),
            lane: OfLane::default(),
        }
    }

    pub(super) fn at(offset: u64, row: u64) -> Place {
        Place { gtid: None, file: "binlog.000002".into(), offset, row, commit_time_us: 9 }
    }

    /// Absent is not null, and no digit is lost, through the file and through the batch.
    #[test]
    fn a_letter_keeps_the_whole_change() {
        let letter = letter(3, at(4, 2));
        let text = serde_json::to_string(&letter).unwrap();
        let read: Letter = serde_json::from_str(&text).unwrap();
        assert!(read.relation.is_like(&letter.relation));
        assert_eq!(Letter { relation: Arc::clone(&letter.relation), ..read.clone() }, letter);
        let batch = batch([&read]).unwrap().unwrap();
        assert_eq!(images(&batch.relations[0], 0), (letter.before.clone(), letter.after.clone()));
        assert_eq!(place(&batch, batch.first), Some(letter.place));
    }

    #[test]
    fn places_are_in_the_order_of_the_source() {
        let gtid = |number| Some(Gtid::MySql { source: [1; 16], tag: None, number });
        assert!(at(4, 2).is_before(&at(4, 4)) && at(4, 9).is_before(&at(5, 0)) && !at(5, 0).is_before(&at(5, 0)));
        // Another server has the same transaction elsewhere.
        let (here, there) = (Place { gtid: gtid(7), ..at(900, 2) }, Place { gtid: gtid(7), ..at(4, 2) });
        assert!(here.is(&there) && !here.is_before(&there) && !there.is_before(&here));
        assert!(here.is_before(&Place { gtid: gtid(8), ..at(4, 2) }));
        assert!(!at(4, 2).is(&Place { commit_time_us: 10, ..at(4, 2) }));
    }
}
