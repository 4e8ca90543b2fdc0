//! What `tidegate plugin inspect --manifest` adds: the tables of the servers behind a plugin, and its limits there.

use std::path::Path;
use std::sync::Arc;

use super::block_on;
use crate::error::Error;
use crate::manifest::model::{Manifest, Pipeline, Plugin, SourceConfig};
use crate::plugin::{Chain, Engine};
use crate::source::{Source, SourceError};

/// The pipelines that have the plugin, and what the manifest says of it.
pub(super) fn uses<'a>(manifest: &'a Manifest, component: &Path) -> Result<Vec<(&'a Pipeline, &'a Plugin)>, Error> {
    let whole = component.canonicalize().unwrap_or_else(|_| component.to_owned());
    let is_it = |path: &Path| path.canonicalize().is_ok_and(|path| path == whole);
    let of = |pipeline: &'a Arc<Pipeline>| pipeline.plugins.iter().filter(|p| is_it(&p.config.path)).map(|p| (&**pipeline, &**p));
    let found: Vec<_> = manifest.pipelines.iter().flat_map(of).collect();
    if found.is_empty() {
        return Err(Error::Request {
            problem: format!("{}: no pipeline has the plugin {}", manifest.file.display(), component.display()),
            hint: "name the plugin's file in a [plugin.…] section, and that in a pipeline".to_owned(),
        });
    }
    Ok(found)
}

/// Each table, and what the plugin wants of it.
pub(super) fn tables(
    engine: &Engine,
    manifest: &Manifest,
    pipeline: &Pipeline,
    plugin: &Plugin,
) -> Result<Vec<(String, String)>, Error> {
    if matches!(pipeline.source.config, SourceConfig::BinlogFiles(_)) {
        return Err(Error::Request {
            problem: format!("source `{}` is files, which do not tell all tables beforehand", pipeline.source.name),
            hint: "record cases from it (`tidegate plugin test --record`) and give these".to_owned(),
        });
    }
    let config = pipeline.source.open_config(manifest)?;
    let patterns = pipeline.source.tables();
    let relations = block_on(async {
        let read = async {
            let source = Source::open_to_check(config).await?;
            let mut relations = Vec::new();
            for (schema, table) in source.tables(patterns).await? {
                let info = source.table(&schema, &table).await?;
                relations.extend(info.and_then(|info| info.relation(&schema, &table).ok()).map(Arc::new));
            }
            Ok::<_, SourceError>(relations)
        };
        Ok(read.await?)
    })?;
    let mut chain = Chain::new(&[engine.load(&plugin.load_config())?])?;
    let mut tables = Vec::new();
    for relation in relations {
        tables.push((format!("{relation}, pipeline {}", pipeline.name), described(&mut chain, &relation)));
    }
    Ok(tables)
}

/// What the one plugin of a chain wants of a table.
pub(super) fn described(chain: &mut Chain, relation: &Arc<crate::change::Relation>) -> String {
    match chain.describe(relation).map(|plans| plans.into_iter().flatten().next()) {
        Ok(plan) => plan.unwrap_or_else(|| "leaves it alone".to_owned()),
        Err(error) => error.fault.to_string(),
    }
}
