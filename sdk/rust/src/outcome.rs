//! The patches that a batch collects, as the host wants them.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use crate::bindings::exports::tidegate::plugin::transform as wit;
use crate::bindings::tidegate::plugin::types::{Buffer, Varlen, Vector};
use crate::column::{Value, set_bit};
use crate::relation::Kind;

/// Index that leaves a row's topics as they are.
const UNROUTED: u16 = u16::MAX;

#[derive(Default)]
pub(crate) struct Patches {
    rows: usize,
    keep: Vec<u8>,
    ops: Vec<u8>,
    ready: Vec<wit::Assign>,
    cells: Vec<Cells>,
    routes: Routes,
    all: Option<Vec<String>>,
    errors: Vec<wit::RowError>,
}

impl Patches {
    pub(crate) fn new(rows: usize) -> Patches {
        Patches { rows, ..Patches::default() }
    }

    pub(crate) fn drop(&mut self, row: usize) {
        if self.keep.is_empty() {
            self.keep = vec![0xff; self.rows.div_ceil(8)];
        }
        self.keep[row / 8] &= !(1 << (row % 8));
    }

    pub(crate) fn set_op(&mut self, row: usize, code: u8, ops: &[u8]) {
        if self.ops.is_empty() {
            self.ops = ops.to_vec();
        }
        self.ops[row] = code;
    }

    pub(crate) fn assign(&mut self, index: u16, image: u8, values: wit::Values) {
        self.ready.push(wit::Assign { index, image, rows: Vec::new(), values });
    }

    /// `None`: the value does not fit the kind.
    pub(crate) fn set(&mut self, row: usize, index: u16, image: u8, kind: Kind, value: Value) -> Option<()> {
        let at = match self.cells.iter().position(|c| c.index == index && c.image == image) {
            Some(at) => at,
            None => {
                self.cells.push(Cells::new(index, image, kind, self.rows));
                self.cells.len() - 1
            }
        };
        self.cells[at].set(row, value)
    }

    pub(crate) fn route(&mut self, row: usize, topic: &str) {
        self.routes.set(row, topic, self.rows);
    }

    pub(crate) fn route_also(&mut self, row: usize, topic: &str) {
        self.routes.add(row, topic, self.rows);
    }

    pub(crate) fn route_all(&mut self, topics: Vec<String>) {
        self.all = Some(topics);
    }

    pub(crate) fn fail(&mut self, row: usize, message: String) {
        self.errors.push(wit::RowError { row: row as u32, message });
    }

    pub(crate) fn finish(self) -> wit::Outcome {
        let mut assigns = self.ready;
        assigns.extend(self.cells.into_iter().map(Cells::finish));
        let routing = match self.all {
            Some(topics) if self.routes.rows.is_empty() => wit::Routing::All(topics),
            all => self.routes.finish(all),
        };
        wit::Outcome {
            keep: self.keep,
            ops: self.ops,
            assigns,
            routing,
            errors: self.errors,
            derived: Vec::new(),
            attributes: Vec::new(),
        }
    }
}

/// Values of one column of one image that were set row by row.
pub(crate) struct Cells {
    index: u16,
    image: u8,
    kind: Kind,
    rows: Vec<u8>,
    nulls: Vec<u8>,
    has_nulls: bool,
    /// For words and bits.
    fixed: Vec<u8>,
    /// For values of variable length: where each row's is in `data`.
    spans: Vec<(u32, u32)>,
    data: Vec<u8>,
}

impl Cells {
    pub(crate) fn new(index: u16, image: u8, kind: Kind, rows: usize) -> Cells {
        let bitmap = || vec![0; rows.div_ceil(8)];
        let (fixed, spans) = match kind {
            Kind::Boolean => (bitmap(), Vec::new()),
            kind if kind.is_text() || kind == Kind::Bytes => (Vec::new(), vec![(0, 0); rows]),
            _ => (vec![0; rows * 8], Vec::new()),
        };
        Cells { index, image, kind, rows: bitmap(), nulls: bitmap(), has_nulls: false, fixed, spans, data: Vec::new() }
    }

