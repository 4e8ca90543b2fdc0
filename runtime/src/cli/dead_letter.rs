//! `tidegate dead-letter`: changes that were set aside because a plugin or a sink could not take them.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::table::table;
use super::{DeadLetterCommand, Format, cursor, screen};
use crate::cursor::{CursorError, Store};
use crate::dead_letter::request::{Action, Outcome, Request};
use crate::dead_letter::{self, Letter, Letters, Why, store};
use crate::error::Error;
use crate::manifest;
use crate::manifest::model::{Manifest, Pipeline};
use crate::sink::{Delivery, jsonl};

/// How long to wait for the answer of a process that runs.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
const ANSWER_LOOK: Duration = Duration::from_millis(50);

pub(super) fn run(command: &DeadLetterCommand, format: Format) -> Result<(), Error> {
    match command {
        DeadLetterCommand::List { pipeline, manifest } => {
            let manifest = manifest::load(&manifest.manifest)?;
            pipeline.as_ref().map(|name| cursor::find(&manifest, name)).transpose()?;
            list(&manifest, pipeline.as_deref(), format)
        }
        DeadLetterCommand::Show { id, pipeline, manifest } => {
            let manifest = manifest::load(&manifest.manifest)?;
            let (pipeline, _) = chosen(&manifest, pipeline.as_deref())?.ok_or_else(no_letters)?;
            let letters = store::read(&manifest.data_dir, &pipeline.name, Some(*id))?;
            let letter = letters.iter().find(|letter| letter.id == *id);
            show(&pipeline.name, letter.ok_or_else(|| no_letter(&pipeline.name, *id))?, format)
        }
        DeadLetterCommand::Retry { which } => ask(Action::Retry, which, format),
        DeadLetterCommand::Drop { which } => ask(Action::Drop, which, format),
    }
}

fn list(manifest: &Manifest, name: Option<&str>, format: Format) -> Result<(), Error> {
    let mut rows = vec![["id", "pipeline", "table", "change", "at", "why", "since", "retries"].map(str::to_owned).to_vec()];
    let mut all = Vec::new();
    for pipeline in manifest.pipelines.iter().filter(|pipeline| name.is_none_or(|name| pipeline.name == name)) {
        for letter in store::read(&manifest.data_dir, &pipeline.name, None)? {
            match format {
                Format::Text => rows.push(vec![
                    letter.id.to_string(),
                    pipeline.name.clone(),
                    letter.relation.to_string(),
                    op(&letter),
                    letter.place.to_string(),
                    letter.why.to_string(),
                    cursor::utc(letter.time),
                    letter.retries.to_string(),
                ]),
                Format::Json => all.push(as_json(&pipeline.name, &letter)),
            }
        }
    }
    screen::print_result(&match format {
        Format::Text if rows.len() == 1 => "there are none\n".to_owned(),
        Format::Text => table(&rows, 0..1),
        Format::Json => format!("{}\n", json!({ "dead_letters": all })),
    })
}

/// Values are shown by this alone.
fn show(pipeline: &str, letter: &Letter, format: Format) -> Result<(), Error> {
    let change = change(letter);
    screen::print_result(&match format {
        Format::Text => {
            let (by, message) = match &letter.why {
                Why::Plugin { name, sha256, message } => (format!("plugin `{name}` (sha256 {sha256})"), message.as_str()),
                Why::Sink { name, message } => (format!("sink `{name}`"), message.as_str()),
                Why::Behind { id } => (format!("waits behind {id}"), ""),
            };
            let change = serde_json::to_string_pretty(&change).unwrap_or_default();
            let key: Vec<&str> = letter.relation.key.iter().map(|at| &*letter.relation.columns[usize::from(*at)].name).collect();
            format!(
                "{} of pipeline {pipeline}: {} of {} (key {}) at {}, row {}\nsince {}, retried {} times\n{by}{}{message}\n{change}\n",
                letter.id,
                op(letter),
                letter.relation,
                if key.is_empty() { "none".to_owned() } else { key.join(", ") },
                letter.place,
                letter.place.row,
                cursor::utc(letter.time),
                letter.retries,
                if message.is_empty() { "" } else { ": " },
            )
        }
        Format::Json => {
            let mut shown = as_json(pipeline, letter);
            shown["change"] = change;
            format!("{shown}\n")
        }
    })
}

