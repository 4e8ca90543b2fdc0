//! Sink `jsonl`: one JSON object a change, one change a line, into a file or to stdout.
//!
//! What a line holds, and how values are written, docs/types.md says; `op` may also be `snapshot`.
//!
//! A file is appended to and synced once a delivery. Pipelines of one process may write to the same one; they take turns. What a crash left of an unfinished last line is cut off at start.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use super::cell::{Cell, View, fsp};
use super::{BeforeNeed, Delivery, Finding, Mark, Severity, Sink, SinkError, Writer};
use crate::change::{Column, ColumnDef, Op, Relation, Rows, Slice, SourceType, Transaction};
use crate::manifest::model;
use crate::temporal;

pub struct JsonlSink {
    name: String,
    path: PathBuf,
    /// Opened by the first writer; lanes take turns, a delivery at a time.
    output: SharedOutput,
}

type Place = Mutex<Option<Output>>;
type SharedOutput = Arc<Place>;

/// What the sinks of this process write to, by path: two that had a place in the same file each would overwrite each other's lines.
static OUTPUTS: LazyLock<Mutex<HashMap<PathBuf, Weak<Place>>>> = LazyLock::new(Mutex::default);

/// The output at a path, which may not be there yet.
fn shared_output(path: &Path) -> SharedOutput {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let in_folder = || Some(folder.canonicalize().ok()?.join(path.file_name()?));
    let place = path.canonicalize().ok().or_else(in_folder).unwrap_or_else(|| path.to_owned());
    let mut outputs = OUTPUTS.lock().unwrap_or_else(PoisonError::into_inner);
    outputs.retain(|_, output| output.strong_count() > 0);
    if let Some(output) = outputs.get(&place).and_then(Weak::upgrade) {
        return output;
    }
    let output = SharedOutput::default();
    outputs.insert(place, Arc::downgrade(&output));
    output
}

enum Output {
    Stdout,
    File {
        file: File,
        /// Where the last whole delivery ends: a failed one is cut off there.
        end: u64,
    },
}

impl JsonlSink {
    pub fn new(name: &str, config: &model::JsonlSink) -> JsonlSink {
        JsonlSink { name: name.to_owned(), path: config.path.clone(), output: shared_output(&config.path) }
    }

    fn is_stdout(&self) -> bool {
        self.path == Path::new("-")
    }
}

#[async_trait]
impl Sink for JsonlSink {
    fn before_need(&self) -> BeforeNeed {
        BeforeNeed::All
    }

    fn is_transactional(&self) -> bool {
        false
    }

    async fn check(&self, _relations: &[Arc<Relation>]) -> Vec<Finding> {
        if self.is_stdout() {
            return Vec::new();
        }
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let problem = if self.path.is_dir() {
            "is a folder"
        } else if self.path.exists() {
            match OpenOptions::new().append(true).open(&self.path) {
                Ok(_) => return Vec::new(),
                Err(_) => "cannot be written to",
            }
        } else if folder.is_dir() {
            return Vec::new();
        } else {
            "is in a folder that does not exist"
        };
        vec![Finding {
            severity: Severity::Error,
            subject: format!("sink `{}`", self.name),
            problem: format!("`{}` {problem}", self.path.display()),
            hint: "name a file in an existing folder that this user may write, or \"-\" for stdout".to_owned(),
        }]
    }

    async fn writer(&self) -> Result<Box<dyn Writer>, SinkError> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        if output.is_none() {
            *output = Some(if self.is_stdout() {
                Output::Stdout
            } else {
                open_file(&self.path).map_err(|e| SinkError::Configuration {
                    reason: format!("cannot open `{}`: {e}", self.path.display()),
                    hint: "name a file in an existing folder that this user may write, or \"-\" for stdout".to_owned(),
                })?
            });
        }
        Ok(Box::new(JsonlWriter {
            output: Arc::clone(&self.output),
            is_stdout: self.is_stdout(),
            lines: Vec::new(),
            text: String::new(),
        }))
    }

    async fn marks(&self, _pipeline: &str) -> Result<Vec<Mark>, SinkError> {
        Ok(Vec::new())
    }

    async fn set_marks(&self, _pipeline: &str, _marks: &[Mark]) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Opens for appending, and cuts off what follows the last line feed.
