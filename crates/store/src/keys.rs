//! API keys: the records, never the secrets.

use invite_core::KeyId;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    Actor, Error, Store,
    actor::NewAudit,
    chain,
    connection::Connection,
    dialect::AUDIT_LOCK,
    rows::json,
    statement::{Fields, Statement, chunks},
    unreadable::{Unreadable, or_unreadable, separate},
    values::Value,
};

const COLUMNS: &str = "id, hash, name, tenant, scopes, providers, \
     CAST(requests_per_second AS DOUBLE PRECISION), CAST(invites_per_second AS DOUBLE PRECISION), \
     invites_per_day, created_at, expires_at, revoked_at, last_used_at, parent";
/// Selects the ids of a key and of all that descend from it; the key's id and [`FAMILY_END`] have to follow.
const FAMILY: &str =
    "WITH RECURSIVE family(id) AS (SELECT api_keys.id FROM api_keys WHERE api_keys.id = ";
const FAMILY_END: &str = " UNION SELECT api_keys.id FROM api_keys JOIN family ON parent = family.id) \
     SELECT id FROM family";

/// Selects the ids of a key and of all that it descends from; the key's id and [`LINEAGE_END`] have to follow.
const LINEAGE: &str = "WITH RECURSIVE line(id, parent) AS \
     (SELECT api_keys.id, api_keys.parent FROM api_keys WHERE api_keys.id = ";
const LINEAGE_END: &str = " UNION SELECT api_keys.id, api_keys.parent FROM api_keys \
     JOIN line ON api_keys.id = line.parent) SELECT id FROM line";

/// An API key without its secret.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// The hash of the secret, which is shown to nobody.
    #[serde(skip)]
    pub hash: String,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Whose invites it sees.
    pub tenant: String,
    /// The providers that it may use; null: all.
    pub providers: Option<Vec<String>>,
    #[expect(missing_docs, reason = "flattened, it would describe the whole key")]
    #[serde(flatten)]
    pub limits: KeyLimits,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it lapses; null: never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, some seconds late.
    pub last_used_at: Option<Timestamp>,
    /// The key that it was made with, and is revoked with; null: it was made on the gateway's machine.
    pub parent: Option<KeyId>,
}

/// How much may be asked for with a key; none: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct KeyLimits {
    /// How many requests it may make; null: no limit.
    pub requests_per_second: Option<f64>,
    /// How many invites it may ask for in a second, on average; null: no limit.
    pub invites_per_second: Option<f64>,
    /// How many invites are accepted of it in a day, from midnight to midnight UTC; null: no limit.
    pub invites_per_day: Option<u64>,
}

/// A key with the keys that it has to agree with when it changes.
#[expect(missing_docs, reason = "other fields say all by their names")]
#[derive(Clone, Debug)]
pub struct KeyFamily {
    pub key: ApiKey,
    /// The one that it was made with, if it can be read.
    pub parent: Option<ApiKey>,
    /// The valid keys that were made with it and can be read.
    pub children: Vec<ApiKey>,
}

/// What became of a change of a key.
#[derive(Debug)]
pub enum KeyChanged {
    /// The key as it is now.
    Changed(Box<ApiKey>),
    /// Nothing was changed; these are the keys that the change would not agree with.
    Refused(Box<KeyFamily>),
}

