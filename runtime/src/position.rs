//! Where in a binlog a pipeline stands: GTID set, and file with offset. Compared as numbers, never as text.
//!
//! Text forms: MySQL `uuid[:tag]:1-5:7,uuid:3` (manual, "GTID Sets"); MariaDB `domain-server-sequence,…`, the last
//! transaction of each domain (knowledge base, "Global Transaction ID").

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ack::Passed;
use crate::source::snapshot::to_read::ToRead;

/// The id of one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Gtid {
    MySql { source: [u8; 16], tag: Option<Arc<str>>, number: u64 },
    MariaDb { domain: u32, server: u32, sequence: u64 },
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gtid::MySql { source, tag, number } => {
                write_uuid(f, source)?;
                match tag {
                    Some(tag) => write!(f, ":{tag}:{number}"),
                    None => write!(f, ":{number}"),
                }
            }
            Gtid::MariaDb { domain, server, sequence } => write!(f, "{domain}-{server}-{sequence}"),
        }
    }
}

impl Gtid {
    /// The first one of a set's text form.
    pub fn parse(text: &str) -> Option<Gtid> {
        match GtidSet::parse(text).ok()? {
            GtidSet::MySql(set) => {
                let ((source, tag), intervals) = set.0.into_iter().next()?;
                let (number, _) = *intervals.first()?;
                Some(Gtid::MySql { source, tag, number })
            }
            GtidSet::MariaDb(set) => {
                let (domain, (server, sequence)) = set.0.into_iter().next()?;
                Some(Gtid::MariaDb { domain, server, sequence })
            }
        }
    }
}

impl Serialize for Gtid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Gtid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Gtid, D::Error> {
        let text = String::deserialize(deserializer)?;
        Gtid::parse(&text).ok_or_else(|| serde::de::Error::custom("not a GTID"))
    }
}

/// A set of transactions that were executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GtidSet {
    MySql(MySqlGtidSet),
    MariaDb(MariaDbGtidSet),
}

/// Whose transactions an interval counts: a server's uuid, and a tag.
pub type GtidSource = ([u8; 16], Option<Arc<str>>);

/// Closed intervals, sorted, with gaps between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MySqlGtidSet(pub BTreeMap<GtidSource, Vec<(u64, u64)>>);

/// By domain: (server id, sequence) of the last transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MariaDbGtidSet(pub BTreeMap<u32, (u32, u64)>);

#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a GTID set: {reason}\nhint: MySQL writes uuid:1-5,…; MariaDB writes domain-server-sequence,…")]
pub struct ParseGtidError {
    text: String,
    reason: &'static str,
}

