//! Puts what plugin authors are given (SDKs, templates, toolchain scripts) into the program: see src/kit.rs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Folders and files of the project that go into the kit.
const PARTS: [&str; 4] = ["sdk", "scripts/toolchains", "scripts/servers/debs.sh", "wit"];
/// What building and testing leaves among them.
const LEFT_OVER: [&str; 5] = ["node_modules", "target", "__pycache__", ".venv", "build"];

fn main() {
    let project = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("..");
    let project = project.canonicalize().expect("the project's folder");
    let mut files = Vec::new();
    for part in PARTS {
        collect(&project.join(part), &mut files);
    }
    files.sort();
    let mut code = String::from("/// Path in the project, content.\npub(crate) static FILES: &[(&str, &[u8])] = &[\n");
    for file in files {
        let name = file.strip_prefix(&project).expect("a file of the project").to_str().expect("UTF-8");
        writeln!(code, "    ({name:?}, include_bytes!({file:?})),").expect("memory");
    }
    code.push_str("];\n");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it")).join("kit.rs");
    fs::write(out, code).expect("write the list of files");
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    println!("cargo::rerun-if-changed={}", path.display());
    if path.is_file() {
        files.push(path.to_owned());
        return;
    }
    for entry in fs::read_dir(path).expect("a folder of the project") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default();
        if !LEFT_OVER.iter().any(|left| name == *left) && !path.is_symlink() {
            collect(&path, files);
        }
    }
}
