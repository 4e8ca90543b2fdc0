//! Real servers for tests, through `scripts/servers`.
//!
//! Every [`Server`] is an instance of its own (data folder, socket, free port) of one shared install, below
//! `target/servers/run-PID`. It stops when it is dropped. What a test process leaves behind (statics, a kill) is stopped by a
//! watcher that ends with the process: it reads a pipe of which the process holds the other end.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::project;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    MySql,
    /// The major version: 10 or 11.
    MariaDb(u8),
    Postgres,
}

impl Kind {
    fn script(self) -> PathBuf {
        project(match self {
            Kind::MySql => "scripts/servers/mysql.sh",
            Kind::MariaDb(_) => "scripts/servers/mariadb.sh",
            Kind::Postgres => "scripts/servers/postgres.sh",
        })
    }

    fn name(self) -> &'static str {
        match self {
            Kind::MySql => "mysql",
            Kind::MariaDb(_) => "mariadb",
            Kind::Postgres => "postgres",
        }
    }
}

/// A MySQL 9.7 of the caller's own, with more `mysqld` options.
pub fn mysql(options: &[&str]) -> Server {
    Server::start(Kind::MySql, options)
}

/// A MariaDB 11 of the caller's own, with more `mariadbd` options.
pub fn mariadb(options: &[&str]) -> Server {
    Server::start(Kind::MariaDb(11), options)
}

/// A PostgreSQL of the caller's own, with more options (`-c`, `name=value`).
pub fn postgres(options: &[&str]) -> Server {
    Server::start(Kind::Postgres, options)
}

/// The MySQL that the tests of this process share; each uses schemas of its own names.
pub fn shared_mysql() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| mysql(&[]))
}

/// As [`shared_mysql`].
pub fn shared_mariadb() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| mariadb(&[]))
}

/// As [`shared_mysql`], with databases instead of schemas.
pub fn shared_postgres() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| postgres(&[]))
}

/// A running server. The administrator (`root`, `postgres`) has no password.
#[derive(Debug)]
pub struct Server {
    pub kind: Kind,
    /// On 127.0.0.1.
    pub port: u16,
    /// The folder of the instance.
    pub folder: PathBuf,
    options: String,
}

impl Server {
    pub fn start(kind: Kind, options: &[&str]) -> Server {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = run_folder().join(format!("{}-{number}", kind.name()));
        let server = Server { kind, port: free_port(), folder, options: options.join(" ") };
        server.resume();
        server
    }

    /// Starts the server again after [`Server::stop`] or [`Server::kill`], on the same port and data.
    pub fn resume(&self) {
        self.script(&["start"], "");
    }

    /// An orderly stop; waits for the end.
    pub fn stop(&self) {
        self.script(&["stop"], "");
    }

    /// A crash: SIGKILL, or for Postgres, whose children would outlive that, SIGQUIT, which leaves everything as it is, too. Waits for
    /// the end.
    pub fn kill(&self) {
        let process = PathBuf::from(format!("/proc/{}/cmdline", self.pid()));
        self.signal(if self.kind == Kind::Postgres { "QUIT" } else { "KILL" });
        wait_until("the killed server ends", || fs::read(&process).map_or(true, |line| line.is_empty()));
    }

