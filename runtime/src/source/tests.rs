//! Real binlogs (`fixtures/`: MySQL 9.7.4 `mybin.*`, MariaDB 11.8.6 `maria.*`, recorded from the statements of
//! `fixtures/README.md`), whole and damaged, through the `binlog-files` source and the hub.

use std::path::{Path, PathBuf};

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/source/fixtures").join(name)
}

async fn files(paths: &[PathBuf]) -> Source {
    let paths = paths.iter().map(|p| p.to_str().unwrap().to_owned()).collect();
    Source::open(SourceConfig { name: "shop".into(), kind: SourceKind::Files { paths } }).await.unwrap()
}

/// One line an event: file, offset, next, type, boundary.
async fn events(source: &Source, from: Position) -> Result<Vec<String>, (Vec<String>, SourceError)> {
    let mut subscription = source.subscribe(from);
    let mut lines = Vec::new();
    loop {
        match subscription.next().await {
            Ok(Event::Segment(segment)) => {
                for e in &segment.events {
                    let bytes = &segment.data[e.start..e.start + e.len];
                    let boundary = match e.boundary {
                        Boundary::Begin(i) => match &segment.transactions[i as usize].gtid {
                            Some(gtid) => format!("begin {gtid}"),
                            None => "begin".into(),
                        },
                        other => format!("{other:?}").to_lowercase(),
                    };
                    lines.push(format!("{} {} {} {} {boundary}", segment.file, e.offset, e.next, bytes[4]));
                }
            }
            Ok(Event::Idle | Event::Away(_)) => {}
            Ok(Event::End) => return Ok(lines),
            Err(error) => return Err((lines, error)),
        }
    }
}

#[tokio::test]
async fn mysql_events_and_transactions_are_framed() {
    let source = files(&[fixture("mybin.*")]).await;
    let from = source.resolve(&Start::Earliest).await.unwrap();
    let lines = events(&source, from).await.unwrap();
    let short: Vec<&str> = lines.iter().map(|l| l.split_once(' ').unwrap().1).collect();
    let uuid = "4d86944b-e584-11f1-b184-02fc00000001";
    for expected in [
        // What SHOW BINLOG EVENTS printed: a DDL, a plain transaction, a tagged one, CREATE … SELECT, XA, a compressed one.
        format!("158 235 33 begin {uuid}:1"),
        "235 349 2 end".into(),
        "843 914 2 within".into(),
        "1095 1126 16 end".into(),
        format!("1126 1207 42 begin {uuid}:blue:1"),
        "1626 1803 2 within".into(),
        "1993 2024 16 end".into(),
        "2103 2189 2 within".into(),
        "2358 2442 2 within".into(),
        "2442 2479 38 end".into(),
        "2556 2643 2 end".into(),
        format!("2643 2722 33 begin {uuid}:8"),
        "2722 3082 31 within".into(),
        "2722 3082 16 end".into(),
    ] {
        assert!(short.contains(&expected.as_str()), "{expected} is not in {lines:#?}");
    }
    // The last file has no checksums.
    assert!(lines.last().unwrap().starts_with("mybin.000004 "), "{lines:#?}");
    assert_eq!(lines.iter().filter(|l| l.contains(" begin ")).count(), lines.iter().filter(|l| l.ends_with(" end")).count());
}

#[tokio::test]
async fn mariadb_compressed_events_become_plain_ones() {
    let source = files(&[fixture("maria.000001")]).await;
    let from = source.resolve(&Start::Earliest).await.unwrap();
    let lines = events(&source, from).await.unwrap();
    let kinds: Vec<u8> = lines.iter().map(|l| l.split(' ').nth(3).unwrap().parse().unwrap()).collect();
    assert!(!kinds.iter().any(|k| (165..=171).contains(k)), "{lines:#?}");
    for kind in [2, 19, 23, 24, 25] {
        assert!(kinds.contains(&kind), "{kind} is not in {lines:#?}");
    }
    assert_eq!(lines.iter().filter(|l| l.contains(" begin 0-103-")).count(), lines.iter().filter(|l| l.ends_with(" end")).count());
}