fn open_file(path: &Path) -> io::Result<Output> {
    const BLOCK: u64 = 64 * 1024;
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let len = file.metadata()?.len();
    let mut end = len;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.resize((end - start) as usize, 0);
        file.read_exact(&mut block)?;
        if let Some(at) = memchr::memrchr(b'\n', &block) {
            end = start + at as u64 + 1;
            break;
        }
        end = start;
    }
    if end < len {
        file.set_len(end)?;
        file.sync_all()?;
    }
    file.seek(SeekFrom::Start(end))?;
    Ok(Output::File { file, end })
}

struct JsonlWriter {
    output: SharedOutput,
    is_stdout: bool,
    /// Reused from delivery to delivery.
    lines: Vec<u8>,
    text: String,
}

#[async_trait]
impl Writer for JsonlWriter {
    async fn write(&mut self, delivery: &Delivery<'_>) -> Result<(), SinkError> {
        self.lines.clear();
        render(delivery, &mut self.lines, &mut self.text)?;
        let mut lines = std::mem::take(&mut self.lines);
        let output = Arc::clone(&self.output);
        let written = tokio::task::spawn_blocking(move || {
            let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
            let result = match output.as_mut() {
                Some(output) => output.append(&lines),
                None => Err(io::Error::other("the file is not open")),
            };
            lines.clear();
            (result, lines)
        })
        .await;
        let (result, lines) = written.map_err(|e| SinkError::Retry(format!("the write was cut short: {e}")))?;
        self.lines = lines;
        result.map_err(|e| match self.is_stdout {
            true if e.kind() == io::ErrorKind::BrokenPipe => SinkError::Configuration {
                reason: "stdout was closed by its reader".to_owned(),
                hint: "keep the reader running, or write to a file".to_owned(),
            },
            // What part of the lines is out, nobody knows.
            true => SinkError::Configuration {
                reason: format!("cannot write to stdout: {e}"),
                hint: "write to a file, which is tried again: `path`".to_owned(),
            },
            false => SinkError::Retry(format!("cannot write: {e}")),
        })
    }

    async fn write_unfolded(&mut self, delivery: &Delivery<'_>) -> Result<(), SinkError> {
        self.write(delivery).await
    }
}

impl Output {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Output::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Output::File { file, end } => {
                let result = file.write_all(lines).and_then(|()| file.sync_data());
                match result {
                    Ok(()) => *end += lines.len() as u64,
                    Err(_) => {
                        // The delivery comes again: do not leave half of it. If this fails, too, the retry overwrites it.
                        let _ = file.set_len(*end);
                        file.seek(SeekFrom::Start(*end))?;
                    }
                }
                result
            }
        }
    }
}

/// One slice, with what is the same for all its rows made once.
struct Part<'a> {
    slice: &'a Slice<'a>,
    /// `,"schema":"…","table":"…","topic":"…"`
    head: String,
    /// `"name":`, by column.
    names: Vec<String>,
    after: Vec<Option<View<'a>>>,
    before: Vec<Option<View<'a>>>,
}

/// Appends the lines of a delivery. `text` is room that is used again.
pub(crate) fn render(delivery: &Delivery<'_>, lines: &mut Vec<u8>, text: &mut String) -> Result<(), SinkError> {
    let parts = delivery.slices.iter().map(Part::new).collect::<Result<Vec<_>, _>>()?;
    let mut order: Vec<(u32, u32)> =
        parts.iter().enumerate().flat_map(|(p, part)| part.slice.picks.iter().map(move |row| (p as u32, *row))).collect();
    if parts.len() > 1 {
        order.sort_by_key(|(p, row)| parts[*p as usize].slice.rows.ids[*row as usize]);
    }
    for (p, row) in order {
        let (part, row) = (&parts[p as usize], row as usize);
        let transaction = delivery.transaction(part.slice.rows.ids[row]);
        part.line(row, transaction, lines, text);
    }
    Ok(())
}

