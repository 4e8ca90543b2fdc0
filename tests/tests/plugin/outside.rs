//! What the manifest grants to a plugin, and what stays closed. `plugins/outside` tries; `tests/src/http_peer.py` is whom it asks.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};
use tidegate::manifest::grant::Grant;
use tidegate::manifest::secret::Secret;
use tidegate::plugin::{Fault, HttpConfig, Limits, PluginConfig, PluginError};
use tidegate_tests::project;

use super::{ALL, EMAILS, ENGINE, batch, config, customers, process, texts};

const ALLOW: [&str; 4] = ["clock", "random", "env:TIDEGATE_TEST_GRANTED", "http:nowhere.example"];

fn grants(texts: &[&str]) -> Vec<Grant> {
    texts.iter().map(|text| text.parse().expect("a grant")).collect()
}

/// All that the component imports is granted; `allow`: besides.
fn outside(with: Json, allow: &[&str]) -> PluginConfig {
    // SAFETY: no other test reads this variable, and none is read meanwhile that could be moved.
    unsafe { std::env::set_var("TIDEGATE_TEST_GRANTED", "a value") };
    let limits = Limits { call_time_max: Duration::from_millis(1500), ..Limits::default() };
    PluginConfig { allow: grants(&[&ALLOW, allow].concat()), limits, ..config("outside", with) }
}

/// What the plugin wrote into the rows.
fn tried(config: &PluginConfig) -> Result<String, PluginError> {
    let mut batch = batch(&customers(), &ALL, &EMAILS);
    process(&[ENGINE.load(config)?], &mut batch)?;
    Ok(texts(&batch.relations[0].after[1])[0].clone().expect("a text"))
}

fn outcome(with: Json, allow: &[&str]) -> String {
    tried(&outside(with, allow)).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn what_is_not_granted_is_refused_by_name() {
    let refused = |allow: &[&str]| {
        let config = PluginConfig { allow: grants(allow), ..outside(json!({"do": "clock"}), &[]) };
        ENGINE.load(&config).expect_err("refused").to_string()
    };
    let text = refused(&[]);
    for import in
        ["wasi:clocks/wall-clock@0.2", "wasi:random/random@0.2", "wasi:cli/environment@0.2", "wasi:http/outgoing-handler@0.2"]
    {
        assert!(text.starts_with("plugin `outside`: imports `") && text.contains(import), "{text}");
    }
    assert!(text.contains("hint: if it may have that, write at this plugin: allow = ["), "{text}");
    for (at, giver) in ["clock", "random", "env:NAME", "http:HOST"].iter().enumerate() {
        let others: Vec<&str> = ALLOW.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, grant)| *grant).collect();
        let text = refused(&others);
        assert!(text.ends_with(&format!("allow = [\"{giver}\"]")), "{text}");
    }
    let unset = PluginConfig { allow: grants(&["env:TIDEGATE_TEST_UNSET"]), ..config("mask", json!({"columns": ["email"]})) };
    let text = ENGINE.load(&unset).expect_err("not set").to_string();
    assert!(
        text.contains("may have the variable TIDEGATE_TEST_UNSET of the environment (`allow`), but it is not set\nhint: "),
        "{text}"
    );
}

#[test]
fn what_is_granted_works_and_shows_nothing_else() {
    let seconds: u64 = outcome(json!({"do": "clock"}), &[]).parse().expect("seconds");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
    assert!(now.abs_diff(seconds) < 60);
    assert_ne!(outcome(json!({"do": "random"}), &[]), outcome(json!({"do": "random"}), &[]));
    assert_eq!(outcome(json!({"do": "env"}), &[]), "[(\"TIDEGATE_TEST_GRANTED\", \"a value\")] []");
}

/// The SDKs of C and Go have functions for it; what a plugin does not call is not imported.
#[test]
fn what_is_granted_works_in_other_languages() {
    for language in ["c", "go"] {
        let path = config(&format!("outside-{language}"), json!({})).path;
        let plugin = ENGINE.load(&PluginConfig { path, ..outside(json!({}), &[]) }).unwrap_or_else(|e| panic!("{language}: {e}"));
        let outcome = |what: &str| {
            let mut batch = batch(&customers(), &ALL, &EMAILS);
            process(&[plugin.with_config(&json!({ "do": what }))], &mut batch).unwrap_or_else(|e| panic!("{language}: {e}"));
            texts(&batch.relations[0].after[1])[0].clone().expect("a text")
        };
        let seconds: u64 = outcome("clock").parse().expect("seconds");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
        assert!(now.abs_diff(seconds) < 60, "{language}");
        assert_ne!(outcome("random"), outcome("random"), "{language}");
        assert_eq!(outcome("env"), "a value alone", "{language}");
    }
    let path = config("outside-c", json!({})).path;
    let ungranted = PluginConfig { path, allow: grants(&ALLOW[1..]), ..outside(json!({}), &[]) };
    let text = ENGINE.load(&ungranted).expect_err("refused").to_string();
    assert!(text.contains("wasi:clocks/wall-clock@0.2.0") && text.ends_with("allow = [\"clock\"]"), "{text}");
}

