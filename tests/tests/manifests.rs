//! Bad manifests: `tests/manifests/NAME.toml`, and what `tidegate check --offline` says of it in `NAME.err`.
//!
//! `TIDEGATE_BLESS=1 cargo test -p tidegate-tests manifests` writes the `.err` files anew, for a reader to look at.

use std::fs;

use tidegate_tests::program::tidegate;
use tidegate_tests::project;

const SECRET: &str = "correct-horse-battery";

#[test]
fn messages_are_as_they_should_be() {
    let folder = project("tests/manifests");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .expect("tests/manifests")
        .filter_map(|entry| {
            entry.expect("read a folder").file_name().into_string().expect("a plain name").strip_suffix(".toml").map(str::to_owned)
        })
        .collect();
    names.sort();
    assert!(names.len() >= 25, "only {} manifests", names.len());
    let mut wrong = Vec::new();
    for name in &names {
        let (code, said) = check(&format!("{name}.toml"));
        let golden = folder.join(format!("{name}.err"));
        let expected_code = if name == "good" || name == "unused" { 0 } else { 2 };
        assert_eq!(code, Some(expected_code), "{name}: {said}");
        for secret in ["hunter2", "hunter3", SECRET, "\u{1b}", "\0"] {
            assert!(!said.contains(secret), "{name} tells {secret:?}: {said}");
        }
        if std::env::var_os("TIDEGATE_BLESS").is_some() {
            fs::write(&golden, said).expect("write the golden file");
        } else if fs::read_to_string(&golden).unwrap_or_default() != said {
            wrong.push(format!("--- {name}.toml says:\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "not as in the .err files (TIDEGATE_BLESS=1 writes them):\n{}", wrong.join("\n"));
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large.toml");
    fs::write(&path, "# padding\n".repeat(110_000)).expect("write a file");
    let (code, said) = check(path.to_str().expect("a plain path"));
    assert_eq!(code, Some(2));
    assert!(said.contains("it is larger than 1 MiB"), "{said}");
}

#[test]
fn what_is_not_a_file_is_refused() {
    for path in ["no-such.toml", ".", "/dev/zero"] {
        let (code, said) = check(path);
        assert_eq!(code, Some(2), "{path}: {said}");
        assert!(said.contains("hint: "), "{path}: {said}");
    }
}

/// The exit code, and standard error.
fn check(manifest: &str) -> (Option<i32>, String) {
    let output = tidegate()
        .args(["check", "--offline", manifest])
        .current_dir(project("tests/manifests"))
        .env("TIDEGATE_TEST_SECRET", SECRET)
        .env_remove("TIDEGATE_TEST_MISSING")
        .env_remove("TIDEGATE_LOG")
        .output()
        .expect("run tidegate");
    (output.status.code(), String::from_utf8(output.stderr).expect("messages are UTF-8"))
}
