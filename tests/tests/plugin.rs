//! Plugins as components: `make plugins` builds them into target/plugins.

#[path = "plugin/author.rs"]
mod author;
#[path = "plugin/bench.rs"]
mod bench;
#[path = "plugin/cases.rs"]
mod cases;
#[path = "plugin/derived.rs"]
mod derived;
#[path = "plugin/hostile.rs"]
mod hostile;
#[path = "plugin/outside.rs"]
mod outside;
#[path = "plugin/record.rs"]
mod record;
#[path = "plugin/seen.rs"]
mod seen;
#[path = "plugin/settings.rs"]
mod settings;

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, StringArray};
use arrow_buffer::BooleanBuffer;
use serde_json::{Value as Json, json};
use tidegate::change::{Batch, Column, ColumnDef, KeyOrigin, Op, Relation, RowId, Rows, SourceType, Transaction};
use tidegate::plugin::{Chain, Engine, Fault, Limits, Plugin, PluginConfig, PluginError, RowError};
use tidegate::position::Position;
use tidegate_tests::project;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(None).expect("an engine"));

const MEMORY: usize = 64 << 20;
const TIME: Duration = Duration::from_secs(2);

fn config(name: &str, config: Json) -> PluginConfig {
    let path = project("target/plugins").join(format!("{name}.wasm"));
    assert!(path.exists(), "{} is missing: run `make plugins`", path.display());
    let limits = Limits { memory_bytes_max: MEMORY, call_time_max: TIME, ..Limits::default() };
    PluginConfig { name: name.to_owned(), path, config, limits, allow: Vec::new(), http: Vec::new(), sha256: None }
}

fn load(name: &str, with: Json) -> Plugin {
    ENGINE.load(&config(name, with)).unwrap_or_else(|e| panic!("{e}"))
}

/// shop.customers (id bigint primary key, email varchar(55)).
fn customers() -> Arc<Relation> {
    let column = |name: &str, source_type| ColumnDef { name: name.into(), source_type, nullable: false };
    Arc::new(Relation {
        id: Relation::next_id(),
        schema: "shop".into(),
        table: "customers".into(),
        columns: vec![
            column("id", SourceType::Int { bits: 64, unsigned: false }),
            column("email", SourceType::VarChar { length: 55, collation: 255 }),
        ],
        key: vec![0],
        key_origin: KeyOrigin::Primary,
    })
}

fn column(values: impl Array + 'static) -> Option<Column> {
    Some(Column { values: Arc::new(values), present: None })
}

/// One row an op; the email of row i is `emails[i]`, in the image that the op has.
fn batch(relation: &Arc<Relation>, ops: &[Op], emails: &[&str]) -> Batch {
    let ids = || Int64Array::from_iter_values(0..ops.len() as i64);
    let image = |has: fn(Op) -> bool| {
        let texts = ops.iter().zip(emails).map(|(op, email)| has(*op).then_some(*email));
        vec![column(ids()), column(texts.collect::<StringArray>())]
    };
    let rows = Rows {
        relation: Arc::clone(relation),
        ops: ops.to_vec(),
        ids: (0..ops.len() as u64).map(|place| RowId { transaction: 1, place }).collect(),
        after: image(|op| op != Op::Delete),
        before: image(|op| matches!(op, Op::Update | Op::Delete)),
        topics: None,
    };
    let position = Position { file: "binlog.000001".into(), offset: 4, gtids: None, home: None };
    let transaction = Transaction { number: 1, gtid: None, file: "binlog.000001".into(), offset: 4, commit_time_us: 0 };
    Batch {
        rows: rows.len(),
        bytes: 0,
        first: rows.ids[0],
        last: *rows.ids.last().expect("at least one row"),
        relations: vec![rows],
        transactions: vec![transaction],
        resume: Arc::new(position),
        is_read: false,
        ends: Vec::new(),
        ends_transaction: true,
    }
}

