//! `tidegate init`: a commented manifest to start from.

use std::io::Write;

use super::{Format, InitArgs, screen};
use crate::error::Error;

/// Loads without an error, which a test holds.
const TEMPLATE: &str = include_str!("init.toml");

pub(super) fn run(args: &InitArgs, format: Format) -> Result<(), Error> {
    let path = &args.manifest;
    let written =
        std::fs::OpenOptions::new().write(true).create_new(true).open(path).and_then(|mut f| f.write_all(TEMPLATE.as_bytes()));
    written.map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => Error::Exists(path.clone()),
        _ => Error::Write { path: path.clone(), source },
    })?;
    screen::print_result(&match format {
        Format::Text => format!(
            "{0} written. Next: say in it what to read and where to write, then\n  tidegate check {0}\n  tidegate run {0}\n",
            path.display()
        ),
        Format::Json => format!("{}\n", serde_json::json!({ "written": path.display().to_string() })),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_manifest_loads_and_nothing_is_overwritten() {
        let env = |name: &str| (name == "SHOP_PASSWORD").then(|| "x".to_owned());
        let manifest = crate::manifest::parse(TEMPLATE, Path::new("t"), Path::new("/x/tidegate.toml"), &env).unwrap();
        assert!(manifest.warnings.is_empty(), "{:?}", manifest.warnings);

        let folder = tempfile::tempdir().unwrap();
        let args = InitArgs { manifest: folder.path().join("tidegate.toml") };
        run(&args, Format::Text).unwrap();
        assert!(matches!(run(&args, Format::Text), Err(Error::Exists(_))));
        assert_eq!(std::fs::read_to_string(&args.manifest).unwrap(), TEMPLATE);
    }
}
