//! What the parts of a manifest mean together: names that must exist, settings that exclude each other.
//!
//! Works on the tree, so that it finds what it can in a manifest that has other errors.

use std::collections::BTreeSet;
use std::ops::Range;

use super::grant::{Grant, HttpHost};
use super::model::Snapshot;
use super::nearest::nearest;
use super::problem::Problem;
use super::server_url::ServerUrl;
use super::tree::{Entry, Node, Value};
use super::validate::printable;

const NAME_LENGTH_MAX: usize = 64;

/// Sinks that write in transactions of the target.
const TRANSACTIONAL: [&str; 3] = ["mysql", "postgres", "sqlite"];

pub(super) fn check(root: &Node, problems: &mut Vec<Problem>) {
    let mut meaning = Meaning { root, problems, used: BTreeSet::new() };
    for section in ["source", "plugin", "sink", "pipeline"] {
        for entry in meaning.section(section) {
            meaning.check_name(section, entry);
        }
    }
    for section in ["source", "sink"] {
        for entry in meaning.section(section) {
            meaning.check_server(section, entry);
        }
    }
    for entry in meaning.section("source") {
        meaning.check_load(entry);
    }
    for entry in meaning.section("plugin") {
        meaning.check_grants(entry);
    }
    for entry in meaning.section("pipeline") {
        meaning.check_pipeline(entry);
    }
    if meaning.section("pipeline").is_empty() {
        let what = "the manifest has no pipeline";
        meaning.problems.push(Problem::error(0..0, what, "write [pipeline.NAME] with source = \"…\" and sink = \"…\""));
    } else {
        meaning.warn_unused();
    }
}

struct Meaning<'a> {
    root: &'a Node,
    problems: &'a mut Vec<Problem>,
    /// (section, name) of what a pipeline names.
    used: BTreeSet<(&'static str, &'a str)>,
}