impl GtidSet {
    /// Parses either form; the empty text is an empty MySQL set.
    pub fn parse(text: &str) -> Result<GtidSet, ParseGtidError> {
        let error = |reason| ParseGtidError { text: text.to_owned(), reason };
        let parts = || text.split(',').map(str::trim).filter(|p| !p.is_empty());
        if parts().next().is_some_and(|p| !p.contains(':')) {
            let mut set = MariaDbGtidSet::default();
            for part in parts() {
                let mut numbers = part.split('-');
                let (Some(d), Some(s), Some(n), None) = (numbers.next(), numbers.next(), numbers.next(), numbers.next()) else {
                    return Err(error("expected domain-server-sequence"));
                };
                let domain = d.parse().map_err(|_| error("the domain is not a 32-bit number"))?;
                let server = s.parse().map_err(|_| error("the server id is not a 32-bit number"))?;
                let sequence = n.parse().map_err(|_| error("the sequence is not a 64-bit number"))?;
                if set.0.insert(domain, (server, sequence)).is_some() {
                    return Err(error("a domain occurs twice"));
                }
            }
            return Ok(GtidSet::MariaDb(set));
        }
        let mut set = MySqlGtidSet::default();
        for part in parts() {
            let mut fields = part.split(':').map(str::trim);
            let source = parse_uuid(fields.next().unwrap_or_default()).ok_or_else(|| error("the uuid is malformed"))?;
            let mut tag: Option<Arc<str>> = None;
            let mut any = false;
            for field in fields {
                if !field.starts_with(|c: char| c.is_ascii_digit()) {
                    if field.is_empty() || field.len() > 32 || !field.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                        return Err(error("a tag has 1 to 32 letters, digits and _"));
                    }
                    tag = Some(field.to_ascii_lowercase().into());
                    continue;
                }
                let (low, high) = field.split_once('-').unwrap_or((field, field));
                let low: u64 = low.parse().map_err(|_| error("an interval is not a number"))?;
                let high: u64 = high.parse().map_err(|_| error("an interval is not a number"))?;
                if low == 0 || high < low || high >= i64::MAX as u64 {
                    return Err(error("an interval must grow from 1"));
                }
                set.insert(source, tag.clone(), low, high);
                any = true;
            }
            if !any {
                return Err(error("a uuid needs at least one interval"));
            }
        }
        Ok(GtidSet::MySql(set))
    }

    /// Adds one transaction. A GTID of the other flavour replaces nothing and is ignored only by an empty set, which takes its flavour.
    pub fn add(&mut self, gtid: &Gtid) {
        if self.is_empty() {
            match (&*self, gtid) {
                (GtidSet::MySql(_), Gtid::MariaDb { .. }) => *self = GtidSet::MariaDb(MariaDbGtidSet::default()),
                (GtidSet::MariaDb(_), Gtid::MySql { .. }) => *self = GtidSet::MySql(MySqlGtidSet::default()),
                _ => {}
            }
        }
        match (self, gtid) {
            (GtidSet::MySql(set), Gtid::MySql { source, tag, number }) => set.insert(*source, tag.clone(), *number, *number),
            (GtidSet::MariaDb(set), Gtid::MariaDb { domain, server, sequence }) => {
                set.0.insert(*domain, (*server, *sequence));
            }
            (GtidSet::MySql(_), Gtid::MariaDb { .. }) | (GtidSet::MariaDb(_), Gtid::MySql { .. }) => {}
        }
    }

    pub fn contains(&self, gtid: &Gtid) -> bool {
        match (self, gtid) {
            (GtidSet::MySql(set), Gtid::MySql { source, tag, number }) => set
                .0
                .get(&(*source, tag.clone()))
                .is_some_and(|intervals| intervals.iter().any(|(low, high)| low <= number && number <= high)),
            (GtidSet::MariaDb(set), Gtid::MariaDb { domain, sequence, .. }) => {
                set.0.get(domain).is_some_and(|(_, last)| sequence <= last)
            }
            (GtidSet::MySql(_), Gtid::MariaDb { .. }) | (GtidSet::MariaDb(_), Gtid::MySql { .. }) => false,
        }
    }

    /// Adds all transactions of `other`, which were executed after those of `self`.
    pub fn append(&mut self, other: GtidSet) {
        match (&mut *self, other) {
            (GtidSet::MySql(a), GtidSet::MySql(b)) => {
                for ((source, tag), intervals) in b.0 {
                    intervals.iter().for_each(|(low, high)| a.insert(source, tag.clone(), *low, *high));
                }
            }
            (GtidSet::MariaDb(a), GtidSet::MariaDb(b)) => a.0.extend(b.0),
            (GtidSet::MySql(_), other @ GtidSet::MariaDb(_)) | (GtidSet::MariaDb(_), other @ GtidSet::MySql(_)) => {
                if self.is_empty() {
                    *self = other;
                }
            }
        }
    }

    /// True if every transaction of `other` is in `self`.
    pub fn contains_set(&self, other: &GtidSet) -> bool {
        match (self, other) {
            (_, o) if o.is_empty() => true,
            (GtidSet::MySql(a), GtidSet::MySql(b)) => b.0.iter().all(|(key, intervals)| {
                a.0.get(key).is_some_and(|have| intervals.iter().all(|(l, h)| have.iter().any(|(hl, hh)| hl <= l && h <= hh)))
            }),
            (GtidSet::MariaDb(a), GtidSet::MariaDb(b)) => {
                b.0.iter().all(|(domain, (_, n))| a.0.get(domain).is_some_and(|(_, have)| n <= have))
            }
            (GtidSet::MySql(_), GtidSet::MariaDb(_)) | (GtidSet::MariaDb(_), GtidSet::MySql(_)) => false,
        }
    }

    /// The transactions of `self` that are not in `other`; of a MariaDB domain, its last.
    pub fn without(&self, other: &GtidSet) -> GtidSet {
        match (self, other) {
            (GtidSet::MySql(a), GtidSet::MySql(b)) => {
                let mut rest = MySqlGtidSet::default();
                for (key, intervals) in &a.0 {
                    let taken = b.0.get(key).map(Vec::as_slice).unwrap_or_default();
                    for (low, high) in intervals {
                        let mut next = *low;
                        for (l, h) in taken.iter().filter(|(l, h)| l <= high && h >= low) {
                            if next < *l {
                                rest.insert(key.0, key.1.clone(), next, l - 1);
                            }
                            next = h + 1;
                        }
                        if next <= *high {
                            rest.insert(key.0, key.1.clone(), next, *high);
                        }
                    }
                }
                GtidSet::MySql(rest)
            }
            (GtidSet::MariaDb(a), GtidSet::MariaDb(b)) => {
                let is_there = |domain: &u32, last: u64| b.0.get(domain).is_some_and(|(_, have)| last <= *have);
                let rest = a.0.iter().filter(|(domain, (_, last))| !is_there(domain, *last));
                GtidSet::MariaDb(MariaDbGtidSet(rest.map(|(domain, last)| (*domain, *last)).collect()))
            }
            (GtidSet::MySql(_), GtidSet::MariaDb(_)) | (GtidSet::MariaDb(_), GtidSet::MySql(_)) => self.clone(),
        }
    }

    pub fn is_empty(&self) -> bool {
        match self {
            GtidSet::MySql(set) => set.0.is_empty(),
            GtidSet::MariaDb(set) => set.0.is_empty(),
        }
    }
}

