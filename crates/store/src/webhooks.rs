//! Webhooks: where events are sent to, and which.

use invite_core::{EventId, EventType, WebhookId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json as json_of};

use crate::{
    Actor, Error, EventFilter, Store,
    actor::NewAudit,
    chain,
    debug::debug_only,
    dialect::AUDIT_LOCK,
    rows::json,
    statement::{Fields, Statement},
    writer::Tx,
};

/// How many deliveries one transaction goes through.
pub(crate) const AT_ONCE: i64 = 500;
const COLUMNS: &str = "id, tenant, url, description, types, providers, labels, is_thin, secrets, disabled_because, \
     failing_since, read_up_to, created_at";

/// A webhook.
#[derive(Clone, PartialEq)]
pub struct Webhook {
    #[expect(missing_docs, reason = "its name says all")]
    pub id: WebhookId,
    /// Whose events it gets.
    pub tenant: String,
    /// Where they are sent to.
    pub url: String,
    /// What it is for.
    pub description: Option<String>,
    /// If not empty: events of these types only.
    pub types: Vec<EventType>,
    /// If not empty: events of invites at these providers only.
    pub providers: Vec<String>,
    /// Events of invites with all of these labels only.
    pub labels: Vec<(String, String)>,
    /// Ids and statuses only.
    pub is_thin: bool,
    /// What requests are signed with, newest first.
    pub secrets: Vec<SigningSecret>,
    /// Why nothing is sent to it at present; none if it is enabled.
    pub disabled_because: Option<String>,
    /// Since when nothing has been taken.
    pub failing_since: Option<Timestamp>,
    /// All events up to this one were sent, or are among those to be sent again.
    pub read_up_to: EventId,
    /// When it was made.
    pub created_at: Timestamp,
}

debug_only!(Webhook: id, tenant, types, providers, is_thin, disabled_because);

/// A secret that requests are signed with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningSecret {
    /// The key, in base64.
    pub key: String,
    /// Until when it signs beside the one that replaced it; none for the newest.
    pub until: Option<Timestamp>,
}

impl Webhook {
    /// Which events it gets.
    pub fn filter(&self) -> EventFilter {
        EventFilter {
            tenant: Some(self.tenant.clone()),
            of_gateway: false,
            types: self.types.clone(),
            providers: self.providers.clone(),
            labels: self.labels.clone(),
            invite: None,
        }
    }

    /// What the record of changes says of it.
    fn recorded(&self) -> Json {
        // What follows the host may be a secret.
        let (scheme, rest) = self.url.split_once("://").unwrap_or_default();
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        json_of!({
            "tenant": self.tenant, "host": format!("{scheme}://{host}"), "types": self.types, "providers": self.providers,
            "labels": self.labels.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "thin": self.is_thin, "secrets": self.secrets.len(), "disabled_because": self.disabled_because,
        })
    }
}

