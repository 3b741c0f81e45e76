//! API keys: the records, never the secrets.

use std::sync::Arc;

use invite_core::KeyId;
use jiff::Timestamp;

use crate::{
    Actor, Error, Store,
    audit::{self, NewAudit},
    rows::json,
    statement::{Fields, Statement, Value, chunks},
    unreadable::{Unreadable, apart, separate},
};

const COLUMNS: &str = "id, hash, name, tenant, scopes, providers, \
     CAST(requests_per_second AS DOUBLE PRECISION), created_at, expires_at, revoked_at, \
     last_used_at";

/// An API key without its secret.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// The hash of the secret.
    pub hash: String,
    /// What people call it.
    pub name: String,
    /// Whose invites it may see.
    pub tenant: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// The providers that it may use; none: all.
    pub providers: Option<Vec<String>>,
    /// Requests per second that it may make; none: no limit.
    pub requests_per_second: Option<f64>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was withdrawn.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, as last recorded.
    pub last_used_at: Option<Timestamp>,
}

impl Store {
    /// Stores a new key, with its entry in the audit.
    ///
    /// # Errors
    /// The database cannot be used, or the id or the hash is taken.
    pub async fn insert_key(&self, key: &ApiKey, actor: &Actor) -> Result<(), Error> {
        let new = Arc::new((key.clone(), actor.clone()));
        self.write(Vec::new(), move |mut tx| {
            let new = Arc::clone(&new);
            Box::pin(async move {
                let (key, actor) = &*new;
                Statement::new(
                    "INSERT INTO api_keys (id, hash, name, tenant, scopes, providers, created_at, \
                     expires_at, revoked_at, last_used_at, requests_per_second) VALUES (",
                )
                .values([
                    key.id.to_string().into(),
                    (&key.hash).into(),
                    (&key.name).into(),
                    (&key.tenant).into(),
                    json(&key.scopes),
                    key.providers.as_ref().map_or(Value::Text(None), json),
                    key.created_at.into(),
                    key.expires_at.into(),
                    key.revoked_at.into(),
                    key.last_used_at.into(),
                ])
                // As text: sqlx's driver for any database gives a fraction that is NULL another
                // type than one that is not, which PostgreSQL's prepared statement refuses.
                .text(", CAST(")
                .bind(key.requests_per_second.map(|rate| rate.to_string()))
                .text(" AS DOUBLE PRECISION))")
                .execute(tx.connection)
                .await?;
                audit::record(&mut tx, &key.change("key.create", actor, None)).await
            })
        })
        .await
    }

    /// All keys, newest first: those that can be read, and the others, which are refused.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn keys(&self) -> Result<(Vec<ApiKey>, Vec<Unreadable>), Error> {
        let statement = select().text(" ORDER BY id DESC");
        Ok(separate(statement.all(&mut *self.lister().await?, apart(read_key)).await?))
    }

    /// The key whose secret has this hash, also when it is revoked or has expired.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn key_by_hash(&self, hash: &str) -> Result<Option<ApiKey>, Error> {
        let mut connection = self.reader().await?;
        select().text(" WHERE hash = ").bind(hash).first(&mut connection, read_key).await
    }

    /// Withdraws a key and returns it, with an entry in the audit; one that is withdrawn already
    /// stays as it is. None if there is no such key.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn revoke_key(&self, id: KeyId, actor: &Actor) -> Result<Option<ApiKey>, Error> {
        let actor = Arc::new(actor.clone());
        self.write(Vec::new(), move |mut tx| {
            let actor = Arc::clone(&actor);
            Box::pin(async move {
                let revoked = Statement::new("UPDATE api_keys SET revoked_at = ")
                    .bind(tx.now)
                    .text(" WHERE revoked_at IS NULL AND id = ")
                    .bind(id.to_string())
                    .execute(tx.connection)
                    .await?;
                let key = select().text(" WHERE id = ").bind(id.to_string());
                let key = key.first(tx.connection, read_key).await?;
                if let (Some(key), 1..) = (&key, revoked) {
                    let before = ApiKey { revoked_at: None, ..key.clone() };
                    let change = key.change("key.revoke", &actor, Some(&before));
                    audit::record(&mut tx, &change).await?;
                }
                Ok(key)
            })
        })
        .await
    }

    /// Records when keys were last used; a time before the recorded one changes nothing.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn touch_keys(&self, uses: &[(KeyId, Timestamp)]) -> Result<(), Error> {
        let uses = Arc::new(uses.to_vec());
        self.write(Vec::new(), move |tx| {
            let uses = Arc::clone(&uses);
            Box::pin(async move {
                for chunk in chunks(&uses) {
                    Statement::new("UPDATE api_keys SET last_used_at = v.column2 FROM (VALUES ")
                        .rows(chunk.iter().map(|(id, at)| [id.to_string().into(), (*at).into()]))
                        .text(
                            ") AS v WHERE api_keys.id = v.column1 AND \
                         (api_keys.last_used_at IS NULL OR api_keys.last_used_at < v.column2)",
                        )
                        .execute(tx.connection)
                        .await?;
                }
                Ok(())
            })
        })
        .await
    }
}

impl ApiKey {
    /// The key with what was done to it, for the audit: never its hash.
    fn change(&self, action: &str, actor: &Actor, before: Option<&Self>) -> NewAudit {
        let shown = |key: &Self| {
            serde_json::json!({
                "name": key.name, "tenant": key.tenant, "scopes": key.scopes,
                "providers": key.providers, "requests_per_second": key.requests_per_second,
                "expires_at": key.expires_at, "revoked_at": key.revoked_at,
            })
        };
        NewAudit {
            actor: actor.clone(),
            action: action.to_owned(),
            target: self.id.to_string(),
            before: before.map(shown),
            after: Some(shown(self)),
            note: None,
        }
    }
}

fn select() -> Statement<'static> {
    Statement::new("SELECT ").text(COLUMNS).text(" FROM api_keys")
}

fn read_key(row: &mut Fields<'_>) -> Result<ApiKey, Error> {
    Ok(ApiKey {
        id: row.parsed()?,
        hash: row.string()?,
        name: row.string()?,
        tenant: row.string()?,
        scopes: row.json()?,
        providers: row.optional_json()?,
        requests_per_second: row.optional_fraction()?,
        created_at: row.time()?,
        expires_at: row.optional_time()?,
        revoked_at: row.optional_time()?,
        last_used_at: row.optional_time()?,
    })
}
