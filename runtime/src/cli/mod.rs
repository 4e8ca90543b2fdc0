//! The command line: what people type, and what they see.
//!
//! Results go to standard output, everything else to standard error. The exit code comes from [`crate::error::Error`].

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::error::Error;

mod bench;
mod check;
mod cursor;
mod dead_letter;
mod init;
mod inspect;
mod live;
mod plugin;
mod record;
mod run;
mod schema;
mod screen;
mod snapshot;
mod state;
mod table;
mod versions;
mod watch;

/// Keeps other systems in step with a database while it changes.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  tidegate init                      write a commented tidegate.toml to start from
  tidegate check                     say what would fail, before the first row
  tidegate run                       run every pipeline of ./tidegate.toml until Ctrl-C

Exit codes:
  0 done · 1 a defect of Tidegate · 2 command line or manifest · 3 source · 4 plugin · 5 sink · 6 data_dir

Environment:
  TIDEGATE_LOG   what is logged to standard error: error, warn, info (the default), debug, trace;
                 or by module, as tidegate::source=debug";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON document, for programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the pipelines of a manifest.
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Say what would fail: manifest, plugins, and servers, grants, settings, tables and keys.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Write a commented manifest to start from.
    #[command(after_help = INIT_EXAMPLES)]
    Init(InitArgs),
    /// Read tables again, while their changes are followed.
    #[command(after_help = SNAPSHOT_EXAMPLES)]
    Snapshot(SnapshotArgs),
    /// Look at or change where pipelines stand. Refuses while one of them runs.
    #[command(subcommand, after_help = CURSOR_EXAMPLES)]
    Cursor(CursorCommand),
    /// Changes that a plugin or a sink could not take, and those that wait behind them: look at them, retry or drop them.
    #[command(subcommand, after_help = DEAD_LETTER_EXAMPLES)]
    DeadLetter(DeadLetterCommand),
    /// Look at or mend which columns tables had, where the binlog does not say it. Refuses while a pipeline runs.
    #[command(subcommand, after_help = SCHEMA_EXAMPLES)]
    Schema(SchemaCommand),
    /// Write plugins: start, build, look at and test them, without a database; and change those that run.
    #[command(subcommand, after_help = PLUGIN_EXAMPLES)]
    Plugin(PluginCommand),
}

const MANIFEST: &str = "tidegate.toml";

