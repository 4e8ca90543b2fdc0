//! The router: which rows of a batch go to which sink, under which topic.
//!
//! Stands between the plugin stage and the sinks. A row's topic is `schema.table` until a plugin sends it elsewhere; every route
//! whose patterns match takes it. A topic that no route takes stops the pipeline, unless the manifest says to drop it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::change::{Batch, Rows, Slice};
use crate::manifest::model::Unrouted;
use crate::manifest::pattern::Patterns;

#[derive(Debug, thiserror::Error)]
#[error(
    "no route takes the topic `{topic}`\nhint: add it to a route's `topics`, or write `unrouted = \"drop\"` to leave such changes out"
)]
pub struct UnroutedError {
    topic: Arc<str>,
}

/// The routes of one pipeline, with what was found for each topic so far.
#[derive(Debug)]
pub struct Router {
    /// Patterns, and the index of the sink that they lead to.
    routes: Vec<(Patterns, usize)>,
    unrouted: Unrouted,
    /// Topic → indexes of sinks. Cleared at [`TOPICS_MAX`], since plugins can name topics without end.
    known: HashMap<Arc<str>, Arc<[usize]>>,
    /// Relation id → its own topic.
    own: HashMap<u32, Arc<str>>,
}

const TOPICS_MAX: usize = 10_000;

/// A batch, routed.
#[derive(Debug)]
pub struct Routed<'a> {
    /// By sink index.
    pub slices: Vec<Vec<Slice<'a>>>,
    /// Rows that go nowhere.
    pub dropped: usize,
}

impl Router {
    pub fn new(routes: Vec<(Patterns, usize)>, unrouted: Unrouted) -> Router {
        Router { routes, unrouted, known: HashMap::new(), own: HashMap::new() }
    }

    /// The slices of `batch` for each of `sinks` sinks.
    pub fn route<'a>(&mut self, batch: &'a Batch, sinks: usize) -> Result<Routed<'a>, UnroutedError> {
        let mut routed = Routed { slices: (0..sinks).map(|_| Vec::new()).collect(), dropped: 0 };
        for rows in &batch.relations {
            match &rows.topics {
                None => {
                    let topic = self.own_topic(rows);
                    let takers = self.takers(&topic)?;
                    routed.add(rows, topic, &takers, (0..rows.len() as u32).collect());
                }
                Some(topics) => {
                    for (names, picks) in topics.lists.iter().zip(topics.picks()).filter(|(_, picks)| !picks.is_empty()) {
                        let count = picks.len();
                        let mut taken = false;
                        for (topic, picks) in names.iter().zip(std::iter::repeat_n(picks, names.len())) {
                            let takers = self.takers(topic)?;
                            taken |= !takers.is_empty();
                            routed.push(rows, topic, &takers, picks);
                        }
                        routed.dropped += if taken { 0 } else { count };
                    }
                }
            }
        }
        Ok(routed)
    }

    fn own_topic(&mut self, rows: &Rows) -> Arc<str> {
        if self.own.len() >= TOPICS_MAX {
            self.own.clear();
        }
        Arc::clone(self.own.entry(rows.relation.id).or_insert_with(|| rows.relation.to_string().into()))
    }

    fn takers(&mut self, topic: &Arc<str>) -> Result<Arc<[usize]>, UnroutedError> {
        if let Some(takers) = self.known.get(topic) {
            return Ok(Arc::clone(takers));
        }
        let mut takers: Vec<usize> = self.routes.iter().filter(|(p, _)| p.matches_topic(topic)).map(|(_, sink)| *sink).collect();
        takers.sort_unstable();
        takers.dedup();
        if takers.is_empty() && self.unrouted == Unrouted::Stop {
            return Err(UnroutedError { topic: Arc::clone(topic) });
        }
        if self.known.len() >= TOPICS_MAX {
            self.known.clear();
        }
        let takers: Arc<[usize]> = takers.into();
        self.known.insert(Arc::clone(topic), Arc::clone(&takers));
        Ok(takers)
    }
}

impl<'a> Routed<'a> {
    fn add(&mut self, rows: &'a Rows, topic: Arc<str>, takers: &[usize], picks: Vec<u32>) {
        if takers.is_empty() {
            self.dropped += picks.len();
        }
        self.push(rows, &topic, takers, picks);
    }

    fn push(&mut self, rows: &'a Rows, topic: &Arc<str>, takers: &[usize], picks: Vec<u32>) {
        for (sink, picks) in takers.iter().zip(std::iter::repeat_n(picks, takers.len())) {
            self.slices[*sink].push(Slice { rows, topic: Arc::clone(topic), picks });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{KeyOrigin, Op, Relation, RowId, Topics};
    use crate::position::Position;

    fn patterns(list: &[&str]) -> Patterns {
        Patterns::parse(&list.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
    }

    fn batch(topics: Option<Topics>) -> Batch {
        let relation = Relation {
            id: 1,
            schema: "shop".into(),
            table: "orders".into(),
            columns: Vec::new(),
            key: Vec::new(),
            key_origin: KeyOrigin::WholeRow,
        };
        let ids = (0..4).map(|place| RowId { transaction: 1, place }).collect();
        let rows =
            Rows { relation: Arc::new(relation), ops: vec![Op::Insert; 4], ids, after: Vec::new(), before: Vec::new(), topics };
        Batch {
            relations: vec![rows],
            transactions: Vec::new(),
            rows: 4,
            bytes: 0,
            first: RowId::default(),
            last: RowId::default(),
            resume: Arc::new(Position { file: "b.1".into(), offset: 4, gtids: None, home: None }),
            is_read: false,
            ends: Vec::new(),
            ends_transaction: true,
        }
    }

    fn seen(routed: &Routed<'_>) -> Vec<Vec<(String, Vec<u32>)>> {
        routed.slices.iter().map(|s| s.iter().map(|s| (s.topic.to_string(), s.picks.clone())).collect()).collect()
    }

    #[test]
    fn a_topic_goes_to_every_route_that_takes_it() {
        let mut router = Router::new(vec![(patterns(&["shop.*"]), 0), (patterns(&["*", "!shop.x"]), 1)], Unrouted::Stop);
        let batch = batch(None);
        let routed = router.route(&batch, 2).unwrap();
        let all = ("shop.orders".to_owned(), vec![0, 1, 2, 3]);
        assert_eq!(seen(&routed), vec![vec![all.clone()], vec![all]]);
        assert_eq!(routed.dropped, 0);
    }

    #[test]
    fn plugins_send_rows_to_several_topics_or_none() {
        let lists = vec![vec!["a".into()], vec!["a".into(), "b".into()], Vec::new()];
        let batch = batch(Some(Topics { lists, of_row: vec![0, 1, 2, 1] }));
        let mut router = Router::new(vec![(patterns(&["*"]), 0)], Unrouted::Stop);
        let routed = router.route(&batch, 1).unwrap();
        let expected = vec![vec![("a".to_owned(), vec![0]), ("a".to_owned(), vec![1, 3]), ("b".to_owned(), vec![1, 3])]];
        assert_eq!(seen(&routed), expected);
        assert_eq!(routed.dropped, 1);
    }

    #[test]
    fn an_unrouted_topic_stops_or_is_dropped() {
        let batch = batch(None);
        let routes = || vec![(patterns(&["other.*"]), 0)];
        let error = Router::new(routes(), Unrouted::Stop).route(&batch, 1).unwrap_err();
        assert!(error.to_string().contains("`shop.orders`"));
        let mut router = Router::new(routes(), Unrouted::Drop);
        assert_eq!(router.route(&batch, 1).unwrap().dropped, 4);
    }
}