impl<'a> Part<'a> {
    fn new(slice: &'a Slice<'a>) -> Result<Part<'a>, SinkError> {
        let Rows { relation, after, before, .. } = slice.rows;
        let mut head = Vec::new();
        for (key, value) in [("schema", &*relation.schema), ("table", &*relation.table), ("topic", &slice.topic)] {
            head.extend_from_slice(format!(",\"{key}\":").as_bytes());
            write_string(&mut head, value);
        }
        let name = |column: &ColumnDef| {
            let mut out = Vec::new();
            write_string(&mut out, &column.name);
            out.push(b':');
            String::from_utf8_lossy(&out).into_owned()
        };
        let views = |image: &'a [Option<Column>]| -> Result<Vec<Option<View<'a>>>, SinkError> {
            relation.columns.iter().zip(image).map(|(def, c)| c.as_ref().map(|c| view(relation, def, c)).transpose()).collect()
        };
        Ok(Part {
            slice,
            head: String::from_utf8_lossy(&head).into_owned(),
            names: relation.columns.iter().map(name).collect(),
            after: views(after)?,
            before: views(before)?,
        })
    }

    fn line(&self, row: usize, transaction: Option<&Transaction>, out: &mut Vec<u8>, text: &mut String) {
        let rows = self.slice.rows;
        let op = rows.ops[row];
        out.extend_from_slice(match op {
            Op::Insert => b"{\"op\":\"insert\"",
            Op::Update => b"{\"op\":\"update\"",
            Op::Delete => b"{\"op\":\"delete\"",
            Op::Snapshot => b"{\"op\":\"snapshot\"",
        });
        out.extend_from_slice(self.head.as_bytes());
        if let Some(t) = transaction {
            out.extend_from_slice(b",\"position\":");
            let _ = write!(out, "\"{}:{}\"", t.file, t.offset);
            if let Some(gtid) = &t.gtid {
                let _ = write!(out, ",\"gtid\":\"{gtid}\"");
            }
            out.extend_from_slice(b",\"commit_time\":\"");
            text.clear();
            temporal::write_datetime(text, t.commit_time_us, 6);
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(b"Z\"");
        }
        let columns = &rows.relation.columns;
        if !rows.relation.key.is_empty() {
            out.extend_from_slice(b",\"key\":");
            let image = if op == Op::Delete { &self.before } else { &self.after };
            object(out, text, self, columns, image, row, rows.relation.key.iter().map(|k| usize::from(*k)));
        }
        if matches!(op, Op::Update | Op::Delete) {
            out.extend_from_slice(b",\"before\":");
            object(out, text, self, columns, &self.before, row, 0..columns.len());
        }
        if op != Op::Delete {
            out.extend_from_slice(b",\"after\":");
            object(out, text, self, columns, &self.after, row, 0..columns.len());
        }
        out.extend_from_slice(b"}\n");
    }
}

fn view<'a>(relation: &Relation, def: &ColumnDef, column: &'a Column) -> Result<View<'a>, SinkError> {
    View::new(column, def.kind()).ok_or_else(|| SinkError::Configuration {
        reason: format!("{relation}, column `{}`: the values are not of the kind that the column has", def.name),
        hint: "a plugin changed them; let it add a column of another kind instead".to_owned(),
    })
}

