//! The rows of requests that are accepted.

use invite_core::Destination;
use jiff::Timestamp;

use crate::{
    Error, InviteRecord, NewBatch,
    batch::Accepted,
    connection::Connection,
    events::NewEvents,
    idempotency::remember_keys,
    rows::{COLUMNS, invite_values, json},
    statement::{Statement, chunks},
};

/// Stores requests with their idempotency keys, invites and events, by a few statements for all of them.
pub(crate) async fn insert(
    connection: &mut Connection,
    events: &mut NewEvents,
    now: Timestamp,
    accepted: &[(&NewBatch, &Accepted)],
) -> Result<(), Error> {
    for chunk in chunks(accepted) {
        Statement::new(
            "INSERT INTO batches (id, tenant, config_revision, duplicates, traceparent, created_at) \
             SELECT * FROM ",
        )
        .rows(chunk.iter().map(|(batch, accepted)| {
            [
                batch.id.to_string().into(),
                (&batch.tenant).into(),
                batch.config_revision.into(),
                json(&accepted.batch.duplicates),
                batch.traceparent.as_deref().into(),
                now.into(),
            ]
        }))
        .execute(connection)
        .await?;
    }
    let batches: Vec<&NewBatch> = accepted.iter().map(|(batch, _)| *batch).collect();
    remember_keys(connection, now, &batches).await?;
    let invites: Vec<&InviteRecord> =
        accepted.iter().flat_map(|(_, accepted)| &accepted.invites).collect();
    invites.iter().for_each(|invite| events.accepted(invite));
    insert_invites(connection, &invites).await
}

async fn insert_invites(
    connection: &mut Connection,
    invites: &[&InviteRecord],
) -> Result<(), Error> {
    for chunk in chunks(invites) {
        Statement::new("INSERT INTO invites (")
            .text(COLUMNS)
            .text(", service, final_since) SELECT * FROM ")
            .rows(chunk.iter().map(|invite| {
                let service = invite.destination.as_ref().map(Destination::service);
                let ended = invite.state.status().is_final().then_some(invite.created_at);
                invite_values(invite).chain([service.into(), ended.into()])
            }))
            .execute(connection)
            .await?;
    }
    let labels: Vec<(String, &str, &str)> = invites
        .iter()
        .flat_map(|invite| {
            let id = invite.id.to_string();
            invite.labels.iter().map(move |(name, value)| (id.clone(), &**name, &**value))
        })
        .collect();
    for chunk in chunks(&labels) {
        Statement::new("INSERT INTO invite_labels (invite_id, name, value) SELECT * FROM ")
            .rows(
                chunk.iter().map(|(id, name, value)| [id.into(), (*name).into(), (*value).into()]),
            )
            .execute(connection)
            .await?;
    }
    Ok(())
}
