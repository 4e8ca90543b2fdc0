//! What a run shows: one line a pipeline while it goes, and a table at its end. Pure: snapshots in, text out.

use std::collections::VecDeque;

use serde_json::json;

use super::table::table;
use crate::metrics::{State, StatusSnapshot, TablesRead};

/// Seconds over which the rate of the live line is taken.
const RATE_SECONDS: f64 = 3.0;

/// Rows a second of one pipeline, over the last seconds.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// (seconds since the start, rows settled by then), oldest first.
    seen: VecDeque<(f64, u64)>,
}

impl Meter {
    /// Takes in the counter at a time, and gives the rate.
    pub fn rate(&mut self, seconds: f64, rows: u64) -> f64 {
        self.seen.push_back((seconds, rows));
        while self.seen.len() > 2 && self.seen[1].0 <= seconds - RATE_SECONDS {
            self.seen.pop_front();
        }
        match self.seen.front() {
            Some((then, before)) if seconds > *then => rows.saturating_sub(*before) as f64 / (seconds - then),
            _ => 0.0,
        }
    }
}

/// The live lines, none longer than `width` characters.
pub(super) fn lines(pipelines: &[(StatusSnapshot, f64)], width: usize) -> Vec<String> {
    let names = pipelines.iter().map(|(p, _)| p.name.chars().count()).max().unwrap_or(0);
    let line = |(p, rate): &(StatusSnapshot, f64)| {
        let (name, rate_shown) = (&p.name, short(*rate));
        // What is asked for while tables are read, in front of what a narrow screen cuts off.
        if let (Some(tables), State::Running) = (p.tables, &p.state) {
            return cut(&format!("{name:names$}  {rate_shown:>7} rows/s  {}", tables_read(tables, *rate)), width);
        }
        let line = format!(
            "{name:names$}  {rate_shown:>7} rows/s  lag {:>6} {:>8}  settled {:>11}  retries {}  {}",
            p.lag_seconds.map_or("-".to_owned(), seconds),
            p.lag_bytes.map_or("-".to_owned(), bytes),
            grouped(p.rows_settled),
            grouped(p.retries),
            [letters(p.dead_letters), state(&p.state)].concat(),
        );
        cut(line.trim_end(), width)
    };
    pipelines.iter().map(line).collect()
}

/// One pipeline for the log, when nobody watches.
pub(super) fn log_line(p: &StatusSnapshot, rate: f64) -> String {
    let lag_seconds = p.lag_seconds.map_or("unknown".to_owned(), seconds);
    let lag_bytes = p.lag_bytes.map_or(String::new(), |b| format!(" ({})", bytes(b)));
    let settled = grouped(p.rows_settled);
    format!(
        "{}: {}{}, {} rows/s, lag {lag_seconds}{lag_bytes}, {settled} rows settled, {} retries",
        p.name,
        letters(p.dead_letters),
        p.tables.map_or_else(|| state(&p.state), |tables| tables_read(tables, rate)),
        short(rate),
        p.retries
    )
}

/// `3 dead letters, `, if there are any.
fn letters(count: u64) -> String {
    match count {
        0 => String::new(),
        1 => "1 dead letter, ".to_owned(),
        n => format!("{} dead letters, ", grouped(n)),
    }
}

/// `reading 3 tables, 24 %, 3 min left: 1,234 of about 5,000 rows`, or that reading rests.
fn tables_read(tables: TablesRead, rate: f64) -> String {
    let TablesRead { rows, estimate, left, rests_at } = tables;
    let percent = (rows * 100).checked_div(estimate).unwrap_or(0);
    let time = match (estimate.saturating_sub(rows), rate) {
        (0, _) => String::new(),
        (_, rate) if rate < 1.0 => String::new(),
        (rest, rate) => format!(", {} left", seconds(rest as f64 / rate)),
    };
    let tables = if left == 1 { "1 table".to_owned() } else { format!("{left} tables") };
    let doing = match rests_at {
        None => format!("reading {tables}"),
        Some(threads) => format!("reading rests, {} threads run at the source: {tables}", grouped(threads)),
    };
    format!("{doing}, {percent} %{time}: {} of about {} rows", grouped(rows), grouped(estimate))
}

