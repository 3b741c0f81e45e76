//! Whether the database takes what it has to take: found out by writing to it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::{Error, Store, statement::Statement};

/// However many ask, it is written once in this time.
const EVERY: Duration = Duration::from_secs(1);
/// Who asks is answered within a second.
const ANSWERED: Duration = Duration::from_millis(900);
/// Several replicas write rows of their own, and those that are gone leave no more than this.
pub(crate) const ROWS: u32 = 64;

/// What was found out last.
#[derive(Default)]
pub(crate) struct Readiness(Mutex<Option<Check>>);

struct Check {
    began: Instant,
    /// None while it is under way.
    result: watch::Receiver<Option<Result<(), Error>>>,
}

impl Store {
    /// The database takes writes and can be read, as of the last second. The answer comes within a
    /// second.
    ///
    /// # Errors
    /// It does not, or does not say so in time.
    pub async fn ready(&self) -> Result<(), Error> {
        let mut result = self.last_check();
        let answered = timeout(ANSWERED, result.wait_for(Option::is_some)).await;
        match answered {
            Ok(Ok(result)) => result.clone().unwrap_or(Ok(())),
            Ok(Err(_)) => Err(Error::Unavailable("the process is ending".into())),
            Err(_) => Err(Error::Away("it does not answer within a second".into())),
        }
    }

    /// The check that is under way or of the last second, or else a new one.
    fn last_check(&self) -> watch::Receiver<Option<Result<(), Error>>> {
        let mut last = self.readiness().0.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |it: &&Check| it.began.elapsed() < EVERY || it.result.borrow().is_none();
        if let Some(check) = last.as_ref().filter(holds) {
            return check.result.clone();
        }
        let (found, result) = watch::channel(None);
        *last = Some(Check { began: Instant::now(), result: result.clone() });
        let store = self.clone();
        // It goes on when whoever asked first has gone.
        tokio::spawn(async move { found.send(Some(store.write_and_read().await)) });
        result
    }

    /// Commits a row, by the way that every invite takes, and reads.
    async fn write_and_read(&self) -> Result<(), Error> {
        let row = self.readiness_row();
        self.write(Vec::new(), move |tx| {
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
        let mut connection = self.reader().await?;
        Statement::new("SELECT 1 FROM readiness").first(&mut connection, |_| Ok(())).await?;
        Ok(())
    }
}