fn texts(column: &Option<Column>) -> Vec<Option<String>> {
    let values: &ArrayRef = &column.as_ref().expect("a column").values;
    values.as_string::<i32>().iter().map(|v| v.map(str::to_owned)).collect()
}

/// The topics of each row; empty: dropped.
fn topics(rows: &Rows) -> Vec<Vec<&str>> {
    let topics = rows.topics.as_ref().expect("topics");
    topics.of_row.iter().map(|&list| topics.lists[usize::from(list)].iter().map(|t| &**t).collect()).collect()
}

fn process(plugins: &[Plugin], batch: &mut Batch) -> Result<Vec<RowError>, PluginError> {
    Chain::new(plugins)?.process(batch)
}

const ALL: [Op; 4] = [Op::Insert, Op::Update, Op::Delete, Op::Snapshot];
const EMAILS: [&str; 4] = ["ada@a.org", "bob@b.org", "eve@c.org", "zoé@d.org"];

#[test]
fn a_mask_masks_both_images() {
    let mut batch = batch(&customers(), &ALL, &EMAILS);
    process(&[load("mask", json!({"columns": ["email"]}))], &mut batch).unwrap_or_else(|e| panic!("{e}"));
    let rows = &batch.relations[0];
    let some = |texts: &[Option<&str>]| texts.iter().map(|t| t.map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(texts(&rows.after[1]), some(&[Some("a***@a.org"), Some("b***@b.org"), None, Some("z***@d.org")]));
    assert_eq!(texts(&rows.before[1]), some(&[None, Some("b***@b.org"), Some("e***@c.org"), None]));
}

#[test]
fn sliced_and_absent_values_pass_as_they_are() {
    let relation = customers();
    let mut batch = batch(&relation, &[Op::Insert; 3], &["x@x", "x@x", "x@x"]);
    // The array begins within a byte of its bitmap and within its data; the second row's image has no email.
    let whole = StringArray::from(vec![Some("cut off"), Some("ada@a"), None, Some("bob@b")]);
    let values = Arc::new(whole.slice(1, 3));
    let present = BooleanBuffer::from(vec![false, true, false, true]).slice(1, 3);
    batch.relations[0].after[1] = Some(Column { values, present: Some(present) });
    process(&[load("mask", json!({"columns": ["email"]}))], &mut batch).unwrap_or_else(|e| panic!("{e}"));
    let email = &batch.relations[0].after[1];
    assert_eq!(texts(email), [Some("a***@a".to_owned()), None, Some("b***@b".to_owned())]);
    let email = email.as_ref().expect("a column");
    assert_eq!([0, 1, 2].map(|row| email.is_present(row)), [true, false, true]);
}

#[test]
fn a_later_plugin_does_not_see_dropped_rows() {
    let filter = load("filter", json!({"where": [{"column": "id", "op": "!=", "value": 0}]}));
    let router = load("router", json!({"column": "email", "topic": "to.{value}"}));
    let mut batch = batch(&customers(), &[Op::Insert, Op::Insert, Op::Delete], &["a", "b", "c"]);
    process(&[filter, router], &mut batch).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(topics(&batch.relations[0]), [vec![], vec!["to.b"], vec!["to.c"]]);
}

#[test]
fn an_update_can_become_a_delete_that_finds_its_row() {
    let mut batch = batch(&customers(), &[Op::Update, Op::Insert], &["bob", "bob"]);
    batch.relations[0].before = vec![None, column(StringArray::from(vec![Some("ada"), None]))];
    let filter = load("filter", json!({"where": [{"column": "email", "op": "=", "value": "ada"}]}));
    process(&[filter], &mut batch).unwrap_or_else(|e| panic!("{e}"));
    let rows = &batch.relations[0];
    assert_eq!(rows.ops, [Op::Delete, Op::Insert]);
    let key = rows.key_image(0)[0].as_ref().expect("the key");
    assert!(key.is_present(0));
    assert_eq!(key.values.as_primitive::<Int64Type>().value(0), 0);
    assert_eq!(topics(rows), [vec!["shop.customers"], vec![]]);
}

fn hostile(deed: &str, call: &str) -> Plugin {
    load("hostile", json!({"do": deed, "in": call}))
}

/// The error of one deed, which must come soon.
fn error_of(deed: &str, call: &str) -> PluginError {
    let started = Instant::now();
    let mut batch = batch(&customers(), &ALL, &EMAILS);
    let error = process(&[hostile(deed, call)], &mut batch).expect_err(deed);
    assert!(started.elapsed() < TIME * 5, "{deed}: took {:?}", started.elapsed());
    error
}

#[test]
fn crashes_loops_and_bombs_are_contained_in_every_call() {
    for call in ["configure", "bind", "process"] {
        let PluginError { fault, .. } = error_of("trap", call);
        let Fault::Trap { call: at, trap } = &fault else { panic!("{fault}") };
        assert_eq!(*at, call);
        assert!(trap.contains("trapped on purpose") && trap.contains("hostile/src/lib.rs"), "{trap}");
        let fault = error_of("loop", call).fault;
        assert!(matches!(fault, Fault::Deadline { .. }), "{fault}");
        let fault = error_of("allocate", call).fault;
        assert!(matches!(fault, Fault::Memory { limit: MEMORY, .. }), "{fault}");
        let fault = error_of("recurse", call).fault;
        assert!(matches!(fault, Fault::Trap { .. }), "{fault}");
    }
}

#[test]
fn errors_name_the_plugin_and_the_table() {
    let text = error_of("error", "process").to_string();
    assert_eq!(text, "plugin `hostile`, shop.customers: reported an error: refused on purpose");
    let text = error_of("error", "bind").to_string();
    assert_eq!(text, "plugin `hostile`, shop.customers: refused the table: refused on purpose");
    let text = error_of("error", "configure").to_string();
    assert!(text.starts_with("plugin `hostile`: refused its configuration: refused on purpose\nhint: "), "{text}");
}

#[test]
fn a_crashed_instance_stays_dead_and_a_new_chain_works() {
    let relation = customers();
    let plugin = hostile("trap", "process");
    let mut chain = Chain::new(std::slice::from_ref(&plugin)).unwrap_or_else(|e| panic!("{e}"));
    for expected_dead in [false, true] {
        let error = chain.process(&mut batch(&relation, &ALL, &EMAILS)).expect_err("a trap");
        assert_eq!(matches!(error.fault, Fault::Dead), expected_dead, "{error}");
    }
    let fresh = process(&[hostile("nothing", "process")], &mut batch(&relation, &ALL, &EMAILS));
    assert!(fresh.is_ok_and(|errors| errors.is_empty()));
}

#[test]
fn malformed_plans_and_outcomes_say_what_is_wrong() {
    let cases = [
        ("read-beyond", "read of column 2 of a table of 2 columns"),
        ("read-twice", "column `email` twice"),
        ("metadata-twice", "row metadata of one code twice"),
        ("drop-key", "drop of key column `id`"),
        ("add-twice", "two columns with the name `added`"),
        ("unknown-kind", "kind code 200 of added column `added`"),
        ("unknown-op", "operation code 9"),
        ("short-keep", "keep: a bitmap of 2 bytes for 4 rows, which take 1"),
        ("short-words", "assigns[0]: words of 24 bytes for 4 rows, which take 32"),
        ("wrong-kind", "assigns[0]: kind 2 for a column of kind 1 (Int64)"),
        ("wrong-buffer", "assigns[0]: a buffer of `words` for kind Text"),
        ("offsets-short", "assigns[0]: offsets of 4 bytes for 4 rows, which take 20"),
        ("offsets-down", "assigns[0]: row 3: the offset goes down from 2 to 1"),
        ("offsets-beyond", "assigns[0]: offsets up to 3 in 2 bytes of data"),
        ("not-utf8", "assigns[0]: row 0: not UTF-8"),
        ("split-utf8", "assigns[0]: row 0: not UTF-8"),
        ("column-beyond", "assigns[0]: column 99 of 2"),
        ("image-beyond", "assigns[0]: image code 7"),
        ("list-beyond", "routing: row 0: list 0 of 0"),
        ("short-routes", "routing: `rows` of 4 bytes for 4 rows, which take 8"),
        ("empty-topic", "routing: a topic name of 0 bytes"),
        ("many-topics", "routing: 101 topics for one row; 100 are allowed"),
        ("error-beyond", "errors: row 4 of 4"),
        ("short-ops", "ops: 1 for 4 rows"),
        ("op-beyond", "ops: row 0: operation code 4"),
        ("short-nulls", "assigns[0]: `nulls`: a bitmap of 4 bytes for 4 rows, which take 1"),
        ("large-constant", "assigns[0]: a constant takes 83886112 bytes in 4 rows, 67108864 of `output` are left"),
        ("many-constants", "assigns[5]: a constant takes 12582944 bytes in 4 rows, 4194144 of `output` are left"),
        ("many-assigns", "assigns: column 1 more than 100 times"),
        ("overlap", "it holds more than 67108864 bytes"),
        ("derive-twice", "two derived tables `made.rows`"),
        ("derive-key-beyond", "derived table `made.rows`: a key of the columns [2] of 2"),
        ("derive-without-name", "a derived table `made.`, which lacks a part of its name"),
        ("derivation-beyond", "derived[0]: derivation 1 of 1"),
        ("short-origins", "derived[0]: `origins` of 8 bytes for 3 rows, which take 12"),
        ("origin-beyond", "derived[0]: row 1 comes from row 4 of 4"),
        ("origins-down", "derived[0]: row 1 comes from row 0, the one before it from row 1"),
        ("derived-without-key", "derived[0]: row 0 of made.rows lacks its key `id`"),
        ("derived-null-key", "derived[0]: row 1 of made.rows lacks its key `id`"),
        ("derived-delete-without-key", "derived[0]: row 1 of made.rows is not inserted, and the table has no key to find it by"),
        ("derived-column-beyond", "derived[0]: column 2 of 2"),
        ("derived-twice", "derived[0]: column `id`: given twice"),
        ("derived-bomb", "derived[0]: 1048576 rows of 4096 columns take 34361835520 bytes, 67108864 of `output` are left"),
        ("derived-bombs", "derived[1]: 1000 rows of 4096 columns take 34865152 bytes, 32243712 of `output` are left"),
        ("derived-empties", "derived[32]: 0 rows of 4096 columns take 2097152 bytes, 0 of `output` are left"),
    ];
    for (deed, expected) in cases {
        let text = error_of(deed, "process").to_string();
        assert!(text.starts_with("plugin `hostile`, shop.customers: ") && text.contains(expected), "{deed}: {text}");
    }
}

#[test]
fn rows_that_cannot_be_processed_are_named_and_dropped() {
    let mut batch = batch(&customers(), &ALL, &EMAILS);
    let errors = process(&[hostile("row-error", "process")], &mut batch).unwrap_or_else(|e| panic!("{e}"));
    let [error] = errors.as_slice() else { panic!("{errors:?}") };
    assert_eq!(error.to_string(), "plugin `hostile`, shop.customers, row 1 of the batch: bad on purpose");
    assert_eq!(error.id, RowId { transaction: 1, place: 1 });
    let own = vec!["shop.customers"];
    assert_eq!(topics(&batch.relations[0]), [own.clone(), vec![], own.clone(), own]);
}

#[test]
fn a_log_flood_is_survived() {
    let mut batch = batch(&customers(), &ALL, &EMAILS);
    assert!(process(&[hostile("log-flood", "process")], &mut batch).is_ok());
}

#[test]
fn a_state_flood_is_survived() {
    for call in ["configure", "bind", "process"] {
        let mut batch = batch(&customers(), &ALL, &EMAILS);
        let limits = Limits { state_bytes_max: 1 << 20, ..Limits::default() };
        let config = PluginConfig { limits, ..config("hostile", json!({ "do": "state-flood", "in": call })) };
        let plugin = ENGINE.load(&config).unwrap_or_else(|e| panic!("{e}"));
        let mut chain = Chain::new(&[plugin]).unwrap_or_else(|e| panic!("{e}"));
        assert!(chain.process(&mut batch).is_ok());
        let bytes: usize = chain.take_changes().iter().map(|c| c.key.len() + c.value.as_ref().map_or(0, |v| v.len()) + 64).sum();
        assert!(if call == "process" { (900_000..=1 << 20).contains(&bytes) } else { bytes == 0 }, "{call}: {bytes}");
    }
}

#[test]
fn compiled_code_is_cached_and_a_damaged_file_is_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::new(Some(folder.path())).expect("an engine");
    let mask = config("mask", json!({"columns": ["email"]}));
    let file = |folder: &Path| {
        let files = std::fs::read_dir(folder).expect("the cache").map(|file| file.expect("a file").path());
        let mut files = files.filter(|file| file.extension().is_some_and(|extension| extension == "cwasm"));
        let file = files.next().expect("a file");
        assert!(files.next().is_none(), "one file a component");
        file
    };
    engine.load(&mask).unwrap_or_else(|e| panic!("{e}"));
    let path = file(folder.path());
    let good = std::fs::read(&path).expect("read");
    for damage in [&good[..good.len() / 2], &[0; 100], &[]] {
        std::fs::write(&path, damage).expect("write");
        engine.load(&mask).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(std::fs::read(file(folder.path())).expect("read").len(), good.len());
    }
}