fn op(letter: &Letter) -> String {
    serde_json::to_value(letter.op).ok().and_then(|op| op.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Without values.
fn as_json(pipeline: &str, letter: &Letter) -> Json {
    let Letter { id, place, relation, why, time, retries, .. } = letter;
    json!({
        "id": id,
        "pipeline": pipeline,
        "schema": relation.schema,
        "table": relation.table,
        "op": op(letter),
        "position": format!("{}:{}", place.file, place.offset),
        "gtid": place.gtid,
        "row": place.row,
        "why": why,
        "since": cursor::utc(*time),
        "retries": retries,
    })
}

/// As the sink `jsonl` writes it.
fn change(letter: &Letter) -> Json {
    let Ok(Some(batch)) = dead_letter::batch([letter]) else { return Json::Null };
    let slices = batch.relations.iter().map(|rows| crate::change::Slice {
        rows,
        topic: rows.relation.to_string().into(),
        picks: (0..rows.len() as u32).collect(),
    });
    let delivery = Delivery { slices: slices.collect(), transactions: &batch.transactions, mark: None, commit: true };
    let mut lines = Vec::new();
    let rendered = jsonl::render(&delivery, &mut lines, &mut String::new());
    rendered.ok().and_then(|()| serde_json::from_slice(&lines).ok()).unwrap_or_default()
}

/// The pipeline of that name; else the only one that has letters. `None`: none has.
fn chosen<'a>(manifest: &'a Manifest, name: Option<&str>) -> Result<Option<(&'a Pipeline, Vec<Letter>)>, Error> {
    if let Some(name) = name {
        let pipeline = cursor::find(manifest, name)?;
        return Ok(Some((pipeline, store::read(&manifest.data_dir, name, None)?)));
    }
    let mut found = Vec::new();
    for pipeline in &manifest.pipelines {
        let letters = store::read(&manifest.data_dir, &pipeline.name, None)?;
        if !letters.is_empty() {
            found.push((&**pipeline, letters));
        }
    }
    let hint = || {
        let names: Vec<String> = found.iter().map(|(pipeline, _)| format!("--pipeline {}", pipeline.name)).collect();
        names.join(" or ")
    };
    match found.len() {
        1 => Ok(found.pop()),
        0 => Ok(None),
        _ => Err(Error::Request { problem: "several pipelines have dead letters".to_owned(), hint: format!("add {}", hint()) }),
    }
}

fn no_letters() -> Error {
    Error::Request { problem: "there are no dead letters".to_owned(), hint: "`tidegate dead-letter list` shows them".to_owned() }
}

fn no_letter(pipeline: &str, id: u64) -> Error {
    Error::Request {
        problem: format!("pipeline `{pipeline}` has no dead letter {id}"),
        hint: "`tidegate dead-letter list` shows them".to_owned(),
    }
}

fn ask(action: Action, which: &super::WhichLetters, format: Format) -> Result<(), Error> {
    let manifest = manifest::load(&which.manifest.manifest)?;
    let (pipeline, letters) = match chosen(&manifest, which.pipeline.as_deref())? {
        Some(chosen) => chosen,
        None if which.all => {
            return screen::print_result(&match format {
                Format::Text => "there are none\n".to_owned(),
                Format::Json => format!("{}\n", json!({ "pipeline": null, "asked": false })),
            });
        }
        None => return Err(no_letters()),
    };
    let is_there = |id: u64| letters.binary_search_by_key(&id, |letter| letter.id).is_ok();
    if let Some(id) = which.ids.iter().find(|id| !is_there(**id)) {
        return Err(no_letter(&pipeline.name, *id));
    }
    let ids = (!which.all).then(|| which.ids.clone());
    let outcome = match (Store::open(&manifest.data_dir), action) {
        (Err(CursorError::Locked(_)), _) => leave(&manifest, pipeline, action, ids, true)?,
        (Err(error), _) => return Err(error.into()),
        (Ok(store), Action::Retry) => {
            drop(store);
            leave(&manifest, pipeline, action, ids, false)?
        }
        // Nobody else has the file open as long as the store is.
        (Ok(_store), Action::Drop) => {
            let letters = Letters::open(&manifest.data_dir, &pipeline.name, pipeline.ordering, pipeline.dead_letters_max)?;
            let done = letters.drop_letters(ids.as_deref())? as u64;
            Some(Outcome { done, ..Outcome::default() })
        }
    };
    tell(&pipeline.name, action, outcome.as_ref(), format)?;
    match outcome.map_or(0, |outcome| outcome.failed.len()) {
        0 => Ok(()),
        failed => Err(Error::LettersFailed { failed }),
    }
}

/// Leaves a request for the process that runs, and waits for its answer. `None`: it is left for the next run.
fn leave(
    manifest: &Manifest,
    pipeline: &Pipeline,
    action: Action,
    ids: Option<Vec<u64>>,
    is_running: bool,
) -> Result<Option<Outcome>, Error> {
    let request = Request { pipeline: pipeline.name.clone(), action, ids };
    let left = request.leave(&manifest.data_dir);
    let left = left.map_err(|source| Error::Write { path: manifest.data_dir.join("dead-letters"), source })?;
    let end = Instant::now() + ANSWER_TIME_MAX;
    while is_running && Instant::now() < end {
        if let Some(outcome) = left.take_answer() {
            return Ok(Some(outcome));
        }
        std::thread::sleep(ANSWER_LOOK);
    }
    Ok(None)
}

fn tell(pipeline: &str, action: Action, outcome: Option<&Outcome>, format: Format) -> Result<(), Error> {
    let done = if action == Action::Retry { "delivered" } else { "dropped" };
    screen::print_result(&match (format, outcome) {
        (Format::Text, None) => {
            format!("asked for: pipeline {pipeline} does it when it runs next, or as soon as it has time for it\n")
        }
        (Format::Text, Some(outcome)) => {
            let mut text = format!("{} {done}\n", outcome.done);
            for (id, why) in &outcome.failed {
                text.push_str(&format!("{id} failed again: {why}\n"));
            }
            if outcome.waiting > 0 {
                text.push_str(&format!("{} wait behind those\n", outcome.waiting));
            }
            text
        }
        (Format::Json, None) => format!("{}\n", json!({ "pipeline": pipeline, "asked": true })),
        (Format::Json, Some(outcome)) => {
            let failed: Vec<Json> = outcome.failed.iter().map(|(id, why)| json!({ "id": id, "why": why })).collect();
            let Outcome { waiting, unknown, .. } = outcome;
            let told =
                json!({ "pipeline": pipeline, done: outcome.done, "failed": failed, "waiting": waiting, "unknown": unknown });
            format!("{told}\n")
        }
    })
}
