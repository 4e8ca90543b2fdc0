//! What a manifest lets a plugin have besides its rows: `allow = ["clock", "random", "env:NAME", "http:api.example.com"]`.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use super::units::UnitError;

/// One thing that a plugin may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The time of day, a monotonic clock, and waiting.
    Clock,
    Random,
    /// One variable of the environment.
    Env(String),
    /// HTTP requests to one host.
    Http(HttpHost),
}

/// A host that requests may go to: `api.example.com`, `api.example.com:8443`, `127.0.0.1:8080`, `[::1]:8080`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpHost {
    /// In small letters; an address without brackets, as [`IpAddr`] writes it.
    pub name: String,
    /// `None`: the usual one.
    pub port: Option<u16>,
}

const GRANTS: &str = "write \"clock\", \"random\", \"env:NAME\" or \"http:HOST\"";

impl HttpHost {
    /// The address that was named in place of a name.
    pub fn address(&self) -> Option<IpAddr> {
        self.name.parse().ok()
    }

    /// This machine itself, where nobody listens on the way.
    pub fn is_local(&self) -> bool {
        self.name == "localhost" || self.address().is_some_and(|address| address.is_loopback())
    }
}

impl FromStr for HttpHost {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<HttpHost, UnitError> {
        let fail = |problem| UnitError { problem, hint: "write \"api.example.com\" or \"api.example.com:8443\"".to_owned() };
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest),
            // An IPv6 address without brackets has no port.
            None if text.parse::<IpAddr>().is_ok() => (text, ""),
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => Some(port.parse().ok().filter(|port| *port != 0).ok_or_else(|| fail("its port is none"))?),
            None if port.is_empty() => None,
            None => return Err(fail("it is not a host")),
        };
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(HttpHost { name: address.to_string(), port });
        }
        let is_label = |label: &str| {
            !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        // What ends in a number is read as an address by some, in other ways than here.
        let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit()) || label.to_ascii_lowercase().starts_with("0x");
        if host.len() > 253 || !host.split('.').all(is_label) || host.rsplit('.').next().is_none_or(is_number) {
            return Err(fail(if host.contains('*') { "a host has no wildcards" } else { "it is not a host" }));
        }
        Ok(HttpHost { name: host.to_ascii_lowercase(), port })
    }
}

impl fmt::Display for HttpHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name.contains(':'), self.port) {
            (true, Some(port)) => write!(f, "[{}]:{port}", self.name),
            (false, Some(port)) => write!(f, "{}:{port}", self.name),
            (_, None) => f.write_str(&self.name),
        }
    }
}

impl FromStr for Grant {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Grant, UnitError> {
        let fail = |problem| UnitError { problem, hint: GRANTS.to_owned() };
        match (text, text.split_once(':')) {
            ("clock", _) => Ok(Grant::Clock),
            ("random", _) => Ok(Grant::Random),
            (_, Some(("env", name))) if !name.is_empty() && !name.contains(['=', '*', '\0']) => Ok(Grant::Env(name.to_owned())),
            (_, Some(("env", _))) => Err(fail("it names no variable")),
            (_, Some(("http", host))) => host.parse().map(Grant::Http),
            _ => Err(fail("nothing of that name can be granted")),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grant::Clock => f.write_str("clock"),
            Grant::Random => f.write_str("random"),
            Grant::Env(name) => write!(f, "env:{name}"),
            Grant::Http(host) => write!(f, "http:{host}"),
        }
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Grant, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Grant {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Grant".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "x-form": "grant" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_and_printed() {
        for text in ["clock", "random", "env:HOME", "http:api.example.com", "http:a:8443", "http:127.0.0.1:80", "http:[::1]:80"] {
            assert_eq!(text.parse::<Grant>().unwrap().to_string(), text);
        }
        assert_eq!("http:API.Example.COM".parse::<Grant>().unwrap().to_string(), "http:api.example.com");
        assert_eq!("http:[::1]".parse::<Grant>(), "http:::1".parse::<Grant>());
    }

    #[test]
    fn what_is_no_grant_is_refused() {
        for text in [
            "",
            "Clock",
            "files",
            "env:",
            "env:*",
            "env:A=B",
            "http:",
            "http:*",
            "http:*.example.com",
            "http:a:0",
            "http:a:99999",
            "http:a:b",
            "http:a/b",
            "http:user@a",
            "http:2130706433",
            "http:127.1",
            "http:0x7f.0x1",
            "http:[::1",
            "http:[::1]x",
            "http:a..b",
            "http:a b",
        ] {
            assert!(text.parse::<Grant>().is_err(), "{text}");
        }
        assert_eq!("http:*.a.org".parse::<Grant>().unwrap_err().problem, "a host has no wildcards");
    }
}