fn object(
    out: &mut Vec<u8>,
    text: &mut String,
    part: &Part<'_>,
    columns: &[ColumnDef],
    image: &[Option<View<'_>>],
    row: usize,
    which: impl Iterator<Item = usize>,
) {
    out.push(b'{');
    let mut first = true;
    for i in which {
        let Some(view) = image.get(i).and_then(Option::as_ref).filter(|v| v.is_present(row)) else { continue };
        if !first {
            out.push(b',');
        }
        first = false;
        out.extend_from_slice(part.names[i].as_bytes());
        match (view.cell(row), &columns[i].source_type) {
            // The shortest text that gives the 32 bits again.
            (Cell::Float(n), SourceType::Float) if n.is_finite() => {
                out.extend_from_slice(ryu::Buffer::new().format_finite(n as f32).as_bytes());
            }
            (cell, source_type) => write_value(out, text, cell, fsp(source_type)),
        }
    }
    out.push(b'}');
}

fn write_value(out: &mut Vec<u8>, text: &mut String, cell: Cell<'_>, fsp: u8) {
    match cell {
        Cell::Null => out.extend_from_slice(b"null"),
        Cell::Boolean(b) => out.extend_from_slice(if b { b"true" } else { b"false" }),
        Cell::Int(n) => out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes()),
        Cell::UInt(n) => out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes()),
        Cell::Float(n) if n.is_finite() => out.extend_from_slice(ryu::Buffer::new().format_finite(n).as_bytes()),
        Cell::Float(_) => out.extend_from_slice(b"null"),
        Cell::Text(s) => write_string(out, s),
        // A decimal is a string: most readers of JSON turn numbers into doubles.
        Cell::Decimal(s) => write_string(out, s),
        // Line feeds in JSON text are only white space; ours would end the line.
        Cell::Json(s) => out.extend(s.bytes().map(|b| if b < b' ' { b' ' } else { b })),
        Cell::Bytes(b) => {
            out.push(b'"');
            let _ = write!(out, "{}", Base64Display::new(b, &STANDARD));
            out.push(b'"');
        }
        Cell::Date(_) | Cell::Time(_) | Cell::DateTime(_) | Cell::Timestamp(_) => {
            text.clear();
            cell.write_text(text, fsp);
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(if matches!(cell, Cell::Timestamp(_)) { b"Z\"" } else { b"\"" });
        }
    }
}

/// RFC 8259, section 7: quotes, backslashes and what is below a space are escaped.
fn write_string(out: &mut Vec<u8>, s: &str) {
    out.push(b'"');
    let bytes = s.as_bytes();
    let mut from = 0;
    for (i, b) in bytes.iter().enumerate() {
        if *b >= b' ' && *b != b'"' && *b != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[from..i]);
        from = i + 1;
        match *b {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b => {
                let _ = write!(out, "\\u{b:04x}");
            }
        }
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(cell: Cell<'_>, fsp: u8) -> String {
        let mut out = Vec::new();
        write_value(&mut out, &mut String::new(), cell, fsp);
        String::from_utf8(out).expect("JSON is text")
    }

    #[test]
    fn values_are_written_as_documented() {
        assert_eq!(json(Cell::UInt(u64::MAX), 0), "18446744073709551615");
        assert_eq!(json(Cell::Decimal("-0.50"), 0), "\"-0.50\"");
        assert_eq!(json(Cell::Json("{\"a\":\n1}"), 0), "{\"a\": 1}");
        assert_eq!(json(Cell::Timestamp(0), 3), "\"1970-01-01 00:00:00.000Z\"");
        assert_eq!(json(Cell::Boolean(true), 0), "true");
        for (bytes, text) in [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"\xff\xfe\xfd\xfc", "//79/A==")]
        {
            assert_eq!(json(Cell::Bytes(bytes), 0), format!("\"{text}\""));
        }
    }

    #[test]
    fn strings_are_read_back_by_another_parser() {
        for s in ["", "plain", "q\"b\\n\nt\tr\r0\0 \u{1f} \u{7f} é 😀"] {
            assert_eq!(serde_json::from_str::<String>(&json(Cell::Text(s), 0)).expect("JSON"), s);
        }
    }

    #[test]
    fn a_torn_last_line_is_cut_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.jsonl");
        let long = "x".repeat(200_000);
        for (before, after) in
            [("", ""), ("{}\n", "{}\n"), ("{}\n{\"a\"", "{}\n"), ("{\"a\"", ""), (&*format!("{{}}\n{long}"), "{}\n")]
        {
            std::fs::write(&path, before).expect("write");
            let mut output = open_file(&path).expect("open");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), after);
            output.append(b"1\n").expect("append");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), format!("{after}1\n"));
        }
    }
}
