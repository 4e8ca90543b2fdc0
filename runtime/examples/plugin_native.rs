//! What plugins/bench does (filter, mask, add a column, route), without a plugin: what `make bench` compares plugins with.
//!
//! `cargo run --release --example plugin_native` prints a line of JSON: nanoseconds a row by the size of batches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, StringArray};
use tidegate::cases::sample;
use tidegate::change::{Column, Rows, Topics};

const TOPICS: [&str; 8] = ["part-0", "part-1", "part-2", "part-3", "part-4", "part-5", "part-6", "part-7"];
const ID: usize = 0;
const EMAIL: usize = 1;
const TOTAL: usize = 5;

fn main() {
    let mut results = Vec::new();
    for rows in [1usize, 8, 64, 256, 1024] {
        let batch = sample::updates(rows);
        let started = Instant::now();
        let mut times = Vec::new();
        while started.elapsed() < Duration::from_millis(300) && times.len() < 20_000 {
            let mut batch = batch.clone();
            let began = Instant::now();
            batch.relations.iter_mut().for_each(process);
            times.push(began.elapsed());
            std::hint::black_box(&batch);
        }
        times.sort_unstable();
        results.push(format!("\"{rows}\": {:.1}", times[times.len() / 2].as_nanos() as f64 / rows as f64));
    }
    println!("{{{}}}", results.join(", "));
}

fn process(rows: &mut Rows) {
    let numbers = |column: usize| rows.after[column].as_ref().expect("a column").values.as_primitive::<Int64Type>().clone();
    let (filter, route) = (numbers(TOTAL), numbers(ID));
    let emails = rows.after[EMAIL].as_ref().expect("a column").values.as_string::<i32>();
    let mut masked = StringBuilder::with_capacity(emails.len(), emails.len() * 4);
    let mut text = String::new();
    for email in emails {
        match email {
            None => masked.append_null(),
            Some(email) => {
                text.clear();
                text.extend(email.chars().next());
                text.push_str("***");
                masked.append_value(&text);
            }
        }
    }
    let mut lists: Vec<Vec<Arc<str>>> = vec![Vec::new()];
    lists.extend(TOPICS.iter().map(|&topic| vec![topic.into()]));
    let of_row = (0..rows.ops.len()).map(|row| {
        let is_filtered = filter.is_valid(row) && filter.value(row) % 16 == 0;
        if is_filtered { 0 } else { 1 + if route.is_valid(row) { route.value(row).rem_euclid(8) as u16 } else { 0 } }
    });
    let of_row = of_row.collect();
    rows.after[EMAIL] = Some(Column { values: Arc::new(masked.finish()), present: None });
    let region = StringArray::from_iter_values(std::iter::repeat_n("eu", rows.ops.len()));
    rows.after.push(Some(Column { values: Arc::new(region), present: None }));
    rows.before.push(None);
    rows.topics = Some(Topics { lists, of_row });
}
