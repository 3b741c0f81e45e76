//! Rows that this version of the program cannot read: damaged ones, and those of another version.
//!
//! An invite whose row cannot be read is set aside: it is marked with the column that cannot be read, so that no lane takes it.
//! It still counts as live, and as in doubt if it was, until an administrator ends it. Whoever reads a row corrects its mark.

use std::{collections::BTreeMap, sync::Arc};

use invite_core::{Address, BatchId, InviteId, Invitee, Status};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    Actor, Error, InviteRecord, InviteState, NewAudit, Store, chain,
    connections::InUse,
    debug::debug_only,
    dialect::AUDIT_LOCK,
    error::LIST,
    phase::Phase,
    rows::{
        AMONG_SET_ASIDE, COLUMNS, InviteFacts, LIVE, SET_ASIDE, read_invite, read_invites,
        select_invites,
    },
    statement::{Fields, Statement, chunks},
    values::Value,
};

/// How many rows one read of [`Store::reexamine`] has.
const PAGE: i64 = 500;

/// An invite as stored, or what can be told of one that cannot be read.
pub type Row = Result<InviteRecord, Box<UnreadableInvite>>;

/// A record that cannot be read from the database: damaged, or of another version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Unreadable {
    /// Its id, as it is stored; empty if that cannot be read either.
    pub id: String,
    /// The column that stands in the way; `?` if the database cannot tell.
    pub column: String,
}

/// An Invite that cannot be read from the database: damaged, or of another version. Nothing is done about
/// it until it can be read again or an administrator ends it (`DELETE`). What is null cannot be told.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UnreadableInvite {
    /// Its id, as it is stored; empty if that cannot be read either.
    pub id: String,
    /// The column that stands in the way; `?` if the database cannot tell.
    pub column: String,
    /// The request that it came with.
    pub batch_id: Option<BatchId>,
    /// Its item's place in that request.
    pub index: Option<usize>,
    /// Whose it is; with the scope invites:all-tenants only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The configured provider.
    pub provider: Option<String>,
    /// The word for its status, which may be of another version.
    pub status: Option<String>,
    #[serde(skip)]
    address: Option<String>,
    #[serde(skip)]
    invitee: Option<Invitee>,
}

debug_only!(UnreadableInvite: id, column, provider, status);

/// What became of an unreadable invite that an administrator ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It has ended now; as it is.
    Now(UnreadableInvite),
    /// It had ended before; as it is.
    Before(UnreadableInvite),
    /// There is no such row, or it can be read.
    NotSetAside,
}

impl Store {
    /// Reads invites. Those that cannot be read are marked, those that can be read again are not any more.
    pub(crate) async fn rows(&self, statement: Statement<'_>) -> Result<Vec<Row>, Error> {
        Ok(self.rows_and_marks(self.reader().await?, statement).await?.0)
    }

    /// The same for a list that a caller asks for, which may take no longer than [`LIST`].
    pub(crate) async fn listed(&self, statement: Statement<'_>) -> Result<Vec<Row>, Error> {
        let connection = self.lister().await?;
        let rows = tokio::time::timeout(LIST, self.rows_and_marks(connection, statement)).await;
        Ok(rows.map_err(|_| Error::SlowList)??.0)
    }

    /// Reads invites for the engine, again and again until none is newly marked, so that it gets as many as it asks for:
    /// `statement` must find none that is marked.
    pub(crate) async fn readable(
        &self,
        statement: Statement<'_>,
    ) -> Result<Vec<InviteRecord>, Error> {
        loop {
            let (rows, marked) =
                self.rows_and_marks(self.scanner().await?, statement.clone()).await?;
            if marked == 0 {
                return Ok(rows.into_iter().flatten().collect());
            }
        }
    }

    async fn rows_and_marks(
        &self,
        mut connection: InUse,
        statement: Statement<'_>,
    ) -> Result<(Vec<Row>, u64), Error> {
        let rows = statement.all(&mut connection, read_row).await?;
        drop(connection);
        let wrong = rows.iter().filter_map(|(row, mark)| {
            let column = row.as_ref().err().map(|unreadable| unreadable.column.clone());
            let id = id_of(row);
            (column != *mark && !id.is_empty()).then_some((id, column))
        });
        let wrong: Vec<_> = wrong.collect();
        let marked = if wrong.is_empty() { 0 } else { self.mark(wrong).await };
        Ok((rows.into_iter().map(|(row, _)| row).collect(), marked))
    }

