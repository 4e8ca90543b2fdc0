//! What a manifest says of a plugin that is looked at; and what `tidegate plugin inspect --manifest` adds: the tables behind it, and its limits there.

use std::path::Path;
use std::sync::Arc;

use super::{block_on, record};
use crate::change::Relation;
use crate::error::Error;
use crate::manifest::model::{Manifest, Pipeline, Plugin, SourceConfig};
use crate::plugin::{Chain, Engine, PluginConfig};
use crate::source::{Source, SourceError};

/// What the manifest says of a plugin.
pub(super) fn section<'a>(manifest: &'a Manifest, component: &Path) -> Result<&'a Plugin, Error> {
    let mut found = manifest.plugins.values().filter(|plugin| is_of(plugin, component)).map(|plugin| &**plugin);
    let refused = |problem: String, hint: &str| Error::Request { problem, hint: hint.to_owned() };
    let (file, component) = (manifest.file.display(), component.display());
    let first = found
        .next()
        .ok_or_else(|| refused(format!("{file}: no plugin has the path {component}"), "name the file in a [plugin.…] section"))?;
    let own = first.load_config();
    match found.find(|other| PluginConfig { name: own.name.clone(), config: own.config.clone(), ..other.load_config() } != own) {
        None => Ok(first),
        Some(other) => Err(refused(
            format!(
                "{file}: plugins `{}` and `{}` both have the path {component}, and may not have the same",
                first.name, other.name
            ),
            "give one of them a manifest of its own",
        )),
    }
}

fn is_of(plugin: &Plugin, component: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    whole(&plugin.config.path) == whole(component)
}

/// The pipelines that have the plugin, and what the manifest says of it.
pub(super) fn uses<'a>(manifest: &'a Manifest, component: &Path) -> Result<Vec<(&'a Pipeline, &'a Plugin)>, Error> {
    let of = |pipeline: &'a Arc<Pipeline>| pipeline.plugins.iter().filter(|p| is_of(p, component)).map(|p| (&**pipeline, &**p));
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
    let relations = match pipeline.source.config {
        SourceConfig::BinlogFiles(_) => record::tables_of_files(manifest, pipeline)?,
        SourceConfig::Mysql(_) => tables_of_server(manifest, pipeline)?,
    };
    let mut chain = Chain::new(&[engine.load(&plugin.load_config())?])?;
    let mut tables = Vec::new();
    for relation in relations {
        tables.push((format!("{relation}, pipeline {}", pipeline.name), described(&mut chain, &relation)));
    }
    Ok(tables)
}

fn tables_of_server(manifest: &Manifest, pipeline: &Pipeline) -> Result<Vec<Arc<Relation>>, Error> {
    let config = pipeline.source.open_config(manifest)?;
    let patterns = pipeline.source.tables();
    block_on(async {
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
    })
}

/// What the one plugin of a chain wants of a table.
pub(super) fn described(chain: &mut Chain, relation: &Arc<Relation>) -> String {
    match chain.describe(relation).map(|plans| plans.into_iter().flatten().next()) {
        Ok(plan) => plan.unwrap_or_else(|| "leaves it alone".to_owned()),
        Err(error) => error.fault.to_string(),
    }
}
