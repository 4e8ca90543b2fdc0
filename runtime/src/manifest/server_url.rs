//! What a manifest must know of a server's URL before anybody connects: `scheme://user:password@host:port/database`.

/// The parts of a URL that the checks look at.
pub(super) struct ServerUrl<'a> {
    pub scheme: &'a str,
    pub user: &'a str,
    pub has_password: bool,
    /// Without port and brackets.
    pub host: &'a str,
    pub port: Option<&'a str>,
    pub database: &'a str,
    /// There is something after a `?` or `#`.
    pub has_parameters: bool,
}

impl<'a> ServerUrl<'a> {
    /// `None`: there is no `://`.
    pub fn split(url: &'a str) -> Option<ServerUrl<'a>> {
        let (scheme, rest) = url.split_once("://")?;
        let (rest, has_parameters) = match rest.split_once(['?', '#']) {
            Some((rest, _)) => (rest, true),
            None => (rest, false),
        };
        let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (user, has_password) = match user.split_once(':') {
            Some((user, password)) => (user, !password.is_empty()),
            None => (user, false),
        };
        let (server, database) = place.split_once('/').unwrap_or((place, ""));
        let (host, after) = match server.strip_prefix('[').and_then(|s| s.split_once(']')) {
            Some((host, after)) => (host, after),
            None => server.split_at(server.find(':').unwrap_or(server.len())),
        };
        Some(ServerUrl { scheme, user, has_password, host, port: after.strip_prefix(':'), database, has_parameters })
    }

    /// True for a server on this machine.
    pub fn is_local(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host.is_empty() || self.host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|a| a.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found() {
        let url = ServerUrl::split("mysql://tide:p@ss@[::1]:3306/shop?x=@").unwrap();
        assert_eq!((url.scheme, url.user, url.has_password), ("mysql", "tide", true));
        assert_eq!((url.host, url.port, url.database, url.is_local()), ("::1", Some("3306"), "shop", true));
        let url = ServerUrl::split("postgres://db.example.org").unwrap();
        assert_eq!((url.user, url.has_password, url.host, url.port, url.is_local()), ("", false, "db.example.org", None, false));
        assert!(ServerUrl::split("127.0.0.1:3306").is_none());
    }
}