    /// Writes marks, and returns how many were written; the others are written when their rows are read again.
    async fn mark(&self, marks: Vec<(String, Option<String>)>) -> u64 {
        for (id, column) in &marks {
            match column {
                Some(column) => {
                    tracing::error!(
                        invite.id = id,
                        column,
                        "an invite cannot be read from the database (column {column}) and is set aside: nothing is done about it until it can be read or an administrator ends it"
                    );
                }
                None => {
                    tracing::info!(invite.id = id, "an invite that was set aside can be read again")
                }
            }
        }
        let written = self.write(Vec::new(), marks, |tx, marks| {
            Box::pin(async move {
                let readable = marks.iter().filter(|(_, column)| column.is_none());
                let readable: Vec<InviteId> =
                    readable.filter_map(|(id, _)| id.parse().ok()).collect();
                for invite in read_invites(tx.connection, &readable, "").await? {
                    tx.events.updated(&invite, &invite.state);
                }
                let mut written = 0;
                for chunk in chunks(marks) {
                    written +=
                        Statement::new("UPDATE invites SET version = invites.version + 1, unreadable = v.column2 FROM ")
                            .rows(chunk.iter().map(|(id, column)| {
                                [Value::from(id), Value::from(column.as_deref())]
                            }))
                            .text(" WHERE invites.id = v.column1")
                            .execute(tx.connection)
                            .await?;
                }
                Ok(written)
            })
        });
        written.await.unwrap_or_else(|error| {
            tracing::error!(%error, "invites that cannot be read could not be set aside");
            0
        })
    }

    /// Tries to read what is set aside: it may have been repaired, or this version may be able to read it.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn reexamine(&self) -> Result<(), Error> {
        let mut after = String::new();
        loop {
            let statement =
                select_invites().text(" WHERE ").text(&AMONG_SET_ASIDE).text(" AND id > ");
            let statement = statement.bind(&after).text(" ORDER BY id").limit(PAGE);
            let rows = self.rows(statement).await?;
            match rows.iter().rev().map(id_of).find(|id| !id.is_empty()) {
                Some(last) => after = last,
                None => return Ok(()),
            }
        }
    }

    /// How many invites of each provider are set aside and have not been ended. Those whose provider cannot be told have an
    /// empty name.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn unreadable_counts(&self) -> Result<BTreeMap<String, u64>, Error> {
        let mut connection = self.scanner().await?;
        let rows = Statement::new("SELECT provider, count(*) FROM invites WHERE ")
            .text(&AMONG_SET_ASIDE)
            .text(" AND ")
            .text(LIVE)
            .text(" GROUP BY provider")
            .all(&mut connection, |row| {
                let provider = row.text_at(0).unwrap_or_default().to_owned();
                Ok((provider, row.number_at(1).unwrap_or_default().unsigned_abs()))
            })
            .await?;
        let mut counts = BTreeMap::new();
        for (provider, count) in rows {
            *counts.entry(provider).or_default() += count;
        }
        Ok(counts)
    }

    /// Ends an invite that is set aside, with an entry in the record of changes: it is `revoked` here, whatever exists at its
    /// provider. `id` as it is stored.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn end_unreadable(&self, id: &str, actor: &Actor) -> Result<Ended, Error> {
        let known = match self.invite_row(id).await? {
            Some(Err(known)) => *known,
            _ => return Ok(Ended::NotSetAside),
        };
        let data = (known.clone(), actor.clone());
        let ended = self.write(vec![AUDIT_LOCK], data, |mut tx, (known, actor)| {
            Box::pin(async move {
                let ended = Statement::with(
                    "UPDATE invites SET version = version + 1, status = 'revoked', status_source = 'caller', \
                     updated_at = ?, final_since = ? WHERE id = ? AND ",
                    [tx.now.into(), tx.now.into(), (&known.id).into()],
                )
                .text(SET_ASIDE)
                .text(" AND ")
                .text(LIVE)
                .execute(tx.connection)
                .await?;
                if ended > 0 {
                    let before =
                        serde_json::json!({ "status": known.status, "unreadable": known.column });
                    let change = NewAudit {
                        before: Some(before),
                        after: Some(serde_json::json!({ "status": Status::Revoked })),
                        ..NewAudit::new(actor.clone(), "invite.revoke", &known.id)
                    };
                    chain::record(&mut tx, &change).await?;
                    let tenant = known.tenant.as_deref();
                    let before = known.status.as_deref().and_then(|status| status.parse().ok());
                    tx.events.withdrawn(tenant, &known.id, before);
                }
                Ok(ended > 0)
            })
        });
        if !ended.await? {
            return Ok(Ended::Before(known));
        }
        // The column that cannot be read may be its status.
        Ok(Ended::Now(UnreadableInvite { status: Some(Status::Revoked.to_string()), ..known }))
    }
}

