//! What no two invites or attempts may have, looked for before it is written.

use std::collections::{BTreeMap, HashMap, HashSet};

use invite_core::{Address, Destination, InviteId};

use crate::{
    Error, InviteRecord, InviteState,
    connection::Connection,
    keyed::HashKey,
    rows::MAY_HAVE_HOLDER,
    statement::{Statement, chunks},
    values::Value,
};

/// What another one has already.
pub(crate) enum Clash {
    /// Another invite to the same person at the same destination is `sending` or `unknown`, so that this one cannot become so.
    Person(InviteId),
    /// Another invite holds the provider id that this one would hold.
    ProviderRef(InviteId),
    /// Another attempt has the call's fingerprint.
    Fingerprint,
}

/// What another one has already that one of these invites, which get these states, or their attempt would have.
pub(crate) async fn find_clash(
    connection: &mut Connection,
    invites: &[InviteRecord],
    states: &HashMap<InviteId, InviteState>,
    fingerprint: Option<&str>,
    key: &HashKey,
) -> Result<Option<Clash>, Error> {
    if let Some(invite) = find_person_taken(connection, invites, states).await? {
        return Ok(Some(Clash::Person(invite)));
    }
    if let Some(invite) = find_ref_taken(connection, invites, states, key).await? {
        return Ok(Some(Clash::ProviderRef(invite)));
    }
    Ok(match fingerprint {
        Some(it) if is_fingerprint_taken(connection, it, key).await? => Some(Clash::Fingerprint),
        _ => None,
    })
}

/// An invite, and the destination and text that no other invite may have together.
type Unique<'a> = (InviteId, &'a Destination, &'a str);

/// An invite of the change that becomes `sending` or `unknown` while another one to the same person is.
async fn find_person_taken(
    connection: &mut Connection,
    invites: &[InviteRecord],
    states: &HashMap<InviteId, InviteState>,
) -> Result<Option<InviteId>, Error> {
    let entering: Vec<Unique<'_>> = invites
        .iter()
        .filter(|invite| !invite.state.has_holder())
        .filter(|invite| states.get(&invite.id).is_some_and(InviteState::has_holder))
        .filter_map(|invite| {
            let address = invite.address.as_ref().map_or("", Address::as_str);
            Some((invite.id, invite.destination.as_ref()?, address))
        })
        .collect();
    find_taken(connection, &entering, "invites", "address", MAY_HAVE_HOLDER).await
}

/// An invite of the change whose new provider id another one holds, or held until its person was erased.
async fn find_ref_taken(
    connection: &mut Connection,
    invites: &[InviteRecord],
    states: &HashMap<InviteId, InviteState>,
    key: &HashKey,
) -> Result<Option<InviteId>, Error> {
    let entering: Vec<Unique<'_>> = invites
        .iter()
        .filter_map(|invite| {
            let new = states.get(&invite.id)?.provider_ref.as_deref()?;
            let destination = invite.destination.as_ref()?;
            let is_new = invite.state.provider_ref.as_deref() != Some(new);
            is_new.then_some((invite.id, destination, new))
        })
        .collect();
    let held = "provider_ref IS NOT NULL";
    let clash = find_taken(connection, &entering, "invites", "provider_ref", held).await?;
    if clash.is_some() || entering.is_empty() || !is_any_gone(connection).await? {
        return Ok(clash);
    }
    let hashes: Vec<String> = entering.iter().map(|(_, _, id)| key.provider_ref_hash(id)).collect();
    let gone = entering.iter().zip(&hashes).map(|((invite, place, _), hash)| {
        let unique: Unique<'_> = (*invite, *place, hash);
        unique
    });
    find_taken(connection, &gone.collect::<Vec<_>>(), "held_refs", "reference", "true").await
}

/// Whether the person of any invite was erased that had a provider id.
async fn is_any_gone(connection: &mut Connection) -> Result<bool, Error> {
    let gone = Statement::new("SELECT 1 FROM held_refs LIMIT 1").first(connection, |_| Ok(()));
    Ok(gone.await?.is_some())
}

/// The first whose text is stored already at what may be the same destination, in `table` among the rows that the
/// `condition` of its index selects, or is an earlier one's.
async fn find_taken(
    connection: &mut Connection,
    entering: &[Unique<'_>],
    table: &str,
    column: &str,
    condition: &str,
) -> Result<Option<InviteId>, Error> {
    let mut texts: BTreeMap<&Destination, Vec<&str>> = BTreeMap::new();
    for (_, destination, text) in entering {
        texts.entry(destination).or_default().push(text);
    }
    let mut taken: HashSet<(&Destination, String)> = HashSet::new();
    for (destination, texts) in texts {
        for chunk in chunks(&texts) {
            // A subquery for each text, so that no planner chooses to read all invites.
            let rows = Statement::new("SELECT column1, (SELECT 1 FROM ")
                .text(table)
                .text(" WHERE ")
                .text(column)
                .text(" = column1 AND ")
                .text(condition)
                .text(" AND ")
                .may_be(destination)
                .text(" LIMIT 1) FROM ")
                .rows(chunk.iter().map(|text| [Value::from(*text)]))
                .all(connection, |row| {
                    let text = row.text()?;
                    Ok(row.optional_number()?.map(|_| text.to_owned()))
                })
                .await?;
            taken.extend(rows.into_iter().flatten().map(|text| (destination, text)));
        }
    }
    let mut seen: HashSet<(&Destination, &str)> = HashSet::new();
    let clash = entering.iter().find(|(_, place, text)| {
        (!taken.is_empty() && taken.contains(&(*place, (*text).to_owned())))
            || !seen.insert((place, text))
    });
    Ok(clash.map(|(invite, _, _)| *invite))
}

async fn is_fingerprint_taken(
    connection: &mut Connection,
    fingerprint: &str,
    key: &HashKey,
) -> Result<bool, Error> {
    let taken = Statement::new("SELECT 1 FROM attempts WHERE fingerprint")
        .one_of([fingerprint.into(), key.fingerprint(fingerprint).into()])
        .first(connection, |_| Ok(()))
        .await?;
    Ok(taken.is_some())
}
