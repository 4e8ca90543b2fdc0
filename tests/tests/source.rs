//! The `mysql` source against real servers: logins, lost connections, purged binlogs, and pipelines that share a reading.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate::position::{GtidSet, Position};
use tidegate::source::mysql::Address;
use tidegate::source::{Boundary, Event, Source, SourceConfig, SourceError, SourceKind, Start, Subscription};
use tidegate_tests::servers;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SERVER_ID: u32 = 3_000_000_001;

async fn open(url: &str) -> Result<Source, SourceError> {
    let address = Address::parse(url, None).unwrap();
    Source::open(SourceConfig {
        name: "shop".into(),
        kind: SourceKind::MySql { addresses: vec![address], server_id: SERVER_ID, reader: "test".into(), signal: None },
    })
    .await
}

/// What a reading has given.
#[derive(Debug, Default)]
struct Seen {
    /// Transactions that have ended, in order.
    ended: Vec<String>,
    open: Option<String>,
    begun_again: usize,
    bytes: usize,
}

impl Seen {
    fn take(&mut self, event: Event) {
        let Event::Segment(segment) = event else { return };
        self.bytes += segment.data.len();
        for event in &segment.events {
            match event.boundary {
                Boundary::Begin(i) | Boundary::BeginAgain(i) => {
                    let gtid = segment.transactions[i as usize].gtid.as_ref().unwrap().to_string();
                    if matches!(event.boundary, Boundary::BeginAgain(_)) {
                        assert_eq!(self.open.as_ref(), Some(&gtid), "another transaction begins again");
                        self.begun_again += 1;
                    } else {
                        assert_eq!(self.open, None, "a transaction begins within another");
                    }
                    self.open = Some(gtid);
                }
                Boundary::End => self.ended.push(self.open.take().expect("a transaction ends that has not begun")),
                Boundary::Within => {}
            }
        }
    }
}

/// Reads until the set is executed; fails after a minute.
async fn read_until(subscription: &mut Subscription, from: &Position, end: &Position, seen: &mut Seen) {
    let reading = async {
        let mut done = from.gtids.clone().unwrap();
        let mut counted = 0;
        loop {
            for gtid in &seen.ended[counted..] {
                let GtidSet::MySql(one) = GtidSet::parse(gtid).unwrap() else { panic!("{gtid}") };
                let GtidSet::MySql(all) = &mut done else { panic!("{done}") };
                for ((source, tag), intervals) in one.0 {
                    intervals.iter().for_each(|(low, high)| all.insert(source, tag.clone(), *low, *high));
                }
            }
            counted = seen.ended.len();
            if done.contains_set(end.gtids.as_ref().unwrap()) {
                return;
            }
            seen.take(subscription.next().await.unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await.expect("all transactions arrive within a minute");
}

fn assert_once(seen: &Seen) {
    let distinct: BTreeSet<&String> = seen.ended.iter().collect();
    assert_eq!(distinct.len(), seen.ended.len(), "a transaction came twice");
}

#[tokio::test]
async fn every_login_works_with_and_without_tls() {
    let server = servers::shared_mysql();
    server.sql(
        "CREATE USER 'login'@'%' IDENTIFIED BY 'p:w/ä'; GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'login'@'%'; \
         CREATE USER 'poor'@'%' IDENTIFIED BY 'x'",
    );
    let url = |login: &str, query: &str| format!("mysql://{login}@127.0.0.1:{}/?{query}", server.port);
    let good = "login:p%3Aw%2F%C3%A4";
    let ca = server.ca_file();
    // The first login without TLS goes through the RSA key, as the server has not cached the password yet.
    for query in
        ["ssl-mode=disabled", "ssl-mode=disabled", "ssl-mode=required", "", &format!("ssl-mode=verify-ca&ssl-ca={}", ca.display())]
    {
        let source = open(&url(good, query)).await.unwrap();
        assert!(source.end().await.unwrap().gtids.is_some(), "{query}");
    }
    for (login, query, problem) in [
        ("login:wrong", "", "Access denied"),
        (good, "ssl-mode=verify-ca", "TLS fails"),
        (good, &format!("ssl-mode=verify-identity&ssl-ca={}", ca.display()), "TLS fails"),
    ] {
        let error = open(&url(login, query)).await.unwrap_err();
        assert!(matches!(error, SourceError::Definite { .. }), "{error}");
        assert!(error.to_string().contains(problem) && error.to_string().contains("hint:"), "{error}");
        assert!(!error.to_string().contains("p:w"), "{error}");
    }
    let source = open(&url("poor:x", "")).await.unwrap();
    let findings = source.check(&tidegate::manifest::pattern::Patterns::all()).await;
    assert!(findings.iter().any(|f| f.problem.contains("REPLICATION SLAVE") && f.hint.contains("GRANT")), "{findings:?}");
}

#[tokio::test]
async fn mariadb_logins_work_with_and_without_tls() {
    let server = servers::shared_mariadb();
    server.sql(
        "INSTALL SONAME 'auth_ed25519'; CREATE USER 'ed'@'%' IDENTIFIED VIA ed25519 USING PASSWORD('p:w/ä'); \
         CREATE USER 'native'@'%' IDENTIFIED BY 'p:w/ä'; \
         GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO 'ed'@'%', 'native'@'%'",
    );
    let tls = server.rows("SELECT @@have_ssl")[0][0] == "YES";
    for user in ["ed", "native"] {
        for mode in ["disabled", "preferred", "required"] {
            if mode == "required" && !tls {
                continue;
            }
            let url = |password: &str| format!("mysql://{user}:{password}@127.0.0.1:{}/?ssl-mode={mode}", server.port);
            let source = open(&url("p%3Aw%2F%C3%A4")).await.unwrap();
            assert!(source.end().await.unwrap().gtids.is_some(), "{user} {mode}");
            let error = open(&url("wrong")).await.unwrap_err().to_string();
            assert!(error.contains("Access denied"), "{user} {mode}: {error}");
        }
    }
}

#[tokio::test]
async fn reading_goes_on_after_a_restart_and_each_transaction_comes_once() {
    let server = servers::mysql(&[]);
    server.sql("CREATE DATABASE r; CREATE TABLE r.t (a INT PRIMARY KEY)");
    let source = open(&server.url("root", "")).await.unwrap();
    let from = source.resolve(&Start::Now).await.unwrap();
    let mut subscription = source.subscribe(from.clone());
    let mut seen = Seen::default();
    for (i, stop) in [true, false].into_iter().enumerate() {
        server.sql(&format!("INSERT INTO r.t VALUES ({i})"));
        let end = source.end().await.unwrap();
        read_until(&mut subscription, &from, &end, &mut seen).await;
        if stop {
            server.stop()
        } else {
            server.kill()
        }
        server.resume();
    }
    server.sql("INSERT INTO r.t VALUES (9)");
    let end = source.end().await.unwrap();
    read_until(&mut subscription, &from, &end, &mut seen).await;
    assert_eq!(seen.ended.len(), 3);
    assert_once(&seen);
}

/// Passes bytes on to the server, and cuts the first two connections on which the server says more than `bytes`.
async fn proxy(port: u16, bytes: usize) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let cuts = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = TcpStream::connect(("127.0.0.1", port)).await.unwrap().into_split();
            let cuts = cuts.clone();
            let up = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            tokio::spawn(async move {
                let (mut left, mut buffer) = (bytes, vec![0; 1 << 14]);
                while let Ok(n @ 1..) = from_server.read(&mut buffer).await {
                    let cut = n > left && cuts.fetch_add(1, Ordering::Relaxed) < 2;
                    let part = if cut { left } else { n };
                    left = if n > left { usize::MAX } else { left - n };
                    if to_client.write_all(&buffer[..part]).await.is_err() || cut {
                        break;
                    }
                }
                up.abort();
            });
        }
    });
    own
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_within_an_event_begins_the_transaction_again() {
    let server = servers::mysql(&[]);
    server.sql("CREATE DATABASE c; CREATE TABLE c.t (a INT PRIMARY KEY AUTO_INCREMENT, b LONGBLOB)");
    let direct = open(&server.url("root", "")).await.unwrap();
    let from = direct.resolve(&Start::Now).await.unwrap();
    let statement = "INSERT INTO c.t (b) VALUES (REPEAT('x', 3000000));";
    server.sql(&format!("BEGIN; {} COMMIT; INSERT INTO c.t (b) VALUES ('last')", statement.repeat(4)));
    let end = direct.end().await.unwrap();
    let port = proxy(server.port, 7_000_001).await;
    let source = open(&format!("mysql://root@127.0.0.1:{port}/?ssl-mode=disabled")).await.unwrap();
    let mut subscription = source.subscribe(from.clone());
    let mut seen = Seen::default();
    read_until(&mut subscription, &from, &end, &mut seen).await;
    assert_eq!((seen.ended.len(), seen.begun_again), (2, 2));
    assert_once(&seen);
}

