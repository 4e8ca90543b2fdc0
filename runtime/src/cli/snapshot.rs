//! `tidegate snapshot`: asks pipelines to read tables again while they follow the changes.

use serde_json::json;

use super::{Format, SnapshotArgs, block_on, cursor, screen};
use crate::error::Error;
use crate::manifest;
use crate::manifest::model::SourceConfig;
use crate::manifest::pattern::Patterns;
use crate::pipeline::Request;
use crate::source::Source;

pub(super) fn run(args: &SnapshotArgs, format: Format) -> Result<(), Error> {
    let manifest = manifest::load(&args.manifest)?;
    let asked = Patterns::parse_tables(&args.tables).map_err(|error| Error::Request {
        problem: format!("--tables: {error}"),
        hint: "write, for example, --tables 'shop.o*'".into(),
    })?;
    for name in &args.pipeline {
        cursor::find(&manifest, name)?;
    }
    let chosen = |name: &String| args.pipeline.is_empty() || args.pipeline.contains(name);
    let has_tables = |config: &SourceConfig| matches!(config, SourceConfig::Mysql(_));
    let mut requests = Vec::new();
    for pipeline in manifest.pipelines.iter().filter(|p| chosen(&p.name) && has_tables(&p.source.config)) {
        let config = pipeline.source.open_config(&manifest)?;
        let followed = pipeline.source.tables();
        let tables = block_on(async {
            let source = Source::open_to_check(config).await?;
            let mut tables = source.tables(followed).await?;
            tables.retain(|(schema, table)| asked.matches(schema, table));
            for (schema, table) in tables.iter().filter(|_| args.filter.is_some()) {
                source.try_filter(schema, table, args.filter.as_deref().unwrap_or_default()).await?;
            }
            Ok(tables)
        })?;
        if !tables.is_empty() {
            requests.push((pipeline.name.clone(), tables));
        }
    }
    if requests.is_empty() {
        return Err(Error::Request {
            problem: "no pipeline follows a table that --tables takes".to_owned(),
            hint: "only tables of `tables` in the manifest, of a source `mysql`, can be read; capital letters matter".to_owned(),
        });
    }
    for (pipeline, _) in &requests {
        let request = Request { pipeline: pipeline.clone(), tables: args.tables.clone(), filter: args.filter.clone() };
        request.leave(&manifest.data_dir).map_err(|source| Error::Write { path: manifest.data_dir.join("requests"), source })?;
    }
    let names = |tables: &[(String, String)]| tables.iter().map(|(s, t)| format!("{s}.{t}")).collect::<Vec<_>>();
    screen::print_result(&match format {
        Format::Text => {
            let line = |(pipeline, tables): &(String, Vec<(String, String)>)| format!("{pipeline}: {}\n", names(tables).join(", "));
            let lines: String = requests.iter().map(line).collect();
            format!("{lines}asked for: a pipeline that runs begins within a second or two, another one when it runs next\n")
        }
        Format::Json => {
            let one =
                |(pipeline, tables): &(String, Vec<(String, String)>)| json!({ "pipeline": pipeline, "tables": names(tables) });
            format!("{}\n", json!({ "requests": requests.iter().map(one).collect::<Vec<_>>() }))
        }
    })
}