/// A row as [`select_invites`] selects it, and its mark.
pub(crate) fn read_row(fields: &mut Fields<'_>) -> Result<(Row, Option<String>), Error> {
    let unreadable = |error, fields: &Fields<'_>| UnreadableInvite {
        id: fields.text_at(place("id")).unwrap_or_default().to_owned(),
        column: column(error),
        batch_id: fields.text_at(place("batch_id")).and_then(|id| id.parse().ok()),
        index: fields.number_at(place("item_index")).and_then(|index| index.try_into().ok()),
        tenant: fields.text_at(place("tenant")).map(str::to_owned),
        provider: fields.text_at(place("provider")).map(str::to_owned),
        status: fields.text_at(place("status")).map(str::to_owned),
        address: fields.text_at(place("address")).map(str::to_owned),
        invitee: fields.text_at(place("invitee")).and_then(|json| serde_json::from_str(json).ok()),
    };
    let row = read_invite(fields).map_err(|error| Box::new(unreadable(error, fields)));
    let mark = fields.text_at(COLUMNS.split(',').count());
    Ok((row, mark.map(str::to_owned)))
}

/// The place of a column among [`COLUMNS`].
fn place(column: &str) -> usize {
    COLUMNS.split(',').position(|known| known.trim() == column).unwrap_or(usize::MAX)
}

/// Reads rows whose first column is their id, as a value or as what can be told of one that cannot be read.
pub(crate) fn or_unreadable<T>(
    read: impl Fn(&mut Fields<'_>) -> Result<T, Error>,
) -> impl Fn(&mut Fields<'_>) -> Result<Result<T, Unreadable>, Error> {
    move |fields| {
        Ok(read(fields).map_err(|error| Unreadable {
            id: fields.text_at(0).unwrap_or_default().to_owned(),
            column: column(error),
        }))
    }
}

/// Those that can be read, and the others.
pub(crate) fn separate<T, U>(rows: Vec<Result<T, U>>) -> (Vec<T>, Vec<U>) {
    let (mut readable, mut unreadable) = (Vec::new(), Vec::new());
    for row in rows {
        match row {
            Ok(row) => readable.push(row),
            Err(row) => unreadable.push(row),
        }
    }
    (readable, unreadable)
}

/// A page of rows, of which one more than `limit` was asked for, and the id behind which the next goes on; `None` on the last
/// page. A row whose id cannot be read is no place to go on from.
pub(crate) fn page<T>(
    mut rows: Vec<T>,
    limit: u32,
    id: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.iter().rev().map(id).find(|id| has_more && !id.is_empty());
    (rows, next)
}

fn column(error: Error) -> String {
    match error {
        Error::Corrupt { what } => what,
        _ => "?".to_owned(),
    }
}

/// The id of an invite, as it is stored.
pub(crate) fn id_of(row: &Row) -> String {
    match row {
        Ok(invite) => invite.id.to_string(),
        Err(unreadable) => unreadable.id.clone(),
    }
}

/// The invites of a call, in its order. In place of one that cannot be read there is one that has ended, so that the others
/// keep their places; that one is never written.
pub(crate) fn with_stand_ins(rows: Vec<Row>) -> Vec<InviteRecord> {
    let Some(like) = rows.iter().find_map(|row| row.as_ref().ok()).cloned() else {
        return Vec::new();
    };
    let stand_in = |unreadable: Box<UnreadableInvite>| {
        let unreadable = *unreadable;
        // An address that nobody has, by RFC 2606.
        let address = unreadable.address.unwrap_or_else(|| "unreadable@unreadable.invalid".into());
        let facts = InviteFacts {
            id: unreadable.id.parse().unwrap_or_else(|_| InviteId::generate()),
            tenant: unreadable.tenant.unwrap_or_default(),
            invitee: unreadable
                .invitee
                .unwrap_or(Invitee { email: address.clone(), ..Invitee::default() }),
            address: Some(Address::stored(address)),
            ..(*like.facts).clone()
        };
        let phase = Phase::Settled(Status::Revoked);
        InviteRecord {
            facts: Arc::new(facts),
            version: like.version,
            state: InviteState { phase, ..InviteState::queued(like.created_at) },
        }
    };
    rows.into_iter().map(|row| row.unwrap_or_else(stand_in)).collect()
}
