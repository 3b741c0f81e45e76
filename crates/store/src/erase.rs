//! Erasing a person from the database. What stays is what the guarantee needs: that there was an invite, what became of it,
//! and a keyed hash of its id at the provider.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::AddAssign,
    sync::Arc,
};

use invite_core::{Address, InviteId, Reason};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    Error, Store,
    admission::address_locks,
    connection::Connection,
    events::blank_events,
    keyed::{HashKey, MARK},
    rows::{FINAL, LIVE, PERSON_GONE, read_invites},
    statement::{Statement, chunks},
    values::Value,
    writer::Tx,
};

/// How many invites one transaction erases: few, so that other writers hardly wait.
pub(crate) const STEP: u32 = 50;

/// How much was taken out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ErasedCounts")]
pub struct Erased {
    /// Invites: address, name, phone, message, parameters, labels, external id, what the provider
    /// showed, and its id there, of which a keyed hash stays.
    pub invites: u64,
    /// Calls made for them: where the request went, and what is said of its end.
    pub attempts: u64,
    /// Of those the ones of which a request or a reply was kept.
    pub exchanges: u64,
    /// Labels.
    pub labels: u64,
}

impl AddAssign for Erased {
    fn add_assign(&mut self, more: Self) {
        self.invites += more.invites;
        self.attempts += more.attempts;
        self.exchanges += more.exchanges;
        self.labels += more.labels;
    }
}

/// What is kept of the calls made for an invite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptCalls {
    /// How many calls there were.
    pub attempts: u64,
    /// Of how many a request or a reply is kept.
    pub exchanges: u64,
}

const HAS_EXCHANGE: &str = "(call IS NOT NULL OR request IS NOT NULL OR reply IS NOT NULL)";

/// How much of an invite is taken out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What was exchanged about it.
    Exchange,
    /// All that may tell of its person.
    Person,
}

impl Store {
    /// A pseudonym for a person where the address may not show: always the same in this database, and of no use without its
    /// key.
    pub fn pseudonym(&self, address: &Address) -> String {
        self.hash_key().hash("person", address.as_str())
    }

    /// Erases a person from all invites to this address that have ended, of all tenants and providers, also from rows that
    /// cannot be read. It leaves those that have not ended, and those that share a call with an unsettled invite.
    ///
    /// # Errors
    /// The database cannot be used; what was erased until then stays erased.
    pub async fn erase_person(&self, address: &Address) -> Result<Erased, Error> {
        let (mut erased, mut after) = (Erased::default(), String::new());
        loop {
            let locks = address_locks(std::iter::once(address)).collect();
            let data = (Arc::clone(self.hash_key()), address.clone(), after);
            let (step, last) = self
                .write(locks, data, |mut tx, (key, address, after)| {
                    Box::pin(async move {
                        let ids = ended_to(&mut tx, address, after).await?;
                        let last = ids.last().cloned();
                        Ok((take_out(&mut tx, key, ids, Extent::Person).await?, last))
                    })
                })
                .await?;
            erased += step;
            match last {
                Some(last) => after = last,
                None => return Ok(erased),
            }
        }
    }

    /// What is kept of the calls made for each of these invites; none of those without any.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn kept_calls(
        &self,
        invites: &[InviteId],
    ) -> Result<HashMap<InviteId, KeptCalls>, Error> {
        let mut kept_calls = HashMap::new();
        let mut connection = self.lister().await?;
        for chunk in chunks(invites) {
            let ids = chunk.iter().map(|id| Value::from(id.to_string()));
            let rows = Statement::new("SELECT invite_id, count(*), count(CASE WHEN ")
                .text(HAS_EXCHANGE)
                .text(
                    " THEN 1 END) FROM attempt_invites JOIN attempts ON attempts.id = attempt_id \
                     WHERE invite_id",
                )
                .one_of(ids)
                .text(" GROUP BY invite_id")
                .all(&mut connection, |row| {
                    Ok((
                        row.parsed()?,
                        KeptCalls { attempts: row.count()?, exchanges: row.count()? },
                    ))
                })
                .await?;
            kept_calls.extend(rows);
        }
        Ok(kept_calls)
    }
}

/// The next invites to an address that have ended, by their ids; erased ones have the address no more.
async fn ended_to(tx: &mut Tx<'_>, address: &Address, after: &str) -> Result<Vec<String>, Error> {
    let rows = Statement::new("SELECT id FROM invites WHERE id IN (SELECT id FROM invites WHERE ")
        .text("address = ")
        .bind(address.as_str())
        .text(" AND id > ")
        .bind(after)
        .text(") AND ")
        .text(FINAL)
        .text(" ORDER BY id")
        .limit(i64::from(STEP))
        .text(tx.dialect.for_update())
        .all(tx.connection, |row| Ok(row.text_at(0).map(str::to_owned)))
        .await?;
    Ok(rows.into_iter().flatten().collect())
}

