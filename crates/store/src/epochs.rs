//! The epochs of lanes, by which a claim of an owner of before is not written.

use sqlx::AnyConnection;

use crate::{Error, dialect::Dialect, statement::Statement, writer::Tx};

/// No claim that was begun before is written after; owners keep their lanes, and have to ask for them
/// again. Whoever writes to lanes or claims holds [`NO_REVISION_LOCK`], so that this is apart from all
/// of it.
pub(crate) async fn raise_epochs(connection: &mut AnyConnection) -> Result<(), Error> {
    Statement::new("UPDATE lanes SET epoch = epoch + 1").execute(connection).await?;
    Ok(())
}

/// Nobody has taken the lane over since this epoch began.
pub(crate) async fn is_lane_held(
    tx: &mut Tx<'_>,
    provider: &str,
    epoch: i64,
) -> Result<bool, Error> {
    let held = Statement::new("SELECT 1 FROM lanes WHERE provider = ")
        .bind(provider)
        .text(" AND epoch = ")
        .bind(epoch)
        .text(Dialect::for_update(tx.dialect))
        .first(tx.connection, |_| Ok(()))
        .await?;
    Ok(held.is_some())
}
