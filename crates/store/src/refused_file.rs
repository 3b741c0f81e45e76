//! Which document in the file was last refused.

use sha2::{Digest, Sha256};

use crate::{Error, Store, statement::Statement};

impl Store {
    /// The newest revision at the time when this text of the file was refused; `None` if another text was refused last.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn refused_file(&self, text: &str) -> Result<Option<i64>, Error> {
        Statement::new("SELECT revision FROM refused_file WHERE text_hash = ")
            .bind(hash(text))
            .first(&mut *self.reader().await?, |row| row.number())
            .await
    }

    /// Remembers that this text of the file was refused last, while `revision` was the newest.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn keep_refused_file(&self, text: &str, revision: i64) -> Result<(), Error> {
        self.replace_refused_file(Some((hash(text), revision))).await
    }

    /// Forgets which text of the file was refused last.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn forget_refused_file(&self) -> Result<(), Error> {
        self.replace_refused_file(None).await
    }

    async fn replace_refused_file(&self, refused: Option<(String, i64)>) -> Result<(), Error> {
        self.write(Vec::new(), refused, |tx, refused| {
            Box::pin(async move {
                Statement::new("DELETE FROM refused_file").execute(tx.connection).await?;
                if let Some((hash, revision)) = refused {
                    Statement::new("INSERT INTO refused_file (text_hash, revision) VALUES (")
                        .values([hash.into(), (*revision).into()])
                        .text(")")
                        .execute(tx.connection)
                        .await?;
                }
                Ok(())
            })
        })
        .await
    }
}

/// Only the hash of the text is stored: a document that was refused may hold a secret.
fn hash(text: &str) -> String {
    base16ct::lower::encode_string(&Sha256::digest(text))
}