/// The table at the end. `took` is in seconds.
pub(super) fn summary(pipelines: &[StatusSnapshot], took: f64) -> String {
    let header = ["pipeline", "state", "rows read", "settled", "dropped", "read", "rows/s", "retries", "position"];
    let mut rows: Vec<Vec<String>> = vec![header.iter().map(|h| (*h).to_owned()).collect()];
    for p in pipelines {
        rows.push(vec![
            p.name.clone(),
            [letters(p.dead_letters), state(&p.state)].concat(),
            grouped(p.rows_read),
            grouped(p.rows_settled),
            grouped(p.rows_dropped),
            bytes(p.bytes_read),
            short(p.rows_settled as f64 / took.max(0.001)),
            grouped(p.retries),
            p.position.as_ref().map_or("-".to_owned(), |position| cut(&position.to_string(), 80)),
        ]);
    }
    // Numbers stand at the right, the other columns at the left.
    table(&rows, 2..8)
}

/// The summary for programs.
pub(super) fn summary_json(pipelines: &[StatusSnapshot], took: f64) -> serde_json::Value {
    let one = |p: &StatusSnapshot| {
        json!({
            "name": p.name,
            "state": state(&p.state),
            "tables_to_read": p.tables.map_or(0, |tables| tables.left),
            "rows_read": p.rows_read,
            "rows_settled": p.rows_settled,
            "rows_dropped": p.rows_dropped,
            "dead_letters": p.dead_letters,
            "bytes_read": p.bytes_read,
            "retries": p.retries,
            "lag_seconds": p.lag_seconds.map(to_ms),
            "lag_bytes": p.lag_bytes,
            "position": p.position.as_ref().map(ToString::to_string),
        })
    };
    json!({ "seconds": to_ms(took), "pipelines": pipelines.iter().map(one).collect::<Vec<_>>() })
}

/// Seconds, to the millisecond.
fn to_ms(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

fn state(state: &State) -> String {
    match state {
        State::Starting => "starting".to_owned(),
        State::Running => "running".to_owned(),
        State::Waiting(what) => format!("waiting: {what}"),
        State::Stopped => "stopped".to_owned(),
        State::Failed => "failed".to_owned(),
    }
}

/// Three digits and a letter: `12.3k`.
fn short(number: f64) -> String {
    let (value, unit) = match number {
        n if n >= 999_500_000.0 => (n / 1e9, "G"),
        n if n >= 999_500.0 => (n / 1e6, "M"),
        n if n >= 999.5 => (n / 1e3, "k"),
        n => return format!("{n:.0}"),
    };
    format!("{value:.*}{unit}", if value < 9.995 { 2 } else { usize::from(value < 99.95) })
}

fn bytes(number: u64) -> String {
    let mut value = number as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].iter();
    let mut unit = units.next().unwrap_or(&"B");
    while value >= 1023.5 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1024.0, next);
    }
    if *unit == "B" || value >= 99.95 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

fn seconds(seconds: f64) -> String {
    match seconds {
        s if s >= 172_800.0 => format!("{:.0} d", s / 86_400.0),
        s if s >= 7200.0 => format!("{:.0} h", s / 3600.0),
        s if s >= 120.0 => format!("{:.0} min", s / 60.0),
        s if s >= 9.95 => format!("{s:.0} s"),
        s => format!("{s:.1} s"),
    }
}

