//! usage: peer-mysql-cdc FILE. One line a row: kind, schema.table, before and after image as JSON arrays (`null` where there is none).
//! `unknown` for an event that the crate does not know, `error TEXT` where it gives up; a panic is told on standard error as usual.

use std::collections::HashMap;
use std::fs::File;

use mysql_cdc::binlog_reader::BinlogReader;
use mysql_cdc::events::binlog_event::BinlogEvent;
use mysql_cdc::events::row_events::mysql_value::MySqlValue;
use mysql_cdc::events::row_events::row_data::RowData;

fn main() {
    let path = std::env::args().nth(1).expect("usage: peer-mysql-cdc FILE");
    let reader = BinlogReader::new(File::open(path).expect("open the file")).expect("a binlog file");
    let mut tables = HashMap::new();
    for event in reader.read_events() {
        let event = match event {
            Ok((_, event)) => event,
            Err(error) => {
                println!("error\t{error:?}");
                return;
            }
        };
        let name = |tables: &HashMap<u64, String>, id: u64| tables.get(&id).cloned().unwrap_or_default();
        match event {
            BinlogEvent::TableMapEvent(map) => {
                tables.insert(map.table_id, format!("{}.{}", map.database_name, map.table_name));
            }
            BinlogEvent::WriteRowsEvent(e) => {
                e.rows.iter().for_each(|row| println!("insert\t{}\tnull\t{}", name(&tables, e.table_id), image(row)));
            }
            BinlogEvent::UpdateRowsEvent(e) => {
                for row in &e.rows {
                    println!("update\t{}\t{}\t{}", name(&tables, e.table_id), image(&row.before_update), image(&row.after_update));
                }
            }
            BinlogEvent::DeleteRowsEvent(e) => {
                e.rows.iter().for_each(|row| println!("delete\t{}\t{}\tnull", name(&tables, e.table_id), image(row)));
            }
            BinlogEvent::UnknownEvent => println!("unknown"),
            _ => {}
        }
    }
}

fn image(row: &RowData) -> String {
    let cells: Vec<String> = row.cells.iter().map(|cell| cell.as_ref().map_or("null".to_owned(), value)).collect();
    format!("[{}]", cells.join(","))
}

/// `[type, value]`, with names and forms that scripts/differential.py knows.
fn value(value: &MySqlValue) -> String {
    let text = |kind: &str, text: &str| format!("[{kind:?},{}]", json(text));
    let number = |kind: &str, n: &dyn std::fmt::Display| format!("[{kind:?},{n}]");
    match value {
        MySqlValue::TinyInt(n) => number("int8", n),
        MySqlValue::SmallInt(n) => number("int16", n),
        MySqlValue::MediumInt(n) => number("int24", n),
        MySqlValue::Int(n) => number("int32", n),
        MySqlValue::BigInt(n) => number("int64", n),
        MySqlValue::Float(n) => number("float", n),
        MySqlValue::Double(n) => number("double", n),
        MySqlValue::Decimal(s) => text("decimal", s),
        MySqlValue::String(s) => text("text", s),
        MySqlValue::Bit(bits) => text("bit", &bits.iter().map(|b| if *b { '1' } else { '0' }).collect::<String>()),
        MySqlValue::Enum(n) => number("enum", n),
        MySqlValue::Set(n) => number("set", n),
        MySqlValue::Blob(bytes) => text("bytes", &bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()),
        MySqlValue::Year(n) => number("int16", n),
        MySqlValue::Date(d) => text("date", &format!("{:04}-{:02}-{:02}", d.year, d.month, d.day)),
        MySqlValue::Time(t) => text("time", &format!("{:02}:{:02}:{:02}.{:03}", t.hour, t.minute, t.second, t.millis)),
        MySqlValue::DateTime(d) => text(
            "datetime",
            &format!("{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}", d.year, d.month, d.day, d.hour, d.minute, d.second, d.millis),
        ),
        MySqlValue::Timestamp(ms) => text("timestamp", &format!("{}.{:03}", ms / 1000, ms % 1000)),
    }
}

fn json(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
