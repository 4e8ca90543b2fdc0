//! A manifest in a folder of its own, and `tidegate run` on it: what the end-to-end tests start, kill and wait for.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::program::tidegate;
use crate::servers::{Kind, Server};

/// A manifest that copies the schema `name` of one server into the database `name` of another. `pipeline`: more keys of the pipeline.
pub fn copying(name: &str, source: &Server, target: &Server, pipeline: &str) -> String {
    let (kind, user) = if target.kind == Kind::Postgres { ("postgres", "postgres") } else { ("mysql", "root") };
    format!(
        r#"
[source.here]
type = "mysql"
url = "{}"
tables = ["{name}.*"]
start = "earliest"

[sink.there]
type = "{kind}"
url = "{}"

[pipeline.copy]
source = "here"
sink = "there"
{pipeline}
"#,
        source.url("root", ""),
        target.url(user, name),
    )
}

/// A manifest with its data folder; removed when dropped.
pub struct Flow {
    folder: tempfile::TempDir,
}

impl Flow {
    /// Writes `tidegate.toml`.
    pub fn new(manifest: &str) -> Flow {
        let folder = tempfile::tempdir().expect("a folder for the manifest");
        fs::write(folder.path().join("tidegate.toml"), manifest).expect("write the manifest");
        Flow { folder }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, manifest: &str) {
        fs::write(self.folder.path().join("tidegate.toml"), manifest).expect("write the manifest");
    }

    pub fn manifest(&self) -> String {
        fs::read_to_string(self.folder.path().join("tidegate.toml")).expect("read the manifest")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = tidegate();
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Starts `tidegate run`, its standard error in a file. `environment`: more variables.
    pub fn start(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Run {
        let log = self.folder.path().join("stderr.log");
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).expect("open the log");
        let mut command = self.command(&[&["run"], arguments].concat());
        command.envs(environment.iter().copied()).stdout(Stdio::null()).stderr(file);
        Run { child: command.spawn().expect("start tidegate"), log }
    }

    /// Starts `tidegate plugin test PLUGIN --watch`, its standard output in a file.
    pub fn watch(&self, plugin: &str) -> Run {
        let log = self.folder.path().join("stdout.log");
        let file = fs::File::create(&log).expect("make the log");
        let mut command = self.command(&["plugin", "test", plugin, "--watch"]);
        command.stdout(file).stderr(Stdio::null());
        Run { child: command.spawn().expect("start tidegate"), log }
    }

    /// Runs `tidegate` to its end: exit code, standard output, standard error. One that does not end is told to stop after ten minutes.
    pub fn call(&self, arguments: &[&str]) -> (i32, String, String) {
        let tidegate = self.command(arguments);
        let mut command = Command::new("timeout");
        command
            .arg("600")
            .arg(tidegate.get_program())
            .args(tidegate.get_args())
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        let output = command.output().expect("start tidegate");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// `tidegate run --until caught-up`, which has to succeed.
    pub fn catch_up(&self) {
        let (code, _, stderr) = self.call(&["run", "--until", "caught-up"]);
        assert_eq!(code, 0, "tidegate run --until caught-up: {stderr}");
    }
}

/// A `tidegate` that stays; killed when dropped.
pub struct Run {
    child: Child,
    log: PathBuf,
}

impl Run {
    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal by name: `INT`, `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().expect("run kill");
        assert!(status.success(), "kill -{name}");
    }

    /// Waits for its end; panics after two minutes.
    pub fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for tidegate") {
                return status;
            }
            assert!(Instant::now() < end, "tidegate did not end; its log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("look at tidegate").is_none()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it (and, of standard error, the runs before it in the same folder) wrote.
    pub fn log(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = fs::File::open(&self.log) {
            let _ = file.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.kill();
    }
}
