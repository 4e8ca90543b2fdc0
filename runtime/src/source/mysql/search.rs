//! Places in a server's binlog that are found by reading it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::dump::Dump;
use super::server::{Server, Settings, mysql_set};
use crate::position::Position;
use crate::source::binlog::query::{self, Query};
use crate::source::feed::{Produced, Stop};
use crate::source::frame::{Entry, HEADER, Resume, kind, u32_at};
use crate::source::{Boundary, Failure, Segment, Start};

/// Seconds by which a server's clock may be set back without a search by time missing a transaction.
const CLOCK_STEP_MAX: i64 = 3600;
/// A server that has a GTID on its way into the set, and says so many times, once a second, that nothing follows, has logged nothing of it.
const IDLES_MAX: u32 = 10;

impl Server {
    /// Where a first start begins.
    pub(crate) async fn resolve(self: &Arc<Self>, start: &Start) -> Result<Position, Failure> {
        let settings = self.settings().await?;
        match start {
            Start::Now => {
                let now = self.now(&settings).await?;
                let is_exact = settings.mariadb || !settings.has_gtids() || self.is_quiet(&settings, &now).await?;
                if is_exact { Ok(now) } else { self.exact(&settings, now).await }
            }
            Start::Position(position) => Ok(position.clone()),
            Start::Earliest => {
                let (file, _) = self.files().await?.swap_remove(0);
                let gtids = if settings.mariadb {
                    Some(self.mariadb_gtids(&file, 4).await?)
                } else if settings.has_gtids() && self.anonymous_until(&settings, &file).await? == 0 {
                    Some(mysql_set(&self.purged().await?)?)
                } else {
                    None
                };
                Ok(Position { file: file.into(), offset: 4, home: Some(settings.home()), gtids })
            }
            Start::Gtid(set) => {
                if !settings.has_gtids() {
                    return Err(Failure::definite("the server has no GTIDs (gtid_mode is not ON)", "start with a file and offset"));
                }
                let (file, _) = self.files().await?.swap_remove(0);
                let gtids = Some(self.of_flavour(set.clone(), &settings)?);
                Ok(Position { file: file.into(), offset: 4, home: Some(settings.home()), gtids })
            }
            Start::File { file, offset } => {
                let files = self.files().await?;
                if !files.iter().any(|(name, size)| name == file && offset <= size) {
                    let (first, last) = (&files[0], &files[files.len() - 1]);
                    return Err(Failure::definite(
                        format!("the server has no {file}:{offset}; it has {} to {}:{}", first.0, last.0, last.1),
                        "start within what it has",
                    ));
                }
                if settings.mariadb {
                    let gtids = self.mariadb_gtids(file, (*offset).max(4)).await?;
                    let (file, offset) = (file.as_str().into(), (*offset).max(4));
                    return Ok(Position { file, offset, home: Some(settings.home()), gtids: Some(gtids) });
                }
                self.search(file, Stop::Offset(*offset)).await
            }
            Start::Time(time_us) => {
                let files = self.files().await?;
                // The last file that began before; by halves, as there may be thousands.
                let time = time_us.div_euclid(1_000_000) - CLOCK_STEP_MAX;
                let (mut low, mut high) = (0, files.len());
                while high - low > 1 {
                    let middle = low + (high - low) / 2;
                    if self.began_at(self.current(), &files[middle].0).await? <= time { low = middle } else { high = middle }
                }
                self.search(&files[low].0, Stop::Time(*time_us)).await
            }
        }
    }

    /// True if no transaction was on its way into the set when the server stood `here`: what is logged and not in it yet owns its GTID.
    async fn is_quiet(&self, settings: &Settings, here: &Position) -> Result<bool, Failure> {
        let owned = self.query("SELECT @@GLOBAL.gtid_owned").await?;
        Ok(owned.first().is_some_and(|row| row.at(0) == Some("")) && self.now(settings).await?.gtids == here.gtids)
    }