impl Store {
    /// Stores a new webhook, with its entry in the record of changes; false if its tenant has `most` already.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn add_webhook(
        &self,
        webhook: &Webhook,
        most: i64,
        actor: &Actor,
    ) -> Result<bool, Error> {
        let data = (webhook.clone(), actor.clone());
        self.write(vec![AUDIT_LOCK], data, move |mut tx, (webhook, actor)| {
            Box::pin(async move {
                let count = Statement::new("SELECT count(*) FROM webhooks WHERE tenant = ")
                    .bind(&webhook.tenant)
                    .first(tx.connection, |row| row.number())
                    .await?;
                if count.is_some_and(|count| count >= most) {
                    return Ok(false);
                }
                Statement::new("INSERT INTO webhooks (")
                    .text(COLUMNS)
                    .text(") VALUES (")
                    .values([
                        webhook.id.to_string().into(),
                        (&webhook.tenant).into(),
                        (&webhook.url).into(),
                        webhook.description.as_deref().into(),
                        json(&webhook.types),
                        json(&webhook.providers),
                        json(&webhook.labels),
                        webhook.is_thin.into(),
                        json(&webhook.secrets),
                        webhook.disabled_because.as_deref().into(),
                        webhook.failing_since.into(),
                        webhook.read_up_to.number().into(),
                        webhook.created_at.into(),
                    ])
                    .text(")")
                    .execute(tx.connection)
                    .await?;
                let id = webhook.id.to_string();
                let change = NewAudit::new(actor.clone(), "webhook.create", id);
                let after = Some(webhook.recorded());
                chain::record(&mut tx, &NewAudit { after, ..change }).await?;
                Ok(true)
            })
        })
        .await
    }

    /// The webhooks of a tenant, or of all, oldest first.
    ///
    /// # Errors
    /// The database cannot be used, or [`Error::Corrupt`].
    pub async fn webhooks(&self, tenant: Option<&str>) -> Result<Vec<Webhook>, Error> {
        let mut statement = select();
        if let Some(tenant) = tenant {
            statement = statement.text(" WHERE tenant = ").bind(tenant);
        }
        statement.text(" ORDER BY id").all(&mut *self.lister().await?, read).await
    }

    /// The webhooks that something is sent to, of all tenants. No caller's list holds this up.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn enabled_webhooks(&self) -> Result<Vec<WebhookId>, Error> {
        Statement::new("SELECT id FROM webhooks WHERE disabled_because IS NULL ORDER BY id")
            .all(&mut *self.reader().await?, |row| row.parsed())
            .await
    }

    /// One webhook.
    ///
    /// # Errors
    /// The database cannot be used, or [`Error::Corrupt`].
    pub async fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>, Error> {
        let statement = select().text(" WHERE id = ").bind(id.to_string());
        statement.first(&mut *self.reader().await?, read).await
    }

    /// Changes a webhook, with an entry in the record of changes. Returns it as it is now; `None` if there is none, or if
    /// `change`, which sees it as it is at that moment, says that it may not be changed.
    ///
    /// # Errors
    /// The database cannot be used, or [`Error::Corrupt`].
    pub async fn change_webhook(
        &self,
        id: WebhookId,
        actor: &Actor,
        action: &'static str,
        change: impl Fn(&mut Webhook, Timestamp) -> bool + Send + Sync + 'static,
    ) -> Result<Option<Webhook>, Error> {
        let data = (actor.clone(), change);
        self.write(vec![AUDIT_LOCK], data, move |mut tx, (actor, change)| {
            Box::pin(async move {
                let Some(before) = lock(&mut tx, id).await? else { return Ok(None) };
                let mut webhook = before.clone();
                if !change(&mut webhook, tx.now) {
                    return Ok(None);
                }
                if webhook == before {
                    return Ok(Some(webhook));
                }
                store(&mut tx, &webhook).await?;
                if webhook.disabled_because.is_none() && before.disabled_because.is_some() {
                    restart_deliveries(&mut tx, id).await?;
                }
                let audit = NewAudit {
                    before: Some(before.recorded()),
                    after: Some(webhook.recorded()),
                    ..NewAudit::new(actor.clone(), action, id.to_string())
                };
                chain::record(&mut tx, &audit).await?;
                Ok(Some(webhook))
            })
        })
        .await
    }

    /// Removes a webhook with all that was sent to it, in steps, of which the last has the entry in the record of changes. False
    /// if there is none, or if it may not be removed as it is then.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn remove_webhook(
        &self,
        id: WebhookId,
        actor: &Actor,
        may_remove: impl Fn(&Webhook) -> bool + Send + Sync + 'static,
    ) -> Result<bool, Error> {
        let disable = move |webhook: &mut Webhook, _| {
            let may = may_remove(webhook);
            if may {
                webhook.disabled_because = Some("it is being removed".to_owned());
            }
            may
        };
        if self.change_webhook(id, actor, "webhook.change", disable).await?.is_none() {
            return Ok(false);
        }
        for table in ["webhook_attempts", "webhook_deliveries"] {
            while self.remove_some(table, id).await? > 0 {}
        }
        self.write(vec![AUDIT_LOCK], actor.clone(), move |mut tx, actor| {
            Box::pin(async move {
                if lock(&mut tx, id).await?.is_none() {
                    return Ok(());
                }
                let id = id.to_string();
                // Also what was stored meanwhile of requests that were under way.
                for table in [
                    "webhook_attempts WHERE webhook_id",
                    "webhook_deliveries WHERE webhook_id",
                    "webhooks WHERE id",
                ] {
                    let statement = Statement::new("DELETE FROM ").text(table).text(" = ");
                    statement.bind(&id).execute(tx.connection).await?;
                }
                chain::record(&mut tx, &NewAudit::new(actor.clone(), "webhook.remove", id)).await
            })
        })
        .await?;
        Ok(true)
    }

    async fn remove_some(&self, table: &'static str, id: WebhookId) -> Result<u64, Error> {
        self.write(Vec::new(), id.to_string(), move |tx, id| {
            Box::pin(async move {
                let last = format!(
                    "SELECT max(event_id) FROM (SELECT event_id FROM {table} WHERE webhook_id = "
                );
                let statement =
                    Statement::new(&last).bind(id).text(" ORDER BY event_id").limit(AT_ONCE);
                let last = statement
                    .text(") AS first")
                    .first(tx.connection, |row| row.optional_number())
                    .await?;
                Statement::new("DELETE FROM ")
                    .text(table)
                    .text(" WHERE webhook_id = ")
                    .bind(id)
                    .text(" AND event_id <= ")
                    .bind(last.flatten().unwrap_or(-1))
                    .execute(tx.connection)
                    .await
            })
        })
        .await
    }
}

