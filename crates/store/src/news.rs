//! What replicas tell each other at once, over PostgreSQL's LISTEN and NOTIFY. It only saves waiting: a notice that is lost is
//! found out by whoever looks now and then.

use std::time::Duration;

use invite_core::{BatchId, random};
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::mpsc;

use crate::{
    Error, connection::Connection, connections::Connections, database::Database,
    statement::Statement,
};

const CHANNEL: &str = "invite_gateway";
/// How long notices gather, so that many are one statement.
const GATHER: Duration = Duration::from_millis(2);
/// How many notices one statement has at most: PostgreSQL takes up to 8,000 bytes.
const AT_ONCE: usize = 100;

/// What other replicas should know at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Something was queued at this provider.
    Queued(String),
    /// Invites of this batch were written.
    Written(BatchId),
    /// No replica has this provider's lane any more.
    Freed(String),
}

impl News {
    fn line(&self) -> String {
        match self {
            Self::Queued(provider) => format!("queued {provider}"),
            Self::Written(batch) => format!("written {batch}"),
            Self::Freed(provider) => format!("freed {provider}"),
        }
    }

    /// `None` for what another version may tell.
    fn read(line: &str) -> Option<Self> {
        match line.split_once(' ')? {
            ("queued", provider) => Some(Self::Queued(provider.to_owned())),
            ("written", batch) => batch.parse().ok().map(Self::Written),
            ("freed", provider) => Some(Self::Freed(provider.to_owned())),
            _ => None,
        }
    }
}

/// Tells the other replicas, as long as there is anybody to tell.
pub(crate) struct Teller {
    notices: mpsc::UnboundedSender<News>,
    /// Marks what is told from here.
    own: String,
}

impl Teller {
    pub(crate) fn start(connections: Connections) -> Self {
        let (notices, waiting) = mpsc::unbounded_channel();
        let own = base16ct::lower::encode_string(&random::bytes::<8>());
        tokio::spawn(tell(connections, waiting, own.clone()));
        Self { notices, own }
    }

    /// Soon, and without waiting for it.
    pub(crate) fn tell(&self, news: impl Iterator<Item = News>) {
        // The task ends only with the process.
        news.for_each(|news| drop(self.notices.send(news)));
    }

    /// What [`notify`] sends of this.
    pub(crate) fn notice(&self, news: impl Iterator<Item = News>) -> String {
        notice(&self.own, news)
    }

    pub(crate) async fn listen(&self, database: &Database) -> Result<Option<Listener>, Error> {
        let Some(server) = database.server() else { return Ok(None) };
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(server.clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Some(Listener { listener, own: self.own.clone() }))
    }
}

async fn tell(connections: Connections, mut waiting: mpsc::UnboundedReceiver<News>, own: String) {
    let mut news = Vec::with_capacity(AT_ONCE);
    while waiting.recv_many(&mut news, AT_ONCE).await > 0 {
        tokio::time::sleep(GATHER).await;
        while news.len() < AT_ONCE
            && let Ok(more) = waiting.try_recv()
        {
            news.push(more);
        }
        let notice = notice(&own, news.drain(..));
        let telling = async { notify(&mut *connections.take().await?, &notice).await };
        if let Err(error) = telling.await {
            tracing::debug!(%error, "the other replicas are not told of what was written here; they find out");
        }
    }
}

fn notice(own: &str, news: impl Iterator<Item = News>) -> String {
    let lines = news.map(|news| news.line());
    std::iter::once(own.to_owned()).chain(lines).collect::<Vec<_>>().join("\n")
}

/// Sends a notice to all replicas; within a transaction, once that is committed.
pub(crate) async fn notify(connection: &mut Connection, notice: &str) -> Result<(), Error> {
    Statement::with("SELECT pg_notify(?, ?)", [CHANNEL.into(), notice.into()])
        .first(connection, |_| Ok(()))
        .await
        .map(|_| ())
}

/// Hears what other replicas tell.
pub struct Listener {
    listener: PgListener,
    own: String,
}

impl Listener {
    /// The next that another replica tells; nothing if some may have been missed.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn next(&mut self) -> Result<Vec<News>, Error> {
        loop {
            let Some(notice) = self.listener.try_recv().await? else { return Ok(Vec::new()) };
            let mut lines = notice.payload().lines();
            if lines.next() != Some(&*self.own) {
                return Ok(lines.filter_map(News::read).collect());
            }
        }
    }
}