    /// `None`: the value does not fit the kind.
    pub(crate) fn set(&mut self, row: usize, value: Value) -> Option<()> {
        let kind = self.kind;
        match &value {
            Value::Null => self.has_nulls = true,
            Value::Boolean(value) if kind == Kind::Boolean => {
                if *value {
                    set_bit(&mut self.fixed, row);
                } else {
                    self.fixed[row / 8] &= !(1 << (row % 8));
                }
            }
            Value::Int64(value) if kind.is_int64() => self.word(row, value.to_le_bytes()),
            Value::UInt64(value) if kind == Kind::UInt64 => self.word(row, value.to_le_bytes()),
            Value::Float64(value) if kind == Kind::Float64 => self.word(row, value.to_le_bytes()),
            Value::Text(value) if kind.is_text() => self.bytes(row, value.as_bytes()),
            Value::Bytes(value) if kind == Kind::Bytes => self.bytes(row, value),
            _ => return None,
        }
        set_bit(&mut self.rows, row);
        if value == Value::Null {
            self.nulls[row / 8] &= !(1 << (row % 8));
        } else {
            set_bit(&mut self.nulls, row);
        }
        Some(())
    }

    fn word(&mut self, row: usize, word: [u8; 8]) {
        self.fixed[row * 8..row * 8 + 8].copy_from_slice(&word);
    }

    fn bytes(&mut self, row: usize, bytes: &[u8]) {
        let start = self.data.len() as u32;
        self.data.extend_from_slice(bytes);
        self.spans[row] = (start, self.data.len() as u32);
    }

    pub(crate) fn finish(self) -> wit::Assign {
        let data = match self.kind {
            Kind::Boolean => Buffer::Bits(self.fixed),
            kind if kind.is_text() || kind == Kind::Bytes => {
                let mut builder = Packed::new(self.spans.len(), self.data.len());
                self.spans.iter().for_each(|&(start, end)| builder.push(&self.data[start as usize..end as usize]));
                builder.finish()
            }
            _ => Buffer::Words(self.fixed),
        };
        let nulls = if self.has_nulls { self.nulls } else { Vec::new() };
        let vector = Vector { kind: self.kind.code(), nulls, present: Vec::new(), data };
        wit::Assign { index: self.index, image: self.image, rows: self.rows, values: wit::Values::Each(vector) }
    }
}

/// Values of variable length, one after the other.
pub(crate) struct Packed {
    offsets: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

impl Packed {
    pub(crate) fn new(rows: usize, bytes: usize) -> Packed {
        let mut offsets = Vec::with_capacity((rows + 1) * 4);
        offsets.extend_from_slice(&0u32.to_le_bytes());
        Packed { offsets, data: Vec::with_capacity(bytes) }
    }

    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
        self.end();
    }

    /// Ends the value whose bytes were appended to `data`.
    #[inline]
    pub(crate) fn end(&mut self) {
        self.offsets.extend_from_slice(&(self.data.len() as u32).to_le_bytes());
    }

    pub(crate) fn finish(self) -> Buffer {
        Buffer::Packed(Varlen { offsets: self.offsets, data: self.data })
    }
}

/// Topics by row: lists of single topics by name, lists of several by the lists that they are made of.
#[derive(Default)]
struct Routes {
    lists: Vec<Vec<String>>,
    /// Empty while there are few lists.
    single: HashMap<String, u16, BuildHasherDefault<Fnv>>,
    several: BTreeMap<(u16, u16), u16>,
    /// By [`recent`]: the list of such a name that was looked for last.
    recent: [u16; RECENT],
    /// A list a row, little-endian; empty until the first is set.
    rows: Vec<[u8; 2]>,
}

const RECENT: usize = 32;
/// To look through so many lists is faster than to hash.
const LISTS_FEW: usize = 16;

/// Two bytes and the length tell most names apart.
#[inline]
fn recent(topic: &str) -> usize {
    let bytes = topic.as_bytes();
    let byte = |at: usize| usize::from(bytes.get(at).copied().unwrap_or_default());
    (byte(bytes.len().wrapping_sub(1)) ^ byte(bytes.len() / 2) ^ bytes.len()) % RECENT
}

/// FNV-1a: topics are short, and a guest has no hash instructions.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What `==` does, eight bytes at a time: in WebAssembly it does it byte by byte.
#[inline]
fn is_same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    if let (Some(x), Some(y)) = (a.last_chunk::<8>(), b.last_chunk()) {
        return x == y && a.as_chunks::<8>().0.iter().zip(b.as_chunks().0).all(|(x, y)| x == y);
    }
    if let (Some(x), Some(y)) = (a.last_chunk::<4>(), b.last_chunk()) {
        return x == y && a.first_chunk::<4>() == b.first_chunk();
    }
    a.iter().eq(b)
}