impl<'a> Meaning<'a> {
    fn section(&self, name: &str) -> &'a [Entry] {
        self.root.get(name).map(Node::entries).unwrap_or_default()
    }

    fn error(&mut self, span: &Range<usize>, what: String, hint: impl Into<String>) {
        self.problems.push(Problem::error(span.clone(), what, hint));
    }

    /// Names stand in file names, in SQL and on the command line.
    fn check_name(&mut self, section: &str, entry: &Entry) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if entry.key.is_empty() || entry.key.len() > NAME_LENGTH_MAX || !entry.key.chars().all(plain) {
            let what = format!("`{}` cannot be the name of a {section}", printable(&entry.key));
            self.error(&entry.key_span, what, "a name has 1 to 64 letters, digits, _ and -");
        }
    }

    fn check_server(&mut self, section: &str, entry: &Entry) {
        let (node, path) = (&entry.node, format!("{section}.{}", entry.key));
        let schemes: &[&str] = match node.get("type").and_then(Node::text) {
            Some("mysql") => &["mysql"],
            Some("postgres") => &["postgres", "postgresql"],
            _ => return,
        };
        let port = if schemes[0] == "mysql" { 3306 } else { 5432 };
        let database = if section == "sink" { "/DATABASE" } else { "" };
        let hint = format!("write {}://USER@HOST:{port}{database}", schemes[0]);
        let (one, several) = (node.entry("url"), node.entry("urls").filter(|_| section == "source"));
        match (one, several) {
            // A key that is there, but misspelt, is told once.
            (None, None) if section == "source" && !node.entries().iter().any(|e| nearest(&e.key, ["url"]).is_some()) => {
                let hint = "write, for example, url = \"mysql://tidegate@127.0.0.1:3306\"";
                self.error(&node.span, format!("`{path}` has no `url`"), hint);
            }
            (Some(_), Some(urls)) => {
                let hint = "put all servers into urls, in the order in which they are tried";
                self.error(&urls.key_span, format!("`{path}` has both `url` and `urls`"), hint);
            }
            _ => {}
        }
        let several = several.map(|urls| urls.node.items()).unwrap_or_default();
        let urls: Vec<(&Node, &str)> =
            one.map(|one| (&one.node, "url")).into_iter().chain(several.iter().map(|n| (n, "urls"))).collect();
        let mut read = Vec::new();
        for (place, key) in urls {
            let Some(text) = place.text().filter(|text| !text.is_empty()) else { continue };
            let key = format!("{path}.{key}");
            let Some(url) = ServerUrl::split(text) else {
                self.error(&place.span, format!("`{key}` is not a URL: it has no ://"), &hint);
                continue;
            };
            if !schemes.contains(&url.scheme) {
                self.error(&place.span, format!("`{key}` does not begin with {}://", schemes[0]), &hint);
            } else if url.user.is_empty() {
                self.error(&place.span, format!("`{key}` names no user"), &hint);
            } else if url.host.is_empty() {
                self.error(&place.span, format!("`{key}` names no host"), &hint);
            } else if url.port.is_some_and(|p| p.parse::<u16>().is_err()) {
                self.error(&place.span, format!("`{key}`: the port is not a number up to 65535"), &hint);
            } else if url.has_parameters {
                let hint = "leave them out; tls and ca are keys of their own";
                self.error(&place.span, format!("`{key}` has parameters after a ?"), hint);
            } else if section == "sink" && url.database.is_empty() {
                self.error(&place.span, format!("`{key}` names no database"), &hint);
            } else if section == "source" && !url.database.is_empty() {
                self.error(&place.span, format!("`{key}` names a database"), "leave it out; `tables` says what is read");
            }
            read.push(url);
        }
        if let Some(password) = node.entry("password").filter(|_| read.iter().any(|url| url.has_password)) {
            self.error(
                &password.key_span,
                format!("`{path}` has two passwords: this one, and one in the URL"),
                "take it out of the URL",
            );
        }
        let tls = node.get("tls").and_then(Node::text);
        let is_local = !read.is_empty() && read.iter().all(ServerUrl::is_local);
        if let Some(ca) = node.entry("ca").filter(|_| !read.is_empty() && tls.map_or(is_local, |t| t != "verify")) {
            self.error(
                &ca.key_span,
                format!("`{path}.ca` is of no use: the certificate is not checked"),
                "write tls = \"verify\", or leave out ca",
            );
        }
    }

    /// What Tidegate itself has running must not keep it from reading.
    fn check_load(&mut self, entry: &Entry) {
        let Some(snapshot) = entry.node.get("snapshot") else { return };
        let number = |key: &str| match snapshot.entry(key).map(|e| &e.node.value) {
            Some(Value::Integer(n)) => Some(*n),
            _ => None,
        };
        let readers = number("readers").unwrap_or(Snapshot::default().readers as i64);
        let least = readers.saturating_add(2);
        if let Some(max) = snapshot.entry("threads_running_max")
            && number("threads_running_max").is_some_and(|max| (3..least).contains(&max))
        {
            self.error(
                &max.node.span,
                format!("`source.{}.snapshot.threads_running_max` is less than what runs while nobody else does", entry.key),
                format!("{readers} readers, the reading of the binlog and the server's own thread are {least}: write more"),
            );
        }
    }

    /// What is said about a host is said about one that is granted.
    fn check_grants(&mut self, entry: &Entry) {
        let granted = |host: &HttpHost| {
            let items = entry.node.get("allow").map(Node::items).unwrap_or_default();
            items.iter().filter_map(Node::text).any(|text| text.parse() == Ok(Grant::Http(host.clone())))
        };
        for of_host in entry.node.get("http").map(Node::entries).unwrap_or_default() {
            let shown = printable(&of_host.key);
            let problem = match of_host.key.parse::<HttpHost>() {
                Err(error) => Some((format!("is no host: {error}"), error.hint)),
                Ok(host) if !granted(&host) => {
                    Some(("is not granted".to_owned(), format!("write allow = [\"http:{shown}\"], in the same words")))
                }
                Ok(_) => None,
            };
            if let Some((problem, hint)) = problem {
                self.error(&of_host.key_span, format!("`plugin.{}.http`: `{shown}` {problem}", entry.key), hint);
            }
        }
    }

    fn check_pipeline(&mut self, entry: &'a Entry) {
        let (node, path) = (&entry.node, format!("pipeline.{}", entry.key));
        if !matches!(node.value, Value::Table(_)) {
            return;
        }
        if let Some(source) = node.get("source") {
            self.refer("source", source, &path);
        }
        let mut seen = BTreeSet::new();
        for plugin in node.get("plugins").map(Node::items).unwrap_or_default() {
            self.refer("plugin", plugin, &path);
            if let Some(name) = plugin.text().filter(|name| !seen.insert(*name)) {
                self.error(
                    &plugin.span,
                    format!("`{path}.plugins` has `{}` twice", printable(name)),
                    "a plugin stands once in a pipeline",
                );
            }
        }
        let sinks = self.check_outputs(node, &path);
        self.check_modes(node, &path, &sinks);
    }

    /// The sinks that the pipeline writes to.
    fn check_outputs(&mut self, node: &'a Node, path: &str) -> Vec<&'a Node> {
        match (node.entry("sink"), node.entry("routes")) {
            (Some(_), Some(routes)) => {
                self.error(
                    &routes.key_span,
                    format!("`{path}` has both `sink` and `routes`"),
                    "a route with topics = [\"*\"] takes what `sink` would",
                );
            }
            (None, None) => self.error(&node.span, format!("`{path}` has neither `sink` nor `routes`"), "write sink = \"NAME\""),
            (Some(_), None) => {
                if let Some(unrouted) = node.entry("unrouted") {
                    let what = format!("`{path}.unrouted` has no effect: `sink` takes every topic");
                    self.problems.push(Problem::warning(
                        unrouted.key_span.clone(),
                        what,
                        "leave it out, or write routes instead of sink",
                    ));
                }
            }
            (None, Some(routes)) if matches!(&routes.node.value, Value::Array(items) if items.is_empty()) => {
                self.error(&routes.key_span, format!("`{path}.routes` is empty"), "write sink = \"NAME\", or at least one route");
            }
            (None, Some(_)) => {}
        }
        let routes = node.get("routes").map(Node::items).unwrap_or_default();
        let sinks: Vec<&Node> = node.get("sink").into_iter().chain(routes.iter().filter_map(|r| r.get("sink"))).collect();
        for sink in &sinks {
            self.refer("sink", sink, path);
        }
        sinks
    }

    fn check_modes(&mut self, node: &'a Node, path: &str, sinks: &[&'a Node]) {
        let entry = |key: &str, value: &str| node.entry(key).filter(|e| e.node.text() == Some(value));
        let one_lane = entry("ordering", "global").or(entry("ordering", "transaction"));
        if let (Some(ordering), Some(lanes)) = (one_lane, node.entry("lanes"))
            && matches!(lanes.node.value, Value::Integer(n) if n > 1)
        {
            let what = format!("`{path}.lanes`: ordering = \"{}\" has one lane", ordering.node.text().unwrap_or_default());
            self.error(&lanes.node.span, what, "leave out lanes, or write ordering = \"key\" or \"table\"");
        }
        if let (Some(ordering), Some(on_row_error)) = (one_lane, entry("on_row_error", "dead-letter")) {
            let what = format!(
                "`{path}`: on_row_error = \"dead-letter\" with ordering = \"{}\": behind a change that is set aside all others would have to wait",
                ordering.node.text().unwrap_or_default()
            );
            self.error(&on_row_error.node.span, what, "write ordering = \"key\", or on_row_error = \"stop\"");
        }
        let names: BTreeSet<&str> = sinks.iter().filter_map(|s| s.text()).collect();
        let kind = |name: &str| self.root.get("sink").and_then(|s| s.get(name)).and_then(|s| s.get("type")).and_then(Node::text);
        if let Some(ddl) = entry("ddl", "follow") {
            for name in names.iter().filter(|name| kind(name).is_some_and(|kind| !TRANSACTIONAL.contains(&kind))) {
                let what = format!("`{path}`: ddl = \"follow\" needs a sink with tables, and `{}` has none", printable(name));
                self.problems.push(Problem::error(
                    ddl.node.span.clone(),
                    what,
                    "such sinks are of type mysql, postgres and sqlite; make a pipeline of its own for the other one",
                ));
            }
        }
        let modes = [("ordering", "transaction"), ("delivery", "exactly-once")];
        for mode in modes.iter().filter_map(|(key, value)| entry(key, value)) {
            let written = format!("{} = \"{}\"", mode.key, mode.node.text().unwrap_or_default());
            if names.len() > 1 {
                self.error(
                    &mode.node.span,
                    format!("`{path}`: {written} needs a single sink, and there are {}", names.len()),
                    "make a pipeline for each sink; they may share the source",
                );
            }
            for name in &names {
                if kind(name).is_some_and(|kind| !TRANSACTIONAL.contains(&kind)) {
                    let what = format!("`{path}`: {written} needs a sink with transactions, and `{}` has none", printable(name));
                    self.error(&mode.node.span, what, "such sinks are of type mysql, postgres and sqlite");
                }
            }
        }
    }

    fn refer(&mut self, section: &'static str, node: &'a Node, path: &str) {
        let Some(name) = node.text() else { return };
        self.used.insert((section, name));
        let known = self.section(section);
        if known.iter().any(|e| e.key == name) {
            return;
        }
        let shown = if node.replaced { " of that name".to_owned() } else { format!(" `{}`", printable(name)) };
        let hint = match nearest(name, known.iter().map(|e| e.key.as_str())) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if known.is_empty() => {
                format!("write [{section}.{}]", if node.replaced { "NAME".to_owned() } else { printable(name) })
            }
            None => format!("known: {}", known.iter().map(|e| format!("\"{}\"", printable(&e.key))).collect::<Vec<_>>().join(", ")),
        };
        self.error(&node.span, format!("`{path}`: there is no {section}{shown}"), hint);
    }

    fn warn_unused(&mut self) {
        for section in ["source", "plugin", "sink"] {
            for entry in self.section(section) {
                if !self.used.contains(&(section, entry.key.as_str())) {
                    let what = format!("no pipeline uses {section} `{}`", printable(&entry.key));
                    self.problems.push(Problem::warning(entry.key_span.clone(), what, ""));
                }
            }
        }
    }
}
