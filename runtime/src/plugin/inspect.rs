//! What a component is, without running it; and what a plugin wants of a table, in words.

use std::path::Path;

use sha2::{Digest, Sha256};
use wasmparser::{BinaryReader, KnownCustom, Parser, Payload};

use super::engine::{Engine, hex, imports};
use super::error::{Fault, PluginError};
use super::grants::{Access, access};
use super::plan::{Image, Plan};
use super::versions;

/// What a file says of itself.
#[derive(Clone, Debug)]
pub struct Inspected {
    pub bytes: usize,
    /// Hexadecimal, of the file.
    pub sha256: String,
    /// Each import, and whether the sandbox has it where the manifest grants nothing.
    pub imports: Vec<(String, Access)>,
    pub exports: Vec<String>,
    /// From the `producers` sections: `language`, `processed-by`, `sdk` and what made it, with its version.
    pub producers: Vec<(String, String)>,
    /// Hexadecimal, of what it was built of, if it says so.
    pub build_id: Option<String>,
}

impl Engine {
    /// Reads a plugin, one whose imports nobody has granted as well.
    pub fn inspect(&self, path: &Path) -> Result<Inspected, PluginError> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let fail = |fault| PluginError { plugin: (&*name).into(), relation: None, fault };
        let versions::Read { bytes, .. } =
            versions::read(path).map_err(|source| fail(Fault::Read { path: path.to_owned(), source }))?;
        let sha256 = hex(&Sha256::digest(&bytes));
        let component = self.component(&name, path, &bytes, &sha256).map_err(fail)?;
        self.check_export(&component, path).map_err(fail)?;
        let ty = component.component_type();
        let with_access = |name: String| {
            let access = access(&name, &[]);
            (name, access)
        };
        let imports = imports(self.engine(), &component).into_iter().map(with_access).collect();
        let exports = ty.exports(self.engine()).map(|(name, _)| name.to_owned()).collect();
        let (producers, build_id) = (producers(&bytes), build_id(&bytes));
        Ok(Inspected { bytes: bytes.len(), sha256, imports, exports, producers, build_id })
    }
}

/// Of the component and the modules in it, each once.
fn producers(bytes: &[u8]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        let Payload::CustomSection(section) = payload else { continue };
        let KnownCustom::Producers(fields) = section.as_known() else { continue };
        for field in fields.into_iter().map_while(Result::ok) {
            for value in field.values.into_iter().map_while(Result::ok) {
                let made = (field.name.to_owned(), format!("{} {}", value.name, value.version).trim().to_owned());
                if !found.contains(&made) {
                    found.push(made);
                }
            }
        }
    }
    found
}

/// Of the component, which comes last, or else of a module in it.
fn build_id(bytes: &[u8]) -> Option<String> {
    let mut found = None;
    for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        let Payload::CustomSection(section) = payload else { continue };
        // A vector of bytes: its length, and they.
        if section.name() == "build_id"
            && let Ok(id) = vector(section.data())
        {
            found = Some(hex(id));
        }
    }
    found
}

fn vector(bytes: &[u8]) -> wasmparser::Result<&[u8]> {
    let mut reader = BinaryReader::new(bytes, 0);
    let length = reader.read_var_u32()?;
    reader.read_bytes(length as usize)
}

impl Plan {
    /// `reads email (after, before if wanted); adds region`.
    pub(super) fn describe(&self) -> String {
        let name = |index: usize| self.input.columns[index].name.to_string();
        let mut parts = Vec::new();
        let mut reads = Vec::new();
        for index in 0..self.inputs {
            let images = self.reads.iter().filter(|read| read.index == index).map(|read| match (read.image, read.needed) {
                (Image::After, true) => "after",
                (Image::After, false) => "after if wanted",
                (Image::Before, true) => "before",
                (Image::Before, false) => "before if wanted",
            });
            let images = images.collect::<Vec<_>>();
            if !images.is_empty() {
                reads.push(format!("{} ({})", name(index), images.join(", ")));
            }
        }
        parts.push(if reads.is_empty() { "reads no column".to_owned() } else { format!("reads {}", reads.join(", ")) });
        let ops = ["insert", "update", "delete", "snapshot"];
        if self.ops != [true; 4] {
            let seen = ops.iter().zip(self.ops).filter(|(_, seen)| *seen).map(|(op, _)| *op).collect::<Vec<_>>();
            parts.push(format!("sees {} only", seen.join(", ")));
        }
        if !self.metadata.is_empty() {
            let names = self.metadata.iter().map(|m| format!("{m:?}").to_lowercase()).collect::<Vec<_>>();
            parts.push(format!("asks for {}", names.join(", ")));
        }
        let adds = self.output.columns.iter().zip(&self.origin).filter(|(_, origin)| **origin >= self.inputs);
        let adds = adds.map(|(def, _)| format!("{} {:?}", def.name, def.kind()).to_lowercase()).collect::<Vec<_>>();
        if !adds.is_empty() {
            parts.push(format!("adds {}", adds.join(", ")));
        }
        let drops = (0..self.inputs).filter(|index| !self.origin.contains(index)).map(name).collect::<Vec<_>>();
        if !drops.is_empty() {
            parts.push(format!("drops {}", drops.join(", ")));
        }
        let renames = self.output.columns.iter().zip(&self.origin).filter(|(_, origin)| **origin < self.inputs);
        let renames = renames.filter(|(def, origin)| *def.name != *self.input.columns[**origin].name);
        let renames = renames.map(|(def, origin)| format!("{} to {}", name(*origin), def.name)).collect::<Vec<_>>();
        if !renames.is_empty() {
            parts.push(format!("renames {}", renames.join(", ")));
        }
        for table in &self.derives {
            let columns = table.columns.iter().map(|def| &*def.name).collect::<Vec<_>>();
            parts.push(format!("derives {table} ({})", columns.join(", ")));
        }
        parts.join("; ")
    }
}