impl Routes {
    #[inline]
    fn set(&mut self, row: usize, topic: &str, rows: usize) {
        let list = self.single(topic);
        self.row(row, rows, list);
    }

    fn add(&mut self, row: usize, topic: &str, rows: usize) {
        let list = self.single(topic);
        let list = match self.rows.get(row).map(|&have| u16::from_le_bytes(have)).filter(|&have| have != UNROUTED) {
            None => list,
            Some(have) => match self.several.get(&(have, list)) {
                Some(&both) => both,
                None => {
                    let topics = [self.lists[usize::from(have)].as_slice(), &[topic.to_owned()]].concat();
                    let both = self.push(topics);
                    self.several.insert((have, list), both);
                    both
                }
            },
        };
        self.row(row, rows, list);
    }

    #[inline]
    fn single(&mut self, topic: &str) -> u16 {
        let recent = recent(topic);
        let known = self.recent[recent];
        if self.lists.get(usize::from(known)).is_some_and(|list| list.len() == 1 && is_same(&list[0], topic)) {
            return known;
        }
        let list = self.single_sought(topic);
        self.recent[recent] = list;
        list
    }

    #[inline(never)]
    fn single_sought(&mut self, topic: &str) -> u16 {
        let is_single = |list: &&Vec<String>| list.len() == 1;
        if self.single.is_empty() {
            let list = self.lists.iter().position(|list| is_single(&list) && is_same(&list[0], topic));
            if let Some(list) = list {
                return list as u16;
            }
            if self.lists.len() < LISTS_FEW {
                return self.push(vec![topic.to_owned()]);
            }
            self.single =
                (0..).zip(&self.lists).filter(|(_, list)| is_single(list)).map(|(at, list)| (list[0].clone(), at)).collect();
        }
        match self.single.get(topic) {
            Some(&list) => list,
            None => {
                let list = self.push(vec![topic.to_owned()]);
                self.single.insert(topic.to_owned(), list);
                list
            }
        }
    }

    fn push(&mut self, topics: Vec<String>) -> u16 {
        let list = self.lists.len();
        assert!(list < usize::from(UNROUTED), "one batch can name {UNROUTED} lists of topics");
        self.lists.push(topics);
        list as u16
    }

    #[inline]
    fn row(&mut self, row: usize, rows: usize, list: u16) {
        if self.rows.is_empty() {
            self.rows = vec![UNROUTED.to_le_bytes(); rows];
        }
        self.rows[row] = list.to_le_bytes();
    }

    /// `rest`: where the rows go that were not routed one by one.
    fn finish(mut self, rest: Option<Vec<String>>) -> wit::Routing {
        if self.rows.is_empty() {
            return wit::Routing::Unchanged;
        }
        if let Some(topics) = rest {
            let rest = self.push(topics).to_le_bytes();
            self.rows.iter_mut().filter(|list| **list == UNROUTED.to_le_bytes()).for_each(|list| *list = rest);
        }
        wit::Routing::ByRow(wit::ByRow { lists: self.lists, rows: self.rows.into_flattened() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_found_again_whether_they_are_few_or_many() {
        for count in [1, LISTS_FEW, LISTS_FEW * 4] {
            let names: Vec<String> =
                (0..count).map(|at| format!("{}topic{at}", "long-".repeat(at % 4))).chain([String::new()]).collect();
            let mut routes = Routes::default();
            let rows = names.len() * 2;
            (0..rows).for_each(|row| routes.set(row, &names[row % names.len()], rows));
            routes.add(0, &names[1], rows);
            let wit::Routing::ByRow(wit::ByRow { lists, rows: of_rows }) = routes.finish(None) else { panic!("rows have topics") };
            assert_eq!(lists.len(), names.len() + 1);
            let list = |row: usize| &lists[usize::from(u16::from_le_bytes([of_rows[row * 2], of_rows[row * 2 + 1]]))];
            assert_eq!(*list(0), [names[0].as_str(), &names[1]]);
            (1..rows).for_each(|row| assert_eq!(*list(row), [names[row % names.len()].as_str()]));
        }
    }
}