#[tokio::test]
async fn reading_goes_on_from_every_boundary() {
    for pattern in ["mybin.*", "maria.000001"] {
        let source = files(&[fixture(pattern)]).await;
        let from = source.resolve(&Start::Earliest).await.unwrap();
        let all = events(&source, from).await.unwrap();
        for (i, line) in all.iter().enumerate().filter(|(_, l)| l.ends_with(" end")) {
            let mut words = line.split(' ');
            let file: Arc<str> = words.next().unwrap().into();
            let offset = words.nth(1).unwrap().parse().unwrap();
            let rest = events(&source, Position { file, offset, gtids: None, home: None }).await.unwrap();
            assert_eq!(rest, all[i + 1..], "from {line}");
        }
    }
}

#[tokio::test]
async fn first_starts_are_found() {
    let source = files(&[fixture("mybin.*")]).await;
    let at = async |start| source.resolve(&start).await.map(|p| (p.file.to_string(), p.offset, p.gtids.map(|g| g.to_string())));
    let file = |offset| Start::File { file: "mybin.000001".into(), offset };
    assert_eq!(at(file(534)).await.unwrap().1, 534);
    assert!(at(file(600)).await.unwrap_err().to_string().contains("the next begins at 764"));
    assert_eq!(at(Start::Time(0)).await.unwrap().1, 158);
    assert_eq!(at(Start::Now).await.unwrap().0, "mybin.000004");
    let set = GtidSet::parse("4d86944b-e584-11f1-b184-02fc00000001:1-9,4d86944b-e584-11f1-b184-02fc00000001:blue:1").unwrap();
    let (file, _, gtids) = at(Start::Gtid(set.clone())).await.unwrap();
    assert_eq!((file.as_str(), gtids), ("mybin.000002", Some(set.to_string())));
}