#[test]
fn the_sdks_have_the_interface_of_the_host() {
    let read = |path: &str| std::fs::read_to_string(project(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let interface = read("wit/v0.1/plugin.wit");
    // Of the same type, but where the tools of these two see its name they pass a list of numbers, which takes ten times as long as bytes.
    let as_bytes = interface.replace("list<op>", "list<u8>");
    for (sdk, expected) in [("rust", &interface), ("javascript", &as_bytes), ("python", &as_bytes)] {
        let copy = format!("sdk/{sdk}/wit/plugin.wit");
        assert_eq!(*expected, read(&copy), "copy wit/v0.1/plugin.wit to {copy}");
        let copy = format!("sdk/{sdk}/wit/state.wit");
        assert_eq!(read("wit/v0.1/state.wit"), read(&copy), "copy wit/v0.1/state.wit to {copy}");
    }
}

#[test]
fn a_file_with_another_digest_is_refused() {
    let mask = config("mask", json!({ "columns": ["email"] }));
    let found = ENGINE.inspect(&mask.path).unwrap_or_else(|e| panic!("{e}")).sha256;
    let pinned = |sha256: &str| ENGINE.load(&PluginConfig { sha256: Some(sha256.to_owned()), ..mask.clone() });
    assert!(pinned(&found).is_ok());
    let other = found.replace(|c| c != '0', "0");
    let error = pinned(&other).expect_err("another file").to_string();
    assert!(error.contains(&format!("its sha256 is {found}, not {other}\nhint: ")), "{error}");
}

/// Tables that come and go for ever: what a guest keeps of each ends before its memory does.
#[test]
fn relations_without_end_take_no_memory() {
    let limits = Limits { memory_bytes_max: 4 << 20, ..Limits::default() };
    let config = PluginConfig { limits, ..config("mask", json!({ "columns": ["email"] })) };
    let plugin = ENGINE.load(&config).expect("a plugin");
    let mut chain = Chain::new(&[plugin]).expect("an instance");
    let first = customers();
    for _ in 0..20_000 {
        assert!(chain.bind(&customers()).expect("a plan").is_transformed);
    }
    let mut batch = batch(&first, &[Op::Insert], &["ada@example.com"]);
    assert!(chain.process(&mut batch).expect("a masked row").is_empty());
}
