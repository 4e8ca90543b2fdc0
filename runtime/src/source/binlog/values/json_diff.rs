//! Partial updates of MySQL's binary JSON: what a logged list of diffs makes of a document.
//!
//! Format (MySQL `sql/json_diff.cc`, `Json_diff_vector::write_binary`), diff after diff: operation 1 byte (0 replace, 1 insert, 2 remove),
//! path (length-encoded text), and unless it is a removal the value (length-encoded, binary JSON: a type byte, then the value).
//!
//! Only the containers on a path are opened; all else is copied as it is, for offsets count from the start of their container. What
//! was opened is written in the wide form, which prints as the narrow one does. A diff that does not fit its document is an error.

use std::borrow::Cow;

use super::super::event::{Reader, Truncated};
use super::json::{
    DEPTH_MAX, INT16, INT32, JsonError, LARGE_ARRAY, LARGE_OBJECT, LITERAL, SMALL_ARRAY, SMALL_OBJECT, UINT16, UINT32, number,
    value_len,
};

const REPLACE: u8 = 0;
const INSERT: u8 = 1;
const REMOVE: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiffError {
    #[error("{0}")]
    Json(#[from] JsonError),
    #[error("a partial JSON update ends too early")]
    Truncated,
    #[error("a partial JSON update has the unknown operation {0}")]
    Operation(u8),
    #[error("a partial JSON update has a path that cannot be read")]
    Path,
    #[error("a partial JSON update does not fit the value before it")]
    Rejected,
    #[error("a JSON value is too large")]
    TooLarge,
}

impl From<Truncated> for DiffError {
    fn from(_: Truncated) -> DiffError {
        DiffError::Truncated
    }
}

/// Appends to `out` the binary document that `diffs` make of `base`. After an error `out` holds part of it.
pub fn apply(base: &[u8], diffs: &[u8], out: &mut Vec<u8>) -> Result<(), DiffError> {
    let mut root = match base {
        [] => Node::Raw { kind: LITERAL, body: &[0] },
        _ => Node::document(base)?,
    };
    let mut reader = Reader::new(diffs);
    while !reader.is_empty() {
        let operation = reader.u8()?;
        let legs = path(reader.lenenc_bytes()?)?;
        match operation {
            REPLACE => *root.at(&legs)? = Node::document(reader.lenenc_bytes()?)?,
            INSERT => {
                let value = Node::document(reader.lenenc_bytes()?)?;
                let (last, parent) = legs.split_last().ok_or(DiffError::Rejected)?;
                root.at(parent)?.insert(last, value)?;
            }
            REMOVE => {
                let (last, parent) = legs.split_last().ok_or(DiffError::Rejected)?;
                root.at(parent)?.remove(last)?;
            }
            other => return Err(DiffError::Operation(other)),
        }
    }
    out.push(root.kind());
    root.write(out)
}

/// One step of a path.
enum Leg<'a> {
    Member(Cow<'a, [u8]>),
    Cell(usize),
    /// Counted from the last element.
    FromLast(usize),
}

/// Reads a path as the server prints it: `$.name."any name"[3][last-1]`.
fn path(text: &[u8]) -> Result<Vec<Leg<'_>>, DiffError> {
    let mut rest = text.strip_prefix(b"$").ok_or(DiffError::Path)?;
    let mut legs = Vec::new();
    while let Some((first, tail)) = rest.split_first() {
        if legs.len() >= DEPTH_MAX {
            return Err(JsonError::Depth.into());
        }
        match (first, tail.first()) {
            (b'.', Some(b'"')) => {
                let end = quoted_len(tail).ok_or(DiffError::Path)?;
                let name: String = serde_json::from_slice(&tail[..end]).map_err(|_| DiffError::Path)?;
                legs.push(Leg::Member(Cow::Owned(name.into_bytes())));
                rest = &tail[end..];
            }
            (b'.', Some(_)) => {
                let end = tail.iter().position(|b| matches!(b, b'.' | b'[')).unwrap_or(tail.len());
                if end == 0 {
                    return Err(DiffError::Path);
                }
                legs.push(Leg::Member(Cow::Borrowed(&tail[..end])));
                rest = &tail[end..];
            }
            (b'[', Some(_)) => {
                let end = tail.iter().position(|b| *b == b']').ok_or(DiffError::Path)?;
                legs.push(cell(&tail[..end]).ok_or(DiffError::Path)?);
                rest = &tail[end + 1..];
            }
            _ => return Err(DiffError::Path),
        }
    }
    Ok(legs)
}