/// Erases this much of these invites, which have ended, except those whose data an unsettled call needs.
pub(crate) async fn take_out(
    tx: &mut Tx<'_>,
    key: &HashKey,
    ids: Vec<String>,
    extent: Extent,
) -> Result<Erased, Error> {
    let links = attempts_of(tx.connection, &ids).await?;
    let attempts: BTreeSet<&String> = links.iter().map(|(_, attempt)| attempt).collect();
    let attempts: Vec<&String> = attempts.into_iter().collect();
    let needed = needed(tx.connection, &attempts).await?;
    let left: HashSet<&String> = links
        .iter()
        .filter(|(_, attempt)| needed.contains(attempt))
        .map(|(invite, _)| invite)
        .collect();
    let ids: Vec<String> = ids.iter().filter(|id| !left.contains(id)).cloned().collect();
    let emptied: BTreeSet<&String> = links
        .iter()
        .filter(|(invite, _)| !left.contains(invite))
        .map(|(_, attempt)| attempt)
        .collect();
    let emptied: Vec<&String> = emptied.into_iter().collect();
    let mut erased = Erased::default();
    empty(tx.connection, key, &emptied, extent, &mut erased).await?;
    for chunk in chunks(&ids) {
        erased.invites += match extent {
            Extent::Exchange => {
                Statement::new(
                    "UPDATE invites SET erased = 1, unconfirmed = 0 WHERE erased = 0 AND id",
                )
                .one_of(chunk.iter().map(Value::from))
                .execute(tx.connection)
                .await?
            }
            Extent::Person => {
                keep_ref_hashes(tx.connection, key, chunk).await?;
                erased.labels += Statement::new("DELETE FROM invite_labels WHERE invite_id")
                    .one_of(chunk.iter().map(Value::from))
                    .execute(tx.connection)
                    .await?;
                tx.events.blank(chunk);
                blank_events(tx.connection, chunk).await?;
                let blanked = blank(tx, chunk).await?;
                let ids: Vec<InviteId> = chunk.iter().filter_map(|id| id.parse().ok()).collect();
                for invite in read_invites(tx.connection, &ids, "").await? {
                    tx.events.updated(&invite, &invite.state);
                }
                blanked
            }
        };
    }
    Ok(erased)
}

/// Which attempts were made for which of these invites.
async fn attempts_of(
    connection: &mut Connection,
    ids: &[String],
) -> Result<Vec<(String, String)>, Error> {
    let mut links = Vec::new();
    for chunk in chunks(ids) {
        let rows =
            Statement::new("SELECT invite_id, attempt_id FROM attempt_invites WHERE invite_id")
                .one_of(chunk.iter().map(Value::from))
                .all(connection, |row| Ok((row.string()?, row.string()?)))
                .await?;
        links.extend(rows);
    }
    Ok(links)
}

/// Those of these attempts that are still needed to find out what became of an invite: creates for one that is not settled,
/// waits for approval, was sent more than once, or cannot be read and has not ended.
async fn needed(
    connection: &mut Connection,
    attempts: &[&String],
) -> Result<HashSet<String>, Error> {
    let mut needed = HashSet::new();
    for chunk in chunks(attempts) {
        let rows = Statement::new(
            "SELECT DISTINCT attempt_id FROM attempt_invites JOIN attempts ON attempts.id = attempt_id \
             JOIN invites ON invites.id = invite_id WHERE operation = 'create' AND ",
        )
        .text(LIVE)
        .text(
            " AND (status NOT IN ('pending', 'sent') OR attempt_count > 1 OR unreadable IS NOT NULL) \
             AND attempt_id",
        )
        .one_of(chunk.iter().map(|id| Value::from(id.as_str())))
        .all(connection, |row| row.string())
        .await?;
        needed.extend(rows);
    }
    Ok(needed)
}