/// The webhook, which nobody else writes until the transaction ends.
pub(crate) async fn lock(tx: &mut Tx<'_>, id: WebhookId) -> Result<Option<Webhook>, Error> {
    let statement = select().text(" WHERE id = ").bind(id.to_string());
    statement.text(tx.dialect.for_update()).first(tx.connection, read).await
}

/// Writes what may change of a webhook.
pub(crate) async fn store(tx: &mut Tx<'_>, webhook: &Webhook) -> Result<(), Error> {
    Statement::with(
        "UPDATE webhooks SET url = ?, description = ?, types = ?, providers = ?, labels = ?, is_thin = ?, \
         secrets = ?, disabled_because = ?, failing_since = ?, read_up_to = ? WHERE id = ?",
        [
            (&webhook.url).into(),
            webhook.description.as_deref().into(),
            json(&webhook.types),
            json(&webhook.providers),
            json(&webhook.labels),
            webhook.is_thin.into(),
            json(&webhook.secrets),
            webhook.disabled_because.as_deref().into(),
            webhook.failing_since.into(),
            webhook.read_up_to.number().into(),
            webhook.id.to_string().into(),
        ],
    )
    .execute(tx.connection)
    .await
    .map(drop)
}

/// Has what waits to be sent again sent at once, with all of its time before it.
async fn restart_deliveries(tx: &mut Tx<'_>, id: WebhookId) -> Result<(), Error> {
    Statement::new("UPDATE webhook_deliveries SET first_at = ")
        .bind(tx.now)
        .text(", next_at = ")
        .bind(tx.now)
        .text(" WHERE next_at IS NOT NULL AND webhook_id = ")
        .bind(id.to_string())
        .execute(tx.connection)
        .await
        .map(drop)
}

fn select() -> Statement<'static> {
    Statement::new("SELECT ").text(COLUMNS).text(" FROM webhooks")
}

fn read(row: &mut Fields<'_>) -> Result<Webhook, Error> {
    Ok(Webhook {
        id: row.parsed()?,
        tenant: row.string()?,
        url: row.string()?,
        description: row.optional_string()?,
        types: row.json()?,
        providers: row.json()?,
        labels: row.json()?,
        is_thin: row.flag()?,
        secrets: row.json()?,
        disabled_because: row.optional_string()?,
        failing_since: row.optional_time()?,
        read_up_to: EventId::of(row.number()?),
        created_at: row.time()?,
    })
}