    /// The same set, with the place of the first transaction that is not in it. A server says its set first and then how long its binlog
    /// is, and logs a transaction before it takes its GTID into the set: what lies between would count as read.
    async fn exact(self: &Arc<Self>, settings: &Settings, position: Position) -> Result<Position, Failure> {
        let slot = self.searches.fetch_add(1, Ordering::Relaxed);
        let mut dump = Dump::new(self.clone(), Resume::at(position.clone()), slot).until_end();
        let mut idles = 0;
        loop {
            match dump.next().await? {
                Produced::Entries(entries) => {
                    for segment in entries.iter().map(|entry| &entry.segment) {
                        if let Some(first) = segment.events.iter().find(|event| matches!(event.boundary, Boundary::Begin(_))) {
                            return Ok(Position { file: segment.file.clone(), offset: first.offset, ..position });
                        }
                    }
                }
                // It says so, too, while it passes over what is in the set.
                Produced::Idle => {
                    idles += 1;
                    if idles == IDLES_MAX || self.is_quiet(settings, &position).await? {
                        return Ok(position);
                    }
                }
                Produced::Away(place) => return Err(is_away(&place)),
                Produced::End => return Ok(position),
            }
        }
    }

    async fn search(self: &Arc<Self>, file: &str, stop: Stop<'_>) -> Result<Position, Failure> {
        let mut dump = self.search_from(file);
        while let Some(entries) = entries(&mut dump).await? {
            if let (Stop::Offset(..=4), Some(head)) = (stop, entries.first()) {
                // The head of the file tells what came before it.
                let Segment { file, home, learned, .. } = &*head.segment;
                return Ok(Position { file: file.clone(), offset: 4, home: home.clone(), gtids: learned.clone() });
            }
            for entry in &entries {
                if let Some(position) = stop.find(entry)? {
                    return Ok(position);
                }
            }
        }
        stop.at_end(dump.position())?;
        Ok(dump.position().clone())
    }

    /// Reads the statements from a transaction boundary on to at least `to`; returns where it came to.
    pub(crate) async fn statements(
        self: &Arc<Self>,
        from: &Position,
        to: &Position,
        mut visit: impl FnMut(&Query<'_>, &str, u64),
    ) -> Result<Position, Failure> {
        let slot = self.searches.fetch_add(1, Ordering::Relaxed);
        let mut dump = Dump::new(self.clone(), Resume::at(from.clone()), slot).until_end();
        while let Some(entries) = entries(&mut dump).await? {
            for segment in entries.iter().map(|entry| &entry.segment) {
                for event in &segment.events {
                    let bytes = segment.data.get(event.start..event.start + event.len).unwrap_or_default();
                    if bytes.get(4) == Some(&kind::QUERY)
                        && let Ok(query) = query::parse(&bytes[HEADER..], 0)
                    {
                        visit(&query, &segment.file, event.next);
                    }
                }
            }
            if dump.position().covers(to) {
                break;
            }
        }
        Ok(dump.position().clone())
    }

    /// When a file of a host began, in seconds since the epoch.
    pub(super) async fn began_at(self: &Arc<Self>, host: usize, file: &str) -> Result<i64, Failure> {
        let mut dump = self.search_from(file).at(host);
        while let Some(entries) = entries(&mut dump).await? {
            if let Some((entry, event)) = entries.first().and_then(|e| Some((e, e.segment.events.first()?))) {
                return Ok(i64::from(u32_at(&entry.segment.data, event.start)));
            }
        }
        Ok(i64::MAX)
    }

    fn search_from(self: &Arc<Self>, file: &str) -> Dump {
        let slot = self.searches.fetch_add(1, Ordering::Relaxed);
        Dump::new(self.clone(), Resume::at(Position { file: file.into(), offset: 4, home: None, gtids: None }), slot).until_end()
    }
}

/// What a server has next. `None`: no more.
async fn entries(dump: &mut Dump) -> Result<Option<Vec<Entry>>, Failure> {
    loop {
        match dump.next().await? {
            Produced::Entries(entries) => return Ok(Some(entries)),
            Produced::Idle => {}
            Produced::Away(place) => return Err(is_away(&place)),
            Produced::End => return Ok(None),
        }
    }
}

fn is_away(place: &str) -> Failure {
    Failure::transient(format!("{place} is away"))
}