/// Erases from attempts what was exchanged, and for the extent of a person also the text about it.
async fn empty(
    connection: &mut Connection,
    key: &HashKey,
    attempts: &[&String],
    extent: Extent,
    erased: &mut Erased,
) -> Result<(), Error> {
    for chunk in chunks(attempts) {
        let ids = || chunk.iter().map(|id| Value::from(id.as_str()));
        let held = Statement::new("SELECT id, fingerprint, CASE WHEN ")
            .text(HAS_EXCHANGE)
            .text(" THEN 1 ELSE 0 END FROM attempts WHERE id")
            .one_of(ids())
            .all(connection, |row| {
                let (id, fingerprint) = (row.string()?, row.text_at(1).map(str::to_owned));
                Ok((id, fingerprint, row.number_at(2) == Some(1)))
            })
            .await?;
        erased.exchanges += held.iter().filter(|(_, _, has_exchange)| *has_exchange).count() as u64;
        let hashed: Vec<(String, String)> = held
            .into_iter()
            .filter_map(|(id, fingerprint, _)| Some((id, fingerprint?)))
            .filter(|(_, fingerprint)| !fingerprint.starts_with(MARK))
            .map(|(id, fingerprint)| (id, key.fingerprint(&fingerprint)))
            .collect();
        for chunk in chunks(&hashed) {
            let rows = chunk.iter().map(|(id, hash)| [Value::from(id), Value::from(hash)]);
            Statement::new("UPDATE attempts SET fingerprint = v.column2 FROM ")
                .rows(rows)
                .text(" WHERE attempts.id = v.column1")
                .execute(connection)
                .await?;
        }
        erased.attempts += Statement::new(
            "UPDATE attempts SET call = NULL, target = NULL, provider_request_id = NULL, request = NULL, \
             reply = NULL, unpaired = NULL",
        )
        .text(if extent == Extent::Person { ", detail = NULL" } else { "" })
        .text(" WHERE id")
        .one_of(ids())
        .execute(connection)
        .await?;
    }
    Ok(())
}

/// Keeps keyed hashes of the provider ids of these invites.
async fn keep_ref_hashes(
    connection: &mut Connection,
    key: &HashKey,
    ids: &[String],
) -> Result<(), Error> {
    let held = Statement::new(
        "SELECT provider_ref, service, destination FROM invites WHERE provider_ref IS NOT NULL AND \
         destination IS NOT NULL AND service IS NOT NULL AND id",
    )
    .one_of(ids.iter().map(Value::from))
    .all(connection, |row| Ok((row.string()?, row.string()?, row.string()?)))
    .await?;
    for chunk in chunks(&held) {
        Statement::new("INSERT INTO held_refs (reference, service, destination) SELECT * FROM ")
            .rows(chunk.iter().map(|(id, service, destination)| {
                [key.provider_ref_hash(id).into(), service.into(), destination.into()]
            }))
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Erases from these invites all that may tell of a person.
async fn blank(tx: &mut Tx<'_>, ids: &[String]) -> Result<u64, Error> {
    let reasons = Statement::new("SELECT id, error FROM invites WHERE id")
        .one_of(ids.iter().map(Value::from))
        .all(tx.connection, |row| Ok((row.string()?, row.text_at(1).and_then(bare))))
        .await?;
    let mut blanked = 0;
    for chunk in chunks(&reasons) {
        blanked += Statement::new("UPDATE invites SET version = invites.version + 1, erased = ")
            .bind(PERSON_GONE)
            .text(", updated_at = ")
            .bind(tx.now)
            .text(", final_since = coalesce(final_since, updated_at), call_key = NULL, params = NULL, route = NULL, unconfirmed = 0, ")
            .text("address = '', invitee = '{\"email\":\"\"}', external_id = NULL, labels = '{}', ")
            .text("provider_ref = NULL, provider_status = NULL, provider_data = '{}', ")
            .text("second_effects = NULL, shown_fingerprint = NULL, unreadable = NULL, error = v.column2 FROM ")
            .rows(chunk.iter().map(|(id, error)| [Value::from(id), error.as_deref().into()]))
            .text(" WHERE invites.id = v.column1")
            .execute(tx.connection)
            .await?;
    }
    Ok(blanked)
}

/// A reason with no words but the gateway's own; `None` if it cannot be read.
fn bare(error: &str) -> Option<String> {
    let reason: Reason = serde_json::from_str(error).ok()?;
    serde_json::to_string(&reason.bare()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    #[test]
    fn of_a_reason_only_words_of_the_gateways_own_stay() {
        let error = json!({
            "code": "provider-rejected", "detail": "ada@example.org is known", "origin": "provider",
            "outcome": "rejected", "provider": "summit", "provider_code": "ada",
            "errors": [{ "pointer": "#/email", "code": "invalid", "detail": "ada" }],
        });
        let kept: Json = serde_json::from_str(&bare(&error.to_string()).unwrap()).unwrap();
        let expected = json!({
            "code": "provider-rejected", "origin": "provider", "outcome": "rejected",
            "provider": "summit", "detail": "the details went with the person's data",
        });
        assert_eq!(kept, expected);
        assert_eq!(bare("ada, and no JSON"), None);
    }
}