impl MySqlGtidSet {
    /// Adds the closed interval, merging neighbours.
    pub fn insert(&mut self, source: [u8; 16], tag: Option<Arc<str>>, low: u64, high: u64) {
        let intervals = self.0.entry((source, tag)).or_default();
        // The common case: the next transaction of the last interval.
        if let Some(last) = intervals.last_mut()
            && low >= last.0
            && low <= last.1.saturating_add(1)
        {
            last.1 = last.1.max(high);
            return;
        }
        let from = intervals.partition_point(|(_, h)| h.saturating_add(1) < low);
        let to = intervals.partition_point(|(l, _)| *l <= high.saturating_add(1));
        let merged = intervals[from..to].iter().fold((low, high), |m, i| (m.0.min(i.0), m.1.max(i.1)));
        intervals.splice(from..to, [merged]);
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GtidSet::MySql(set) => {
                for (i, ((source, tag), intervals)) in set.0.iter().enumerate() {
                    f.write_str(if i > 0 { "," } else { "" })?;
                    write_uuid(f, source)?;
                    if let Some(tag) = tag {
                        write!(f, ":{tag}")?;
                    }
                    for (low, high) in intervals {
                        if low == high { write!(f, ":{low}")? } else { write!(f, ":{low}-{high}")? }
                    }
                }
            }
            GtidSet::MariaDb(set) => {
                for (i, (domain, (server, sequence))) in set.0.iter().enumerate() {
                    write!(f, "{}{domain}-{server}-{sequence}", if i > 0 { "," } else { "" })?;
                }
            }
        }
        Ok(())
    }
}

impl Serialize for GtidSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GtidSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<GtidSet, D::Error> {
        GtidSet::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Whose binlog file it is: a file of the same name may be another server's, or the same server's after a reset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Home {
    /// MySQL's server_uuid, MariaDB's server_uid, else the server's id.
    pub server: Arc<str>,
    /// When the file began, seconds since the epoch; `None`: not read yet.
    pub began: Option<u32>,
}

/// A transaction boundary of a binlog: everything before it is known, nothing after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Base name of the binlog file, of the server (or folder) that it was read from.
    pub file: Arc<str>,
    /// Byte offset in `file` of the next event.
    pub offset: u64,
    /// `None`: not a server's file, or nothing was read of it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<Arc<Home>>,
    /// All transactions executed up to here; `None` where they are not known, as of a source that has no GTIDs, or had none before.
    pub gtids: Option<GtidSet>,
}

/// For people and logs: `mybin.000012:4711 (3e11fa47-…:1-5)`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)?;
        match &self.gtids {
            Some(gtids) if !gtids.is_empty() => write!(f, " ({gtids})"),
            _ => Ok(()),
        }
    }
}

impl Position {
    /// Moves over the transactions that were passed.
    pub fn advance(&mut self, progress: Progress) {
        if let Some(End { file, home, offset }) = progress.end {
            (self.file, self.home, self.offset) = (file, home, offset);
        }
        match progress.gtids {
            Gtids::Passed(passed) => {
                // Where it is not known what came before them, they alone would be too small a set.
                if let Some(gtids) = &mut self.gtids {
                    gtids.append(passed);
                }
            }
            Gtids::All(gtids) => self.gtids = gtids,
        }
    }

