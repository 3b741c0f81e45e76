//! The epochs of lanes, by which the claim of an earlier owner is refused.

use crate::{Error, connection::Connection, dialect::Dialect, statement::Statement, writer::Tx};

/// Refuses all claims that were begun before. Owners keep their lanes, but have to ask for them again. Whoever changes lanes
/// or claims has the lock [`REVISION_LOCK_SHARED`], so none of that happens meanwhile.
pub(crate) async fn raise_epochs(connection: &mut Connection) -> Result<(), Error> {
    Statement::new("UPDATE lanes SET epoch = epoch + 1").execute(connection).await?;
    Ok(())
}

/// Whether nobody has taken the lane over since this epoch began.
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