/// `1,234,567`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// At most `width` characters, without control characters.
fn cut(text: &str, width: usize) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    if text.chars().count() <= width {
        return plain.collect();
    }
    plain.take(width.saturating_sub(1)).chain(Some('…').filter(|_| width > 0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(name: &str) -> StatusSnapshot {
        StatusSnapshot {
            name: name.to_owned(),
            state: State::Running,
            tables: None,
            rows_read: 2_000_000,
            rows_settled: 1_234_567,
            rows_dropped: 12,
            dead_letters: 0,
            bytes_read: 620_756_992,
            retries: 0,
            lag_seconds: Some(0.42),
            lag_bytes: Some(1_258_291),
            position: None,
        }
    }

    #[test]
    fn live_lines_stand_under_each_other() {
        let mut waiting = snapshot("search-index");
        waiting.state = State::Waiting("sink `search` is away".to_owned());
        (waiting.lag_seconds, waiting.lag_bytes, waiting.retries, waiting.rows_settled) = (Some(183.0), None, 7, 0);
        let lines = lines(&[(snapshot("replica"), 12_345.6), (waiting, 0.0)], 200);
        assert_eq!(
            lines,
            [
                "replica         12.3k rows/s  lag  0.4 s  1.2 MiB  settled   1,234,567  retries 0  running",
                "search-index        0 rows/s  lag  3 min        -  settled           0  retries 7  waiting: sink `search` is away",
            ]
        );
    }

    #[test]
    fn how_far_tables_are_read_is_told() {
        let mut reading = snapshot("replica");
        reading.tables = Some(TablesRead { rows: 250_000, estimate: 1_000_000, left: 3, rests_at: None });
        let line = log_line(&reading, 10_000.0);
        assert!(line.contains("reading 3 tables, 25 %, 75 s left: 250,000 of about 1,000,000 rows"), "{line}");
        // The important part fits on a narrow screen; and what is waited for is not hidden.
        let live = lines(&[(reading.clone(), 10_000.0)], 50);
        assert_eq!(live, ["replica    10.0k rows/s  reading 3 tables, 25 %, …"]);
        reading.state = State::Waiting("sink `search` is away".to_owned());
        assert!(lines(&[(reading, 10_000.0)], 200)[0].ends_with("waiting: sink `search` is away"));
        assert!(!tables_read(TablesRead { rows: 0, estimate: 0, left: 1, rests_at: None }, 0.0).contains("left"));
        let rests = tables_read(TablesRead { rows: 5, estimate: 10, left: 1, rests_at: Some(40) }, 9.0);
        assert!(rests.starts_with("reading rests, 40 threads run at the source: 1 table, 50 %"), "{rests}");
    }

    #[test]
    fn live_lines_fit() {
        for width in 0..130 {
            let shown = lines(&[(snapshot("a\u{1b}[2J"), 5.0)], width);
            assert!(shown[0].chars().count() <= width && !shown[0].contains('\u{1b}'));
        }
    }

    #[test]
    fn numbers_are_short() {
        let shown: Vec<String> = [0.0, 999.4, 999.6, 12_345.0, 999_499.0, 4_470_000.0].map(short).to_vec();
        assert_eq!(shown, ["0", "999", "1.00k", "12.3k", "999k", "4.47M"]);
        assert_eq!([0, 1023, 1024, 150 << 20, 3 << 40].map(bytes), ["0 B", "1023 B", "1.0 KiB", "150 MiB", "3.0 TiB"]);
        assert_eq!(
            [0.04, 9.96, 119.0, 300.0, 90_000.0, 864_000.0].map(seconds),
            ["0.0 s", "10 s", "119 s", "5 min", "25 h", "10 d"]
        );
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn the_rate_is_of_the_last_seconds() {
        let mut meter = Meter::default();
        assert_eq!(meter.rate(0.0, 0), 0.0);
        assert_eq!(meter.rate(1.0, 100), 100.0);
        for second in 2..10 {
            meter.rate(f64::from(second), 100);
        }
        assert_eq!(meter.rate(10.0, 100), 0.0);
    }

    #[test]
    fn the_summary_is_a_table() {
        let text = summary(&[snapshot("replica")], 2.0);
        assert_eq!(
            text,
            "pipeline  state    rows read    settled  dropped     read  rows/s  retries  position\n\
             replica   running  2,000,000  1,234,567       12  592 MiB    617k        0  -\n"
        );
        assert_eq!(summary_json(&[snapshot("replica")], 2.0)["pipelines"][0]["rows_settled"], 1_234_567);
        assert_eq!(summary_json(&[], 1.234_567_8)["seconds"], 1.235);
    }
}