#[tokio::test]
async fn damaged_files_stop_with_the_position() {
    let whole = std::fs::read(fixture("mybin.000001")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.000001");
    for at in (4..whole.len()).step_by(7) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        for bytes in [&flipped[..], &whole[..at]] {
            std::fs::write(&path, bytes).unwrap();
            let source = files(std::slice::from_ref(&path)).await;
            let result = events(&source, Position { file: "bad.000001".into(), offset: 4, gtids: None, home: None }).await;
            match result {
                // Cut between two transactions; or the flag "in use", which the checksum leaves out.
                Ok(lines) => assert!(bytes.len() < whole.len() || at == 4 + 17, "{at}: {lines:#?}"),
                Err((_, SourceError::Definite { error, .. })) => {
                    assert!(error.problem.starts_with("bad.000001:") && !error.hint.is_empty(), "{error}");
                }
                Err((_, error)) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test]
async fn a_gap_and_what_is_no_binlog_are_refused() {
    let open = async |paths: &[&str]| {
        let paths = paths.iter().map(|p| fixture(p).to_str().unwrap().to_owned()).collect();
        Source::open(SourceConfig { name: "shop".into(), kind: SourceKind::Files { paths } }).await.unwrap_err().to_string()
    };
    assert!(open(&["mybin.000001", "mybin.000003"]).await.contains("after `mybin.000001` comes `mybin.000003`"));
    assert!(open(&["README.md"]).await.contains("no binlog file"));
    assert!(open(&["absent.*"]).await.contains("no file matches"));
}

/// Every segment is larger than the window: the reader waits for its readers, and they for it, and neither for ever.
#[tokio::test]
async fn a_window_that_holds_no_segment_stops_nobody() {
    let paths: Vec<String> = (1..5).map(|n| fixture(&format!("mybin.00000{n}")).to_str().unwrap().to_owned()).collect();
    let found = Files::find(&paths).unwrap();
    let from = found.resolve(&Start::Earliest).unwrap();
    let hub = Arc::new(Hub::new("shop".into(), Origin::Files(found), 1));
    let mut readers = [hub.subscribe(from.clone()), hub.subscribe(from)];
    let mut segments = [0, 0];
    let all = async {
        let mut ended = 0;
        while ended < 2 {
            ended = 0;
            for (reader, segments) in readers.iter_mut().zip(&mut segments) {
                match reader.next().await.unwrap() {
                    Event::Segment(_) => *segments += 1,
                    Event::Idle | Event::Away(_) => {}
                    Event::End => ended += 1,
                }
                while let Some(Ok(Event::Segment(_))) = reader.try_next() {
                    *segments += 1;
                }
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), all).await.expect("a reader stands still");
    assert!(segments[0] >= 4 && segments[0] == segments[1], "{segments:?}");
}

/// Subscribers that give up waiting, leave, come back, fall behind and look away, on several threads: each gets every event once and in
/// order, and none waits for good for another to read.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn subscribers_that_come_and_go_get_everything_once() {
    use futures_util::FutureExt;
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/demo/binlog/shop.000001");
    for paths in [vec![demo], (1..5).map(|n| fixture(&format!("mybin.00000{n}"))).collect()] {
        let paths: Vec<String> = paths.iter().map(|p| p.to_str().unwrap().to_owned()).collect();
        let found = Files::find(&paths).unwrap();
        let from = found.resolve(&Start::Earliest).unwrap();
        for window in [1, 300_000, WINDOW_BYTES_MAX] {
            for round in 0..60u64 {
                let hub = Arc::new(Hub::new("shop".into(), Origin::Files(found.clone()), window));
                let subscriber = |number: u64| {
                    let (hub, from) = (Arc::clone(&hub), from.clone());
                    tokio::spawn(async move {
                        let mut random = crate::random::Random::new(round * 97 + number * 31);
                        let mut next = move |below: usize| random.below(below) as u64;
                        let mut places: Vec<(Arc<str>, u64, u64, u8)> = Vec::new();
                        let mut subscription = hub.subscribe(from);
                        if number % 2 == 1 {
                            tokio::time::sleep(std::time::Duration::from_micros(next(3000))).await;
                        }
                        loop {
                            if number >= 2 && next(20) == 0 {
                                return places;
                            }
                            let event = match next(6) {
                                0 => subscription.try_next(),
                                1 => subscription.next().now_or_never(),
                                2 => tokio::time::timeout(std::time::Duration::from_micros(next(300)), subscription.next())
                                    .await
                                    .ok(),
                                3 => {
                                    tokio::time::sleep(std::time::Duration::from_micros(next(500))).await;
                                    None
                                }
                                _ => Some(subscription.next().await),
                            };
                            match event.transpose().unwrap() {
                                None | Some(Event::Idle | Event::Away(_)) => {}
                                Some(Event::End) => return places,
                                Some(Event::Segment(segment)) => {
                                    for e in &segment.events {
                                        // One that fell behind in the middle of a transaction reads it again.
                                        if let Boundary::BeginAgain(_) = e.boundary {
                                            places.retain(|(file, offset, ..)| *file != segment.file || *offset < e.offset);
                                        }
                                        places.push((segment.file.clone(), e.offset, e.next, segment.data[e.start + 4]));
                                    }
                                }
                            }
                        }
                    })
                };
                let subscribers: Vec<_> = (0..4).map(subscriber).collect();
                let mut all = Vec::new();
                for subscriber in subscribers {
                    let places = tokio::time::timeout(std::time::Duration::from_secs(20), subscriber);
                    all.push(places.await.expect("a subscriber stands still").unwrap());
                }
                let lens: Vec<usize> = all.iter().map(Vec::len).collect();
                let is_right = lens[0] > 20 && lens[0] == lens[1] && all.iter().all(|places| all[0].starts_with(places));
                assert!(is_right, "window {window}, round {round}: {lens:?}");
            }
        }
    }
}