#[test]
fn waiting_ends_with_the_call() {
    for deed in ["sleep", "stuck"] {
        let began = Instant::now();
        let error = tried(&outside(json!({"do": deed}), &[])).expect_err("too long");
        assert!(matches!(error.fault, Fault::Deadline { .. }), "{deed}: {error}");
        assert!(began.elapsed() < Duration::from_secs(30), "{deed}: {:?}", began.elapsed());
    }
}

#[test]
fn what_the_host_holds_for_a_plugin_is_bounded() {
    let error = tried(&outside(json!({"do": "hoard"}), &[])).expect_err("too many");
    assert!(matches!(error.fault, Fault::Trap { .. }), "{error}");
}

/// A python server on this machine; ended when dropped.
struct Peer {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Peer {
    fn start(encrypted: bool) -> Peer {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        let mut command = Command::new("python3");
        command.arg(project("tests/src/http_peer.py")).arg(file("log"));
        if encrypted {
            let made = Command::new("openssl")
                .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
                .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
                .args(["-addext", "basicConstraints=critical,CA:FALSE"])
                .arg("-keyout")
                .arg(file("key.pem"))
                .arg("-out")
                .arg(file("ca.pem"))
                .output()
                .expect("openssl");
            assert!(made.status.success(), "{made:?}");
            command.arg(file("ca.pem")).arg(file("key.pem"));
        }
        let mut child = command.stdout(Stdio::piped()).spawn().expect("python3");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("its port");
        let port = line.trim().parse().expect("a port");
        Peer { child, folder, port }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The requests that it got.
    fn log(&self) -> String {
        std::fs::read_to_string(self.file("log")).unwrap_or_default()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(url: &str) -> Json {
    json!({"do": "http", "url": url})
}

#[test]
fn requests_go_to_granted_hosts_alone() {
    let peer = Peer::start(false);
    let own = format!("127.0.0.1:{}", peer.port);
    let grant = format!("http:{own}");
    assert_eq!(outcome(get(&format!("http://{own}/hello")), &[&grant]), "200 hello (5 bytes)");
    // A redirect is the guest's to follow, and is checked again.
    let answer = outcome(get(&format!("http://{own}/redirect")), &[&grant]);
    assert!(answer.starts_with("302 location: http://127.0.0.1:1/elsewhere"), "{answer}");
    let by_name = format!("http:localhost:{}", peer.port);
    assert_eq!(outcome(get(&format!("http://LOCALHOST:{}/hello", peer.port)), &[&by_name]), "200 hello (5 bytes)");
    let before = peer.log();
    let port = peer.port;
    let denied = [
        // Not granted: another host, port, scheme, or spelling of the address.
        "http://127.0.0.1:1/".to_owned(),
        format!("http://localhost:{port}/"),
        format!("https://{own}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://0x7f.1:{port}/"),
        format!("http://127.1:{port}/"),
        format!("http://user@127.0.0.1:{port}@169.254.169.254/"),
        // The host is the granted one, and what stands before it would go out in the header `host`.
        format!("http://other.example@127.0.0.1:{port}/"),
        format!("http://127.0.0.1.:{port}/"),
        format!("http://127.0.0.01:{port}/"),
        format!("http://[::1%25lo]:{port}/"),
        format!("http://127。0。0。1:{port}/"),
        format!("http://xn--127-0-0-1.example:{port}/"),
        format!("http://127.0.0.1\r\nx:{port}/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://metadata.google.internal/".to_owned(),
        format!("http://0.0.0.0:{port}/"),
        "file:///etc/passwd".to_owned(),
    ];
    for url in denied {
        let answer = outcome(get(&url), &[&grant]);
        assert!(!answer.starts_with("200"), "{url}: {answer}");
        assert!(
            ["HttpRequestDenied", "HttpRequestUriInvalid", "HttpProtocolError", "the authority"]
                .iter()
                .any(|why| answer.contains(why)),
            "{url}: {answer}"
        );
    }
    assert_eq!(peer.log(), before, "nothing else has reached the server");
}

/// What goes over the wire is one request to the granted host, whatever a guest writes into it.
#[test]
fn requests_are_not_made_to_look_like_others() {
    let peer = Peer::start(false);
    let own = format!("127.0.0.1:{}", peer.port);
    let grant = format!("http:{own}");
    let mut sent = 0;
    let mut tried = |with: Json| {
        let answer = outcome(with.clone(), &[&grant]);
        // No second request came out of it.
        let log = peer.log();
        let requests = log.lines().filter(|line| line.starts_with(['G', 'P', 'C']) && line.contains(" /")).count();
        sent += usize::from(answer.starts_with("200"));
        assert!(requests <= sent + 1, "{with}: {log}");
        sent = requests;
        answer
    };
    let http = |more: Json| {
        let mut with = json!({"do": "http", "url": format!("http://{own}/hello")});
        with.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        with
    };
    for (header, value) in [
        ("host", "other.example"),
        ("Host", "other.example"),
        ("connection", "x-own"),
        ("Upgrade", "websocket"),
        ("transfer-encoding", "chunked"),
        ("Transfer-Encoding", "identity"),
        ("keep-alive", "timeout=1000"),
        ("proxy-authorization", "x"),
        ("x-own", "a\r\nx-secret: b"),
        ("x-own\r\nx-secret", "b"),
        ("content-length", "+5"),
    ] {
        let answer = tried(http(json!({"headers": [[header, value]], "bytes": 5})));
        assert!(!answer.starts_with("200"), "{header}: {answer}");
    }
    let answer = tried(http(json!({"headers": [["content-length", "5"], ["content-length", "50"]], "bytes": 5})));
    assert!(!answer.starts_with("200"), "{answer}");
    // More, and less, than it says.
    for length in ["4", "6"] {
        let answer = tried(http(json!({"headers": [["content-length", length]], "bytes": 5})));
        assert!(!answer.starts_with("200"), "{length}: {answer}");
    }
    for method in ["G ET", "GET / HTTP/1.1\r\nx: y\r\n\r\nGET", ""] {
        let answer = tried(http(json!({ "method": method })));
        assert!(!answer.starts_with("200"), "{method}: {answer}");
    }
    for path in ["/a b", "/a\r\nx: y", "http://other.example/"] {
        let answer = tried(json!({"do": "http", "url": format!("http://{own}{path}")}));
        assert!(!answer.starts_with("200"), "{path}: {answer}");
    }
    // Nothing is tunnelled.
    let answer = tried(http(json!({"method": "CONNECT"})));
    assert!(answer.ends_with("(0 bytes)"), "{answer}");
    assert!(peer.log().lines().all(|line| !line.starts_with("Host: ") || line == format!("Host: {own}")), "{}", peer.log());
}

/// A name that leads to this machine, which is not what the grant says.
#[test]
fn a_name_leads_to_public_addresses_alone() {
    let peer = Peer::start(false);
    let config = |host: &str| {
        let http = HttpConfig { host: host.parse().expect("a host"), headers: Default::default(), is_encrypted: false, ca: None };
        let grant = format!("http:{host}");
        PluginConfig { http: vec![http], ..outside(get(&format!("http://{host}/")), &[&grant]) }
    };
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let name = hosts
        .lines()
        .filter(|line| line.starts_with("127.") || line.starts_with("::1"))
        .flat_map(|line| line.split_whitespace().skip(1));
    let Some(name) = name.filter(|name| *name != "localhost").last() else { panic!("no other name of this machine in /etc/hosts") };
    let answer = tried(&config(&format!("{name}:{}", peer.port))).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(answer, "ErrorCode::DestinationIpProhibited", "{name}");
    assert_eq!(peer.log(), "");
}

#[test]
fn time_and_size_of_requests_are_limited() {
    let peer = Peer::start(false);
    let own = format!("127.0.0.1:{}", peer.port);
    let grant = format!("http:{own}");
    for (path, expected) in [("stall", "ErrorCode::HttpResponseTimeout"), ("slow", " and then ")] {
        let began = Instant::now();
        let answer = outcome(get(&format!("http://{own}/{path}")), &[&grant]);
        assert!(answer.contains(expected), "{path}: {answer}");
        assert!(began.elapsed() < Duration::from_secs(30), "{path}: {:?}", began.elapsed());
    }
    let small = |with: Json| {
        let config = outside(with, &[&grant]);
        let limits = Limits {
            memory_bytes_max: 8 << 20,
            output_bytes_max: 4 << 20,
            call_time_max: Duration::from_secs(60),
            ..Limits::default()
        };
        tried(&PluginConfig { limits, ..config }).unwrap_or_else(|e| panic!("{e}"))
    };
    let answer = small(get(&format!("http://{own}/huge")));
    assert!(answer.starts_with("200 ") && answer.contains(" and then "), "{}", &answer[..answer.len().min(2000)]);
    let answer = small(get(&format!("http://{own}/head")));
    assert!(!answer.starts_with("200"), "{answer}");
    let answer = small(
        json!({"do": "http", "url": format!("http://{own}/"), "bytes": 5 << 20, "headers": [["content-length", (5 << 20).to_string()]]}),
    );
    assert!(!answer.starts_with("200"), "{answer}");
    // One that does not say how long it is, to a server that answers at once.
    let answer = small(json!({"do": "http", "url": format!("http://{own}/"), "bytes": 5 << 20}));
    assert!(answer.contains("HttpRequestBodySize"), "{answer}");
    let answer = small(json!({"do": "http", "url": format!("http://{own}/hello"), "bytes": 3 << 20}));
    assert!(answer.starts_with("200 hello"), "{answer}");
    let answer = small(json!({"do": "http", "url": format!("http://{own}/"), "times": 101}));
    assert_eq!(answer, "ErrorCode::ConnectionLimitReached");
}

#[test]
fn secrets_go_out_over_verified_tls_and_the_plugin_never_sees_them() {
    let peer = Peer::start(true);
    let host = format!("localhost:{}", peer.port);
    let headers = [("authorization".to_owned(), Secret::new("Bearer hunter2"))];
    let http = |ca: Option<PathBuf>| HttpConfig {
        host: host.parse().expect("a host"),
        headers: headers.clone().into(),
        is_encrypted: true,
        ca,
    };
    let with =
        json!({"do": "http", "url": format!("https://{host}/hello"), "headers": [["authorization", "mine"], ["x-own", "kept"]]});
    let grant = format!("http:{host}");
    let config = PluginConfig { http: vec![http(Some(peer.file("ca.pem")))], ..outside(with.clone(), &[&grant]) };
    assert_eq!(tried(&config).unwrap_or_else(|e| panic!("{e}")), "200 hello (5 bytes)");
    let log = peer.log();
    assert!(log.contains("authorization: Bearer hunter2") && log.contains("x-own: kept") && !log.contains("mine"), "{log}");
    assert!(!format!("{config:?}").contains("hunter2"));
    // Nor behind the body, where a server may take them for headers.
    let with = json!({
        "do": "http", "url": format!("https://{host}/hello"), "bytes": 5,
        "headers": [["trailer", "x-own, x-token"]],
        "trailers": [["X-Token", "mine"], ["x-own", "kept"]],
    });
    let of_token =
        HttpConfig { headers: [("x-token".to_owned(), Secret::new("hunter2"))].into(), ..http(Some(peer.file("ca.pem"))) };
    let config = PluginConfig { http: vec![of_token], ..outside(with.clone(), &[&grant]) };
    assert_eq!(tried(&config).unwrap_or_else(|e| panic!("{e}")), "200 hello (5 bytes)");
    tidegate_tests::servers::wait_until("the trailers have come", || peer.log().contains("trailer x-own: kept"));
    let log = peer.log();
    assert!(log.contains("x-token: hunter2") && !log.contains("mine"), "{log}");
    // One that no authority has signed.
    let config = PluginConfig { http: vec![http(None)], ..outside(with, &[&grant]) };
    let answer = tried(&config).unwrap_or_else(|e| panic!("{e}"));
    assert!(answer.contains("Tls"), "{answer}");
    assert_eq!(peer.log(), log, "nothing was sent");
}

/// In the program itself, where a lane is a thread of the runtime.
#[test]
fn a_lane_may_wait() {
    let peer = Peer::start(false);
    let flow = tidegate_tests::flow::Flow::new(&format!(
        r#"
[source.demo]
type = "binlog-files"
paths = ["{}"]
tables = ["shop.*"]

[plugin.outside]
path = "{}"
allow = ["clock", "random", "env:HOME", "http:127.0.0.1:{port}"]
config = {{ do = "http", url = "http://127.0.0.1:{port}/hello" }}
http."127.0.0.1:{port}".headers = {{ x-secret = "${{env:OUTSIDE_SECRET}}" }}

[sink.out]
type = "jsonl"
path = "out.jsonl"

[pipeline.p]
source = "demo"
plugins = ["outside"]
sink = "out"
"#,
        project("examples/demo/binlog/shop.*").display(),
        project("target/plugins/outside.wasm").display(),
        port = peer.port,
    ));
    let mut run = flow.start(&["--until", "caught-up"], &[("OUTSIDE_SECRET", "hunter2")]);
    assert!(run.wait().success(), "{}", run.log());
    let out = std::fs::read_to_string(flow.folder().join("out.jsonl")).expect("the output");
    assert!(out.contains("200 hello (5 bytes)") && !out.contains("hunter2"));
    assert!(peer.log().contains("x-secret: hunter2"));
}