#[derive(Debug, Args)]
struct RunArgs {
    /// The manifest.
    #[arg(default_value = MANIFEST)]
    manifest: PathBuf,
    /// Run this pipeline only; may stand several times.
    #[arg(long, value_name = "NAME")]
    pipeline: Vec<String>,
    /// When to stop by itself.
    #[arg(long, value_enum)]
    until: Option<Until>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Until {
    /// When everything is settled that the source had at the start.
    CaughtUp,
}

const RUN_EXAMPLES: &str = "\
Ctrl-C (SIGINT) or SIGTERM stops reading, settles what is in flight, and exits with 0; a second one stops at once.
The next run goes on exactly where this one stopped. SIGHUP takes up plugins that have changed: their files, and their sections
of the manifest; both are looked at four times a second as well.

Examples:
  tidegate run
  tidegate run shop.toml --pipeline replica --pipeline search
  tidegate run --until caught-up --format json";

#[derive(Debug, Args)]
struct CheckArgs {
    /// The manifest.
    #[arg(default_value = MANIFEST)]
    manifest: PathBuf,
    /// Connect to nothing: check the manifest and the plugins only.
    #[arg(long)]
    offline: bool,
}

const CHECK_EXAMPLES: &str = "\
Changes nothing. The exit code is that of the first error.

Examples:
  tidegate check
  tidegate check shop.toml --offline";

#[derive(Debug, Args)]
struct SnapshotArgs {
    /// The manifest.
    #[arg(default_value = MANIFEST)]
    manifest: PathBuf,
    /// Which of the followed tables: a pattern as in the manifest; may stand several times.
    #[arg(long, required = true, value_name = "PATTERN")]
    tables: Vec<String>,
    /// Only rows for which this SQL condition is true.
    #[arg(long = "where", value_name = "CONDITION")]
    filter: Option<String>,
    /// For this pipeline only; may stand several times.
    #[arg(long, value_name = "NAME")]
    pipeline: Vec<String>,
}

const SNAPSHOT_EXAMPLES: &str = "\
Rows are written over what the target has; rows that the source does not have stay there. Rows of tables without a key
are inserted once more: empty such a table in the target first, while the pipeline does not run.
A pipeline that runs begins within a second or two, another one when it runs next.

Examples:
  tidegate snapshot --tables 'shop.o*'
  tidegate snapshot shop.toml --pipeline replica --tables shop.orders --where \"created >= '2026-11-01'\"";

#[derive(Debug, Args)]
struct InitArgs {
    /// The file to write; one that is there is never overwritten.
    #[arg(default_value = MANIFEST)]
    manifest: PathBuf,
}

const INIT_EXAMPLES: &str = "\
Examples:
  tidegate init
  tidegate init shop/tidegate.toml";

#[derive(Debug, Subcommand)]
enum CursorCommand {
    /// Where all pipelines stand.
    List {
        #[command(flatten)]
        manifest: ManifestArg,
    },
    /// Where one pipeline stands.
    Show {
        /// The pipeline.
        pipeline: String,
        #[command(flatten)]
        manifest: ManifestArg,
    },
    /// Let a pipeline go on from a position. What lies between is skipped, or written again.
    Set {
        /// The pipeline.
        pipeline: String,
        /// now · earliest · FILE:OFFSET · a GTID set (MySQL: uuid:1-5,…; MariaDB: 0-1-100,…) · a time (2026-11-01T00:00:00Z)
        #[arg(value_parser = cursor::parse_start)]
        position: crate::manifest::start::Start,
        #[command(flatten)]
        manifest: ManifestArg,
    },
    /// Forget where a pipeline stands: it begins again at the `start` of its source.
    Reset {
        /// The pipeline.
        pipeline: String,
        #[command(flatten)]
        manifest: ManifestArg,
    },
}

#[derive(Debug, Subcommand)]
enum DeadLetterCommand {
    /// All of them, without their values.
    List {
        /// Of this pipeline only.
        #[arg(long, value_name = "NAME")]
        pipeline: Option<String>,
        #[command(flatten)]
        manifest: ManifestArg,
    },
    /// One of them, with its values.
    Show {
        /// Its number in the list.
        id: u64,
        /// Whose, if several pipelines have some.
        #[arg(long, value_name = "NAME")]
        pipeline: Option<String>,
        #[command(flatten)]
        manifest: ManifestArg,
    },
    /// Deliver them, as the plugins are now: each with all of its key, in order.
    Retry {
        #[command(flatten)]
        which: WhichLetters,
    },
    /// Forget them; what waits behind them is delivered.
    Drop {
        #[command(flatten)]
        which: WhichLetters,
    },
}

#[derive(Debug, Args)]
struct WhichLetters {
    /// Their numbers in the list.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<u64>,
    /// All of the pipeline.
    #[arg(long)]
    all: bool,
    /// Whose, if several pipelines have some.
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    #[command(flatten)]
    manifest: ManifestArg,
}

const DEAD_LETTER_EXAMPLES: &str = "\
A pipeline that runs does it at once, and the command prints what came of it; else `retry` is done when it runs next.

Examples:
  tidegate dead-letter list
  tidegate dead-letter show 17
  tidegate dead-letter retry --all
  tidegate dead-letter drop 17 18 --pipeline replica";

#[derive(Debug, Subcommand)]
enum SchemaCommand {
    /// The versions of a pipeline's tables, with the positions from which they hold.
    Show {
        /// The pipeline.
        pipeline: String,
        /// This table only: schema.table
        #[arg(value_parser = schema::parse_name)]
        table: Option<crate::schema::ddl::Name>,
        #[command(flatten)]
        manifest: ManifestArg,
    },
    /// Say which columns a table had. Holds from where they are not known; where they are, from the cursor.
    Set {
        /// The pipeline.
        pipeline: String,
        /// schema.table
        #[arg(value_parser = schema::parse_name)]
        table: crate::schema::ddl::Name,
        /// A file with the CREATE TABLE statement, as SHOW CREATE TABLE says it.
        file: PathBuf,
        /// From here on: FILE:OFFSET
        #[arg(long, value_parser = schema::parse_place)]
        at: Option<crate::position::Position>,
        #[command(flatten)]
        manifest: ManifestArg,
    },
    /// Take the columns that the server's table has now, as those that it had then. Nothing is checked: who calls it knows.
    Refresh {
        /// The pipeline.
        pipeline: String,
        /// schema.table
        #[arg(value_parser = schema::parse_name)]
        table: crate::schema::ddl::Name,
        #[command(flatten)]
        manifest: ManifestArg,
    },
}

const SCHEMA_EXAMPLES: &str = "\
Examples:
  tidegate schema show replica
  tidegate schema show replica shop.orders --format json
  tidegate schema set replica shop.orders orders.sql
  tidegate schema refresh replica shop.orders";

#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// Make a folder with a plugin to start from, a case that it passes, and a manifest that runs it.
    New {
        /// The plugin's name, and the folder's: letters, digits, `-` and `_`.
        #[arg(value_parser = plugin::parse_name)]
        name: String,
        /// What to write it in.
        #[arg(long = "lang", value_enum, default_value_t = crate::kit::Language::Rust)]
        language: crate::kit::Language,
    },
    /// Build the plugin in a folder into FOLDER/NAME.wasm. Gets the language's toolchain the first time.
    Build {
        /// The plugin's folder.
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Say what a plugin is, and what it would do to tables.
    Inspect {
        /// The component (.wasm), or the folder in which it was built.
        #[arg(default_value = ".")]
        plugin: PathBuf,
        /// Case files (.json), or folders of them: their configuration and tables; the default is `cases` beside the plugin, if it is there.
        cases: Vec<PathBuf>,
        /// A manifest: the tables behind the plugin, as its servers have them now or its files had them last, and the limits that it has there.
        #[arg(long, short, value_name = "FILE", conflicts_with = "cases")]
        manifest: Option<PathBuf>,
    },
    /// Say what a plugin costs: nanoseconds a row by the size of batches, how much of it the boundary takes, and memory.
    Bench {
        /// The component (.wasm), or the folder in which it was built.
        #[arg(default_value = ".")]
        plugin: PathBuf,
        /// Case files (.json), or folders of them, whose changes are passed again and again; the default is `cases` beside the plugin, or else
        /// updates of a table shop.customers (id, email, status, country, name, total).
        cases: Vec<PathBuf>,
        /// The plugin's configuration, as JSON: with the updates of shop.customers.
        #[arg(long, value_name = "JSON", value_parser = plugin::parse_config, conflicts_with = "cases")]
        config: Option<serde_json::Value>,
        /// A manifest: what its section of this plugin allows, its limits and, with the updates of shop.customers, its configuration.
        #[arg(long, short, value_name = "FILE")]
        manifest: Option<PathBuf>,
    },
    /// Pass the changes of case files through a plugin, and compare what comes out.
    Test {
        /// The component (.wasm), or the folder in which it was built.
        #[arg(default_value = ".")]
        plugin: PathBuf,
        /// Case files (.json), or folders of them; the default is `cases` beside the plugin.
        cases: Vec<PathBuf>,
        /// Write what comes out into the files, as what is expected from now on.
        #[arg(long)]
        accept: bool,
        /// First run the unit tests that are in the plugin's folder, in the language's own runner.
        #[arg(long, conflicts_with_all = ["accept", "record", "watch"])]
        unit: bool,
        /// Test again whenever the plugin or a case file changes; a folder is built first when its sources change. Ctrl-C ends.
        #[arg(long, conflicts_with_all = ["accept", "record"])]
        watch: bool,
        /// First take so many changes from the source of the manifest's pipeline that has this plugin, of tables that the plugin takes, into a new
        /// case file: CASES, or `cases/recorded.json` beside the plugin. What the plugin makes of them now is what is expected.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        record: Option<u32>,
        /// With --record: other values of the same type and length in place of those at the source, keys too; equal ones for equal ones.
        #[arg(long, requires = "record")]
        mask: bool,
        /// A manifest: what its section of this plugin allows, and its limits. With --record also the source; the default is then
        /// tidegate.toml, here or else beside the plugin.
        #[arg(long, short, value_name = "FILE")]
        manifest: Option<PathBuf>,
    },
    /// Have the process that runs load plugins again: the manifest's sections and the files. Waits until it is done.
    Reload {
        /// Their names in the manifest; the default is all.
        plugins: Vec<String>,
        #[command(flatten)]
        manifest: ManifestArg,
    },
    /// Go back to an earlier component of a plugin, until its file is another one, or `tidegate plugin reload`.
    Rollback {
        /// Its name in the manifest.
        plugin: String,
        /// The component: the first digits of its digest, as `tidegate plugin history` shows them. Default: the one before.
        #[arg(long, value_name = "DIGEST")]
        to: Option<String>,
        #[command(flatten)]
        manifest: ManifestArg,
    },
    /// Look at or clear what plugins remember. Refuses while a pipeline runs.
    #[command(subcommand)]
    State(StateCommand),
    /// Which versions of plugins ran when, from which position on, and which were refused.
    History {
        /// Its name in the manifest; the default is all.
        plugin: Option<String>,
        #[command(flatten)]
        manifest: ManifestArg,
    },
}

#[derive(Debug, Subcommand)]
enum StateCommand {
    /// How much each plugin remembers, by pipeline and lane.
    List {
        #[command(flatten)]
        manifest: ManifestArg,
    },
    /// Let plugins forget it.
    Clear {
        /// Its name in the manifest; the default is all.
        plugin: Option<String>,
        /// In this pipeline only.
        #[arg(long, value_name = "NAME")]
        pipeline: Option<String>,
        #[command(flatten)]
        manifest: ManifestArg,
    },
}

const PLUGIN_EXAMPLES: &str = "\
Examples:
  tidegate plugin new mask --lang rust
  tidegate plugin build mask
  tidegate plugin test mask
  tidegate plugin test mask/mask.wasm mask/cases/customers.json --accept
  tidegate plugin inspect mask
  tidegate plugin bench mask
  tidegate plugin test mask --watch
  tidegate plugin test mask cases/real.json --record 20 --mask --manifest shop.toml
  tidegate plugin reload mask
  tidegate plugin history mask
  tidegate plugin rollback mask --to 3f2a91";

#[derive(Debug, Args)]
struct ManifestArg {
    /// The manifest.
    #[arg(long, short, default_value = MANIFEST, value_name = "FILE")]
    manifest: PathBuf,
}

const CURSOR_EXAMPLES: &str = "\
Examples:
  tidegate cursor list
  tidegate cursor show replica --manifest shop.toml
  tidegate cursor set replica binlog.000012:4
  tidegate cursor set replica 2026-11-01T00:00:00Z
  tidegate cursor reset replica";

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version are results; the rest is a wrong command line. Where nobody reads, there is nobody to tell.
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
        }
    };
    screen::start_log();
    let ended = match &cli.command {
        Command::Run(args) => run::run(args, cli.format),
        Command::Check(args) => check::run(args, cli.format),
        Command::Init(args) => init::run(args, cli.format),
        Command::Snapshot(args) => snapshot::run(args, cli.format),
        Command::Cursor(command) => cursor::run(command, cli.format),
        Command::DeadLetter(command) => dead_letter::run(command, cli.format),
        Command::Schema(command) => schema::run(command, cli.format),
        Command::Plugin(command) => plugin::run(command, cli.format),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen::print_error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Threads for what blocks, at most. Whoever reads files has one for as long as it reads, and guests that are bound and cursors that are kept
/// want one now and then: were there too few, whoever came last would wait for good.
const BLOCKING_THREADS_MAX: usize = 1 << 16;

/// The runtime that commands with connections run in.
fn block_on<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).build().map_err(Error::Runtime)?.block_on(future)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