    /// True if both are the same place of one reading.
    pub fn is_at(&self, other: &Position) -> bool {
        (self.offset, &self.file, &self.gtids) == (other.offset, &other.file, &other.gtids)
    }

    /// True if everything before `other` is before `self`, too: both of one source.
    pub fn covers(&self, other: &Position) -> bool {
        match (&self.gtids, &other.gtids) {
            (Some(a), Some(b)) => a.contains_set(b),
            _ => (file_number(&self.file), self.offset) >= (file_number(&other.file), other.offset),
        }
    }
}

/// A binlog file's name, and whose it is.
type File<'a> = (&'a Arc<str>, Option<&'a Arc<Home>>);

/// The transactions between two positions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    end: Option<End>,
    gtids: Gtids,
    /// What is left of tables that are read, by the work's number; `None`: nothing.
    reads: BTreeMap<u64, Option<ToRead>>,
}

/// The place behind the last of them.
#[derive(Clone, Debug, PartialEq)]
struct End {
    file: Arc<str>,
    home: Option<Arc<Home>>,
    offset: u64,
}

#[derive(Clone, Debug, PartialEq)]
enum Gtids {
    /// Those of the transactions that were passed.
    Passed(GtidSet),
    /// Those of all transactions before the end, whatever was known before; `None`: one had no GTID, and a set does not tell the place.
    All(Option<GtidSet>),
}

impl Default for Gtids {
    fn default() -> Gtids {
        Gtids::Passed(GtidSet::MySql(MySqlGtidSet::default()))
    }
}

impl Progress {
    /// Passes one transaction, which ends before `offset` of `file`.
    pub fn pass(&mut self, gtid: Option<&Gtid>, (file, home): File<'_>, offset: u64) {
        self.reach((file, home), offset);
        match (&mut self.gtids, gtid) {
            (Gtids::Passed(gtids) | Gtids::All(Some(gtids)), Some(gtid)) => gtids.add(gtid),
            (Gtids::All(None), Some(_)) => {}
            (gtids, None) => *gtids = Gtids::All(None),
        }
    }

    /// Passes what stands between transactions. `executed`: all transactions before it, where it tells them.
    pub fn pass_between(&mut self, executed: Option<&GtidSet>, (file, home): File<'_>, offset: u64) {
        self.reach((file, home), offset);
        if executed.is_some() {
            self.gtids = Gtids::All(executed.cloned());
        }
    }

    /// Passes a chunk of a table; what is left of it.
    pub fn pass_chunk(&mut self, id: u64, rest: Option<ToRead>) {
        self.reads.insert(id, rest);
    }

    /// What is left of the tables that were read; it is kept together with the position.
    pub fn take_reads(&mut self) -> BTreeMap<u64, Option<ToRead>> {
        std::mem::take(&mut self.reads)
    }

    fn reach(&mut self, (file, home): File<'_>, offset: u64) {
        match &mut self.end {
            Some(end) if Arc::ptr_eq(&end.file, file) => end.offset = offset,
            end => *end = Some(End { file: Arc::clone(file), home: home.cloned(), offset }),
        }
    }
}

impl Passed for Progress {
    fn append(&mut self, later: Progress) {
        if later.end.is_some() {
            self.end = later.end;
        }
        self.reads.extend(later.reads);
        match (&mut self.gtids, later.gtids) {
            (Gtids::Passed(gtids) | Gtids::All(Some(gtids)), Gtids::Passed(later)) => gtids.append(later),
            (Gtids::All(None), Gtids::Passed(_)) => {}
            (gtids, later @ Gtids::All(_)) => *gtids = later,
        }
    }
}

/// The running number of a binlog file name (`mybin.000012` → 12), by which files of one server are ordered.
pub fn file_number(file: &str) -> Option<u64> {
    file.rsplit_once('.')?.1.parse().ok()
}

