//! Where a MySQL or MariaDB server is and how to log in:
//! `mysql://user[:password]@host[:port][/][?ssl-mode=…&ssl-ca=…]`, the words of MySQL's own clients.

use std::fmt;
use std::path::PathBuf;

/// How TLS is used, as `--ssl-mode` of MySQL's clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    Disabled,
    /// TLS if the server offers it; its certificate is not checked.
    #[default]
    Preferred,
    /// TLS or nothing; the certificate is not checked.
    Required,
    /// The certificate must be signed by a known authority (`ssl-ca`, else the public ones).
    VerifyCa,
    /// The same, and it must be made out for the host.
    VerifyIdentity,
}

/// A parsed `mysql://` URL. `Debug` and `Display` leave the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<String>,
    pub ssl_mode: SslMode,
    /// PEM file with the certificates of the authorities to trust.
    pub ssl_ca: Option<PathBuf>,
}

/// Why a URL is refused. The URL itself is not repeated: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}\nhint: mysql://USER[:PASSWORD]@HOST[:PORT][/?ssl-mode=MODE&ssl-ca=FILE]")]
pub struct AddressError {
    reason: String,
}

impl Address {
    /// Parses a URL; `password`, if there is one, goes before the URL's own.
    pub fn parse(url: &str, password: Option<&str>) -> Result<Address, AddressError> {
        let error = |reason: &str| AddressError { reason: reason.to_owned() };
        let rest = url
            .strip_prefix("mysql://")
            .or_else(|| url.strip_prefix("mariadb://"))
            .ok_or_else(|| error("the URL does not begin with mysql://"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !path.is_empty() {
            return Err(error("the URL names a database; which tables are read is said by `tables`"));
        }
        let (login, host_port) = authority.rsplit_once('@').ok_or_else(|| error("the URL has no user"))?;
        let (user, url_password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        let decode = |text: &str| percent_decode(text).ok_or_else(|| error("a %-escape in the URL is not UTF-8 in hex"));
        let user = decode(user)?;
        if user.is_empty() {
            return Err(error("the URL has no user"));
        }
        let password = match password {
            Some(password) => Some(password.to_owned()),
            None => url_password.map(decode).transpose()?,
        };
        let (host, port) = split_port(host_port).ok_or_else(|| error("the port is not a number from 1 to 65535"))?;
        if host.is_empty() {
            return Err(error("the URL has no host"));
        }
        let mut address = Address { host: host.to_owned(), port, user, password, ssl_mode: SslMode::default(), ssl_ca: None };
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value)?;
            match key {
                "ssl-mode" => address.ssl_mode = ssl_mode(&value).ok_or_else(|| error(SSL_MODES))?,
                "ssl-ca" => address.ssl_ca = Some(PathBuf::from(value)),
                _ => return Err(error("the URL has an unknown parameter; ssl-mode and ssl-ca are known")),
            }
        }
        Ok(address)
    }

    /// `host:port`
    pub fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

const SSL_MODES: &str = "ssl-mode is one of disabled, preferred, required, verify-ca, verify-identity";

fn ssl_mode(text: &str) -> Option<SslMode> {
    Some(match text.to_ascii_lowercase().replace('_', "-").as_str() {
        "disabled" => SslMode::Disabled,
        "preferred" => SslMode::Preferred,
        "required" => SslMode::Required,
        "verify-ca" => SslMode::VerifyCa,
        "verify-identity" => SslMode::VerifyIdentity,
        _ => return None,
    })
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn split_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => {
            let (host, rest) = v6.split_once(']')?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|p| *p > 0)?,
        None => 3306,
    };
    Some((host, port))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let (high, low) = (bytes.next()? as char, bytes.next()? as char);
                (high.to_digit(16)? << 4 | low.to_digit(16)?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.user, self.host, self.port)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("server", &format_args!("{self}"))
            .field("ssl_mode", &self.ssl_mode)
            .field("ssl_ca", &self.ssl_ca)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let a = Address::parse("mysql://u%40x:p%3Aw@db.example:3307/?ssl-mode=VERIFY_CA&ssl-ca=/etc/ca.pem", None).unwrap();
        assert_eq!((a.user.as_str(), a.host.as_str(), a.port), ("u@x", "db.example", 3307));
        assert_eq!(a.password.as_deref(), Some("p:w"));
        assert_eq!((a.ssl_mode, a.ssl_ca), (SslMode::VerifyCa, Some("/etc/ca.pem".into())));
        let a = Address::parse("mysql://u@[::1]", Some("s")).unwrap();
        assert_eq!((a.host.as_str(), a.port, a.password.as_deref()), ("::1", 3306, Some("s")));
    }

    #[test]
    fn the_password_is_never_shown() {
        let a = Address::parse("mysql://u:hunter2@h", None).unwrap();
        assert!(!format!("{a:?} {a}").contains("hunter2"));
        let e = Address::parse("mysql://u:hunter2@h:99999", None).unwrap_err();
        assert!(!format!("{e:?} {e}").contains("hunter2"));
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for url in
            ["", "postgres://u@h", "mysql://h", "mysql://@h", "mysql://u@", "mysql://u@h:0", "mysql://u@h/db", "mysql://u@h?x=1"]
        {
            assert!(Address::parse(url, None).is_err(), "{url}");
        }
    }
}
