//! The program under test.

use std::path::PathBuf;
use std::process::Command;

/// A command that runs the `tidegate` that was built with the tests.
pub fn tidegate() -> Command {
    let path = path();
    assert!(
        path.exists(),
        "{} is missing: run `make test`, or `cargo build --workspace --features tidegate/failpoints`",
        path.display()
    );
    Command::new(path)
}

/// Cargo puts test binaries into `deps`, beside the programs.
fn path() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    test.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps/TEST").join("tidegate")
}
