//! Keyed hashes (HMAC-SHA-256): what must be known again without being kept. Without the key nobody can
//! tell what one is of by trying addresses.

use hmac::{Hmac, KeyInit, Mac};
use invite_core::random;
use sha2::Sha256;
use sqlx::AnyConnection;

use crate::{Error, statement::Statement};

/// What stands before a keyed hash where there may be a plain text as well.
pub(crate) const MARK: &str = "hmac:";

/// The key of a database, as long as HMAC-SHA-256 takes one as it is.
pub(crate) struct HashKey([u8; 64]);

impl HashKey {
    /// The one of this database, which is made if there is none yet.
    pub(crate) async fn of(connection: &mut AnyConnection) -> Result<Self, Error> {
        if let Some(key) = find(connection).await? {
            return Ok(key);
        }
        Statement::new("INSERT INTO hash_keys (name, secret) VALUES ('gateway', ")
            .bind(base16ct::lower::encode_string(&random::bytes::<64>()))
            .text(") ON CONFLICT (name) DO NOTHING")
            .execute(connection)
            .await?;
        let missing = || Error::Unavailable("its key for hashes cannot be stored".into());
        find(connection).await?.ok_or_else(missing)
    }

    /// A hash of a text; of equal texts those of different kinds differ.
    pub(crate) fn hash(&self, kind: &str, text: &str) -> String {
        let mut mac = Hmac::<Sha256>::new(&self.0.into());
        for part in [kind.as_bytes(), &[0], text.as_bytes()] {
            mac.update(part);
        }
        format!("{MARK}{}", base16ct::lower::encode_string(&mac.finalize().into_bytes()))
    }

    /// What stands for a provider's id of an invite.
    pub(crate) fn reference(&self, provider_ref: &str) -> String {
        self.hash("provider id", provider_ref)
    }

    /// What stands for the fingerprint of a call's bytes.
    pub(crate) fn fingerprint(&self, fingerprint: &str) -> String {
        self.hash("fingerprint", fingerprint)
    }
}

async fn find(connection: &mut AnyConnection) -> Result<Option<HashKey>, Error> {
    let secret = Statement::new("SELECT secret FROM hash_keys")
        .first(connection, |row| row.string())
        .await?;
    let Some(secret) = secret else { return Ok(None) };
    let mut key = [0; 64];
    match base16ct::lower::decode(&secret, &mut key).map(<[u8]>::len) {
        Ok(64) => Ok(Some(HashKey(key))),
        _ => Err(Error::Corrupt { what: "secret".to_owned() }),
    }
}
