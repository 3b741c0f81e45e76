//! How a PostgreSQL server is reached: encrypted, and only if it proves that it has its name, unless it is on this machine.
//! And how statements run there.

use std::{borrow::Cow, net::IpAddr};

use futures::TryStreamExt;
use sqlx::{
    AssertSqlSafe, Column, Decode, PgConnection, Postgres, Row, TypeInfo, ValueRef,
    postgres::{PgArguments, PgConnectOptions, PgRow, PgSslMode, PgValueRef},
    query::Query,
};
use url::Url;

use crate::{
    Error,
    values::{Cell, Rows, Value},
};

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

/// How many statements stay prepared on a connection: more than are in use at a time.
const PREPARED: usize = 512;

/// The options of a URL. A server that is not on this machine has to show a certificate for its name, from an authority that
/// this machine or `sslrootcert` trusts, unless the URL asks for something weaker.
///
/// # Errors
/// It is no URL of PostgreSQL; the error does not show it.
pub(crate) fn options(url: &str) -> Result<PgConnectOptions, Error> {
    let invalid = Error::Url("is not a valid URL");
    let url = Url::parse(url).map_err(|_| invalid.clone())?;
    let is_known = |name: &str| PARAMETERS.contains(&name) || name.starts_with("options[");
    if !url.query_pairs().all(|(name, _)| is_known(&name)) {
        return Err(Error::Url(
            "has a parameter that is not known; storage.password is for the password",
        ));
    }
    let is_mode = |name: &str| matches!(name, "sslmode" | "ssl-mode");
    let is_named = url.query_pairs().any(|(name, _)| is_mode(&name));
    // The parser's error may quote the password.
    let mut parsed: PgConnectOptions = url.as_str().parse().map_err(|_| invalid)?;
    let is_given = |name: &str| url.query_pairs().any(|(given, _)| given == name);
    if !is_given("application_name") {
        parsed = parsed.application_name("invite-gateway");
    }
    // PgBouncer refuses a connection that asks for it, and PostgreSQL shows all digits by itself.
    parsed = parsed.extra_float_digits(None);
    if !is_given("statement-cache-capacity") {
        parsed = parsed.statement_cache_capacity(PREPARED);
    }
    match far_host(&parsed) {
        Some(_) if !is_named => return Ok(parsed.ssl_mode(PgSslMode::VerifyFull)),
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
    Ok(parsed)
}

/// Runs statements without values.
pub(crate) async fn batch(
    connection: &mut PgConnection,
    text: &'static str,
) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(text).execute(connection).await.map(drop)
}

pub(crate) async fn execute(
    connection: &mut PgConnection,
    text: String,
    values: Vec<Value<'_>>,
) -> Result<u64, sqlx::Error> {
    Ok(query(text, values).execute(connection).await?.rows_affected())
}

pub(crate) async fn fetch(
    connection: &mut PgConnection,
    text: String,
    values: Vec<Value<'_>>,
) -> Result<Rows, sqlx::Error> {
    let mut found = query(text, values).fetch(connection);
    let mut rows = None;
    while let Some(row) = found.try_next().await? {
        let names = || Rows::of(row.columns().iter().map(Column::name));
        let rows = rows.get_or_insert_with(names);
        for column in 0..row.len() {
            push(rows, &row, column);
        }
    }
    Ok(rows.unwrap_or_default())
}

fn query(text: String, values: Vec<Value<'_>>) -> Query<'static, Postgres, PgArguments> {
    // The text is safe, because every value has a placeholder.
    let query = sqlx::query(AssertSqlSafe(text));
    values.into_iter().fold(query, |query, value| match value {
        Value::Text(text) => query.bind(text.map(Cow::into_owned)),
        Value::Number(number) => query.bind(number),
    })
}

fn push(rows: &mut Rows, row: &PgRow, column: usize) {
    let cell = match row.try_get_raw(column) {
        Ok(value) if value.is_null() => Cell::Null,
        Ok(value) => match value.type_info().name() {
            "INT8" => number::<i64>(value),
            "INT4" => number::<i32>(value),
            "FLOAT8" => f64::decode(value).map_or(Cell::Other, Cell::Fraction),
            "TEXT" | "VARCHAR" | "NAME" => match <&str>::decode(value) {
                Ok(text) => return rows.push_text(text),
                Err(_) => Cell::Other,
            },
            _ => Cell::Other,
        },
        Err(_) => Cell::Other,
    };
    rows.push(cell);
}

fn number<'r, T: Decode<'r, Postgres> + Into<i64>>(value: PgValueRef<'r>) -> Cell {
    T::decode(value).map_or(Cell::Other, |number| Cell::Number(number.into()))
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
        format!("{:?}", options(url).unwrap().get_ssl_mode())
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
            "postgres://db.example/invites?sslrootcert=/etc/ca.pem",
        ] {
            assert_eq!(mode(far), "VerifyFull", "{far}");
            let glue = if far.contains('?') { '&' } else { '?' };
            for (said, meant) in [
                ("sslmode=disable", "Disable"),
                ("sslmode=require", "Require"),
                ("ssl-mode=verify-ca", "VerifyCa"),
            ] {
                assert_eq!(mode(&format!("{far}{glue}{said}")), meant, "{far}");
            }
        }
        let with_ca = options("postgres://db.example/invites?sslrootcert=/etc/ca.pem").unwrap();
        assert!(format!("{with_ca:?}").contains("/etc/ca.pem"));
        for near in [
            "postgres://me:pw@localhost/invites",
            "postgres://127.0.0.1:5432/invites",
            "postgres://[::1]/invites",
            "postgres:///invites?host=/run/postgresql",
            "postgres://%2Frun%2Fpostgresql/invites",
            "postgres://db.example/invites?host=127.0.0.1",
        ] {
            assert_eq!(mode(near), "Prefer", "{near}");
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