fn write_uuid(f: &mut fmt::Formatter<'_>, uuid: &[u8; 16]) -> fmt::Result {
    for (i, byte) in uuid.iter().enumerate() {
        write!(f, "{}{byte:02x}", if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" })?;
    }
    Ok(())
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let mut uuid = [0u8; 16];
    let mut digits = text.bytes().filter(|b| *b != b'-');
    for byte in &mut uuid {
        let (high, low) = (digits.next()?, digits.next()?);
        *byte = ((high as char).to_digit(16)? << 4 | (low as char).to_digit(16)?) as u8;
    }
    digits.next().is_none().then_some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn sets_print_as_they_were_read() {
        for text in ["", &format!("{A}:1-5:7"), &format!("{A}:1-3,{A}:blue:1-2:9"), "0-1-100,1-2-7"] {
            assert_eq!(GtidSet::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn intervals_merge() {
        let mut set = GtidSet::parse(&format!("{A}:1-5:7:9-10")).unwrap();
        for n in [6, 8, 11] {
            set.add(&Gtid::MySql { source: parse_uuid(A).unwrap(), tag: None, number: n });
        }
        assert_eq!(set.to_string(), format!("{A}:1-11"));
        assert!(set.contains_set(&GtidSet::parse(&format!("{A}:3-4")).unwrap()));
        assert!(!set.contains_set(&GtidSet::parse(&format!("{A}:11-12")).unwrap()));
    }

    #[test]
    fn what_a_set_lacks() {
        const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";
        for (a, b, rest) in [
            (format!("{A}:1-10"), format!("{A}:1-10"), String::new()),
            (format!("{A}:1-10:20,{B}:1-3"), format!("{A}:3-4:7-30"), format!("{A}:1-2:5-6,{B}:1-3")),
            (format!("{A}:5-10"), format!("{A}:1-5:10-12"), format!("{A}:6-9")),
            (format!("{A}:blue:1-3"), format!("{A}:1-3"), format!("{A}:blue:1-3")),
            ("0-1-100,1-2-7,3-1-1".to_owned(), "0-2-100,1-2-6".to_owned(), "1-2-7,3-1-1".to_owned()),
        ] {
            let set = |text: &str| GtidSet::parse(text).unwrap();
            assert_eq!(set(&a).without(&set(&b)).to_string(), rest, "{a} without {b}");
            assert_eq!(set(&a).without(&set(&b)).is_empty(), set(&b).contains_set(&set(&a)));
        }
    }

    /// However progress is put together: a position has the set of all transactions, or none.
    #[test]
    fn positions_know_all_transactions_or_none() {
        let file: Arc<str> = "b.000001".into();
        let set = |text: &str| Some(GtidSet::parse(&format!("{A}:{text}")).unwrap());
        let gtid = |number| Gtid::MySql { source: parse_uuid(A).unwrap(), tag: None, number };
        type Pass = Box<dyn Fn(&mut Progress)>;
        let numbered = |number: u64| -> Pass { Box::new(move |p| p.pass(Some(&gtid(number)), (&"b.000001".into(), None), number)) };
        let anonymous = || -> Pass { Box::new(|p| p.pass(None, (&"b.000001".into(), None), 50)) };
        let told = |text: &str| -> Pass {
            let executed = set(text);
            Box::new(move |p| p.pass_between(executed.as_ref(), (&"b.000001".into(), None), 60))
        };
        for (before, passes, after) in [
            (set("1-5"), vec![numbered(6), numbered(7)], set("1-7")),
            (None, vec![numbered(6), numbered(7)], None),
            (set("1-5"), vec![numbered(6), anonymous(), numbered(7)], None),
            (None, vec![anonymous(), numbered(6), told("1-6"), numbered(7)], set("1-7")),
            (None, vec![told("1-6"), numbered(7), anonymous()], None),
            (set("1-5"), vec![Box::new(|p: &mut Progress| p.pass_between(None, (&"b.000001".into(), None), 70))], set("1-5")),
        ] {
            for cut in 0..=passes.len() {
                let (mut first, mut second) = (Progress::default(), Progress::default());
                passes[..cut].iter().for_each(|pass| pass(&mut first));
                passes[cut..].iter().for_each(|pass| pass(&mut second));
                let mut position = Position { file: file.clone(), offset: 4, gtids: before.clone(), home: None };
                let mut apart = position.clone();
                apart.advance(first.clone());
                apart.advance(second.clone());
                first.append(second);
                position.advance(first);
                assert_eq!((&position.gtids, &position), (&after, &apart), "{before:?}, cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_not_a_set_is_refused() {
        for text in ["x", "1-2", "1-2-3-4", A, &format!("{A}:5-3"), &format!("{A}:0"), "0-1-1,0-2-2"] {
            assert!(GtidSet::parse(text).is_err(), "{text}");
        }
    }
}