#[tokio::test]
async fn purged_binlogs_stop_with_what_is_missing() {
    let server = servers::mysql(&[]);
    let source = open(&server.url("root", "")).await.unwrap();
    let from = source.resolve(&Start::Now).await.unwrap();
    server.sql("CREATE DATABASE p; FLUSH BINARY LOGS; CREATE TABLE p.t (a INT PRIMARY KEY); FLUSH BINARY LOGS");
    let last = server.rows("SHOW BINARY LOGS").pop().unwrap().swap_remove(0);
    server.sql(&format!("PURGE BINARY LOGS TO '{last}'"));
    let error = source.subscribe(from).next().await.unwrap_err();
    assert!(matches!(error, SourceError::Definite { .. }), "{error}");
    let text = error.to_string();
    for part in ["purged", last.as_str(), "cursor reset", "cursor set"] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_subscriber_holds_nobody_back_and_joins_again() {
    let server = servers::mysql(&[]);
    server.sql("CREATE DATABASE s; CREATE TABLE s.t (a INT PRIMARY KEY AUTO_INCREMENT, b LONGBLOB)");
    let source = open(&server.url("root", "")).await.unwrap();
    let from = source.resolve(&Start::Earliest).await.unwrap();
    server.sql(&"INSERT INTO s.t (b) VALUES (REPEAT('x', 1000000));".repeat(40));
    let end = source.end().await.unwrap();
    let (mut fast, mut slow) = (source.subscribe(from.clone()), source.subscribe(from.clone()));
    let (mut seen_fast, mut seen_slow) = (Seen::default(), Seen::default());
    seen_slow.take(slow.next().await.unwrap());
    read_until(&mut fast, &from, &end, &mut seen_fast).await;
    read_until(&mut slow, &from, &end, &mut seen_slow).await;
    assert_eq!(seen_fast.ended, seen_slow.ended);
    assert!(seen_slow.bytes > 40_000_000);
    // Joined: one dump thread is left, and both get what follows.
    let joined = async {
        while slow.behind_bytes().is_none() {
            seen_slow.take(slow.next().await.unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(30), joined).await.expect("the slow one joins the shared reading");
    server.sql("INSERT INTO s.t (b) VALUES ('last')");
    let end = source.end().await.unwrap();
    drop(fast);
    read_until(&mut slow, &from, &end, &mut seen_slow).await;
    assert_eq!(seen_slow.ended.len(), seen_fast.ended.len() + 1);
    assert_once(&seen_slow);
}
