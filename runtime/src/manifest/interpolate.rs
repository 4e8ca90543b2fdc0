//! `${env:NAME}` and `${file:PATH}` in string values, replaced after the TOML is parsed.
//!
//! What is put in is never looked at again, so that a value cannot bring in another. `$${` stands for `${`.

use std::io::Read;
use std::path::Path;

use super::problem::Problem;
use super::tree::{Node, Value};

/// Most bytes that a `${file:…}` may bring in: it is for passwords, not for data.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Replaces in the whole tree; `env` looks up a variable of the environment.
pub(super) fn interpolate(root: &mut Node, folder: &Path, env: &dyn Fn(&str) -> Option<String>, problems: &mut Vec<Problem>) {
    root.texts_mut(&mut Vec::new(), &mut |path, node| {
        let Value::Text(text) = &node.value else { return };
        if !text.contains("${") {
            return;
        }
        match replace(text, folder, env) {
            Ok(replaced) => (node.value, node.replaced) = (Value::Text(replaced), true),
            Err((what, hint)) => {
                problems.push(Problem::error(node.span.clone(), format!("`{}`: {what}", path.join(".")), hint));
                (node.value, node.replaced) = (Value::Unknown, true);
            }
        }
    });
}

fn replace(text: &str, folder: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<String, (String, String)> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let Some((inside, tail)) = rest[at + 2..].split_once('}') else {
            return Err(("a ${ is not closed".to_owned(), "write ${env:NAME} or ${file:PATH}; $${ stands for ${".to_owned()));
        };
        match inside.split_once(':') {
            Some(("env", name)) => match env(name) {
                Some(value) => out.push_str(&value),
                None => {
                    let what = format!("the environment has no variable {}", name.escape_debug());
                    return Err((what, format!("set it: export {}=…", name.escape_debug())));
                }
            },
            Some(("file", path)) => out.push_str(&read(&folder.join(path)).map_err(|problem| {
                let what = format!("cannot read {}: {problem}", path.escape_debug());
                (what, "a relative path is relative to the manifest's folder".to_owned())
            })?),
            _ => {
                let hint = "write ${env:NAME} or ${file:PATH}; $${ stands for ${";
                return Err(("only ${env:…} and ${file:…} are known".to_owned(), hint.to_owned()));
            }
        }
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

/// The text of a file without the newline at its end.
fn read(path: &Path) -> Result<String, String> {
    let said = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => e.to_string(),
    };
    // Anything but a plain file might never end, or never begin.
    if !std::fs::metadata(path).map_err(said)?.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|f| f.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(said)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err("it is larger than 64 KiB".to_owned());
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<String, String> {
        let env = |name: &str| (name == "PW").then(|| "a${env:PW}b".to_owned());
        replace(text, Path::new("/nowhere"), &env).map_err(|(what, _)| what)
    }

    #[test]
    fn values_are_put_in_once() {
        assert_eq!(run("x${env:PW}y"), Ok("xa${env:PW}by".to_owned()));
        assert_eq!(run("$${env:PW}"), Ok("${env:PW}".to_owned()));
        assert_eq!(run("$5"), Ok("$5".to_owned()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(run("${env:NO}").unwrap_err(), "the environment has no variable NO");
        assert_eq!(run("${file:x}").unwrap_err(), "cannot read x: there is no such file");
        assert_eq!(run("${file:/dev}").unwrap_err(), "cannot read /dev: it is not a file");
        assert_eq!(run("${env:PW").unwrap_err(), "a ${ is not closed");
        assert_eq!(run("${PW}").unwrap_err(), "only ${env:…} and ${file:…} are known");
    }

    #[test]
    fn a_file_loses_its_last_newline() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pw"), "secret \r\n").unwrap();
        assert_eq!(replace("${file:pw}", folder.path(), &|_| None).unwrap(), "secret ");
    }
}