fn cell(text: &[u8]) -> Option<Leg<'static>> {
    let text = std::str::from_utf8(text).ok()?.trim();
    match text.strip_prefix("last") {
        None => text.parse().ok().map(Leg::Cell),
        Some("") => Some(Leg::FromLast(0)),
        Some(back) => back.trim_start().strip_prefix('-')?.trim_start().parse().ok().map(Leg::FromLast),
    }
}

/// Bytes of the quoted string that `text` begins with, quotes included.
fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// A value: as it was logged, or a container that was opened.
enum Node<'a> {
    /// `body` is just the value.
    Raw {
        kind: u8,
        body: &'a [u8],
    },
    /// Keys in the server's order: the shorter first, then byte by byte.
    Object(Vec<(Cow<'a, [u8]>, Node<'a>)>),
    Array(Vec<Node<'a>>),
}

impl<'a> Node<'a> {
    fn document(bytes: &'a [u8]) -> Result<Node<'a>, DiffError> {
        let (&kind, body) = bytes.split_first().ok_or(DiffError::Truncated)?;
        Node::raw(kind, body)
    }

    /// `body` begins at the value and may go on behind it.
    fn raw(kind: u8, body: &'a [u8]) -> Result<Node<'a>, DiffError> {
        let body = body.get(..value_len(kind, body)?).ok_or(JsonError::Truncated)?;
        Ok(Node::Raw { kind, body })
    }

    fn kind(&self) -> u8 {
        match self {
            Node::Raw { kind, .. } => *kind,
            Node::Object(_) => LARGE_OBJECT,
            Node::Array(_) => LARGE_ARRAY,
        }
    }

    /// Opens a container; leaves a scalar alone.
    fn open(&mut self) -> Result<(), DiffError> {
        let &mut Node::Raw { kind, body } = self else { return Ok(()) };
        *self = match kind {
            SMALL_OBJECT => opened::<2>(body, true)?,
            LARGE_OBJECT => opened::<4>(body, true)?,
            SMALL_ARRAY => opened::<2>(body, false)?,
            LARGE_ARRAY => opened::<4>(body, false)?,
            _ => return Ok(()),
        };
        Ok(())
    }

    fn at(&mut self, legs: &[Leg<'a>]) -> Result<&mut Node<'a>, DiffError> {
        let mut node = self;
        for leg in legs {
            node.open()?;
            node = match (node, leg) {
                (Node::Object(members), Leg::Member(name)) => {
                    let at = find(members, name).map_err(|_| DiffError::Rejected)?;
                    &mut members[at].1
                }
                (Node::Array(cells), leg) => {
                    let at = position(leg, cells.len()).ok_or(DiffError::Rejected)?;
                    cells.get_mut(at).ok_or(DiffError::Rejected)?
                }
                _ => return Err(DiffError::Rejected),
            };
        }
        Ok(node)
    }

    fn insert(&mut self, leg: &Leg<'a>, value: Node<'a>) -> Result<(), DiffError> {
        self.open()?;
        match (self, leg) {
            (Node::Object(members), Leg::Member(name)) => {
                let at = find(members, name).err().ok_or(DiffError::Rejected)?;
                members.insert(at, (name.clone(), value));
            }
            (Node::Array(cells), Leg::Cell(at)) => cells.insert((*at).min(cells.len()), value),
            (Node::Array(cells), Leg::FromLast(back)) => cells.insert(cells.len().saturating_sub(back + 1), value),
            _ => return Err(DiffError::Rejected),
        }
        Ok(())
    }

    fn remove(&mut self, leg: &Leg<'a>) -> Result<(), DiffError> {
        self.open()?;
        match (self, leg) {
            (Node::Object(members), Leg::Member(name)) => {
                members.remove(find(members, name).map_err(|_| DiffError::Rejected)?);
            }
            (Node::Array(cells), leg) => {
                let at = position(leg, cells.len()).filter(|at| *at < cells.len());
                cells.remove(at.ok_or(DiffError::Rejected)?);
            }
            _ => return Err(DiffError::Rejected),
        }
        Ok(())
    }

    /// Appends the value without its type byte.
    fn write(&self, out: &mut Vec<u8>) -> Result<(), DiffError> {
        let start = out.len();
        let (keys, count) = match self {
            Node::Raw { body, .. } => {
                out.extend_from_slice(body);
                return Ok(());
            }
            Node::Object(members) => (members.len() * 6, members.len()),
            Node::Array(cells) => (0, cells.len()),
        };
        out.extend_from_slice(&size(count)?);
        // The size, known at the end, and the entries.
        out.resize(start + 8 + keys + count * 5, 0);
        if let Node::Object(members) = self {
            for (i, (name, _)) in members.iter().enumerate() {
                let entry = start + 8 + i * 6;
                let offset = size(out.len() - start)?;
                out[entry..entry + 4].copy_from_slice(&offset);
                let len = u16::try_from(name.len()).map_err(|_| DiffError::TooLarge)?;
                out[entry + 4..entry + 6].copy_from_slice(&len.to_le_bytes());
                out.extend_from_slice(name);
            }
        }
        for i in 0..count {
            let value = match self {
                Node::Object(members) => &members[i].1,
                Node::Array(cells) => &cells[i],
                Node::Raw { .. } => break,
            };
            let entry = start + 8 + keys + i * 5;
            out[entry] = value.kind();
            match value {
                Node::Raw { kind: LITERAL | INT16 | UINT16 | INT32 | UINT32, body } => {
                    out[entry + 1..entry + 1 + body.len()].copy_from_slice(body);
                }
                _ => {
                    let offset = size(out.len() - start)?;
                    out[entry + 1..entry + 5].copy_from_slice(&offset);
                    value.write(out)?;
                }
            }
        }
        let len = size(out.len() - start)?;
        out[start + 4..start + 8].copy_from_slice(&len);
        Ok(())
    }
}

fn size(bytes: usize) -> Result<[u8; 4], DiffError> {
    u32::try_from(bytes).map(u32::to_le_bytes).map_err(|_| DiffError::TooLarge)
}

fn find(members: &[(Cow<'_, [u8]>, Node<'_>)], name: &[u8]) -> Result<usize, usize> {
    members.binary_search_by(|(key, _)| key.len().cmp(&name.len()).then_with(|| key[..].cmp(name)))
}

fn position(leg: &Leg<'_>, len: usize) -> Option<usize> {
    match leg {
        Leg::Cell(at) => Some(*at),
        Leg::FromLast(back) => len.checked_sub(1)?.checked_sub(*back),
        Leg::Member(_) => None,
    }
}

/// The members or cells of a container whose counts and offsets are `N` bytes wide. They may not overlap: what they hold is copied.
fn opened<const N: usize>(body: &[u8], is_object: bool) -> Result<Node<'_>, DiffError> {
    let count = number::<N>(body, 0)?;
    let key_entry = if is_object { N + 2 } else { 0 };
    let header = count.checked_mul(key_entry + 1 + N).and_then(|n| n.checked_add(2 * N)).ok_or(JsonError::Truncated)?;
    let mut budget = body.len().checked_sub(header).ok_or(JsonError::Truncated)?;
    let mut pay = |bytes: usize| -> Result<(), JsonError> {
        budget = budget.checked_sub(bytes).ok_or(JsonError::Overlap)?;
        Ok(())
    };
    let mut value = |i: usize| -> Result<Node<'_>, DiffError> {
        let entry = 2 * N + count * key_entry + i * (1 + N);
        let kind = *body.get(entry).ok_or(JsonError::Truncated)?;
        let is_inlined = match kind {
            LITERAL | INT16 | UINT16 => true,
            INT32 | UINT32 => N == 4,
            _ => false,
        };
        let start = if is_inlined { entry + 1 } else { number::<N>(body, entry + 1)? };
        let node = Node::raw(kind, body.get(start..).ok_or(JsonError::Truncated)?)?;
        if let (Node::Raw { body, .. }, false) = (&node, is_inlined) {
            pay(body.len())?;
        }
        Ok(node)
    };
    if !is_object {
        return Ok(Node::Array((0..count).map(value).collect::<Result<_, _>>()?));
    }
    let mut members = Vec::with_capacity(count);
    let mut keys = body.len();
    for i in 0..count {
        let entry = 2 * N + i * key_entry;
        let (start, len) = (number::<N>(body, entry)?, number::<2>(body, entry + N)?);
        let key = body.get(start..).and_then(|rest| rest.get(..len)).ok_or(JsonError::Truncated)?;
        keys = keys.checked_sub(len).ok_or(JsonError::Overlap)?;
        members.push((Cow::Borrowed(key), value(i)?));
    }
    Ok(Node::Object(members))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::json::write_text;
    use super::*;

    /// {"a": [1, "é\n"]}
    const DOCUMENT: &[u8] = &[
        SMALL_OBJECT,
        1,
        0,
        26,
        0,
        11,
        0,
        1,
        0,
        SMALL_ARRAY,
        12,
        0,
        b'a',
        2,
        0,
        14,
        0,
        INT16,
        1,
        0,
        12,
        10,
        0,
        3,
        0xc3,
        0xa9,
        b'\n',
    ];

    fn diff(operation: u8, path: &str, value: &[u8]) -> Vec<u8> {
        let mut out = vec![operation, path.len() as u8];
        out.extend_from_slice(path.as_bytes());
        if operation != REMOVE {
            out.push(value.len() as u8);
            out.extend_from_slice(value);
        }
        out
    }

    fn applied(diffs: &[Vec<u8>]) -> Result<String, DiffError> {
        let (mut out, mut text) = (Vec::new(), Vec::new());
        apply(DOCUMENT, &diffs.concat(), &mut out)?;
        write_text(&out, &mut text)?;
        Ok(String::from_utf8(text).unwrap())
    }

    #[test]
    fn diffs_apply_one_after_the_other() {
        let two = [INT16, 2, 0];
        let diffs = [
            diff(INSERT, "$.\"b \\\"c\"", DOCUMENT),
            diff(REPLACE, "$.a[1]", &two),
            diff(INSERT, "$.a[0]", &[LITERAL, 1]),
            diff(REMOVE, "$.a[last-1]", &[]),
            diff(INSERT, "$.\"b \\\"c\".a[9]", &two),
        ];
        assert_eq!(applied(&diffs).unwrap(), r#"{"a": [true, 2], "b \"c": {"a": [1, "é\n", 2]}}"#);
        assert_eq!(applied(&[diff(REPLACE, "$", &two)]).unwrap(), "2");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (operation, path) in
            [(REPLACE, "$.b"), (REPLACE, "$.a[2]"), (INSERT, "$.a"), (INSERT, "$.a.b"), (REMOVE, "$"), (REMOVE, "$[0]")]
        {
            assert_eq!(applied(&[diff(operation, path, &[LITERAL, 0])]), Err(DiffError::Rejected), "{operation} {path}");
        }
        assert_eq!(applied(&[diff(3, "$", &[LITERAL, 0])]), Err(DiffError::Operation(3)));
        for path in ["", "a", "$a", "$.", "$[", "$[x]", "$.\"a", "$.."] {
            assert_eq!(applied(&[diff(REMOVE, path, &[])]), Err(DiffError::Path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_bounded_value_or_an_error(base in prop::collection::vec(any::<u8>(), 0..64), at in 0..27usize, byte: u8) {
            let mut out = Vec::new();
            let _ = apply(&base, &diff(REPLACE, "$.a[0]", DOCUMENT), &mut out);
            let mut damaged = DOCUMENT.to_vec();
            damaged[at] = byte;
            let _ = apply(&damaged, &diff(REPLACE, "$.a[0]", &damaged), &mut out);
            prop_assert!(out.len() < 600);
        }
    }
}