impl Store {
    /// Stores a new key, with its entry in the record of changes; false if the key that it is made with has ended
    /// meanwhile.
    ///
    /// # Errors
    /// The database cannot be used, or the id or the hash is taken.
    pub async fn insert_key(&self, key: &ApiKey, actor: &Actor) -> Result<bool, Error> {
        let data = (key.clone(), actor.clone());
        self.write(vec![AUDIT_LOCK], data, |mut tx, (key, actor)| {
            Box::pin(async move {
                if let Some(parent) = key.parent {
                    let parent = find(tx.connection, parent).await?;
                    if !parent.is_some_and(|parent| parent.is_good(tx.now)) {
                        return Ok(false);
                    }
                }
                Statement::new(
                    "INSERT INTO api_keys (id, hash, name, tenant, scopes, providers, created_at, \
                     expires_at, revoked_at, last_used_at, parent, invites_per_day, \
                     requests_per_second, invites_per_second) VALUES (",
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
                    key.parent.map_or(Value::Text(None), |id| id.to_string().into()),
                    per_day(key),
                ])
                .text(", CAST(")
                .bind(fraction(key.limits.requests_per_second))
                .text(" AS DOUBLE PRECISION), CAST(")
                .bind(fraction(key.limits.invites_per_second))
                .text(" AS DOUBLE PRECISION))")
                .execute(tx.connection)
                .await?;
                chain::record(&mut tx, &key.change("key.create", actor, None)).await?;
                Ok(true)
            })
        })
        .await
    }

    /// All keys, newest first, or those that come after one of them: those that can be read, and the
    /// others, which are refused.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn keys(
        &self,
        after: Option<String>,
    ) -> Result<(Vec<ApiKey>, Vec<Unreadable>), Error> {
        let statement = match after {
            Some(after) => select().text(" WHERE id < ").bind(after),
            None => select(),
        };
        let statement = statement.text(" ORDER BY id DESC");
        Ok(separate(statement.all(&mut *self.lister().await?, or_unreadable(read_key)).await?))
    }

    /// The key whose secret has this hash, also when it is revoked or has expired.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn key_by_hash(&self, hash: &str) -> Result<Option<ApiKey>, Error> {
        select().text(" WHERE hash = ").bind(hash).first(&mut *self.reader().await?, read_key).await
    }

    /// The keys that a key descends from: the one that it was made with, and so on.
    ///
    /// # Errors
    /// The database cannot be used, or [`Error::Corrupt`] if one of them cannot be read.
    pub async fn key_ancestors(&self, key: &ApiKey) -> Result<Vec<ApiKey>, Error> {
        let Some(parent) = key.parent else { return Ok(Vec::new()) };
        let statement = select().text(" WHERE id IN (").text(LINEAGE).bind(parent.to_string());
        statement.text(LINEAGE_END).text(")").all(&mut *self.reader().await?, read_key).await
    }

    /// The key of this id, also when it is revoked or has expired.
    ///
    /// # Errors
    /// The database cannot be used, or [`Error::Corrupt`].
    pub async fn key(&self, id: KeyId) -> Result<Option<ApiKey>, Error> {
        find(&mut *self.reader().await?, id).await
    }

    /// Changes name, providers, limits and end of a key to those that `decide` returns, with an entry in the
    /// record of changes; nothing where it returns none. None if there is no such key.
    ///
    /// # Errors
    /// The database cannot be used, or [`Error::Corrupt`].
    pub async fn change_key(
        &self,
        id: KeyId,
        actor: &Actor,
        decide: impl Fn(&KeyFamily) -> Option<ApiKey> + Send + Sync + 'static,
    ) -> Result<Option<KeyChanged>, Error> {
        let data = (actor.clone(), decide);
        self.write(vec![AUDIT_LOCK], data, move |mut tx, (actor, decide)| {
            Box::pin(async move {
                let Some(key) = find(tx.connection, id).await? else { return Ok(None) };
                let parent = match key.parent {
                    Some(parent) => find(tx.connection, parent).await?,
                    None => None,
                };
                let children = select().text(" WHERE parent = ").bind(id.to_string());
                let children = children.all(tx.connection, or_unreadable(read_key)).await?;
                let mut children = separate(children).0;
                children.retain(|child| child.is_good(tx.now));
                let family = KeyFamily { key, parent, children };
                let Some(after) = decide(&family) else {
                    return Ok(Some(KeyChanged::Refused(Box::new(family))));
                };
                Statement::with(
                    "UPDATE api_keys SET name = ?, providers = ?, expires_at = ?, \
                     invites_per_day = ?, requests_per_second = CAST(? AS DOUBLE PRECISION), \
                     invites_per_second = CAST(? AS DOUBLE PRECISION) WHERE id = ?",
                    [
                        (&after.name).into(),
                        after.providers.as_ref().map_or(Value::Text(None), json),
                        after.expires_at.into(),
                        per_day(&after),
                        fraction(after.limits.requests_per_second),
                        fraction(after.limits.invites_per_second),
                        id.to_string().into(),
                    ],
                )
                .execute(tx.connection)
                .await?;
                let change = after.change("key.change", actor, Some(&family.key));
                chain::record(&mut tx, &change).await?;
                Ok(Some(KeyChanged::Changed(Box::new(after))))
            })
        })
        .await
    }

    /// Withdraws a key and all that were made with it, and returns it, with an entry in the record of changes for
    /// each; those that are withdrawn already stay as they are. None if there is no such key.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn revoke_key(&self, id: KeyId, actor: &Actor) -> Result<Option<ApiKey>, Error> {
        self.write(vec![AUDIT_LOCK], actor.clone(), move |mut tx, actor| {
            Box::pin(async move {
                let revoked: Vec<String> = Statement::new("UPDATE api_keys SET revoked_at = ")
                    .bind(tx.now)
                    .text(" WHERE revoked_at IS NULL AND id IN (")
                    .text(FAMILY)
                    .bind(id.to_string())
                    .text(FAMILY_END)
                    .text(") RETURNING id")
                    .all(tx.connection, |row| row.string())
                    .await?;
                for one in revoked {
                    // That a key was revoked is recorded even if the key cannot be read.
                    let key = select().text(" WHERE id = ").bind(&one);
                    let key = key.all(tx.connection, or_unreadable(read_key)).await?;
                    let change = match separate(key).0.pop() {
                        Some(key) => {
                            let before = ApiKey { revoked_at: None, ..key.clone() };
                            key.change("key.revoke", actor, Some(&before))
                        }
                        None => NewAudit::new(actor.clone(), "key.revoke", one),
                    };
                    chain::record(&mut tx, &change).await?;
                }
                find(tx.connection, id).await
            })
        })
        .await
    }

    /// Records when keys were last used; a time before the recorded one changes nothing.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn touch_keys(&self, uses: &[(KeyId, Timestamp)]) -> Result<(), Error> {
        self.write(Vec::new(), uses.to_vec(), |tx, uses| {
            Box::pin(async move {
                for chunk in chunks(uses) {
                    Statement::new("UPDATE api_keys SET last_used_at = v.column2 FROM ")
                        .rows(chunk.iter().map(|(id, at)| [id.to_string().into(), (*at).into()]))
                        .text(
                            " WHERE api_keys.id = v.column1 AND \
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
    /// Whether it is accepted at `now`.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| at > now)
    }

    /// The key with what was done to it, for the record of changes: never its hash.
    fn change(&self, action: &str, actor: &Actor, before: Option<&Self>) -> NewAudit {
        let shown = |key: &Self| {
            serde_json::json!({
                "name": key.name, "tenant": key.tenant, "scopes": key.scopes,
                "providers": key.providers,
                "requests_per_second": key.limits.requests_per_second,
                "invites_per_second": key.limits.invites_per_second,
                "invites_per_day": key.limits.invites_per_day,
                "expires_at": key.expires_at, "revoked_at": key.revoked_at, "parent": key.parent,
            })
        };
        NewAudit {
            before: before.map(shown),
            after: Some(shown(self)),
            ..NewAudit::new(actor.clone(), action, self.id.to_string())
        }
    }
}

/// A fraction as text, which the statement makes a number of.
fn fraction(rate: Option<f64>) -> Value<'static> {
    rate.map(|rate| rate.to_string()).into()
}

fn per_day(key: &ApiKey) -> Value<'static> {
    let most = key.limits.invites_per_day;
    Value::Number(most.map(|most| i64::try_from(most).unwrap_or(i64::MAX)))
}

fn select() -> Statement<'static> {
    Statement::new("SELECT ").text(COLUMNS).text(" FROM api_keys")
}

async fn find(connection: &mut Connection, id: KeyId) -> Result<Option<ApiKey>, Error> {
    select().text(" WHERE id = ").bind(id.to_string()).first(connection, read_key).await
}

fn read_key(row: &mut Fields<'_>) -> Result<ApiKey, Error> {
    Ok(ApiKey {
        id: row.parsed()?,
        hash: row.string()?,
        name: row.string()?,
        tenant: row.string()?,
        scopes: row.json()?,
        providers: row.optional_json()?,
        limits: KeyLimits {
            requests_per_second: row.optional_fraction()?,
            invites_per_second: row.optional_fraction()?,
            invites_per_day: row.optional_count()?,
        },
        created_at: row.time()?,
        expires_at: row.optional_time()?,
        revoked_at: row.optional_time()?,
        last_used_at: row.optional_time()?,
        parent: row.optional_parsed()?,
    })
}