    /// Sends the server's process a signal by name: `STOP` and `CONT` make it hang and go on.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().expect("run kill");
        assert!(status.success(), "kill -{name} {} failed", self.pid());
    }

    /// What the server's own client answers: a line a row, columns parted by tabs, NULL as `NULL`, no headings.
    /// MySQL and MariaDB escape tab, newline and backslash in values.
    pub fn sql(&self, statements: &str) -> String {
        self.sql_in("", statements)
    }

    /// As [`Server::sql`], in a database.
    pub fn sql_in(&self, database: &str, statements: &str) -> String {
        let mut arguments = match self.kind {
            Kind::MySql | Kind::MariaDb(_) => vec!["client", "--batch", "--skip-column-names", "--binary-as-hex"],
            Kind::Postgres => vec!["client", "-qAt", "-F", "\t", "-P", "null=NULL", "-v", "ON_ERROR_STOP=1", "-d"],
        };
        match (self.kind, database) {
            (Kind::Postgres, "") => arguments.push("postgres"),
            (_, "") => {}
            (_, database) => arguments.push(database),
        }
        self.script(&arguments, statements)
    }

    /// As [`Server::sql_in`], for MySQL and MariaDB; statements that the server refuses are passed over.
    pub fn sql_past_errors(&self, database: &str, statements: &str) -> String {
        let mut command =
            self.command(&["client", "--batch", "--skip-column-names", "--force", "--default-character-set=utf8mb4", database]);
        String::from_utf8_lossy(&talk(&mut command, statements).stdout).into_owned()
    }

    /// [`Server::sql`] as rows of columns.
    pub fn rows(&self, statements: &str) -> Vec<Vec<String>> {
        self.sql(statements).lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }

    /// Where it is reached, as the manifest writes it: `mysql://root@127.0.0.1:PORT`, `postgres://postgres@127.0.0.1:PORT/DATABASE`.
    pub fn url(&self, user: &str, database: &str) -> String {
        let scheme = if self.kind == Kind::Postgres { "postgres" } else { "mysql" };
        let path = if database.is_empty() { String::new() } else { format!("/{database}") };
        format!("{scheme}://{user}@127.0.0.1:{}{path}", self.port)
    }

    /// The certificate authority of MySQL's own certificates.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("data/ca.pem")
    }

    /// The binlog files, oldest first.
    pub fn binlogs(&self) -> Vec<PathBuf> {
        let index = fs::read_to_string(self.folder.join("data/binlog.index")).expect("a server with a binlog has an index of it");
        index.lines().map(|line| self.folder.join("data").join(Path::new(line).file_name().expect("a file name"))).collect()
    }

    /// A program of the server's package: `mysqlbinlog`, `mariadb-binlog`, `pg_dump`.
    pub fn program(&self, name: &str) -> PathBuf {
        PathBuf::from(self.script(&["path", name], "").trim_end())
    }

    /// Ends all other connections to a database (MariaDB and Postgres).
    pub fn cut_connections(&self, database: &str) {
        if self.kind == Kind::Postgres {
            self.sql(&format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid()"
            ));
            return;
        }
        for row in self.rows(&format!("SELECT id FROM information_schema.processlist WHERE db = '{database}'")) {
            // It may have gone by itself meanwhile.
            let kill = format!(
                "DELIMITER //\nBEGIN NOT ATOMIC DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; KILL {}; END//",
                row[0]
            );
            self.sql(&kill);
        }
    }

    fn pid(&self) -> u32 {
        let file = self.folder.join(if self.kind == Kind::Postgres { "data/postmaster.pid" } else { "my.pid" });
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        text.lines().next().and_then(|line| line.parse().ok()).unwrap_or_else(|| panic!("{}: no process id", file.display()))
    }

    fn script(&self, arguments: &[&str], input: &str) -> String {
        run(self.command(arguments), input)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.kind.script());
        command.args(arguments).env_remove("PREFIX").env("DATA", &self.folder).env("PORT", self.port.to_string());
        command.env("EXTRA", &self.options);
        if let Kind::MariaDb(version) = self.kind {
            command.env("VERSION", version.to_string());
        } else {
            command.env_remove("VERSION");
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // a second panic would hide the first; the watcher stops the server
        }
        self.stop();
        fs::remove_dir_all(&self.folder).unwrap_or_else(|e| panic!("{}: {e}", self.folder.display()));
    }
}

/// Waits for a condition; panics after a minute.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !condition() {
        assert!(std::time::Instant::now() < end, "waited a minute until {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Runs a command to its end; panics with its standard error if it fails.
pub fn run(mut command: Command, input: &str) -> String {
    let output = talk(&mut command, input);
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command to its end.
fn talk(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut pipe = child.stdin.take().expect("piped");
    std::thread::scope(|scope| {
        // A program that fails early closes its input: its message says more than the broken pipe.
        scope.spawn(move || pipe.write_all(input.as_bytes()));
        child.wait_with_output().expect("wait for a child")
    })
}

/// The folder of this process's instances, and the watcher that removes it.
fn run_folder() -> &'static Path {
    static RUN: OnceLock<(PathBuf, Child)> = OnceLock::new();
    let (folder, _) = RUN.get_or_init(|| {
        let folder = project(&format!("target/servers/run-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        // setsid: Ctrl-C ends the tests and must not end the watcher before its work.
        let watcher = Command::new("setsid")
            .arg(project("scripts/servers/clean.sh"))
            .arg("--when-input-ends")
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start scripts/servers/clean.sh");
        (folder, watcher)
    });
    folder
}

/// A port that nobody listens on, below the range from which outgoing connections take theirs, so that it is still free when a
/// stopped server starts again.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(97);
    for _ in 0..12_000 {
        let number = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let port = 20_000 + number as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 20000 and 31999");
}
