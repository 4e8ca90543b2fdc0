//! What people see: that a plugin is compiled, and why a file is no plugin.

use std::fs;

use tidegate_tests::flow::Flow;

use super::*;

/// A component that exports an empty instance of that name.
fn exporting(name: &str) -> Vec<u8> {
    let section = |id: u8, content: &[u8]| [&[id, content.len() as u8], content].concat();
    let instance = section(5, &[1, 1, 0]);
    let export = section(11, &[&[1, 0, name.len() as u8], name.as_bytes(), &[5, 0, 0]].concat());
    [b"\0asm\x0d\0\x01\0".as_slice(), &instance, &export].concat()
}

/// By whoever is asked: each names the file and the cause, and says what to do.
#[test]
fn what_is_no_plugin_is_refused() {
    let flow = Flow::new("");
    let whole = fs::read(project("target/plugins/mask.wasm")).expect("plugins/mask: run `make plugins`");
    let files = [
        ("empty", Vec::new(), "is not a plugin: it is empty"),
        ("text", b"a plugin, or so".to_vec(), "is not a plugin: it is no WebAssembly at all"),
        ("module", b"\0asm\x01\0\0\0".to_vec(), "it is a core module, not a component"),
        ("nothing", b"\0asm\x0d\0\x01\0".to_vec(), "does not export `tidegate:plugin/transform@0.1.0`, nor anything else"),
        ("command", exporting("wasi:cli/run@0.2.0"), "does not export `tidegate:plugin/transform@0.1.0`, but `wasi:cli/run@0.2.0`"),
        (
            "newer",
            exporting("tidegate:plugin/transform@0.9.0"),
            "exports `tidegate:plugin/transform@0.9.0`, and this version of tidegate speaks",
        ),
        ("cut", whole[..whole.len() * 2 / 3].to_vec(), "it is cut off"),
        ("damaged", [&whole[..whole.len() / 2], &[0xff; 64], &whole[whole.len() / 2 + 64..]].concat(), "is not a plugin: "),
    ];
    for (name, bytes, cause) in files {
        let path = flow.folder().join(format!("{name}.wasm"));
        fs::write(&path, bytes).expect("write");
        let named = PluginConfig { path: path.clone(), ..config("mask", json!({})) };
        let loaded = ENGINE.load(&named).expect_err(name).to_string();
        let (code, _, inspected) = flow.call(&["plugin", "inspect", &path.display().to_string()]);
        assert_eq!(code, 4, "{name}: {inspected}");
        for told in [loaded, inspected] {
            assert!(
                told.contains(&path.display().to_string()) && told.contains(cause) && told.contains("hint: "),
                "{name}: {told}"
            );
        }
    }
    let missing = PluginConfig { path: flow.folder().join("none.wasm"), ..config("mask", json!({})) };
    assert!(ENGINE.load(&missing).expect_err("refused").to_string().contains("cannot read"));
}

#[test]
fn compiling_is_told_once() {
    let flow = Flow::new(&format!(
        "[source.shop]\ntype = \"binlog-files\"\npaths = [\"{}/shop.*\"]\ntables = [\"shop.*\"]\n[plugin.mask]\npath = \"{}\"\nconfig = {{ columns = [\"email\"] }}\n\
         [sink.out]\ntype = \"null\"\n[pipeline.p]\nsource = \"shop\"\nplugins = [\"mask\"]\nsink = \"out\"\n",
        project("examples/demo/binlog").display(),
        project("target/plugins/mask.wasm").display(),
    ));
    for lines in [1, 0] {
        let (code, _, stderr) = flow.call(&["run", "--until", "caught-up"]);
        assert_eq!(code, 0, "{stderr}");
        let told = stderr.lines().filter(|line| line.contains("compiling the plugin") && line.contains("mask.wasm")).count();
        assert_eq!(told, lines, "{stderr}");
    }
}
