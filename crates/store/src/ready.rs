//! Whether the database can be written and read.

use std::time::Duration;

use tokio::time::timeout;

use crate::{Error, Store, statement::Statement};

/// Whoever asks gets an answer within a second, part of which is for the way.
const ANSWERED: Duration = Duration::from_millis(800);

impl Store {
    /// Whether the database could be written and read within the last second. The answer comes within a second.
    ///
    /// # Errors
    /// It does not, or does not say so in time.
    pub async fn ready(&self) -> Result<(), Error> {
        let store = self.clone();
        let mut result = self.readiness().check_shared(async move { store.write_and_read().await });
        let answered = timeout(ANSWERED, result.wait_for(Option::is_some)).await;
        match answered {
            Ok(Ok(result)) => result.clone().unwrap_or(Ok(())),
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => Err(Error::Away("it does not answer within a second".into())),
        }
    }

    /// Commits a row in the same way as every invite, and reads.
    async fn write_and_read(&self) -> Result<(), Error> {
        let row = self.readiness_row();
        self.write(Vec::new(), (), move |tx, ()| {
            Box::pin(async move {
                Statement::new("INSERT INTO readiness (replica, checked_at) VALUES (")
                    .values([row.into(), tx.now.into()])
                    .text(") ON CONFLICT (replica) DO UPDATE SET checked_at = excluded.checked_at")
                    .execute(tx.connection)
                    .await?;
                Ok(())
            })
        })
        .await?;
        Statement::new("SELECT 1 FROM readiness")
            .first(&mut *self.reader().await?, |_| Ok(()))
            .await?;
        Ok(())
    }
}
