//! How a PostgreSQL server is reached: encrypted, and only if it proves that it has its name, unless it is on this machine.

use std::net::IpAddr;

use sqlx::{
    ConnectOptions,
    any::AnyConnectOptions,
    postgres::{PgConnectOptions, PgSslMode},
};
use url::Url;

use crate::Error;

/// The known parameters of a URL. Others are refused, since the driver would log their values.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// The options of a URL. A server that is not on this machine has to show a certificate for its name, from an authority that
/// this machine or `sslrootcert` trusts, unless the URL asks for something weaker.
///
/// # Errors
/// It is no URL of PostgreSQL; the error does not show it.
pub(crate) fn options(url: &str) -> Result<AnyConnectOptions, Error> {
    let invalid = Error::Url("is not a valid URL");
    let mut url = Url::parse(url).map_err(|_| invalid.clone())?;
    let is_known = |name: &str| PARAMETERS.contains(&name) || name.starts_with("options[");
    if !url.query_pairs().all(|(name, _)| is_known(&name)) {
        return Err(Error::Url(
            "has a parameter that is not known; storage.password is for the password",
        ));
    }
    let is_mode = |name: &str| matches!(name, "sslmode" | "ssl-mode");
    let is_named = url.query_pairs().any(|(name, _)| is_mode(&name));
    // The parser's error may quote the password.
    let parsed: PgConnectOptions = url.as_str().parse().map_err(|_| invalid.clone())?;
    match far_host(&parsed) {
        Some(_) if !is_named => {
            url.query_pairs_mut().append_pair("sslmode", "verify-full");
        }
        Some(host) => {
            if let Some(danger) = danger(parsed.get_ssl_mode()) {
                tracing::warn!(
                    database.host = host,
                    "storage.url asks for {danger}; without sslmode it would be verify-full"
                );
            }
        }
        None => {}
    }
    AnyConnectOptions::from_url(&url).map_err(|_| invalid)
}

/// The host, unless it is this machine.
fn far_host(options: &PgConnectOptions) -> Option<&str> {
    let host = options.get_host();
    let bare = host.trim_matches(['[', ']']);
    let is_here = options.get_socket().is_some()
        || host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    (!is_here).then_some(host)
}

/// What somebody on the way to the server could do; `None` if nothing.
fn danger(mode: PgSslMode) -> Option<&'static str> {
    match mode {
        PgSslMode::VerifyFull => None,
        PgSslMode::VerifyCa => Some(
            "sslmode=verify-ca: whoever has any certificate of that authority, and is on the way to the \
             database, can pose as it, learn its password, and read and change everything that is stored",
        ),
        PgSslMode::Require => Some(
            "sslmode=require, by which the server's certificate may not be looked at: whoever is on the way to \
             the database can pose as it, learn its password, and read and change everything that is stored",
        ),
        PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer => Some(
            "an sslmode that does without encryption: whoever is on the way to the database can read and \
             change everything that is stored, and may learn its password",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mode by which a URL is connected to.
    fn mode(url: &str) -> String {
        let options = options(url).unwrap();
        let pairs =
            options.database_url.query_pairs().map(|(name, value)| format!("{name}={value}"));
        pairs.filter(|pair| pair.starts_with("ssl")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_server_elsewhere_has_to_show_who_it_is_unless_the_address_says_something_weaker() {
        for far in [
            "postgres://me:pw@db.example/invites",
            "postgresql://me@10.0.0.7:6432/invites",
            "postgres://[2001:db8::1]/invites",
            "postgres:///invites?host=db.example",
            "postgres://localhost/invites?host=db.example",
            "postgres://localhost/invites?hostaddr=10.0.0.7",
            "postgres://localhost.example/invites",
            "postgres://0.0.0.0/invites",
        ] {
            assert_eq!(mode(far), "sslmode=verify-full", "{far}");
            let glue = if far.contains('?') { '&' } else { '?' };
            for said in ["sslmode=disable", "sslmode=require", "ssl-mode=verify-ca"] {
                assert_eq!(mode(&format!("{far}{glue}{said}")), said, "{far}");
            }
        }
        let with_ca = mode("postgres://db.example/invites?sslrootcert=/etc/ca.pem");
        assert_eq!(with_ca, "sslrootcert=/etc/ca.pem sslmode=verify-full");
        for near in [
            "postgres://me:pw@localhost/invites",
            "postgres://127.0.0.1:5432/invites",
            "postgres://[::1]/invites",
            "postgres:///invites?host=/run/postgresql",
            "postgres://%2Frun%2Fpostgresql/invites",
            "postgres://db.example/invites?host=127.0.0.1",
        ] {
            assert_eq!(mode(near), "", "{near}");
        }
    }

    #[test]
    fn a_parameter_that_is_not_known_is_refused_and_not_shown() {
        let error = options("postgres://db.example/invites?pasword=s3cret").err().unwrap();
        assert!(
            !error.to_string().contains("s3cret") && error.to_string().contains("parameter"),
            "{error}"
        );
    }

    #[test]
    fn whatever_is_weaker_than_the_best_is_warned_of() {
        assert!(danger(PgSslMode::VerifyFull).is_none());
        for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
            assert!(danger(mode.parse().unwrap()).unwrap().contains("on the way to"), "{mode}");
        }
    }
}
